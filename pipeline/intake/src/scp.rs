//! The DICOM Storage and Verification SCP: C-STORE and C-ECHO (PS3.4 annexes A, B).
//!
//! ```text
//!   listener ──▶ connection (limit) ──▶ negotiation ──▶ message loop ──▶ temporary file ──▶ Intake ──▶ status
//!                    │ over the limit: A-ASSOCIATE-RJ, transient, temporary congestion
//! ```
//! Invariants:
//! - Status 0000 is sent after the object and its journal line are on disk, never before; it needs no other service.
//! - Nobody is served who is not listed: an empty list serves nobody.
//! - Memory per association is two PDUs and one write buffer, however large the object.
//! - Whatever ends an association in the middle of an object, the object was never there.
//!
//! The protocol state is generic over the stream, so that TLS goes around it and not into it.

mod message;
mod negotiation;
mod wire;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use schemas::Priority;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use crate::Intake;
use negotiation::Unserved;

/// What a peer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// C-ECHO only; a C-STORE is answered 0124.
    Verify,
    /// C-ECHO and C-STORE.
    Store,
}

/// A peer that may open associations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its calling AE title.
    pub ae_title: String,
    /// The address it must come from; any if absent.
    pub address: Option<IpAddr>,
    /// What it may do.
    pub access: Access,
    /// The lane of the studies that it sends.
    pub priority: Priority,
}

impl Peer {
    fn may_come_from(&self, address: IpAddr) -> bool {
        self.address.is_none_or(|allowed| allowed.to_canonical() == address.to_canonical())
    }
}

/// How the SCP serves.
#[derive(Debug, Clone)]
pub struct ScpConfig {
    /// Our AE title; an association must call it.
    pub ae_title: String,
    /// Who may open associations. Nobody else may.
    pub peers: Vec<Peer>,
    /// Associations at the same time.
    pub max_associations: usize,
    /// Largest PDU taken, in bytes after its header.
    pub max_pdu: u32,
    /// How long a new connection may take to request an association (the ARTIM timer of PS3.8 §9.1.5).
    pub request_timeout: Duration,
    /// How long a peer may take for one PDU.
    pub idle_timeout: Duration,
    /// How long a running association may go on when the SCP stops.
    pub drain: Duration,
}

impl ScpConfig {
    /// The limits of `ae_title` for `peers`: 32 associations, PDUs of 128 KiB, 10 s to request, 30 s idle.
    pub fn new(ae_title: impl Into<String>, peers: Vec<Peer>) -> Self {
        Self {
            ae_title: ae_title.into(),
            peers,
            max_associations: 32,
            max_pdu: 128 << 10,
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// Connections over the limit, or from an address without peer, that are answered with a reason at the same time; more are closed without one.
const REFUSALS: usize = 32;
/// How long one of those may take to say what it wants.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after a failed accept: usually the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves associations on `listener` until `stop` turns true (or its sender is gone), then lets running ones finish
/// their object within the drain time.
pub async fn serve(listener: TcpListener, config: ScpConfig, intake: Intake, stop: watch::Receiver<bool>) {
    let mut stopping = stop.clone();
    let served = Arc::new(Semaphore::new(config.max_associations));
    let refused = Arc::new(Semaphore::new(REFUSALS));
    let config = Arc::new(config);
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let (config, intake) = (Arc::clone(&config), intake.clone());
                    let listed = config.peers.iter().any(|peer| peer.may_come_from(address.ip()));
                    let permit = if listed { Arc::clone(&served).try_acquire_owned().ok() } else { None };
                    if let Some(permit) = permit {
                        tasks.spawn(converse(stream, address, config, intake, stop.clone(), permit));
                        continue;
                    }
                    let why = if listed { Unserved::Congestion } else { Unserved::Address };
                    intake.metrics.association_rejected(why.label());
                    if let Ok(permit) = Arc::clone(&refused).try_acquire_owned() {
                        tasks.spawn(refuse(stream, config, why, permit));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = tasks.join_next() => report_panic(&intake, ended),
            () = stopped(&mut stopping) => break,
        }
    }
    drop(listener);
    let drained = async {
        while let Some(ended) = tasks.join_next().await {
            report_panic(&intake, ended);
        }
    };
    if timeout(config.drain, drained).await.is_err() {
        tracing::warn!("associations still running after the drain time are cut; their senders send again");
    }
}

/// Returns when `stop` turns true or nobody can turn it any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

fn report_panic(intake: &Intake, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        intake.metrics.association_rejected("panic");
        tracing::error!(%error, "association ended by a panic");
    }
}

async fn converse(
    stream: TcpStream,
    address: SocketAddr,
    config: Arc<ScpConfig>,
    intake: Intake,
    stop: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection is gone already");
        return;
    }
    let mut wire = wire::Wire::new(stream, config.max_pdu, config.request_timeout);
    let association = match negotiation::negotiate(&mut wire, &config, address.ip()).await {
        Ok(association) => association,
        Err(reason) => {
            intake.metrics.association_rejected(reason.label());
            // One line each, without anything the peer said: a port scan must not write the log.
            tracing::debug!(peer = %address.ip(), reason = reason.label(), "association rejected");
            return;
        }
    };
    wire.set_timeout(config.idle_timeout);
    let ended = message::exchange(&mut wire, &association, &intake, stop).await;
    if let Err(end) = ended {
        intake.metrics.association_rejected(end.label());
        tracing::info!(peer = %address.ip(), reason = end.label(), "association ended early");
    }
}

async fn refuse(stream: TcpStream, config: Arc<ScpConfig>, why: Unserved, _permit: OwnedSemaphorePermit) {
    let mut wire = wire::Wire::new(stream, config.max_pdu, REFUSAL_TIMEOUT);
    negotiation::refuse(&mut wire, why).await;
}

/// Binds the SCP's port.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}
