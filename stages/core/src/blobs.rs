//! Bytes by content: the only storage a stage sees.

use std::path::Path;

use schemas::{Area, BlobRef, Digest};

use crate::{Source, StageError};

/// Why bytes could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Nothing is stored under the reference.
    #[error("blob {key} is not in the store")]
    NotFound {
        /// The key looked for.
        key: String,
    },
    /// What is stored is not what the reference says.
    #[error("blob {key} has other content than its reference says")]
    Mismatch {
        /// The key read.
        key: String,
    },
    /// The store did not answer.
    #[error("blob store failed on {key}")]
    Unavailable {
        /// The key asked for.
        key: String,
        /// Why.
        source: Source,
    },
}

impl From<BlobError> for StageError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::NotFound { .. } | BlobError::Mismatch { .. } => Self::invalid(error),
            BlobError::Unavailable { .. } => Self::dependency(error),
        }
    }
}

/// The key of a memoised answer: a digest over everything that decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemoKey(pub Digest);

/// Content-addressed bytes.
pub trait Blobs: Send + Sync {
    /// Reads a blob whole and checks its content against the reference.
    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, BlobError>;

    /// Stores `bytes`. Storing the same bytes again is no error and changes nothing.
    fn put(&self, area: Area, bytes: &[u8]) -> Result<BlobRef, BlobError>;

    /// Stores the bytes of a local file without holding them in memory, as [`Self::put`] does.
    fn put_file(&self, area: Area, path: &Path) -> Result<BlobRef, BlobError>;

    /// The answer remembered under `key`.
    fn memo(&self, key: MemoKey) -> Result<Option<Vec<u8>>, BlobError>;

    /// Remembers `answer` under `key` if nothing is there yet, and returns what is there afterwards: whoever loses
    /// the race goes on with the winner's answer.
    fn remember(&self, key: MemoKey, answer: &[u8]) -> Result<Vec<u8>, BlobError>;
}
