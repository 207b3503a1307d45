//! Stops a worker whose records nearly all die: that is a bad deploy, not bad records.

use std::time::{Duration, Instant};

const BUCKETS: usize = 10;

/// When too many records die. All three must hold within `window`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeadLetterLimit {
    /// The time looked at.
    pub window: Duration,
    /// At least so many records were finished.
    pub min_records: u64,
    /// At least so many of them are dead letters.
    pub min_dead: u64,
    /// The dead ones are at least this share of all.
    pub ratio: f64,
}

impl Default for DeadLetterLimit {
    fn default() -> Self {
        Self { window: Duration::from_mins(10), min_records: 50, min_dead: 20, ratio: 0.5 }
    }
}

/// What was counted when the limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) records: u64,
    pub(crate) dead: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    slice: u64,
    records: u64,
    dead: u64,
}

/// Counts over a sliding window of ten slices.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: DeadLetterLimit,
    start: Instant,
    buckets: [Bucket; BUCKETS],
}

impl Limiter {
    pub(crate) fn new(limit: DeadLetterLimit, start: Instant) -> Self {
        Self { limit, start, buckets: [Bucket::default(); BUCKETS] }
    }

    fn slice(&self, now: Instant) -> u64 {
        let slice = (self.limit.window.as_nanos() / BUCKETS as u128).max(1);
        (now.saturating_duration_since(self.start).as_nanos() / slice) as u64
    }

    fn count(&mut self, now: Instant, dead: u64) {
        let slice = self.slice(now);
        if let Some(bucket) = self.buckets.get_mut(slice as usize % BUCKETS) {
            if bucket.slice != slice {
                *bucket = Bucket { slice, ..Bucket::default() };
            }
            bucket.records += 1;
            bucket.dead += dead;
        }
    }

    /// A record was finished alive.
    pub(crate) fn alive(&mut self, now: Instant) {
        self.count(now, 0);
    }

    /// A record is about to become a dead letter. An error says that it must not: the worker stops instead.
    pub(crate) fn dead(&mut self, now: Instant) -> Result<(), Reached> {
        self.count(now, 1);
        let oldest = (self.slice(now) + 1).saturating_sub(BUCKETS as u64);
        let recent = self.buckets.iter().filter(|bucket| bucket.slice >= oldest);
        let (records, dead) = recent.fold((0, 0), |(records, dead), b| (records + b.records, dead + b.dead));
        let armed = records >= self.limit.min_records && dead >= self.limit.min_dead;
        if armed && dead as f64 >= self.limit.ratio * records as f64 {
            Err(Reached { records, dead })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: DeadLetterLimit =
        DeadLetterLimit { window: Duration::from_mins(10), min_records: 50, min_dead: 20, ratio: 0.5 };

    #[test]
    fn stops_when_half_of_fifty_are_dead_and_never_for_a_few() {
        let start = Instant::now();
        let mut limiter = Limiter::new(LIMIT, start);
        (0..49).for_each(|_| assert_eq!(limiter.dead(start), Ok(())));
        assert_eq!(limiter.dead(start), Err(Reached { records: 50, dead: 50 }));

        let mut limiter = Limiter::new(LIMIT, start);
        (0..200).for_each(|_| limiter.alive(start));
        (0..199).for_each(|_| assert_eq!(limiter.dead(start), Ok(())));
        assert!(limiter.dead(start).is_err());
    }

    #[test]
    fn forgets_what_is_older_than_the_window() {
        let start = Instant::now();
        let mut limiter = Limiter::new(LIMIT, start);
        (0..49).for_each(|_| assert_eq!(limiter.dead(start), Ok(())));
        assert_eq!(limiter.dead(start + Duration::from_mins(11)), Ok(()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Model: counts over all events of the last window, to the slice.
        #[test]
        fn agrees_with_counting_every_event(events in prop::collection::vec((0_u64..90, any::<bool>()), 1..300)) {
            let start = Instant::now();
            let mut limiter = Limiter::new(LIMIT, start);
            let mut at = 0;
            let mut past: Vec<(u64, bool)> = Vec::new();
            for (seconds, dead) in events {
                at += seconds;
                past.push((at / 60, dead));
                let now = start + Duration::from_secs(at);
                let recent = past.iter().filter(|(minute, _)| *minute + 10 > at / 60);
                let (all, gone) = recent.fold((0, 0), |(all, gone), (_, dead)| (all + 1, gone + u64::from(*dead)));
                if dead {
                    let reached = all >= 50 && gone >= 20 && gone * 2 >= all;
                    prop_assert_eq!(limiter.dead(now).is_err(), reached);
                } else {
                    limiter.alive(now);
                }
            }
        }
    }
}
