//! The data directory: one owner at a time, and where clients find the running system.
//!
//! `lock` is held by the process that runs embedded parts; `api.json` (0600) names its URL and token.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use fs4::fs_std::FileExt as _;
use serde::{Deserialize, Serialize};

use crate::whole_file;

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// Another process owns it.
    #[error("{path} is in use by another prescreen process{owner}; stop it, or give another --data-dir")]
    InUse {
        /// The directory.
        path: PathBuf,
        /// " (pid …, http://…)" where known.
        owner: String,
    },
    /// The file system says no.
    #[error("cannot use {path} as data directory")]
    Io {
        /// The path tried.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing is running here.
    #[error(
        "no running prescreen is known in {path}; start `prescreen demo` or `prescreen run` there, or give --data-dir or --api-url"
    )]
    NotRunning {
        /// The directory.
        path: PathBuf,
    },
    /// The entry is damaged.
    #[error("{path} is damaged; restart the running system")]
    Entry {
        /// The file.
        path: PathBuf,
    },
}

/// How to reach the running system.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ApiEntry {
    /// Process id of the owner.
    pub(crate) pid: u32,
    /// Base URL of the console and API.
    pub(crate) url: String,
    /// Bearer token of the API.
    pub(crate) token: String,
    /// Where the broker is, for tools that look at topics.
    pub(crate) broker: String,
    /// Where DICOM associations are taken, if this process takes any.
    pub(crate) dicom: Option<std::net::SocketAddr>,
}

/// The directory, owned until dropped.
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> DataDirError + '_ {
    move |source| DataDirError::Io { path: path.to_owned(), source }
}

/// A killed owner holds its lock until the kernel has taken its memory back.
const PATIENCE: Duration = Duration::from_secs(5);

impl DataDir {
    /// Creates the directory (0700) if needed and takes it, waiting a moment for an owner that is just dying.
    pub(crate) fn take(path: &Path) -> Result<Self, DataDirError> {
        Self::take_within(path, PATIENCE)
    }

    fn take_within(path: &Path, patience: Duration) -> Result<Self, DataDirError> {
        fs::create_dir_all(path).map_err(io(path))?;
        let path = path.canonicalize().map_err(io(path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(io(&path))?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io(&lock_path))?;
        let deadline = Instant::now() + patience;
        while !lock.try_lock_exclusive().map_err(io(&lock_path))? {
            if Instant::now() < deadline {
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            let owner = read_entry(&path).ok().map(|entry| format!(" (pid {}, {})", entry.pid, entry.url));
            return Err(DataDirError::InUse { path, owner: owner.unwrap_or_default() });
        }
        lock.set_len(0).map_err(io(&lock_path))?;
        write!(lock, "{}", std::process::id()).map_err(io(&lock_path))?;
        // A leftover of a killed owner would lead clients astray.
        let entry = path.join("api.json");
        match fs::remove_file(&entry) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(&entry)(error)),
            _ => Ok(Self { path, _lock: lock }),
        }
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The name of this installation among its like: made once, the same after every restart.
    pub(crate) fn instance(&self) -> Result<String, DataDirError> {
        let path = self.path.join("instance");
        match fs::read_to_string(&path) {
            Ok(name) if !name.is_empty() => return Ok(name),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(&path)(error)),
            Ok(_) | Err(_) => {}
        }
        let name = uuid::Uuid::new_v4().to_string();
        whole_file::write(&path, name.as_bytes()).map_err(io(&path))?;
        Ok(name)
    }

    /// Tells clients where the API is.
    pub(crate) fn announce(&self, entry: &ApiEntry) -> Result<(), DataDirError> {
        let path = self.path.join("api.json");
        let write = || whole_file::write_private(&path, &serde_json::to_vec(entry)?);
        write().map_err(io(&path))
    }
}

/// Reads where the API of the system in `path` is.
pub(crate) fn read_entry(path: &Path) -> Result<ApiEntry, DataDirError> {
    let file = path.join("api.json");
    let bytes = fs::read(&file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => DataDirError::NotRunning { path: path.to_owned() },
        _ => io(&file)(error),
    })?;
    serde_json::from_slice(&bytes).map_err(|_| DataDirError::Entry { path: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_owns_a_data_directory() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = DataDir::take(folder.path()).expect("free");
        assert!(matches!(
            DataDir::take_within(folder.path(), Duration::ZERO),
            Err(DataDirError::InUse { .. })
        ));
        drop(first);
        DataDir::take(folder.path()).expect("free again");
    }

    #[test]
    fn an_installation_keeps_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let owner = DataDir::take(folder.path()).expect("free");
        let name = owner.instance().expect("a name");
        drop(owner);
        assert_eq!(DataDir::take(folder.path()).expect("free").instance().expect("a name"), name);
    }

    #[test]
    fn clients_find_the_owner_and_nobody_else_reads_the_token() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(read_entry(folder.path()), Err(DataDirError::NotRunning { .. })));
        let owner = DataDir::take(folder.path()).expect("free");
        let entry = ApiEntry {
            pid: 1,
            url: "http://127.0.0.1:1".to_owned(),
            token: "t".to_owned(),
            broker: "127.0.0.1:2".to_owned(),
            dicom: None,
        };
        owner.announce(&entry).expect("written");
        assert_eq!(read_entry(folder.path()).expect("an entry").url, entry.url);
        let mode = fs::metadata(owner.path().join("api.json")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
