//! How many waiting records go to a worker at once.
//!
//! Two cases. A stage that batches waits for company: a batch leaves when it has `items` records or its first has
//! waited `linger`, and is cut by cost in the worker, where inputs are decoded. A stage that takes one at a time gets
//! as many as it does in [`CHUNK`], reckoned by the slowest of late: a slow one gets single records, so that nothing
//! waits behind a queue inside a worker; a fast one is spared a hand-over for each record. A worker that meets an
//! unexpectedly slow record gives the rest of its chunk back.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use stage::BatchLimits;

/// Work handed to a worker at once where the stage does not batch.
pub(crate) const CHUNK: Duration = Duration::from_millis(2);
/// Most records handed over at once where the stage does not batch.
const MAX_CHUNK: usize = 64;
/// How much of a slow record is forgotten with each order: it counts for about twenty.
const FORGETTING: f64 = 0.05;

#[derive(Debug)]
pub(crate) struct Batcher {
    limits: BatchLimits,
    /// When the first of the records now waiting was seen.
    since: Option<Instant>,
    /// Seconds of work the slowest record of late took; none before the first.
    pace: Option<f64>,
}

impl Batcher {
    pub(crate) fn new(limits: BatchLimits) -> Self {
        Self { limits, since: None, pace: None }
    }

    /// How many of `ready` records leave now; 0 until there is company or [`Self::deadline`] has come.
    pub(crate) fn release(&mut self, ready: usize, now: Instant) -> usize {
        if self.limits.items <= 1 {
            let chunk = self.pace.map_or(1.0, |pace| CHUNK.as_secs_f64() / pace.max(1e-9));
            return ready.min((chunk as usize).clamp(1, MAX_CHUNK));
        }
        if ready == 0 {
            self.since = None;
            return 0;
        }
        let since = *self.since.get_or_insert(now);
        if ready < self.limits.items && now.saturating_duration_since(since) < self.limits.linger {
            return 0;
        }
        self.since = None;
        ready.min(self.limits.items)
    }

    /// When the records now waiting leave even without company.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.since.and_then(|since| since.checked_add(self.limits.linger))
    }

    /// A worker finished an order, the slowest record of which took `slowest`. What is past weighs ever less.
    pub(crate) fn worked(&mut self, slowest: Duration) {
        let slowest = slowest.as_secs_f64();
        self.pace =
            Some(self.pace.map_or(slowest, |before| slowest.max(before + FORGETTING * (slowest - before))));
    }
}

/// Cuts inputs of the given costs into batches within `limits`, in order. One above the limit goes alone.
pub(crate) fn cut(costs: &[u32], limits: BatchLimits) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut sum = 0_u64;
    for (index, cost) in costs.iter().enumerate() {
        let cost = u64::from(*cost);
        match batches.last_mut() {
            Some(batch) if batch.len() < limits.items && sum + cost <= u64::from(limits.cost) => {
                batch.end = index + 1;
                sum += cost;
            }
            _ => {
                batches.push(index..index + 1);
                sum = cost;
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: BatchLimits = BatchLimits { items: 4, cost: 100, linger: Duration::from_millis(20) };

    #[test]
    fn a_batch_leaves_when_full_or_when_its_first_has_waited() {
        let start = Instant::now();
        let mut batcher = Batcher::new(LIMITS);
        assert_eq!(batcher.release(3, start), 0);
        assert_eq!(batcher.release(9, start), 4);
        assert_eq!(batcher.release(3, start + Duration::from_millis(1)), 0);
        assert_eq!(batcher.deadline(), Some(start + Duration::from_millis(21)));
        assert_eq!(batcher.release(3, start + Duration::from_millis(20)), 0);
        assert_eq!(batcher.release(3, start + Duration::from_millis(21)), 3);
        assert_eq!(batcher.deadline(), None);
    }

    #[test]
    fn a_slow_stage_gets_single_records_and_a_fast_one_many() {
        let now = Instant::now();
        let mut batcher = Batcher::new(BatchLimits::ONE);
        assert_eq!(batcher.release(500, now), 1, "nothing is known yet");
        batcher.worked(Duration::from_micros(20));
        assert_eq!(batcher.release(500, now), MAX_CHUNK);
        batcher.worked(Duration::from_secs(1));
        assert_eq!(batcher.release(500, now), 1, "one slow record is enough");
        (0..300).for_each(|_| batcher.worked(Duration::from_micros(20)));
        assert_eq!(batcher.release(500, now), MAX_CHUNK, "and is forgotten");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn cuts_cover_all_inputs_in_order_within_the_limits(
            costs in prop::collection::vec(0_u32..150, 0..40),
        ) {
            let batches = cut(&costs, LIMITS);
            let covered: Vec<usize> = batches.iter().cloned().flatten().collect();
            prop_assert_eq!(covered, (0..costs.len()).collect::<Vec<_>>());
            for batch in batches {
                let cost: u32 = costs[batch.clone()].iter().sum();
                prop_assert!(batch.len() == 1 || (batch.len() <= 4 && cost <= 100));
            }
        }
    }
}
