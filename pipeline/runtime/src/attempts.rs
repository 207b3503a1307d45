//! How often a record failed, over restarts of the process.
//!
//! Only records that failed are here, so the file is empty nearly always. It is replaced as a whole (write, rename) at
//! each change.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::record::Position;

/// After so many process deaths with it in flight a record is dead.
pub(crate) const MAX_DEATHS: u32 = 3;

/// Why the state kept on the local disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be read or written.
    #[error("cannot {operation} state file {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("state file {path} is not the JSON of this version; remove it to count attempts anew")]
    Format {
        /// Which file.
        path: PathBuf,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
}

impl StateError {
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }
}

/// The counts of one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    topic: String,
    partition: i32,
    offset: i64,
    /// Failures of its own (`Scope::Record`).
    failures: u32,
    /// Deaths of the process while it was being processed.
    deaths: u32,
}

impl Entry {
    fn is_at(&self, position: &Position) -> bool {
        *self.topic == *position.topic
            && self.partition == position.partition
            && self.offset == position.offset
    }
}

/// Persisted counts of the records that failed and are not finished.
#[derive(Debug)]
pub(crate) struct Attempts {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Attempts {
    pub(crate) fn open(path: PathBuf) -> Result<Self, StateError> {
        let entries = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| StateError::Format { path: path.clone(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(StateError::io("read", &path)(error)),
        };
        Ok(Self { path, entries })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Deaths of the process while the record was being processed.
    pub(crate) fn deaths(&self, position: &Position) -> u32 {
        self.entries.iter().find(|entry| entry.is_at(position)).map_or(0, |entry| entry.deaths)
    }

    /// The record failed; returns how often by now.
    pub(crate) fn failed(&mut self, position: &Position) -> Result<u32, StateError> {
        let entry = self.entry(position);
        entry.failures += 1;
        let failures = entry.failures;
        self.save()?;
        Ok(failures)
    }

    /// The process died while these were being processed.
    pub(crate) fn died(&mut self, positions: &[Position]) -> Result<(), StateError> {
        for position in positions {
            self.entry(position).deaths += 1;
        }
        self.save()
    }

    /// The record is finished, one way or the other.
    pub(crate) fn finished(&mut self, position: &Position) -> Result<(), StateError> {
        self.forget(|entry| entry.is_at(position))
    }

    /// The partition was committed up to `next`: somebody finished what lies below.
    pub(crate) fn committed(&mut self, topic: &str, partition: i32, next: i64) -> Result<(), StateError> {
        self.forget(|entry| entry.topic == topic && entry.partition == partition && entry.offset < next)
    }

    fn forget(&mut self, gone: impl Fn(&Entry) -> bool) -> Result<(), StateError> {
        let before = self.entries.len();
        self.entries.retain(|entry| !gone(entry));
        if self.entries.len() == before { Ok(()) } else { self.save() }
    }

    fn entry(&mut self, position: &Position) -> &mut Entry {
        let index = self.entries.iter().position(|entry| entry.is_at(position)).unwrap_or_else(|| {
            self.entries.push(Entry {
                topic: position.topic.to_string(),
                partition: position.partition,
                offset: position.offset,
                failures: 0,
                deaths: 0,
            });
            self.entries.len() - 1
        });
        &mut self.entries[index]
    }

    fn save(&self) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(&self.entries)
            .map_err(|source| StateError::Format { path: self.path.clone(), source })?;
        let draft = self.path.with_extension("draft");
        fs::write(&draft, bytes).map_err(StateError::io("write", &draft))?;
        fs::rename(&draft, &self.path).map_err(StateError::io("replace", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(offset: i64) -> Position {
        Position { topic: "study.acquired.v1".into(), partition: 0, offset }
    }

    #[test]
    fn counts_survive_a_restart_until_the_record_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("attempts.json");
        let mut attempts = Attempts::open(path.clone()).unwrap();
        assert_eq!(attempts.failed(&position(1)).unwrap(), 1);
        attempts.died(&[position(1), position(2)]).unwrap();

        let mut attempts = Attempts::open(path.clone()).unwrap();
        assert_eq!(attempts.failed(&position(1)).unwrap(), 2);
        assert_eq!((attempts.deaths(&position(1)), attempts.deaths(&position(2))), (1, 1));
        attempts.finished(&position(1)).unwrap();
        attempts.committed("study.acquired.v1", 0, 2).unwrap();
        assert_eq!(attempts.deaths(&position(2)), 1, "offset 2 is not below the committed offset 2");
        attempts.committed("study.acquired.v1", 0, 3).unwrap();
        assert!(Attempts::open(path).unwrap().is_empty());
    }

    #[test]
    fn a_foreign_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("attempts.json");
        fs::write(&path, b"{}").unwrap();
        let error = Attempts::open(path.clone()).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}
