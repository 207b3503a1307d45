//! The parts of one machine: the embedded broker and PostgreSQL in this process, below the data directory.
//!
//! They are servers that the same clients talk to as in production, so the demo runs production's code.

use std::{fs, io, path::Path};

use embedded_broker::{Broker, Config as BrokerConfig};
use pglite_oxide::{PgliteServer, build_pgdata_template};

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
        let failed = |reason: String| EmbeddedError::Database { path: path.display().to_string(), reason };
        if !path.exists() {
            make_cluster(&path).map_err(|error| failed(error.to_string()))?;
        }
        let started = PgliteServer::builder().path(&path).start();
        let server = started.map_err(|error| failed(format!("{error:#}")))?;
        let url = server.database_url();
        Ok(Self { server: Some(server), url })
    }

    /// How to connect.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Unpacks a whole cluster into `path`, which appears complete or not at all.
///
/// Left to itself the library lays an overlay over a template in the user's cache and copies each file when it is first
/// written to. That copy is not atomic: a kill in the middle of it left an empty catalogue file and a database that
/// refused every write (seen with 0.5.1). A complete cluster is used as it is.
fn make_cluster(path: &Path) -> io::Result<()> {
    let staging = path.with_extension("new");
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let cluster = staging.join("tmp/pglite/base");
    fs::create_dir_all(&cluster)?;
    let template = build_pgdata_template(&staging).map_err(|error| io::Error::other(format!("{error:#}")))?;
    let archive = zstd::Decoder::new(fs::File::open(&template.archive_path)?)?;
    tar::Archive::new(archive).unpack(&cluster)?;
    fs::remove_file(&template.archive_path)?;
    fs::remove_file(&template.manifest_path)?;
    fs::rename(&staging, path)
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
