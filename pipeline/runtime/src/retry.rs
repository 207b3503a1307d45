//! When what failed is tried again.
//!
//! ```text
//!   Record      backoff, up to the budget ─▶ dead letter retries_exhausted
//!   Dependency  the whole stage pauses:  up ──fail──▶ waiting ──time──▶ one probe ──ok──▶ up
//!                                                       ▲─────────fail───────┘
//! ```
//! Without limit in the second case: an outage is never a reason to give a record up.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

/// How failed records are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Wait before the second try; it doubles with each further one.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
    /// Tries of a record that fails for reasons of its own, counted over restarts.
    pub record_budget: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { first: Duration::from_millis(200), longest: Duration::from_secs(30), record_budget: 5 }
    }
}

impl RetryPolicy {
    /// The wait after the `failures`-th failure: exponential, and by `jitter` between a half and the whole of it.
    pub(crate) fn backoff(&self, failures: u32, jitter: u64) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let whole = self.first.saturating_mul(doubled).min(self.longest);
        // 53 bits: the precision of an f64.
        let fraction = (jitter >> 11) as f64 / (1_u64 << 53) as f64;
        whole.mul_f64(0.5 + 0.5 * fraction)
    }
}

/// Whether records may be worked on while a dependency may be down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    All,
    /// One record, to see whether the dependency is back.
    Probe,
    None,
}

/// The pause of a whole stage while something it depends on is down.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    down: Option<Down>,
}

#[derive(Debug, Clone, Copy)]
struct Down {
    failures: u32,
    until: Instant,
    probing: bool,
}

impl Outage {
    /// A record failed for a dependency. Returns how often in a row, if this one counts: records that were already
    /// being worked on when the outage was noticed do not make the wait longer.
    pub(crate) fn failed(&mut self, policy: &RetryPolicy, now: Instant, jitter: u64) -> Option<u32> {
        let failures = match self.down {
            None => 1,
            Some(down) if down.probing => down.failures.saturating_add(1),
            Some(_) => return None,
        };
        self.down = Some(Down { failures, until: now + policy.backoff(failures, jitter), probing: false });
        Some(failures)
    }

    /// A record went through. Returns whether that ended an outage.
    pub(crate) fn succeeded(&mut self) -> bool {
        self.down.take_if(|down| down.probing).is_some()
    }

    /// The probe ended without saying anything about the dependency: another one may go.
    pub(crate) fn probe_said_nothing(&mut self) {
        if let Some(down) = &mut self.down {
            down.probing = false;
        }
    }

    pub(crate) fn permit(&self, now: Instant) -> Permit {
        match self.down {
            None => Permit::All,
            Some(down) if !down.probing && now >= down.until => Permit::Probe,
            Some(_) => Permit::None,
        }
    }

    pub(crate) fn probe_sent(&mut self) {
        if let Some(down) = &mut self.down {
            down.probing = true;
        }
    }

    pub(crate) fn until(&self) -> Option<Instant> {
        self.down.filter(|down| !down.probing).map(|down| down.until)
    }
}

/// Tickets waiting for their time, the earliest first.
#[derive(Debug, Default)]
pub(crate) struct Delayed(BinaryHeap<Reverse<(Instant, usize)>>);

impl Delayed {
    pub(crate) fn push(&mut self, due: Instant, ticket: usize) {
        self.0.push(Reverse((due, ticket)));
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        let due = self.next_due().is_some_and(|due| due <= now);
        if due { self.0.pop().map(|Reverse((_, ticket))| ticket) } else { None }
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }

    /// Drops every ticket for which `keep` says no, and returns them.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize) -> bool) -> Vec<usize> {
        let gone =
            self.0.iter().map(|Reverse((_, ticket))| *ticket).filter(|ticket| !keep(*ticket)).collect();
        self.0.retain(|Reverse((_, ticket))| keep(*ticket));
        gone
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy =
        RetryPolicy { first: Duration::from_millis(100), longest: Duration::from_secs(5), record_budget: 5 };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn backoff_doubles_up_to_its_longest_and_jitter_takes_at_most_half(failures in 1_u32..200, jitter: u64) {
            let whole = Duration::from_millis(100).saturating_mul(2_u32.saturating_pow(failures - 1));
            let whole = whole.min(POLICY.longest);
            let wait = POLICY.backoff(failures, jitter);
            prop_assert!(wait >= whole / 2 && wait <= whole, "{wait:?} for {failures} failures");
            prop_assert_eq!(wait, POLICY.backoff(failures, jitter));
        }
    }

    #[test]
    fn an_outage_lets_one_probe_through_at_a_time_and_ends_with_its_success() {
        let start = Instant::now();
        let mut outage = Outage::default();
        assert_eq!(outage.permit(start), Permit::All);
        assert_eq!(outage.failed(&POLICY, start, u64::MAX), Some(1));
        assert_eq!(outage.failed(&POLICY, start, 0), None, "was in flight when the outage began");
        assert!(!outage.succeeded(), "so was this one");
        assert_eq!(outage.permit(start + Duration::from_millis(99)), Permit::None);
        let later = start + Duration::from_millis(100);
        assert_eq!(outage.permit(later), Permit::Probe);
        outage.probe_sent();
        assert_eq!(outage.permit(later), Permit::None);
        assert_eq!(outage.failed(&POLICY, later, u64::MAX), Some(2));
        assert_eq!(outage.permit(later + Duration::from_millis(199)), Permit::None);
        assert_eq!(outage.permit(later + Duration::from_millis(200)), Permit::Probe);
        outage.probe_sent();
        assert!(outage.succeeded());
        assert_eq!(outage.permit(later), Permit::All);
    }

    #[test]
    fn delayed_tickets_come_out_when_due_and_in_order() {
        let start = Instant::now();
        let mut delayed = Delayed::default();
        for (ticket, millis) in [(1, 30), (2, 10), (3, 20)] {
            delayed.push(start + Duration::from_millis(millis), ticket);
        }
        assert_eq!(delayed.retain(|ticket| ticket != 3), [3]);
        assert_eq!(delayed.pop_due(start), None);
        let later = start + Duration::from_millis(30);
        assert_eq!(
            [delayed.pop_due(later), delayed.pop_due(later), delayed.pop_due(later)],
            [Some(2), Some(1), None]
        );
    }
}
