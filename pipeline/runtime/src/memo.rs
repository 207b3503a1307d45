//! Expensive answers are remembered, so that doing a record again is cheap and gives the same answer.
//!
//! Put-if-absent: whoever loses the race goes on with the winner's answer, so two workers never emit different ones.

use schemas::{Message, Rejection};
use serde::{Deserialize, Serialize};
use stage::{BlobError, Blobs, MemoKey, Outcome};

/// An outcome as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", bound(deserialize = "T: Message"))]
enum Stored<T> {
    Emit(T),
    Reject(Rejection),
}

/// Why an answer could not be looked up or stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemoError {
    #[error("memo store failed")]
    Blobs(#[from] BlobError),
    /// The key promises an outcome of this type; what lies there is damaged or was written under a wrong key.
    #[error("memo {key} does not hold an outcome of this stage; remove the object to have it made again")]
    Format { key: String, source: serde_json::Error },
}

fn read<T: Message>(key: MemoKey, bytes: &[u8]) -> Result<Outcome<T>, MemoError> {
    match serde_json::from_slice(bytes) {
        Ok(Stored::Emit(message)) => Ok(Outcome::Emit(message)),
        Ok(Stored::Reject(rejection)) => Ok(Outcome::Reject(rejection)),
        Err(source) => Err(MemoError::Format { key: key.0.to_string(), source }),
    }
}

/// The outcome remembered under `key`.
pub(crate) fn recall<T: Message>(blobs: &dyn Blobs, key: MemoKey) -> Result<Option<Outcome<T>>, MemoError> {
    blobs.memo(key)?.map(|bytes| read(key, &bytes)).transpose()
}

/// Remembers `outcome` under `key` and returns the one to go on with.
pub(crate) fn remember<T: Message>(
    blobs: &dyn Blobs,
    key: MemoKey,
    outcome: Outcome<T>,
) -> Result<Outcome<T>, MemoError> {
    let stored = match outcome {
        Outcome::Emit(message) => Stored::Emit(message),
        Outcome::Reject(rejection) => Stored::Reject(rejection),
    };
    let bytes =
        serde_json::to_vec(&stored).map_err(|source| MemoError::Format { key: key.0.to_string(), source })?;
    let kept = blobs.remember(key, &bytes)?;
    if kept != bytes {
        return read(key, &kept);
    }
    Ok(match stored {
        Stored::Emit(message) => Outcome::Emit(message),
        Stored::Reject(rejection) => Outcome::Reject(rejection),
    })
}
