//! Content-addressed bytes in a folder or an object store.
//!
//! - The key of a blob is its digest ([`BlobRef::key`]), so writing is creating: whoever comes second finds the same bytes.
//! - A folder survives a crash at any moment: `LocalFileSystem` stages each object in a file of its own, syncs it, links
//!   it to its name and syncs the folder (`with_fsync`; without it, object_store does none of the syncing). What a crash
//!   leaves of an unfinished object is a `#`-suffixed staging file that no key names.
//! - A store that is gone is not taken for an empty one: what was written leaves a mark, and a blob is only `NotFound` where
//!   the mark is found. A disk that is not mounted or a bucket that was removed is `Unavailable`, and nothing is given up.
//! - The calls block. They may be made from any thread that may wait; the asynchronous work runs on threads of its own.

mod cache;
mod upload;

use std::{
    fs::File,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use object_store::{
    Error, GetOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, local::LocalFileSystem,
    path::Path as Key,
};
use schemas::{Area, BlobRef};
use sha2::{Digest as _, Sha256};
use stage::{BlobError, Blobs, MemoKey, Source};
use tokio::runtime::{Builder, Runtime};

pub use cache::{CacheConfig, LocalFile};

use cache::LocalCache;
use upload::{digest_of, upload};

/// Bytes sent at once when a file is stored: the least that S3 takes as a part is 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Written with the first blob: the store is ours and is there.
const MARK: &str = "prescreen-blobs";

/// Threads for object_store's file operations.
const FILE_THREADS: usize = 16;

/// Why a blob store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made, found or written.
    #[error("blob folder {} cannot be used", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Paths are handed to decode workers as UTF-8.
    #[error("path {} is not utf-8; choose another folder", path.display())]
    NotUtf8 {
        /// The folder.
        path: PathBuf,
    },
    /// The object store refuses its settings.
    #[error("object store cannot be opened")]
    Store(#[source] Error),
    /// No threads.
    #[error("threads of the blob store cannot be started")]
    Threads(#[source] io::Error),
}

/// How to reach a bucket.
#[cfg(feature = "s3")]
#[derive(Clone)]
pub struct S3Config {
    /// The bucket's name.
    pub bucket: String,
    /// Region, for example `us-east-1`.
    pub region: String,
    /// Endpoint of an S3-compatible server such as MinIO; AWS itself where absent. Plain `http` is allowed here.
    pub endpoint: Option<String>,
    /// Access key id.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
}

/// Content-addressed bytes over `object_store`.
pub struct ObjectBlobs {
    store: Arc<dyn ObjectStore>,
    place: Place,
    /// This process has seen to [`MARK`].
    marked: AtomicBool,
    /// Taken when dropped: a runtime must not be waited for on a thread of another one.
    runtime: Option<Runtime>,
}

/// Where a decode worker finds a blob as a file.
enum Place {
    Folder(PathBuf),
    Elsewhere(LocalCache),
}

impl ObjectBlobs {
    /// A folder, made if it is not there.
    pub fn folder(path: &Path) -> Result<Self, OpenError> {
        let root = made(path)?;
        let store = LocalFileSystem::new_with_prefix(&root).map_err(OpenError::Store)?.with_fsync(true);
        Self::open(Arc::new(store), Place::Folder(root))
    }

    /// Any object store, with a local cache for the files that decode workers read.
    pub fn remote(store: Arc<dyn ObjectStore>, cache: &CacheConfig) -> Result<Self, OpenError> {
        let cache = LocalCache::open(made(&cache.folder)?, cache.bytes)?;
        Self::open(store, Place::Elsewhere(cache))
    }

    /// A bucket of S3 or of a server that speaks its protocol, with conditional writes (`If-None-Match`).
    #[cfg(feature = "s3")]
    pub fn s3(config: &S3Config, cache: &CacheConfig) -> Result<Self, OpenError> {
        use object_store::{
            RetryConfig,
            aws::{AmazonS3Builder, S3ConditionalPut},
        };
        // Whoever came first in this process has chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Few and short: a stage that meets a store that is down pauses and says so.
        let retry = RetryConfig {
            max_retries: 3,
            retry_timeout: std::time::Duration::from_secs(30),
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(&config.access_key_id)
            .with_secret_access_key(&config.secret_access_key)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retry);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(true);
        }
        Self::remote(Arc::new(builder.build().map_err(OpenError::Store)?), cache)
    }

    fn open(store: Arc<dyn ObjectStore>, place: Place) -> Result<Self, OpenError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(FILE_THREADS)
            .thread_name("blobs")
            .enable_all()
            .build()
            .map_err(OpenError::Threads)?;
        Ok(Self { store, place, marked: AtomicBool::new(false), runtime: Some(runtime) })
    }

    /// The blob as a file on this machine, whose content nobody has checked yet. It stays while the answer is held.
    pub fn local_file(&self, blob: &BlobRef) -> Result<LocalFile, BlobError> {
        match &self.place {
            Place::Folder(root) => {
                let path = root.join(blob.key());
                match path.try_exists() {
                    Ok(true) => Ok(LocalFile::at(path)),
                    Ok(false) => Err(self.absent(blob.key())),
                    Err(source) => Err(BlobError::Unavailable { key: blob.key(), source: Box::new(source) }),
                }
            }
            Place::Elsewhere(cache) => cache.file(blob, |file| self.download(blob, file)),
        }
    }

    /// Stores a file, reading it once and holding a few MiB of it. For instances too large for memory.
    pub fn put_file(&self, area: Area, path: &Path) -> Result<BlobRef, BlobError> {
        let unread = |source: io::Error| BlobError::Unavailable {
            key: area.folder().to_owned(),
            source: Box::new(source),
        };
        let mut file = File::open(path).map_err(unread)?;
        let blob = digest_of(area, &mut file).map_err(unread)?;
        let key = blob.key();
        if self.size(&key)? == Some(blob.bytes) {
            return Ok(blob);
        }
        let store = Arc::clone(&self.store);
        let path = path.to_owned();
        let expected = blob.clone();
        self.call(&key, async move { upload(&*store, &expected, &path).await })
            .map_err(|failure| unavailable(&key, failure))?;
        self.mark()?;
        Ok(blob)
    }

    /// Removes a blob; one that is gone already is no error. Whoever calls this knows that nobody refers to it.
    pub fn remove(&self, blob: &BlobRef) -> Result<(), BlobError> {
        let key = blob.key();
        let store = Arc::clone(&self.store);
        let at = Key::from(key.as_str());
        match self.call(&key, async move { store.delete(&at).await }) {
            Ok(()) | Err(Failure::Store(Error::NotFound { .. })) => Ok(()),
            Err(failure) => Err(unavailable(&key, failure)),
        }
    }

    /// Whether the blob is there in its full length. Its content is not read.
    pub fn holds(&self, blob: &BlobRef) -> Result<bool, BlobError> {
        let key = blob.key();
        if let Some(bytes) = self.size(&key)? {
            return Ok(bytes == blob.bytes);
        }
        match self.absent(key) {
            BlobError::NotFound { .. } => Ok(false),
            failed => Err(failed),
        }
    }

    /// The length of what is stored under `key`.
    fn size(&self, key: &str) -> Result<Option<u64>, BlobError> {
        let store = Arc::clone(&self.store);
        let at = Key::from(key);
        let head = GetOptions { head: true, ..GetOptions::default() };
        match self.call(key, async move { store.get_opts(&at, head).await }) {
            Ok(found) => Ok(Some(found.meta.size)),
            Err(Failure::Store(Error::NotFound { .. })) => Ok(None),
            Err(failure) => Err(unavailable(key, failure)),
        }
    }

    /// The error for a key under which nothing is.
    fn absent(&self, key: String) -> BlobError {
        match self.size(MARK) {
            Ok(Some(_)) => BlobError::NotFound { key },
            Ok(None) => BlobError::Unavailable { key, source: Box::new(StoreGone) },
            Err(error) => error,
        }
    }

    /// Leaves the mark, once in the life of this handle.
    fn mark(&self) -> Result<(), BlobError> {
        if !self.marked.load(Ordering::Relaxed) {
            self.write(MARK, Bytes::new(), PutMode::Create)?;
            self.marked.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// What is under `key`, if anything is; it must have `bytes` bytes where that is known.
    fn read(&self, key: &str, bytes: Option<u64>) -> Result<Option<Bytes>, BlobError> {
        let store = Arc::clone(&self.store);
        let at = Key::from(key);
        let read = self.call(key, async move {
            let found = store.get_opts(&at, GetOptions::default()).await?;
            // Before the body: what is declared decides how much is read.
            if bytes.is_some_and(|bytes| bytes != found.meta.size) {
                return Ok(None);
            }
            found.bytes().await.map(Some)
        });
        match read {
            Ok(Some(read)) => Ok(Some(read)),
            Ok(None) => Err(BlobError::Mismatch { key: key.to_owned() }),
            Err(Failure::Store(Error::NotFound { .. })) => Ok(None),
            Err(failure) => Err(unavailable(key, failure)),
        }
    }

    /// Writes under `key` unless something is there; whether it wrote.
    fn create(&self, key: &str, bytes: Bytes) -> Result<bool, BlobError> {
        let created = self.write(key, bytes, PutMode::Create)?;
        self.mark()?;
        Ok(created)
    }

    fn write(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<bool, BlobError> {
        let store = Arc::clone(&self.store);
        let at = Key::from(key);
        match self.call(key, async move { store.put_opts(&at, PutPayload::from(bytes), mode.into()).await }) {
            Ok(_) => Ok(true),
            Err(Failure::Store(Error::AlreadyExists { .. } | Error::Precondition { .. })) => Ok(false),
            Err(failure) => Err(unavailable(key, failure)),
        }
    }

    /// Fetches a blob into `file` part by part, and checks it.
    fn download(&self, blob: &BlobRef, file: &mut File) -> Result<(), BlobError> {
        let key = blob.key();
        match self.size(&key)? {
            None => return Err(self.absent(key)),
            Some(bytes) if bytes != blob.bytes => return Err(BlobError::Mismatch { key }),
            Some(_) => {}
        }
        let mut digest = Sha256::new();
        let mut start = 0;
        while start < blob.bytes {
            let end = blob.bytes.min(start + PART_BYTES as u64);
            let store = Arc::clone(&self.store);
            let at = Key::from(key.as_str());
            let options = GetOptions { range: Some((start..end).into()), ..GetOptions::default() };
            let part = self
                .call(&key, async move { store.get_opts(&at, options).await?.bytes().await })
                .map_err(|failure| unavailable(&key, failure))?;
            digest.update(&part);
            io::Write::write_all(file, &part)
                .map_err(|source| BlobError::Unavailable { key: key.clone(), source: Box::new(source) })?;
            start = end;
        }
        if schemas::Digest::from_bytes(digest.finalize().into()) == blob.sha256 {
            Ok(())
        } else {
            Err(BlobError::Mismatch { key })
        }
    }

    /// Runs `work` on the store's threads and waits for it.
    fn call<T: Send + 'static>(
        &self,
        key: &str,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        let runtime = self.runtime.as_ref().ok_or_else(|| Failure::Ended(key.to_owned()))?;
        runtime.spawn(async move {
            // Nobody waits any more only if the caller's thread is gone.
            let _ = reply.send(work.await);
        });
        answer.recv().map_err(|_| Failure::Ended(key.to_owned()))?.map_err(Failure::Store)
    }
}

impl Drop for ObjectBlobs {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Blobs for ObjectBlobs {
    fn put_file(&self, area: Area, path: &Path) -> Result<BlobRef, BlobError> {
        self.put_file(area, path)
    }

    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, BlobError> {
        let key = blob.key();
        let Some(bytes) = self.read(&key, Some(blob.bytes))? else { return Err(self.absent(key)) };
        if BlobRef::of(blob.area, &bytes) == *blob {
            Ok(bytes.into())
        } else {
            Err(BlobError::Mismatch { key })
        }
    }

    /// Present bytes are left alone, unless their length shows that they are not what their key says: then they are
    /// replaced.
    fn put(&self, area: Area, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        let blob = BlobRef::of(area, bytes);
        let key = blob.key();
        let bytes = Bytes::copy_from_slice(bytes);
        if !self.create(&key, bytes.clone())? && self.size(&key)? != Some(blob.bytes) {
            self.write(&key, bytes, PutMode::Overwrite)?;
        }
        Ok(blob)
    }

    fn memo(&self, key: MemoKey) -> Result<Option<Vec<u8>>, BlobError> {
        Ok(self.read(&memo_key(key), None)?.map(Into::into))
    }

    fn remember(&self, key: MemoKey, answer: &[u8]) -> Result<Vec<u8>, BlobError> {
        let key = memo_key(key);
        if self.create(&key, Bytes::copy_from_slice(answer))? {
            return Ok(answer.to_vec());
        }
        self.read(&key, None)?.map(Into::into).ok_or_else(|| self.absent(key))
    }
}

fn memo_key(key: MemoKey) -> String {
    format!("{}/{}", Area::Memo.folder(), key.0)
}

/// Why a call gave nothing.
enum Failure {
    Store(Error),
    /// The task ended without an answer: it panicked, or the store is being dropped.
    Ended(String),
}

#[derive(Debug, thiserror::Error)]
#[error("the task for {key} ended without an answer")]
struct TaskEnded {
    key: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the blob store has no object {MARK}; is the disk mounted, is it the right bucket?")]
struct StoreGone;

fn unavailable(key: &str, failure: Failure) -> BlobError {
    let key = key.to_owned();
    let source: Source = match failure {
        Failure::Store(error) => Box::new(error),
        Failure::Ended(key) => Box::new(TaskEnded { key }),
    };
    BlobError::Unavailable { key, source }
}

fn made(folder: &Path) -> Result<PathBuf, OpenError> {
    let unusable = |source| OpenError::Folder { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    let root = folder.canonicalize().map_err(unusable)?;
    if root.to_str().is_none() { Err(OpenError::NotUtf8 { path: root }) } else { Ok(root) }
}
