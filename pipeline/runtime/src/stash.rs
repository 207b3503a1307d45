//! What was read of one lane and waits for room with the coordinator.
//!
//! ```text
//!   empty ──▶ full ──half empty within GRACE──▶ empty
//!               └─────else: paused ──a quarter full──▶ resumed
//! ```

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crossbeam_channel::{SendTimeoutError, Sender};
use schemas::Priority;

use crate::{event::Fetched, window::InFlight};

/// Most records of a chunk.
pub(crate) const CHUNK_RECORDS: usize = 64;
/// Most bytes a lane's stash may hold before it counts as full; the record that fills it may go beyond.
const STASH_BYTES: usize = 8 << 20;
/// How long a full stash is waited for before its lane is paused.
const GRACE: Duration = Duration::from_millis(50);

/// One lane's way to the coordinator.
pub(crate) struct LaneOut {
    pub(crate) lane: Priority,
    sender: Sender<Vec<Fetched>>,
    pub(crate) stash: VecDeque<Fetched>,
    pub(crate) bytes: usize,
    /// Records and bytes at which the stash is full.
    capacity: InFlight,
    chunk: usize,
    /// Since when it is full; none again once it is half empty.
    pub(crate) full_since: Option<Instant>,
    pub(crate) paused: bool,
}

/// What the state of a stash asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Go,
    Pause,
    Resume,
}

impl LaneOut {
    pub(crate) fn new(lane: Priority, sender: Sender<Vec<Fetched>>, window: usize) -> Self {
        Self {
            lane,
            sender,
            stash: VecDeque::new(),
            bytes: 0,
            capacity: InFlight { records: 4 * window.max(1), bytes: STASH_BYTES },
            chunk: (window / 4).clamp(1, CHUNK_RECORDS),
            full_since: None,
            paused: false,
        }
    }

    pub(crate) fn push(&mut self, fetched: Fetched, now: Instant) {
        self.bytes += fetched.record.size();
        self.stash.push_back(fetched);
        if self.fills(1) {
            self.full_since.get_or_insert(now);
        }
    }

    /// Whether the stash is filled to one part in `parts`.
    fn fills(&self, parts: usize) -> bool {
        self.stash.len() >= (self.capacity.records / parts).max(1)
            || self.bytes >= self.capacity.bytes / parts
    }

    /// Hands over what the channel takes, waiting at most `wait` for the first chunk.
    pub(crate) fn hand_over(&mut self, mut wait: Duration) {
        while !self.stash.is_empty() {
            let chunk: Vec<Fetched> = self.stash.drain(..self.chunk.min(self.stash.len())).collect();
            let bytes: usize = chunk.iter().map(|fetched| fetched.record.size()).sum();
            match self.sender.send_timeout(chunk, wait) {
                Ok(()) | Err(SendTimeoutError::Disconnected(_)) => self.bytes -= bytes,
                Err(SendTimeoutError::Timeout(chunk)) => {
                    chunk.into_iter().rev().for_each(|fetched| self.stash.push_front(fetched));
                    return;
                }
            }
            wait = Duration::ZERO;
        }
    }

    pub(crate) fn flow(&mut self, now: Instant) -> Flow {
        if self.paused {
            if self.fills(4) {
                return Flow::Go;
            }
            (self.paused, self.full_since) = (false, None);
            return Flow::Resume;
        }
        if !self.fills(2) {
            self.full_since = None;
        }
        self.paused = self.full_since.is_some_and(|since| now.saturating_duration_since(since) >= GRACE);
        if self.paused { Flow::Pause } else { Flow::Go }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;
    use jiff::Timestamp;

    use super::*;
    use crate::record::{Headers, Partition, Record};

    fn fetched(offset: i64) -> Fetched {
        let record = Record {
            topic: "t".into(),
            partition: 0,
            offset,
            timestamp: Timestamp::UNIX_EPOCH,
            key: None,
            headers: Headers::default(),
            payload: vec![0; 10],
        };
        Fetched { record, partition: Partition { input: 0, number: 0 }, epoch: 1 }
    }

    #[test]
    fn a_lane_is_paused_when_its_stash_stays_full_and_resumed_when_nearly_empty_and_keeps_its_order() {
        let start = Instant::now();
        let (sender, receiver) = bounded(1);
        let mut lane = LaneOut::new(Priority::Routine, sender, 4);
        (0..16).for_each(|offset| lane.push(fetched(offset), start));
        lane.hand_over(Duration::ZERO);
        assert_eq!(lane.flow(start), Flow::Go);
        assert_eq!(lane.flow(start + GRACE), Flow::Pause);
        assert_eq!(lane.flow(start + GRACE), Flow::Go, "once");
        let mut offsets = Vec::new();
        let mut resumed_at = None;
        while let Ok(chunk) = receiver.try_recv() {
            offsets.extend(chunk.iter().map(|fetched: &Fetched| fetched.record.offset));
            lane.hand_over(Duration::ZERO);
            if lane.flow(start + GRACE) == Flow::Resume {
                resumed_at.get_or_insert(lane.stash.len());
            }
        }
        assert_eq!(offsets, (0..16).collect::<Vec<_>>());
        assert_eq!((resumed_at, lane.bytes), (Some(3), 0));
    }

    #[test]
    fn a_lane_that_makes_room_in_time_is_never_paused() {
        let start = Instant::now();
        let (sender, receiver) = bounded(16);
        let mut lane = LaneOut::new(Priority::Routine, sender, 4);
        (0..16).for_each(|offset| lane.push(fetched(offset), start));
        lane.hand_over(Duration::ZERO);
        assert_eq!(lane.flow(start + GRACE), Flow::Go);
        assert_eq!((lane.full_since, receiver.len()), (None, 16));
    }
}
