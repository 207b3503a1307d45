//! The durable outbox: one JSON line for each group of entries that was made durable together.
//!
//! Invariants:
//! - A line is written with one `write` and followed by one `fsync`; only then does anybody act on its entries.
//! - So only the last line can be torn, and nobody was told anything on account of it: it is cut off at the start.
//!   A damaged line before that is no crash but a damaged disk, and intake refuses to start.
//! - Compaction writes a new file beside the old one and renames it: at every moment one of them is whole.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::assembler::Entry;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("spool is in use by another process; stop that one or choose another directory")]
    Locked(#[source] io::Error),
    /// A line before the last one cannot be read.
    #[error(
        "spool journal is damaged at line {line}; restore the disk, or move the journal away and redo from the objects"
    )]
    Damaged {
        /// Which line, counted from 1.
        line: usize,
    },
    /// The disk failed.
    #[error("spool journal cannot be read or written")]
    Io(#[from] io::Error),
    /// An earlier fsync failed: what is on disk is not known any more.
    #[error("spool journal is not written any more after a failed fsync; start intake again")]
    Broken,
}

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Held for its lock; it stays while compaction replaces `file`.
    _lock: File,
    length: u64,
    broken: bool,
}

/// What a start finds.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) journal: Journal,
    pub(crate) entries: Vec<Entry>,
    /// Bytes of a torn last line that were cut off.
    pub(crate) cut: u64,
}

impl Journal {
    /// Opens or makes the journal in `folder`, takes its lock and reads it.
    pub(crate) fn open(folder: &Path) -> Result<Recovered, JournalError> {
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| JournalError::Locked(error.into()))?;
        let path = folder.join("journal");
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
        let (entries, whole) = read(&file)?;
        let length = file.metadata()?.len();
        if whole < length {
            file.set_len(whole)?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::Start(whole))?;
        sync_folder(folder)?;
        let journal = Self { path, file, _lock: lock, length: whole, broken: false };
        Ok(Recovered { journal, entries, cut: length - whole })
    }

    /// Makes `entries` durable together. On error none of them is.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        if self.broken {
            return Err(JournalError::Broken);
        }
        let line = line(entries)?;
        if let Err(error) = self.file.write_all(&line) {
            // A full disk: what was written of the line goes again, and intake may go on when there is room.
            let undone =
                self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            self.broken = undone.is_err();
            return Err(error.into());
        }
        if let Err(error) = self.file.sync_data() {
            // After a failed fsync the kernel may hold the pages for clean: no later fsync would tell.
            self.broken = true;
            return Err(error.into());
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// Replaces everything by `entries`.
    pub(crate) fn compact(&mut self, entries: impl Iterator<Item = Entry>) -> Result<(), JournalError> {
        let fresh = self.path.with_extension("new");
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&fresh)?;
        let mut length = 0;
        for entry in entries {
            let line = line(&[entry])?;
            file.write_all(&line)?;
            length += line.len() as u64;
        }
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        if let Some(folder) = self.path.parent() {
            sync_folder(folder)?;
        }
        self.file = file;
        self.length = length;
        Ok(())
    }

    /// Bytes in the journal.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }
}

fn line(entries: &[Entry]) -> Result<Vec<u8>, JournalError> {
    let mut line = serde_json::to_vec(entries).map_err(io::Error::from)?;
    line.push(b'\n');
    Ok(line)
}

/// All entries, and the length of the whole lines they are in.
fn read(file: &File) -> Result<(Vec<Entry>, u64), JournalError> {
    let mut reader = BufReader::new(file);
    let (mut entries, mut whole, mut number) = (Vec::new(), 0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok((entries, whole));
        }
        number += 1;
        let parsed =
            line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice::<Vec<Entry>>(line).ok());
        match parsed {
            Some(group) => entries.extend(group),
            None if reader.fill_buf()?.is_empty() => return Ok((entries, whole)),
            None => return Err(JournalError::Damaged { line: number }),
        }
        whole += read as u64;
    }
}

/// Makes renames and removals in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
