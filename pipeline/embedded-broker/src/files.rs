//! The two ways small files are written: replaced as a whole, or appended line by line with a checksum.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Replaces a file: after a crash it holds either the old or the new bytes.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&unfinished, path)
}

/// A text file of JSON lines, each behind the CRC-32C of its text, that only ever grows at its end.
///
/// A line is acknowledged once it is written whole. A crash may tear the last line; it is cut off when the file is next
/// opened. A bad line with good ones behind it is not a torn tail and is an error.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Size after the last rewrite: the measure of what is worth keeping.
    compacted_bytes: u64,
}

/// A journal is rewritten beyond this size, if it has also grown fourfold.
const REWRITE_BYTES: u64 = 16 << 20;

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("cannot read or write the journal")]
    Io(#[from] io::Error),
    #[error("line at byte {position}: {reason}")]
    Damaged { position: u64, reason: String },
}

impl Journal {
    /// Opens or creates the journal and hands each entry, oldest first, to `replay`.
    pub(crate) fn open<E: DeserializeOwned>(
        path: &Path,
        mut replay: impl FnMut(E),
    ) -> Result<Journal, JournalError> {
        let content = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            content => content?,
        };
        let mut position = 0;
        let mut torn = None;
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            match (torn, decode_line(line)) {
                (None, Ok(entry)) => {
                    replay(entry);
                    position += line.len();
                }
                (None, Err(reason)) => torn = Some(reason),
                (Some(reason), _) => {
                    return Err(JournalError::Damaged {
                        position: position as u64,
                        reason: reason.to_owned(),
                    });
                }
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        if position < content.len() {
            tracing::warn!(file = %path.display(), bytes = content.len() - position, "torn tail cut off");
            file.set_len(position as u64)?;
        }
        let bytes = position as u64;
        Ok(Journal { path: path.to_owned(), file, bytes, compacted_bytes: bytes })
    }

    pub(crate) fn append(&mut self, entry: &impl Serialize) -> io::Result<()> {
        let line = encode_line(entry)?;
        if let Err(error) = self.file.write_all(&line) {
            // Half a line must not stand before the next one.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    pub(crate) fn is_overgrown(&self) -> bool {
        self.bytes > REWRITE_BYTES && self.bytes / 4 > self.compacted_bytes
    }

    /// Replaces everything by `entries`.
    pub(crate) fn rewrite<E: Serialize>(&mut self, entries: impl Iterator<Item = E>) -> io::Result<()> {
        let mut content = Vec::new();
        for entry in entries {
            content.extend(encode_line(&entry)?);
        }
        replace(&self.path, &content)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.bytes = content.len() as u64;
        self.compacted_bytes = self.bytes;
        Ok(())
    }
}

fn encode_line(entry: &impl Serialize) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(entry)?;
    let mut line = format!("{:08x} ", crc32c::crc32c(&json)).into_bytes();
    line.extend(json);
    line.push(b'\n');
    Ok(line)
}

fn decode_line<E: DeserializeOwned>(line: &[u8]) -> Result<E, &'static str> {
    let line = line.strip_suffix(b"\n").ok_or("the line has no end")?;
    let (checksum, json) = line.split_at_checked(9).ok_or("the line is too short")?;
    if checksum != format!("{:08x} ", crc32c::crc32c(json)).as_bytes() {
        return Err("the checksum is wrong");
    }
    serde_json::from_slice(json).map_err(|_| "the entry is not one this version writes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(path: &Path) -> Result<Vec<String>, JournalError> {
        let mut entries = Vec::new();
        Journal::open(path, |entry| entries.push(entry)).map(|_| entries)
    }

    #[test]
    fn every_cut_of_the_last_line_leaves_the_lines_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path, |_: String| {}).unwrap();
        for entry in ["one", "two\nlines", "three"] {
            journal.append(&entry).unwrap();
        }
        let whole = fs::read(&path).unwrap();
        let last_line = whole.len() - "xxxxxxxx \"three\"\n".len();
        for cut in last_line..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(entries(&path).unwrap(), ["one", "two\nlines"]);
            assert_eq!(fs::read(&path).unwrap(), &whole[..last_line]);
        }
    }

    #[test]
    fn damage_before_good_lines_is_an_error_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path, |_: String| {}).unwrap();
        for entry in ["one", "two"] {
            journal.append(&entry).unwrap();
        }
        let mut content = fs::read(&path).unwrap();
        content[10] ^= 1;
        fs::write(&path, &content).unwrap();
        assert!(matches!(entries(&path), Err(JournalError::Damaged { position: 0, .. })));
        assert_eq!(fs::read(&path).unwrap(), content);
    }

    #[test]
    fn a_rewritten_journal_goes_on_growing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path, |_: String| {}).unwrap();
        journal.append(&"old").unwrap();
        journal.rewrite(["kept"].iter()).unwrap();
        journal.append(&"new").unwrap();
        assert_eq!(entries(&path).unwrap(), ["kept", "new"]);
    }
}
