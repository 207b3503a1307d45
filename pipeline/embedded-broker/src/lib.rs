//! A Kafka-protocol broker for one machine: demo, tests, small sites. Never for production.
//!
//! One node on 127.0.0.1, data on the local disk, no replication, no TLS, no transactions. To a client it is a Kafka
//! broker: topics, consumer groups, idempotent producers, retention, time lookup. See `README.md` for the API table.
//!
//! ```text
//!            ┌ connection ┐  frames, at most 2   ┌ dispatch ┐    ┌ api/* ┐     ┌ Topics ─ Partition (a lock each)
//!  client ──▶│ read       │─────────────────────▶│ decode   │───▶│ answer│────▶│ Coordinator (one lock)
//!         ◀──│ write      │◀─────────────────────│ encode   │◀───│       │     └ ProducerIds (one lock)
//!            └────────────┘  one at a time       └──────────┘    └───────┘
//! ```
//! Invariants: what is acknowledged is in the page cache, so it outlives the process (and a power cut with
//! [`SyncPolicy::EveryBatch`]); requests of one connection are answered in order; request memory over all connections
//! is bounded, and so is every response; state is plain structs with time passed in, only connections are async.
//!
//! ```
//! let dir = tempfile::tempdir()?;
//! let broker = embedded_broker::Broker::start(embedded_broker::Config::new(dir.path()))?;
//! println!("bootstrap.servers={}", broker.bootstrap());
//! broker.shutdown();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod api;
mod config;
mod connection;
mod declared_lengths;
mod dispatch;
mod error;
mod faults;
mod files;
mod group;
mod locks;
mod log;
mod node;
mod producer_ids;
mod producer_state;
mod topics;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

pub use config::{Cleanup, Config, InvalidConfig, SyncPolicy, TopicSettings};
pub use error::StartError;
pub use faults::{Fault, Faults, Injection};
pub use kafka_protocol::error::ResponseError;
pub use kafka_protocol::messages::ApiKey;
use node::Node;
use tokio::sync::oneshot;

/// A running broker. Dropping it stops it.
#[derive(Debug)]
pub struct Broker {
    node: Arc<Node>,
    /// The broker's own thread and the way to end it; both gone once it has stopped.
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Broker {
    /// Recovers the data directory, binds the port and serves on threads of its own. Returns when clients can connect.
    pub fn start(config: Config) -> Result<Broker, StartError> {
        config.check()?;
        let in_bind = |source| StartError::Bind { port: config.port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).map_err(in_bind)?;
        listener.set_nonblocking(true).map_err(in_bind)?;
        let port = listener.local_addr().map_err(in_bind)?.port();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.worker_threads)
            .thread_name("broker-worker")
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let node = Arc::new(Node::open(config, port)?);
        let (stop, stopped) = oneshot::channel();
        let serving = connection::serve(Arc::clone(&node), listener, stopped);
        let thread = thread::Builder::new()
            .name("embedded-broker".to_owned())
            .spawn(move || runtime.block_on(serving))
            .map_err(StartError::Thread)?;
        Ok(Broker { node, running: Some((stop, thread)) })
    }

    /// The address for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.node.port)
    }

    /// The handle to inject faults with.
    pub fn faults(&self) -> Faults {
        self.node.faults.clone()
    }

    /// Closes all connections and stops. Everything acknowledged is kept.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _already_ended = stop.send(());
            if thread.join().is_err() {
                tracing::error!("the broker's thread had panicked");
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}
