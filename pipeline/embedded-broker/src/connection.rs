//! The async edge: accepting, framing, timers.
//!
//! A connection is two halves in one task. The reader takes frames off the socket (4-byte length, then that many bytes)
//! and holds at most two ahead; the worker answers them one at a time, so answers keep their requests' order. A frame
//! holds a share of the broker's request memory until it is answered, and nobody waits longer than 30 s for its rest.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::dispatch;
use crate::faults::Reach;
use crate::node::Node;

/// Frames read ahead of the one being answered.
const FRAMES_AHEAD: usize = 2;
/// How long the rest of a begun frame, or the taking of an answer, may need.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(30);
/// Session and rebalance timeouts are seconds; they are looked at this often.
const GROUP_TICK: Duration = Duration::from_millis(100);
/// Request memory is counted in KiB, because a semaphore counts to 2^29 only.
const PERMIT_BYTES: u32 = 1024;

/// Who is at the other end.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    /// True once it has closed its side: nobody waits for long answers any more.
    gone: watch::Receiver<bool>,
}

impl Client {
    pub(crate) async fn gone(&self) {
        let mut gone = self.gone.clone();
        let _or_the_reader_ended = gone.wait_for(|gone| *gone).await;
    }
}

struct Frame {
    bytes: Bytes,
    _memory: OwnedSemaphorePermit,
}

/// Serves until told to stop; all tasks end with it.
pub(crate) async fn serve(node: Arc<Node>, listener: StdListener, stopped: oneshot::Receiver<()>) {
    let maintenance = Arc::clone(&node);
    tokio::select! {
        _ = stopped => {}
        () = tick_groups(&node) => {}
        () = maintain(maintenance) => {}
        ended = accept(&node, listener) => if let Err(error) = ended {
            tracing::error!(%error, "the broker cannot listen any more");
        },
    }
}

async fn tick_groups(node: &Node) {
    let mut ticks = interval(GROUP_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        node.expire_groups();
    }
}

async fn maintain(node: Arc<Node>) {
    let mut ticks = interval(node.config.retention_check_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let node = Arc::clone(&node);
        if tokio::task::spawn_blocking(move || node.maintain()).await.is_err() {
            tracing::error!("maintenance panicked; it goes on with the next turn");
        }
    }
}

async fn accept(node: &Arc<Node>, listener: StdListener) -> io::Result<()> {
    let mut listener = Some(TcpListener::from_std(listener)?);
    let mut reach = node.faults.reach();
    let places = Arc::new(Semaphore::new(node.config.max_connections));
    let memory = Arc::new(Semaphore::new((node.config.request_memory_bytes / PERMIT_BYTES) as usize));
    let mut connections = JoinSet::new();
    loop {
        if *reach.borrow_and_update() == Reach::Closed {
            listener = None;
            connections.shutdown().await;
            reach.changed().await.map_err(io::Error::other)?;
            continue;
        }
        let listening = match &mut listener {
            Some(listening) => listening,
            None => listener.insert(TcpListener::bind((Ipv4Addr::LOCALHOST, node.port)).await?),
        };
        tokio::select! {
            changed = reach.changed() => changed.map_err(io::Error::other)?,
            accepted = listening.accept() => match (accepted, Arc::clone(&places).try_acquire_owned()) {
                (Ok((stream, address)), Ok(place)) => {
                    let (node, memory) = (Arc::clone(node), Arc::clone(&memory));
                    connections.spawn(async move {
                        if let Err(error) = converse(&node, stream, address, memory).await {
                            tracing::debug!(%address, %error, "connection closed");
                        }
                        drop(place);
                    });
                }
                (Ok((_, address)), Err(_)) => tracing::warn!(%address, "connection refused: max_connections reached"),
                (Err(error), _) => {
                    // Out of file descriptors, most likely: the backlog keeps the client until one is free again.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(GROUP_TICK).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn converse(
    node: &Node,
    stream: TcpStream,
    address: SocketAddr,
    memory: Arc<Semaphore>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read_half, write_half) = stream.into_split();
    let (frames, to_answer) = mpsc::channel(FRAMES_AHEAD);
    let (gone, is_gone) = watch::channel(false);
    let client = Client { address, gone: is_gone };
    let reading = async {
        let ended = read_frames(node, read_half, memory, frames).await;
        gone.send_replace(true);
        if let Err(error) = ended {
            tracing::debug!(%address, %error, "reading ended");
        }
        // The worker still answers what was read; the connection ends with it.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answered = answer_frames(node, &client, write_half, to_answer) => answered,
        () = reading => Ok(()),
    }
}

async fn read_frames(
    node: &Node,
    read_half: OwnedReadHalf,
    memory: Arc<Semaphore>,
    frames: mpsc::Sender<Frame>,
) -> io::Result<()> {
    let mut read_half = BufReader::with_capacity(64 << 10, read_half);
    loop {
        let length = match read_half.read_i32().await {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let limit = node.config.max_request_bytes;
        let Some(length) = u32::try_from(length).ok().filter(|length| *length <= limit) else {
            return Err(io::Error::other(format!("a request of {length} bytes, the limit is {limit}")));
        };
        let share = length.div_ceil(PERMIT_BYTES).max(1).min(node.config.request_memory_bytes / PERMIT_BYTES);
        let permit = Arc::clone(&memory).acquire_many_owned(share).await.map_err(io::Error::other)?;
        let bytes = timeout(TRANSFER_TIMEOUT, read_body(&mut read_half, length as usize)).await??;
        if frames.send(Frame { bytes, _memory: permit }).await.is_err() {
            return Ok(());
        }
    }
}

async fn read_body(read_half: &mut BufReader<OwnedReadHalf>, length: usize) -> io::Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(length);
    let mut rest = read_half.take(length as u64);
    while bytes.len() < length {
        if rest.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes.freeze())
}

async fn answer_frames(
    node: &Node,
    client: &Client,
    mut write_half: OwnedWriteHalf,
    mut frames: mpsc::Receiver<Frame>,
) -> io::Result<()> {
    let mut reach = node.faults.reach();
    while let Some(frame) = frames.recv().await {
        reach.wait_for(|reach| *reach != Reach::Paused).await.map_err(io::Error::other)?;
        let answer = dispatch::answer(node, client, frame.bytes.clone()).await.map_err(io::Error::other)?;
        drop(frame);
        if let Some(answer) = answer {
            timeout(TRANSFER_TIMEOUT, write_half.write_all(&answer)).await??;
        }
    }
    Ok(())
}
