//! One partition: the segments, the producers' state and who waits for new data. Synchronous; time is passed in.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::config::TopicSettings;
use crate::error::StartError;
use crate::files;
use crate::log::batch::{BatchHeader, ProducerStamp};
use crate::log::segment::{Located, SealJob, Segment, file_name};
use crate::producer_state::{ProducerStates, SequenceError, Verdict};

const LOG_START_FILE: &str = "log-start-offset";

#[derive(Debug)]
pub(crate) struct Partition {
    pub(super) dir: PathBuf,
    pub(super) settings: TopicSettings,
    /// In offset order, never empty; the last one is active.
    pub(super) segments: VecDeque<Segment>,
    /// First offset handed out.
    pub(super) log_start: i64,
    pub(super) producers: ProducerStates,
    waiting: Vec<Weak<Notify>>,
    /// The topic is deleted: whoever still holds the partition gets errors.
    closed: bool,
}

/// A batch found its place in the log, now or (a duplicate) earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    #[error(
        "the batch has {bytes} bytes, the topic takes {limit}: send smaller ones or raise max.message.bytes"
    )]
    TooLarge { bytes: usize, limit: u32 },
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    #[error("the topic is deleted")]
    Closed,
    #[error("cannot write the log")]
    Storage(#[from] io::Error),
}

/// Why an offset cannot be read or deleted up to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OffsetError {
    #[error("the offset is outside of the log")]
    OutOfRange,
    #[error("the topic is deleted")]
    Closed,
    #[error("cannot read or write the log")]
    Storage(#[from] io::Error),
}

/// Bytes of a segment file that begin with a whole batch and may end inside one.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    pub(crate) file: Arc<File>,
    pub(crate) position: u64,
    pub(crate) bytes: usize,
}

/// How much a reader takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadLimit {
    pub(crate) max_bytes: usize,
    /// Hand out the first batch even if it is larger, so that a reader is never stuck (KIP-74).
    pub(crate) first_batch_always: bool,
}

impl Partition {
    /// Opens a partition as a crash may have left it: the active segment is read through, checked, and its torn tail
    /// cut off; sealed segments are trusted if their index is there, else checked as well.
    pub(crate) fn open(dir: &Path, settings: TopicSettings, now_ms: i64) -> Result<Partition, StartError> {
        let in_dir = |error| StartError::storage(dir)(error);
        let bases = list_bases(dir, "log").map_err(in_dir)?;
        let (snapshot_base, mut producers) = newest_snapshot(dir, &bases);
        let mut segments: VecDeque<Segment> = VecDeque::with_capacity(bases.len());
        for (i, base) in bases.iter().copied().enumerate() {
            let is_last = i + 1 == bases.len();
            let replayed = base >= snapshot_base;
            let trusted = if is_last || replayed { None } else { Segment::load(dir, base) };
            let segment = if let Some(segment) = trusted {
                segment
            } else {
                let note_producer = |header: &BatchHeader| {
                    if let Some(stamp) = header.producer().filter(|_| replayed) {
                        producers.record(&stamp, header.base_offset, now_ms);
                    }
                };
                let (segment, torn) = Segment::scan(dir, base, note_producer).map_err(in_dir)?;
                if let Some(torn) = torn {
                    if !is_last {
                        return Err(segment.damaged(torn.damage));
                    }
                    tracing::warn!(
                        partition = %dir.display(), offset = segment.next_offset(), bytes = torn.bytes,
                        reason = %torn.damage, "torn tail cut off"
                    );
                    segment.cut_torn_tail().map_err(in_dir)?;
                }
                segment
            };
            if let Some(previous) = segments.back()
                && previous.next_offset() != base
            {
                return Err(previous.damaged(format!(
                    "it ends at offset {}, the next segment begins at {base}",
                    previous.next_offset()
                )));
            }
            segments.push_back(segment);
        }
        let stored_start = read_log_start(dir).map_err(in_dir)?;
        let end = segments.back().map_or(0, Segment::next_offset);
        if segments.is_empty() || stored_start > end {
            // Acknowledged offsets are never given twice, even if a power cut took the records that had them.
            for segment in segments.drain(..) {
                segment.delete().map_err(in_dir)?;
            }
            segments.push_back(Segment::create(dir, stored_start).map_err(in_dir)?);
        }
        let first = segments.front().map_or(0, |segment| segment.base_offset);
        let log_start = stored_start.max(first);
        Ok(Partition {
            dir: dir.to_owned(),
            settings,
            segments,
            log_start,
            producers,
            waiting: Vec::new(),
            closed: false,
        })
    }

    pub(crate) fn log_start(&self) -> i64 {
        self.log_start
    }

    /// The offset of the next record; also the high watermark, as there are no replicas.
    pub(crate) fn end(&self) -> i64 {
        self.segments.back().map_or(self.log_start, Segment::next_offset)
    }

    /// Appends one verified batch. A duplicate of an idempotent producer is answered, not appended.
    pub(crate) fn append(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        if bytes.len() > self.settings.max_message_bytes as usize {
            return Err(AppendError::TooLarge { bytes: bytes.len(), limit: self.settings.max_message_bytes });
        }
        let stamp: Option<ProducerStamp> = header.producer();
        if let Some(stamp) = &stamp
            && let Verdict::Duplicate { base_offset } = self.producers.check(stamp)?
        {
            return Ok(Appended { base_offset });
        }
        if self.is_roll_due(header) {
            self.roll()?;
        }
        let base_offset = self.end();
        self.active()?.append(header, bytes)?;
        if let Some(stamp) = &stamp {
            self.producers.record(stamp, base_offset, now_ms);
        }
        self.wake_waiting();
        Ok(Appended { base_offset })
    }

    fn is_roll_due(&self, next: &BatchHeader) -> bool {
        let Some(active) = self.segments.back() else { return false };
        let Some(first_timestamp) = active.index.first_timestamp else { return false };
        let age_ms = next.max_timestamp.saturating_sub(first_timestamp);
        active.bytes() + next.bytes > self.settings.segment_bytes
            || age_ms >= i64::try_from(self.settings.segment_ms).unwrap_or(i64::MAX)
    }

    /// Begins a new active segment. The producers' state goes first: without it the whole log would be read at start.
    pub(super) fn roll(&mut self) -> io::Result<()> {
        let base = self.end();
        let previous = self.segments.back().map(|segment| segment.base_offset);
        let state = serde_json::to_vec(&self.producers)?;
        files::replace(&self.dir.join(file_name(base, "producers")), &state)?;
        self.segments.push_back(Segment::create(&self.dir, base)?);
        if let Some(previous) = previous {
            let _superseded = fs::remove_file(self.dir.join(file_name(previous, "producers")));
        }
        Ok(())
    }

    pub(super) fn active(&mut self) -> io::Result<&mut Segment> {
        self.segments.back_mut().ok_or_else(|| io::Error::other("the partition has no segment"))
    }

    /// The active segment's file, to be synced outside of the lock.
    pub(crate) fn active_file(&mut self) -> io::Result<Arc<File>> {
        self.active()?.file()
    }

    /// The bytes to hand to a reader at `offset`; `None` at the end of the log, and where the first batch exceeds the
    /// limit.
    pub(crate) fn slice(&self, offset: i64, limit: ReadLimit) -> Result<Option<Slice>, OffsetError> {
        if self.closed {
            return Err(OffsetError::Closed);
        }
        if offset < self.log_start || offset > self.end() {
            return Err(OffsetError::OutOfRange);
        }
        if offset == self.end() {
            return Ok(None);
        }
        let behind = self.segments.partition_point(|segment| segment.base_offset <= offset);
        let Some(segment) = behind.checked_sub(1).and_then(|i| self.segments.get(i)) else {
            return Err(OffsetError::OutOfRange);
        };
        let Some(Located { position, header }) = segment.find(offset)? else {
            return Err(OffsetError::OutOfRange);
        };
        let first = header.bytes as usize;
        let available = (segment.bytes() - position) as usize;
        let bytes = if first <= limit.max_bytes {
            available.min(limit.max_bytes)
        } else if limit.first_batch_always {
            first
        } else {
            return Ok(None);
        };
        Ok(Some(Slice { file: segment.file()?, position, bytes }))
    }

    /// The first record that is not older than `timestamp` (milliseconds), as (offset, timestamp); inside a compressed
    /// batch the answer is the batch's first offset.
    pub(crate) fn offset_for_time(&self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        let may_hold = |segment: &&Segment| {
            segment.index.max_timestamp >= timestamp && segment.next_offset() > self.log_start
        };
        for segment in self.segments.iter().filter(may_hold) {
            if let Some(found) = segment.find_time(timestamp, self.log_start)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Moves the log start; on the disk before it is answered. -1 stands for the end of the log.
    pub(crate) fn delete_before(&mut self, offset: i64) -> Result<i64, OffsetError> {
        if self.closed {
            return Err(OffsetError::Closed);
        }
        let offset = if offset == -1 { self.end() } else { offset };
        if offset < 0 || offset > self.end() {
            return Err(OffsetError::OutOfRange);
        }
        if offset > self.log_start {
            files::replace(&self.dir.join(LOG_START_FILE), offset.to_string().as_bytes())?;
            self.log_start = offset;
        }
        Ok(self.log_start)
    }

    /// Wakes `waiter` once, at the next append or when the topic is deleted. A dropped waiter is forgotten.
    pub(crate) fn wake_on_append(&mut self, waiter: &Arc<Notify>) {
        self.waiting.retain(|waiting| waiting.strong_count() > 0);
        self.waiting.push(Arc::downgrade(waiter));
    }

    fn wake_waiting(&mut self) {
        for waiting in self.waiting.drain(..) {
            if let Some(waiting) = waiting.upgrade() {
                waiting.notify_one();
            }
        }
    }

    /// Refuses everything from now on: the topic is being deleted.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.wake_waiting();
    }

    pub(crate) fn expire_producers(&mut self, now_ms: i64, expiry: Duration) {
        self.producers.expire(now_ms, expiry);
    }

    /// Sealed segments that are not yet known to be on the disk.
    pub(crate) fn seal_jobs(&mut self) -> io::Result<Vec<SealJob>> {
        let sealed = self.segments.len() - 1;
        let jobs = self.segments.iter_mut().take(sealed).map(Segment::seal);
        jobs.filter_map(io::Result::transpose).collect()
    }
}

fn list_bases(dir: &Path, extension: &str) -> io::Result<Vec<i64>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension)
            && let Some(base) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok())
        {
            bases.push(base);
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

/// The newest readable state of the producers at a segment's beginning, and the offset it stands for.
fn newest_snapshot(dir: &Path, bases: &[i64]) -> (i64, ProducerStates) {
    let readable = |base: &i64| {
        let bytes = fs::read(dir.join(file_name(*base, "producers"))).ok()?;
        Some((*base, serde_json::from_slice(&bytes).ok()?))
    };
    bases.iter().rev().find_map(readable).unwrap_or_default()
}

fn read_log_start(dir: &Path) -> io::Result<i64> {
    match fs::read_to_string(dir.join(LOG_START_FILE)) {
        Ok(text) => text.trim().parse().map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
