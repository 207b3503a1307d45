//! Why a broker does not start. What goes wrong later is answered on the wire, with the protocol's own error codes.

use std::io;
use std::path::PathBuf;

use crate::config::InvalidConfig;

/// Why [`Broker::start`](crate::Broker::start) failed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A field of the configuration cannot work.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The data directory, or something in it, could not be read or written.
    #[error("cannot use {path}")]
    Storage {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another broker is running on the same directory.
    #[error("data directory {path} is in use by another broker: stop it or choose another directory")]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// A file is damaged in a way that a crash does not explain; nothing was changed.
    #[error(
        "{path} is damaged at byte {position} ({reason}): restore it, or move it away to lose what it holds"
    )]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// Where the damage begins.
        position: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The port could not be bound.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Bind {
        /// The port asked for.
        port: u16,
        /// What the operating system said.
        source: io::Error,
    },
    /// The broker's thread or its runtime could not be started.
    #[error("cannot start the broker's thread")]
    Thread(#[source] io::Error),
}

impl StartError {
    /// For `map_err`: an I/O error with the path it happened at.
    pub(crate) fn storage(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> StartError {
        let path = path.into();
        move |source| StartError::Storage { path, source }
    }
}
