//! The identity of a checkpoint, for run fingerprints and memo keys.
//!
//! `SHA-256( for each file in name order: name, 0x00, SHA-256 of the content )`. Any changed byte of a weight,
//! configuration, tokenizer or template file gives another digest; copying or touching the folder does not. With an adapter
//! merged: the same form over the two parts `checkpoint` and `adapter`, each by its own digest.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::error::LoadError;

/// SHA-256 over the files that an answer depends on. Displayed as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModelDigest([u8; 32]);

impl ModelDigest {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn of_files(folder: &Path, names: &BTreeSet<String>) -> Result<Self, LoadError> {
        let parts = names
            .par_iter()
            .map(|name| Ok((name, content(&folder.join(name))?)))
            .collect::<Result<Vec<_>, LoadError>>()?;
        Ok(Self::of_parts(parts.iter().map(|(name, content)| (name.as_str(), *content))))
    }

    /// The same over files whose content is at hand, in name order.
    pub(super) fn of_contents<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        Self::of_parts(files.into_iter().map(|(name, bytes)| (name, Sha256::digest(bytes).into())))
    }

    /// The digest of this checkpoint with an adapter merged into it.
    pub(super) fn with_adapter(self, adapter: Self) -> Self {
        Self::of_parts([("checkpoint", self.0), ("adapter", adapter.0)])
    }

    fn of_parts<'a>(parts: impl IntoIterator<Item = (&'a str, [u8; 32])>) -> Self {
        let mut whole = Sha256::new();
        for (name, content) in parts {
            whole.update(name.as_bytes());
            whole.update([0]);
            whole.update(content);
        }
        Self(whole.finalize().into())
    }
}

impl fmt::Display for ModelDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModelDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelDigest({self})")
    }
}

fn content(path: &Path) -> Result<[u8; 32], LoadError> {
    let read_error = |source| LoadError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(read_error)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk).map_err(read_error)? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(chunk.get(..n).unwrap_or(&chunk)),
        }
    }
}
