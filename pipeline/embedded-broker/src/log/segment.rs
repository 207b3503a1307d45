//! One segment file: append, find by offset or time, recover after a crash.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::StartError;
use crate::log::batch::{self, BatchDamage, BatchHeader, HEADER_BYTES, PREFIX_BYTES};
use crate::log::index::Index;

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base_offset: i64,
    path: PathBuf,
    /// Open while active. Sealed segments are opened when read, so that open files are bounded by partitions.
    active: Option<Arc<File>>,
    pub(super) index: Index,
    /// The index is on the disk, and with it the promise that the segment is complete.
    indexed: bool,
}

/// A batch and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Located {
    pub(super) position: u64,
    pub(super) header: BatchHeader,
}

/// What was cut off a torn segment.
#[derive(Debug)]
pub(super) struct Torn {
    pub(super) bytes: u64,
    pub(super) damage: BatchDamage,
}

/// A sealed segment to be synced and indexed, outside the partition's lock.
#[derive(Debug)]
pub(crate) struct SealJob {
    file: Arc<File>,
    index: Index,
    index_path: PathBuf,
}

impl SealJob {
    pub(crate) fn run(self) -> io::Result<()> {
        self.file.sync_data()?;
        self.index.save(&self.index_path)
    }
}

pub(super) fn file_name(base_offset: i64, extension: &str) -> String {
    format!("{base_offset:020}.{extension}")
}

impl Segment {
    /// A new, empty, active segment.
    pub(super) fn create(dir: &Path, base_offset: i64) -> io::Result<Segment> {
        let path = dir.join(file_name(base_offset, "log"));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(Segment {
            base_offset,
            path,
            active: Some(Arc::new(file)),
            index: Index::empty(base_offset),
            indexed: false,
        })
    }

    /// A sealed segment by its index alone; `None` if that cannot be trusted or does not fit the file.
    pub(super) fn load(dir: &Path, base_offset: i64) -> Option<Segment> {
        let path = dir.join(file_name(base_offset, "log"));
        let index = Index::load(&path.with_extension("index"))?;
        let fits = fs::metadata(&path).ok()?.len() == index.bytes;
        fits.then_some(Segment { base_offset, path, active: None, index, indexed: true })
    }

    /// Reads a segment through, checking every batch; what follows the last good one is reported, not yet cut off.
    pub(super) fn scan(
        dir: &Path,
        base_offset: i64,
        mut visit: impl FnMut(&BatchHeader),
    ) -> io::Result<(Segment, Option<Torn>)> {
        let path = dir.join(file_name(base_offset, "log"));
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let length = file.metadata()?.len();
        let mut index = Index::empty(base_offset);
        let mut buffer = Vec::new();
        let mut torn = None;
        while index.bytes < length {
            match read_batch(&file, index.bytes, length, &mut buffer)? {
                Ok(header) if header.base_offset == index.next_offset => {
                    visit(&header);
                    index.push(&header);
                }
                Ok(header) => {
                    let damage =
                        BatchDamage::Offset { found: header.base_offset, expected: index.next_offset };
                    torn = Some(Torn { bytes: length - index.bytes, damage });
                    break;
                }
                Err(damage) => {
                    torn = Some(Torn { bytes: length - index.bytes, damage });
                    break;
                }
            }
        }
        let segment = Segment { base_offset, path, active: Some(Arc::new(file)), index, indexed: false };
        Ok((segment, torn))
    }

    pub(super) fn next_offset(&self) -> i64 {
        self.index.next_offset
    }

    pub(super) fn bytes(&self) -> u64 {
        self.index.bytes
    }

    /// Cuts off what a crash left behind the last good batch.
    pub(super) fn cut_torn_tail(&self) -> io::Result<()> {
        self.file()?.set_len(self.index.bytes)
    }

    /// The error for damage that no crash explains.
    pub(super) fn damaged(&self, reason: impl ToString) -> StartError {
        StartError::Damaged {
            path: self.path.clone(),
            position: self.index.bytes,
            reason: reason.to_string(),
        }
    }

    /// Milliseconds since the epoch of the newest record, or of the last write where records carry no time.
    pub(super) fn newest_ms(&self) -> io::Result<i64> {
        if self.index.max_timestamp >= 0 {
            return Ok(self.index.max_timestamp);
        }
        let modified = fs::metadata(&self.path)?.modified()?;
        Ok(modified.duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_millis() as i64))
    }

    /// Writes a batch at the segment's end, giving its records the next offsets.
    ///
    /// The prefix goes last, so that a batch torn by a crash has no length and is recognised at once. A failed write
    /// leaves the segment as it was.
    pub(super) fn append(&mut self, header: &BatchHeader, bytes: &[u8]) -> io::Result<()> {
        let file = self.file()?;
        let position = self.index.bytes;
        let write = || {
            let body = bytes.get(PREFIX_BYTES..).unwrap_or_default();
            file.write_all_at(body, position + PREFIX_BYTES as u64)?;
            file.write_all_at(&header.stored_prefix(self.index.next_offset), position)
        };
        if let Err(error) = write() {
            file.set_len(position)?;
            return Err(error);
        }
        self.index.push(header);
        Ok(())
    }

    /// The batch that holds `offset`.
    pub(super) fn find(&self, offset: i64) -> io::Result<Option<Located>> {
        let from = self.index.position_before_offset(offset);
        self.first_batch(from, |header| header.last_offset() >= offset)
    }

    /// The first record at or behind `from_offset` that reaches `timestamp`, as (offset, timestamp).
    pub(super) fn find_time(&self, timestamp: i64, from_offset: i64) -> io::Result<Option<(i64, i64)>> {
        let mut from = self.index.position_before_time(timestamp);
        let reaches =
            |header: &BatchHeader| header.max_timestamp >= timestamp && header.last_offset() >= from_offset;
        let file = self.file()?;
        let mut buffer = Vec::new();
        while let Some(found) = self.first_batch(from, reaches)? {
            if read_batch(&file, found.position, self.index.bytes, &mut buffer)?.is_ok()
                && let Some(answer) = batch::first_record_since(&buffer, timestamp, from_offset)
            {
                return Ok(Some(answer));
            }
            from = found.position + found.header.bytes;
        }
        Ok(None)
    }

    /// The first batch at or behind `position`, itself a batch's beginning, that `wanted` takes.
    fn first_batch(
        &self,
        mut position: u64,
        wanted: impl Fn(&BatchHeader) -> bool,
    ) -> io::Result<Option<Located>> {
        let file = self.file()?;
        let mut bytes = [0; HEADER_BYTES];
        while position < self.index.bytes {
            file.read_exact_at(&mut bytes, position)?;
            let header = BatchHeader::parse(&bytes).map_err(io::Error::other)?;
            if wanted(&header) {
                return Ok(Some(Located { position, header }));
            }
            position += header.bytes;
        }
        Ok(None)
    }

    pub(super) fn file(&self) -> io::Result<Arc<File>> {
        match &self.active {
            Some(file) => Ok(Arc::clone(file)),
            None => File::open(&self.path).map(Arc::new),
        }
    }

    /// Closes a segment for writing; the job makes it durable. `None` if that is done already.
    pub(super) fn seal(&mut self) -> io::Result<Option<SealJob>> {
        if self.indexed {
            return Ok(None);
        }
        let file = self.file()?;
        self.active = None;
        self.indexed = true;
        let index_path = self.path.with_extension("index");
        Ok(Some(SealJob { file, index: self.index.clone(), index_path }))
    }

    /// Deletes the files; a reader that has the log open reads on.
    pub(super) fn delete(&self) -> io::Result<()> {
        for extension in ["index", "producers", "log"] {
            match fs::remove_file(self.path.with_extension(extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Reads and checks the batch at `position` of a file of `length` bytes into `buffer`.
fn read_batch(
    file: &File,
    position: u64,
    length: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<Result<BatchHeader, BatchDamage>> {
    let have = length - position;
    if have < HEADER_BYTES as u64 {
        return Ok(Err(BatchDamage::Short { have, need: HEADER_BYTES as u64 }));
    }
    buffer.resize(HEADER_BYTES, 0);
    file.read_exact_at(buffer, position)?;
    let header = match BatchHeader::parse(buffer) {
        Ok(header) if header.bytes <= have => header,
        Ok(header) => return Ok(Err(BatchDamage::Short { have, need: header.bytes })),
        Err(damage) => return Ok(Err(damage)),
    };
    buffer.resize(header.bytes as usize, 0);
    file.read_exact_at(buffer, position)?;
    Ok(BatchHeader::verify(buffer))
}
