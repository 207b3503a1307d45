//! An object on its way in: a temporary file with a name of its own, hashed while it is written.
//!
//! ```text
//!   begin ──write…──▶ seal: length, fsync ──▶ filed by the owner: rename into objects/
//!     └──────────────── dropped at any point: the file is removed, nothing was ever visible ──┘
//! ```

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use schemas::{Area, BlobRef, Digest};
use sha2::{Digest as _, Sha256};

use crate::refusal::Refusal;

/// A file that is removed when dropped, unless it was given a place.
#[derive(Debug)]
pub(crate) struct TemporaryFile {
    path: Option<PathBuf>,
}

impl TemporaryFile {
    /// Moves the file to `target`, on the same file system.
    pub(crate) fn keep_as(mut self, target: &Path) -> io::Result<()> {
        if let Some(path) = &self.path {
            fs::rename(path, target)?;
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(%error, "temporary spool file could not be removed; the next start removes it");
        }
    }
}

/// An object being written.
#[derive(Debug)]
pub(crate) struct Incoming {
    // Declared before `temporary`, so that the file is closed before it is removed.
    file: File,
    temporary: TemporaryFile,
    written: u64,
    limit: u64,
    hash: Sha256,
    /// Over what follows the meta header, where that is known from the start.
    data_set: Option<Sha256>,
}

impl Incoming {
    /// A new file in `folder` that starts with `header`, which does not count against `limit`.
    ///
    /// The digest of the data set is taken along the way if `header` is all that precedes it.
    pub(crate) fn begin(folder: &Path, header: &[u8], limit: u64) -> Result<Self, Refusal> {
        let path = folder.join(uuid::Uuid::new_v4().to_string());
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(Refusal::spool("create a temporary file"))?;
        let temporary = TemporaryFile { path: Some(path) };
        let limit = limit.saturating_add(header.len() as u64);
        let mut incoming = Self { file, temporary, written: 0, limit, hash: Sha256::new(), data_set: None };
        incoming.write(header)?;
        incoming.data_set = (!header.is_empty()).then(Sha256::new);
        Ok(incoming)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.written = self.written.saturating_add(bytes.len() as u64);
        if self.written > self.limit {
            return Err(Refusal::TooLarge { limit: self.limit });
        }
        self.file.write_all(bytes).map_err(Refusal::spool("write a temporary file"))?;
        self.hash.update(bytes);
        if let Some(data_set) = &mut self.data_set {
            data_set.update(bytes);
        }
        Ok(())
    }

    /// Puts the bytes on disk.
    pub(crate) fn seal(self) -> Result<Sealed, Refusal> {
        let Self { file, temporary, written, hash, data_set, .. } = self;
        file.sync_all().map_err(Refusal::spool("fsync a temporary file"))?;
        let blob =
            BlobRef { area: Area::Raw, sha256: Digest::from_bytes(hash.finalize().into()), bytes: written };
        let data_set = data_set.map(|hash| Digest::from_bytes(hash.finalize().into()));
        Ok(Sealed { file, temporary, blob, data_set })
    }
}

/// An object whose bytes are on disk, but which has no name yet.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) file: File,
    pub(crate) temporary: TemporaryFile,
    pub(crate) blob: BlobRef,
    data_set: Option<Digest>,
}

impl Sealed {
    /// The digest of everything from `offset` on: the same object under another meta header has the same one.
    pub(crate) fn data_set_digest(&mut self, offset: u64) -> Result<Digest, Refusal> {
        if let Some(digest) = self.data_set {
            return Ok(digest);
        }
        let failed = "read a temporary file";
        self.file.seek(SeekFrom::Start(offset)).map_err(Refusal::spool(failed))?;
        let mut hash = Sha256::new();
        let mut chunk = vec![0; 256 << 10];
        loop {
            let read = self.file.read(&mut chunk).map_err(Refusal::spool(failed))?;
            match chunk.get(..read) {
                Some(bytes) if read > 0 => hash.update(bytes),
                _ => return Ok(Digest::from_bytes(hash.finalize().into())),
            }
        }
    }
}
