//! Quantised weights between starts: one GGUF file for each checkpoint and format.
//!
//! ```text
//! <checkpoint digest>-<format>.gguf
//!   GGUF        metadata: prescreen.checkpoint, prescreen.format, prescreen.version; the quantised matrices
//!   seal        SHA-256 over the SHA-256 of each 16 MiB before it, then the 16 bytes `prescreen sealed`
//! ```
//!
//! Nothing of a file is believed before its seal is checked, and nothing is used unless its metadata, names, shapes and
//! formats are those that are wanted. A file is written under a name of this process's own, flushed to the disk and
//! renamed, so no other process sees half of one. What does not pass is made again and replaced; other GGUF readers
//! ignore the seal, but the matrices alone are no model.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{self, Content, Value};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::digest::ModelDigest;
use super::loading::Wanted;
use crate::error::LoadError;
use crate::numerics::WeightFormat;

/// Raised when the same checkpoint gives other bytes.
const VERSION: u32 = 1;
const MAGIC: &[u8; 16] = b"prescreen sealed";
const SEAL: u64 = 32 + MAGIC.len() as u64;
/// Bytes that one thread hashes.
const PART: u64 = 16 << 20;

/// Where the quantised weights of an engine came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheUse {
    /// There is nothing to cache, or no folder for it.
    Off,
    /// From the cache.
    Read,
    /// They were made, and the cache with them.
    Written,
    /// The cache could not be used; both were made again.
    Replaced(CacheFault),
}

/// Why a cached file could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CacheFault {
    /// It does not end in a seal: cut short, or not a file of this library.
    #[error("the file has no seal")]
    NoSeal,
    /// Its bytes are not those that were sealed.
    #[error("the file has changed since it was written")]
    Changed,
    /// It is sealed, but of another checkpoint, format or version, or with other matrices.
    #[error("the file is of another checkpoint, format or version")]
    Foreign,
}

/// What a file says that it is.
pub(super) struct Mark {
    pub(super) checkpoint: ModelDigest,
    pub(super) format: WeightFormat,
}

/// What stands under the path.
pub(super) enum Found {
    None,
    Whole(BTreeMap<String, Arc<QTensor>>),
    Faulty(CacheFault),
}

impl Mark {
    pub(super) fn path_in(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}-{}.gguf", self.checkpoint, self.format))
    }

    fn metadata(&self) -> [(&'static str, Value); 3] {
        [
            ("prescreen.checkpoint", Value::String(self.checkpoint.to_string())),
            ("prescreen.format", Value::String(self.format.to_string())),
            ("prescreen.version", Value::U32(VERSION)),
        ]
    }

    fn is_of(&self, content: &Content) -> bool {
        self.metadata().iter().all(|(key, wanted)| match (content.metadata.get(*key), wanted) {
            (Some(Value::String(found)), Value::String(wanted)) => found == wanted,
            (Some(Value::U32(found)), Value::U32(wanted)) => found == wanted,
            _ => false,
        })
    }
}

/// Reads the wanted matrices.
pub(super) fn read(
    path: &Path,
    mark: &Mark,
    wanted: &BTreeMap<String, Wanted>,
    device: &Device,
) -> Result<Found, LoadError> {
    let wrap = |source| LoadError::WeightCache { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Found::None),
        Err(error) => return Err(wrap(error)),
    };
    let Some((length, seal)) = stored_seal(&mut file).map_err(wrap)? else {
        return Ok(Found::Faulty(CacheFault::NoSeal));
    };
    if seal_of(path, length).map_err(wrap)? != seal {
        return Ok(Found::Faulty(CacheFault::Changed));
    }
    file.rewind().map_err(wrap)?;
    let Ok(content) = Content::read(&mut file) else { return Ok(Found::Faulty(CacheFault::Foreign)) };
    let fits = |(name, wanted): (&String, &Wanted)| {
        content.tensor_infos.get(name).is_some_and(|info| {
            info.ggml_dtype == wanted.dtype && info.shape.dims() == [wanted.shape.0, wanted.shape.1]
        })
    };
    if !mark.is_of(&content) || content.tensor_infos.len() != wanted.len() || !wanted.iter().all(fits) {
        return Ok(Found::Faulty(CacheFault::Foreign));
    }
    let tensors = wanted
        .keys()
        .map(|name| Ok((name.clone(), Arc::new(content.tensor(&mut file, name, device)?))))
        .collect::<Result<_, LoadError>>()?;
    Ok(Found::Whole(tensors))
}

/// Writes the matrices under `path`, whole or not at all.
pub(super) fn write(
    path: &Path,
    mark: &Mark,
    tensors: &BTreeMap<String, Arc<QTensor>>,
) -> Result<(), LoadError> {
    // Two processes may make the same file at the same time; each renames a whole one.
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let written = write_partial(&partial, mark, tensors).and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|source| {
        // What is left of it is of no use; that it cannot be removed is not the fault to tell.
        let _ = std::fs::remove_file(&partial);
        LoadError::WeightCache { path: path.to_owned(), source }
    })
}

fn write_partial(
    partial: &Path,
    mark: &Mark,
    tensors: &BTreeMap<String, Arc<QTensor>>,
) -> std::io::Result<()> {
    if let Some(folder) = partial.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = BufWriter::new(File::create(partial)?);
    let metadata = mark.metadata();
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<(&str, &QTensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.as_ref())).collect();
    gguf_file::write(&mut file, &metadata, &tensors).map_err(std::io::Error::other)?;
    file.flush()?;
    let length = file.stream_position()?;
    let seal = seal_of(partial, length)?;
    file.write_all(&seal)?;
    file.write_all(MAGIC)?;
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}

/// The sealed length of a file and its seal, if it ends in one.
fn stored_seal(file: &mut File) -> std::io::Result<Option<(u64, [u8; 32])>> {
    let whole = file.seek(SeekFrom::End(0))?;
    let Some(length) = whole.checked_sub(SEAL) else { return Ok(None) };
    file.seek(SeekFrom::Start(length))?;
    let (mut seal, mut magic) = ([0; 32], [0; MAGIC.len()]);
    file.read_exact(&mut seal)?;
    file.read_exact(&mut magic)?;
    Ok((magic == *MAGIC).then_some((length, seal)))
}

/// The seal of the first `length` bytes of a file.
fn seal_of(path: &Path, length: u64) -> std::io::Result<[u8; 32]> {
    let part = |index: u64| -> std::io::Result<[u8; 32]> {
        let start = index * PART;
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(PART.min(length - start)).read_to_end(&mut bytes)?;
        Ok(Sha256::digest(&bytes).into())
    };
    let parts = (0..length.div_ceil(PART)).into_par_iter().map(part).collect::<std::io::Result<Vec<_>>>()?;
    Ok(Sha256::digest(parts.concat()).into())
}
