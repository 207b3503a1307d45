//! A sparse index of one segment: one entry each 16 KiB of log, 24 bytes of memory each (1.5 MiB for a GiB of log).
//! It answers "where to begin reading headers" for an offset or a time; the reading itself is done by the segment.

use std::path::Path;
use std::{fs, io};

use bytes::{Buf, BufMut};

use crate::log::batch::BatchHeader;

/// Bytes of log between two entries.
const INTERVAL_BYTES: u64 = 16 << 10;
const MAGIC: u64 = 0x5052_4553_4958_0001;
const ENTRY_BYTES: usize = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    offset: i64,
    position: u64,
    /// Largest timestamp of all batches before this one.
    max_timestamp_before: i64,
}

/// What is known of a segment without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// Bytes of whole batches.
    pub(super) bytes: u64,
    pub(super) next_offset: i64,
    /// `None` while empty.
    pub(super) first_timestamp: Option<i64>,
    /// `i64::MIN` while empty.
    pub(super) max_timestamp: i64,
    entries: Vec<Entry>,
}

impl Index {
    pub(super) fn empty(base_offset: i64) -> Index {
        Index {
            bytes: 0,
            next_offset: base_offset,
            first_timestamp: None,
            max_timestamp: i64::MIN,
            entries: Vec::new(),
        }
    }

    /// Takes note of a batch behind all others.
    pub(super) fn push(&mut self, header: &BatchHeader) {
        let last = self.entries.last().map_or(0, |entry| entry.position);
        if self.entries.is_empty() || self.bytes - last >= INTERVAL_BYTES {
            self.entries.push(Entry {
                offset: self.next_offset,
                position: self.bytes,
                max_timestamp_before: self.max_timestamp,
            });
        }
        self.bytes += header.bytes;
        self.next_offset += header.offsets();
        self.first_timestamp.get_or_insert(header.base_timestamp);
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
    }

    /// Position of a batch that begins at or before `offset`.
    pub(super) fn position_before_offset(&self, offset: i64) -> u64 {
        let behind = self.entries.partition_point(|entry| entry.offset <= offset);
        self.entries[..behind].last().map_or(0, |entry| entry.position)
    }

    /// Position of a batch at or before the first one that reaches `timestamp`.
    pub(super) fn position_before_time(&self, timestamp: i64) -> u64 {
        let behind = self.entries.partition_point(|entry| entry.max_timestamp_before < timestamp);
        self.entries[..behind].last().map_or(0, |entry| entry.position)
    }

    /// Written beside a segment that is complete and synced; never changed again.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let mut out = Vec::with_capacity(48 + self.entries.len() * ENTRY_BYTES);
        out.put_u64(MAGIC);
        out.put_u64(self.bytes);
        out.put_i64(self.next_offset);
        out.put_i64(self.first_timestamp.unwrap_or(i64::MIN));
        out.put_i64(self.max_timestamp);
        for entry in &self.entries {
            out.put_i64(entry.offset);
            out.put_u64(entry.position);
            out.put_i64(entry.max_timestamp_before);
        }
        out.put_u32(crc32c::crc32c(&out));
        crate::files::replace(path, &out)
    }

    /// `None` if there is none that can be trusted: the segment is then read through instead.
    pub(super) fn load(path: &Path) -> Option<Index> {
        let file = fs::read(path).ok()?;
        let (body, checksum) = file.split_at_checked(file.len().checked_sub(4)?)?;
        if checksum != crc32c::crc32c(body).to_be_bytes() {
            return None;
        }
        let mut at = body;
        if at.try_get_u64().ok()? != MAGIC {
            return None;
        }
        let bytes = at.try_get_u64().ok()?;
        let next_offset = at.try_get_i64().ok()?;
        let first_timestamp = Some(at.try_get_i64().ok()?).filter(|timestamp| *timestamp != i64::MIN);
        let max_timestamp = at.try_get_i64().ok()?;
        let mut entries = Vec::with_capacity(at.remaining() / ENTRY_BYTES);
        while at.has_remaining() {
            entries.push(Entry {
                offset: at.try_get_i64().ok()?,
                position: at.try_get_u64().ok()?,
                max_timestamp_before: at.try_get_i64().ok()?,
            });
        }
        Some(Index { bytes, next_offset, first_timestamp, max_timestamp, entries })
    }
}
