//! Which old segments go: by time, by size, and below the log start. Whole segments only, oldest first.

use std::io;

use crate::config::Cleanup;
use crate::log::partition::Partition;

impl Partition {
    /// Deletes what has outlived the topic's settings; answers how many segments went.
    ///
    /// The active segment goes too once all of it is too old; an empty one takes its place, and the offsets go on.
    pub(crate) fn enforce_retention(&mut self, now_ms: i64) -> io::Result<usize> {
        let mut deleted = 0;
        while self.is_first_expired(now_ms)? {
            if self.segments.len() == 1 {
                self.roll()?;
            }
            let Some(first) = self.segments.pop_front() else { break };
            self.log_start = self.log_start.max(first.next_offset());
            first.delete()?;
            deleted += 1;
        }
        Ok(deleted)
    }

    fn is_first_expired(&self, now_ms: i64) -> io::Result<bool> {
        let Some(first) = self.segments.front().filter(|segment| segment.bytes() > 0) else {
            return Ok(false);
        };
        if first.next_offset() <= self.log_start {
            return Ok(true);
        }
        if self.settings.cleanup == Cleanup::Compact {
            return Ok(false);
        }
        if let Some(retention_ms) = self.settings.retention_ms
            && first.newest_ms()? < now_ms.saturating_sub_unsigned(retention_ms)
        {
            return Ok(true);
        }
        let total: u64 = self.segments.iter().map(super::segment::Segment::bytes).sum();
        let fits_without = |limit: u64| self.segments.len() > 1 && total - first.bytes() >= limit;
        Ok(self.settings.retention_bytes.is_some_and(fits_without))
    }
}
