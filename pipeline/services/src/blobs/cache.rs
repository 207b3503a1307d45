//! Files of a remote store on this machine, for decode workers: they read by seeking and have no network.
//!
//! Bounded in bytes; the file unused for longest goes first. A file in use stays, and one larger than the bound is held
//! alone for as long as it is used. The folder is emptied at start: what a crash left is of unknown content.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use schemas::{BlobRef, Digest};
use stage::BlobError;
use uuid::Uuid;

use super::OpenError;

/// The folder below the configured one that is ours to empty.
const FOLDER: &str = "decode-cache";

/// Where fetched files lie, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// A folder on a local disk.
    pub folder: PathBuf,
    /// The bound in bytes.
    pub bytes: u64,
}

/// A blob as a file. The file stays at least as long as this is held.
#[derive(Debug)]
pub struct LocalFile {
    path: PathBuf,
    _in_use: Arc<()>,
}

impl LocalFile {
    /// A file that nobody removes.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, _in_use: Arc::new(()) }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

pub(super) struct LocalCache {
    folder: PathBuf,
    bound: u64,
    // A lock, because decode requests of all worker threads share the cache; never held while bytes travel.
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    by_digest: HashMap<Digest, Entry>,
    bytes: u64,
    /// Counts uses, to order them.
    uses: u64,
}

struct Entry {
    bytes: u64,
    last_use: u64,
    in_use: Arc<()>,
}

impl LocalCache {
    pub(super) fn open(folder: PathBuf, bound: u64) -> Result<Self, OpenError> {
        let folder = folder.join(FOLDER);
        let emptied = match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir(&folder),
        };
        emptied.map_err(|source| OpenError::Folder { path: folder.clone(), source })?;
        Ok(Self { folder, bound, files: Mutex::default() })
    }

    /// The blob's file, fetched by `fetch` if it is not here. Two that miss at once both fetch; the content is the same.
    pub(super) fn file(
        &self,
        blob: &BlobRef,
        fetch: impl FnOnce(&mut File) -> Result<(), BlobError>,
    ) -> Result<LocalFile, BlobError> {
        let path = self.folder.join(blob.sha256.to_string());
        if let Some(in_use) = self.files().used(blob.sha256) {
            return Ok(LocalFile { path, _in_use: in_use });
        }
        let unfinished = self.folder.join(format!("{}.part", Uuid::new_v4()));
        let fetched = File::create_new(&unfinished)
            .map_err(|source| unavailable(blob, source))
            .and_then(|mut file| fetch(&mut file))
            .and_then(|()| fs::rename(&unfinished, &path).map_err(|source| unavailable(blob, source)));
        if let Err(error) = fetched {
            // Whatever is left of it is removed at the next start at the latest.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        let mut files = self.files();
        let in_use = files.insert(blob);
        for digest in files.over(self.bound) {
            // A file that cannot be removed is counted out all the same, and removed at the next start.
            let _ = fs::remove_file(self.folder.join(digest.to_string()));
        }
        Ok(LocalFile { path, _in_use: in_use })
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn used(&mut self, digest: Digest) -> Option<Arc<()>> {
        self.uses += 1;
        let entry = self.by_digest.get_mut(&digest)?;
        entry.last_use = self.uses;
        Some(Arc::clone(&entry.in_use))
    }

    fn insert(&mut self, blob: &BlobRef) -> Arc<()> {
        if let Some(in_use) = self.used(blob.sha256) {
            return in_use;
        }
        let in_use = Arc::new(());
        let entry = Entry { bytes: blob.bytes, last_use: self.uses, in_use: Arc::clone(&in_use) };
        self.bytes += entry.bytes;
        self.by_digest.insert(blob.sha256, entry);
        in_use
    }

    /// Takes out what is to go: unused files, the one unused for longest first, until the bound is kept.
    fn over(&mut self, bound: u64) -> Vec<Digest> {
        let mut gone = Vec::new();
        while self.bytes > bound {
            let idle = self.by_digest.iter().filter(|(_, entry)| Arc::strong_count(&entry.in_use) == 1);
            let Some(digest) = idle.min_by_key(|(_, entry)| entry.last_use).map(|(digest, _)| *digest) else {
                break;
            };
            self.bytes -= self.by_digest.remove(&digest).map_or(0, |entry| entry.bytes);
            gone.push(digest);
        }
        gone
    }
}

fn unavailable(blob: &BlobRef, source: io::Error) -> BlobError {
    BlobError::Unavailable { key: blob.key(), source: Box::new(source) }
}
