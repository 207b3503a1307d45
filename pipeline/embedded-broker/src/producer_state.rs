//! Idempotent producers of one partition (KIP-98): a batch sent again is recognised and answered with the offset it
//! already has; a gap in the sequence is refused.
//!
//! Kept per producer id: its epoch and its last five batches, because a client has at most five requests in flight.
//! Invariant: the state is a function of the log, so it can be rebuilt from it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::log::batch::{ProducerStamp, sequence_after};

const REMEMBERED_BATCHES: usize = 5;
/// Producers kept per partition; beyond, the longest silent is forgotten.
const MAX_PRODUCERS: usize = 10_000;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProducerStates {
    by_id: BTreeMap<i64, Producer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    /// Oldest first; never empty.
    batches: VecDeque<Written>,
    last_seen_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    Duplicate { base_offset: i64 },
}

/// Why a batch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SequenceError {
    #[error("producer {id} sent sequence {found}, expected {expected}")]
    OutOfOrder { id: i64, found: i32, expected: i32 },
    #[error("producer {id} sent epoch {found}, the current one is {current}")]
    OldEpoch { id: i64, found: i16, current: i16 },
}

impl ProducerStates {
    /// A producer unknown here may begin at any sequence: retention may have deleted its past.
    pub(crate) fn check(&self, stamp: &ProducerStamp) -> Result<Verdict, SequenceError> {
        let Some(producer) = self.by_id.get(&stamp.id) else {
            return Ok(Verdict::Append);
        };
        if stamp.epoch < producer.epoch {
            return Err(SequenceError::OldEpoch {
                id: stamp.id,
                found: stamp.epoch,
                current: producer.epoch,
            });
        }
        let expected = if stamp.epoch > producer.epoch {
            0
        } else {
            let same = |written: &&Written| {
                written.first_sequence == stamp.first_sequence && written.last_sequence == stamp.last_sequence
            };
            if let Some(written) = producer.batches.iter().find(same) {
                return Ok(Verdict::Duplicate { base_offset: written.base_offset });
            }
            producer.batches.back().map_or(0, |written| sequence_after(written.last_sequence, 1))
        };
        if stamp.first_sequence != expected {
            return Err(SequenceError::OutOfOrder { id: stamp.id, found: stamp.first_sequence, expected });
        }
        Ok(Verdict::Append)
    }

    /// Takes note of a batch that is now in the log.
    pub(crate) fn record(&mut self, stamp: &ProducerStamp, base_offset: i64, now_ms: i64) {
        let written =
            Written { first_sequence: stamp.first_sequence, last_sequence: stamp.last_sequence, base_offset };
        let producer = self.by_id.entry(stamp.id).or_insert_with(|| Producer {
            epoch: stamp.epoch,
            batches: VecDeque::with_capacity(REMEMBERED_BATCHES),
            last_seen_ms: now_ms,
        });
        if producer.epoch != stamp.epoch {
            producer.epoch = stamp.epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(written);
        producer.last_seen_ms = now_ms;
        if self.by_id.len() > MAX_PRODUCERS
            && let Some(silent) = self.by_id.iter().min_by_key(|(_, producer)| producer.last_seen_ms)
        {
            let id = *silent.0;
            self.by_id.remove(&id);
        }
    }

    /// Forgets producers silent for longer than `expiry`.
    pub(crate) fn expire(&mut self, now_ms: i64, expiry: Duration) {
        let oldest = now_ms.saturating_sub_unsigned(expiry.as_millis() as u64);
        self.by_id.retain(|_, producer| producer.last_seen_ms >= oldest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp(id: i64, epoch: i16, first: i32, records: i32) -> ProducerStamp {
        ProducerStamp { id, epoch, first_sequence: first, last_sequence: sequence_after(first, records - 1) }
    }

    #[test]
    fn a_repeated_batch_is_answered_with_its_offset_and_a_gap_is_refused() {
        let mut states = ProducerStates::default();
        for (sequence, offset) in [(0, 10), (3, 20)] {
            assert_eq!(states.check(&stamp(7, 0, sequence, 3)), Ok(Verdict::Append));
            states.record(&stamp(7, 0, sequence, 3), offset, 0);
        }
        assert_eq!(states.check(&stamp(7, 0, 0, 3)), Ok(Verdict::Duplicate { base_offset: 10 }));
        assert_eq!(
            states.check(&stamp(7, 0, 7, 1)),
            Err(SequenceError::OutOfOrder { id: 7, found: 7, expected: 6 })
        );
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
        let mut states = ProducerStates::default();
        states.record(&stamp(7, 0, 0, 3), 0, 0);
        assert!(matches!(
            states.check(&stamp(7, 1, 3, 1)),
            Err(SequenceError::OutOfOrder { expected: 0, .. })
        ));
        states.record(&stamp(7, 1, 0, 1), 3, 0);
        assert_eq!(
            states.check(&stamp(7, 0, 3, 1)),
            Err(SequenceError::OldEpoch { id: 7, found: 0, current: 1 })
        );
    }

    #[test]
    fn the_sequence_wraps() {
        let mut states = ProducerStates::default();
        states.record(&stamp(7, 0, i32::MAX - 1, 2), 0, 0);
        assert_eq!(states.check(&stamp(7, 0, 0, 1)), Ok(Verdict::Append));
    }

    #[test]
    fn a_silent_producer_is_forgotten() {
        let mut states = ProducerStates::default();
        states.record(&stamp(1, 0, 0, 1), 0, 1_000);
        states.record(&stamp(2, 0, 0, 1), 1, 9_000);
        states.expire(10_000, Duration::from_secs(5));
        assert_eq!(states.by_id.keys().collect::<Vec<_>>(), [&2]);
    }

    proptest! {
        /// The model: a producer sends batches in order, some several times (at most five in flight): each lands once.
        #[test]
        fn retried_batches_land_exactly_once(
            sizes in proptest::collection::vec(1_i32..5, 1..40),
            retries in proptest::collection::vec(0_usize..5, 40),
        ) {
            let mut states = ProducerStates::default();
            let mut sent: Vec<(ProducerStamp, i64)> = Vec::new();
            let mut sequence = 0;
            let mut offset = 0_i64;
            for (size, back) in sizes.iter().zip(retries) {
                let batch = stamp(1, 0, sequence, *size);
                prop_assert_eq!(states.check(&batch), Ok(Verdict::Append));
                states.record(&batch, offset, 0);
                sent.push((batch, offset));
                sequence += size;
                offset += i64::from(*size);
                let (again, base_offset) = sent[sent.len() - 1 - back.min(sent.len() - 1)];
                prop_assert_eq!(states.check(&again), Ok(Verdict::Duplicate { base_offset }));
            }
        }
    }
}
