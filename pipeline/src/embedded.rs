//! The parts of one machine: the embedded broker and PostgreSQL in this process, below the data directory.
//!
//! They are servers that the same clients talk to as in production, so the demo runs production's code.

use std::path::Path;

use embedded_broker::{Broker, Config as BrokerConfig};
use pglite_oxide::PgliteServer;

/// Why an embedded part did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EmbeddedError {
    /// The broker.
    #[error("embedded broker cannot start")]
    Broker(#[from] embedded_broker::StartError),
    /// The database.
    #[error("embedded database cannot start in {path}: {reason}")]
    Database {
        /// Its folder.
        path: String,
        /// Why, in its own words.
        reason: String,
    },
}

/// Starts the broker below `data_dir`, with `partitions` for topics that do not say otherwise.
pub(crate) fn start_broker(data_dir: &Path, partitions: u32) -> Result<Broker, EmbeddedError> {
    let config =
        BrokerConfig { default_partitions: partitions, ..BrokerConfig::new(data_dir.join("broker")) };
    Ok(Broker::start(config)?)
}

/// PostgreSQL in process. It serves one connection at a time: the store's.
pub(crate) struct EmbeddedDatabase {
    server: Option<PgliteServer>,
    url: String,
}

impl EmbeddedDatabase {
    /// Starts it below `data_dir`; an existing database is opened again.
    pub(crate) fn start(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let path = data_dir.join("postgres");
        let started = PgliteServer::builder().path(&path).start();
        let server = started.map_err(|error| EmbeddedError::Database {
            path: path.display().to_string(),
            reason: format!("{error:#}"),
        })?;
        let url = server.database_url();
        Ok(Self { server: Some(server), url })
    }

    /// How to connect.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for EmbeddedDatabase {
    fn drop(&mut self) {
        if let Some(server) = self.server.take()
            && let Err(error) = server.shutdown()
        {
            tracing::warn!(%error, "embedded database did not stop cleanly; it recovers at the next start");
        }
    }
}
