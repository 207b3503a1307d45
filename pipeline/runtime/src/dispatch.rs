//! Which waiting record is worked on next.
//!
//! ```text
//!   push ─▶ key idle? ──yes─▶ ready[urgent]  ─┐ 4:1, 1:1 once the routine head is older than `aging`
//!             │ no           ready[routine] ─┴─▶ take ─▶ (working) ─▶ release(key)
//!             └─▶ chain[key] ◀── the next of the key becomes ready ──────┘
//! ```
//! Invariants: of one key at most one record is taken and not released; records of a key leave in the order they
//! came; neither lane starves.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use schemas::Priority;

/// A record waiting to be worked on, by its ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) ticket: usize,
    /// Hash of the record's key; a collision only makes two keys wait for each other. None: no order asked for.
    pub(crate) key: Option<u64>,
    pub(crate) lane: Priority,
    /// When the record was produced: what ages.
    pub(crate) produced: Timestamp,
}

/// How the lanes share the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneShare {
    /// Urgent records taken for each routine one while both wait.
    pub urgent_per_routine: u32,
    /// A routine record older than this is taken in turn with the urgent ones.
    pub aging: std::time::Duration,
}

impl Default for LaneShare {
    /// Four to one; ten minutes, the routine lane's freshness goal.
    fn default() -> Self {
        Self { urgent_per_routine: 4, aging: std::time::Duration::from_mins(10) }
    }
}

/// The waiting records of a run.
#[derive(Debug)]
pub(crate) struct Dispatch {
    share: LaneShare,
    urgent: VecDeque<Waiting>,
    routine: VecDeque<Waiting>,
    /// A key is here while a record of it is ready or taken; its value holds those behind.
    chains: HashMap<u64, VecDeque<Waiting>>,
    /// Urgent records taken since the last routine one.
    urgent_in_turn: u32,
}

impl Dispatch {
    pub(crate) fn new(share: LaneShare) -> Self {
        Self {
            share,
            urgent: VecDeque::new(),
            routine: VecDeque::new(),
            chains: HashMap::new(),
            urgent_in_turn: 0,
        }
    }

    fn lane(&mut self, lane: Priority) -> &mut VecDeque<Waiting> {
        match lane {
            Priority::Urgent => &mut self.urgent,
            Priority::Routine => &mut self.routine,
        }
    }

    pub(crate) fn push(&mut self, waiting: Waiting) {
        if let Some(key) = waiting.key {
            if let Some(chain) = self.chains.get_mut(&key) {
                chain.push_back(waiting);
                return;
            }
            self.chains.insert(key, VecDeque::new());
        }
        self.lane(waiting.lane).push_back(waiting);
    }

    /// Puts back a record that was taken and is to be tried again. Its key stays its own.
    pub(crate) fn put_back(&mut self, waiting: Waiting) {
        self.lane(waiting.lane).push_front(waiting);
    }

    /// How many could be taken now.
    pub(crate) fn ready(&self) -> usize {
        self.urgent.len() + self.routine.len()
    }

    /// The next record to work on.
    pub(crate) fn take(&mut self, now: Timestamp) -> Option<Waiting> {
        let turn = match self.routine.front() {
            Some(head) if now.duration_since(head.produced) >= jiff_duration(self.share.aging) => 1,
            _ => self.share.urgent_per_routine,
        };
        let urgent_first = self.routine.is_empty() || self.urgent_in_turn < turn;
        let urgent = if urgent_first { self.urgent.pop_front() } else { None };
        if let Some(waiting) = urgent {
            self.urgent_in_turn = if self.routine.is_empty() { 0 } else { self.urgent_in_turn + 1 };
            return Some(waiting);
        }
        self.urgent_in_turn = 0;
        self.routine.pop_front()
    }

    /// The taken record of `key` is finished: the next of the key may go.
    pub(crate) fn release(&mut self, key: Option<u64>) {
        let Some(key) = key else { return };
        match self.chains.get_mut(&key).map(VecDeque::pop_front) {
            Some(Some(next)) => self.lane(next.lane).push_back(next),
            Some(None) => drop(self.chains.remove(&key)),
            None => {}
        }
    }

    /// Drops every waiting record for which `keep` says no, and returns their tickets.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut dropped = Vec::new();
        for chain in self.chains.values_mut() {
            chain.retain(|waiting| {
                keep(waiting.ticket) || {
                    dropped.push(waiting.ticket);
                    false
                }
            });
        }
        for lane in [Priority::Urgent, Priority::Routine] {
            let (kept, gone): (VecDeque<Waiting>, VecDeque<Waiting>) =
                std::mem::take(self.lane(lane)).into_iter().partition(|waiting| keep(waiting.ticket));
            *self.lane(lane) = kept;
            for waiting in gone {
                dropped.push(waiting.ticket);
                self.release(waiting.key);
            }
        }
        dropped
    }
}

fn jiff_duration(duration: std::time::Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn waiting(ticket: usize, key: Option<u64>, lane: Priority) -> Waiting {
        Waiting { ticket, key, lane, produced: Timestamp::UNIX_EPOCH }
    }

    fn lanes_taken(dispatch: &mut Dispatch, now: Timestamp, n: usize) -> Vec<Priority> {
        (0..n).filter_map(|_| dispatch.take(now)).map(|waiting| waiting.lane).collect()
    }

    #[test]
    fn urgent_goes_four_to_one_and_in_turn_with_aged_routine() {
        use Priority::{Routine, Urgent};
        let mut dispatch = Dispatch::new(LaneShare { urgent_per_routine: 4, aging: Duration::from_mins(10) });
        for ticket in 0..20 {
            dispatch.push(waiting(ticket, None, Urgent));
            dispatch.push(waiting(ticket + 20, None, Routine));
        }
        let fresh = Timestamp::from_second(1).unwrap();
        let expected = [Urgent, Urgent, Urgent, Urgent, Routine, Urgent, Urgent, Urgent, Urgent, Routine];
        assert_eq!(lanes_taken(&mut dispatch, fresh, 10), expected);
        let aged = Timestamp::from_second(601).unwrap();
        assert_eq!(lanes_taken(&mut dispatch, aged, 4), [Urgent, Routine, Urgent, Routine]);
    }

    #[test]
    fn dropping_a_ready_record_lets_the_next_of_its_key_go() {
        let mut dispatch = Dispatch::new(LaneShare::default());
        for ticket in 0..3 {
            dispatch.push(waiting(ticket, Some(9), Priority::Routine));
        }
        assert_eq!(dispatch.retain(|ticket| ticket != 0), [0]);
        assert_eq!(dispatch.take(Timestamp::UNIX_EPOCH).map(|waiting| waiting.ticket), Some(1));
        assert_eq!(dispatch.take(Timestamp::UNIX_EPOCH), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_key_is_worked_on_once_at_a_time_and_in_order(
            keys in prop::collection::vec((0_u64..5, any::<bool>()), 1..80),
            releases in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        ) {
            let mut dispatch = Dispatch::new(LaneShare::default());
            for (ticket, (key, urgent)) in keys.iter().enumerate() {
                let lane = if *urgent { Priority::Urgent } else { Priority::Routine };
                dispatch.push(waiting(ticket, Some(*key), lane));
            }
            let mut working: Vec<Waiting> = Vec::new();
            let mut last: HashMap<u64, usize> = HashMap::new();
            let mut seen = 0;
            let mut releases = releases.into_iter();
            loop {
                while let Some(taken) = dispatch.take(Timestamp::UNIX_EPOCH) {
                    let key = taken.key.unwrap();
                    prop_assert!(working.iter().all(|other| other.key != taken.key));
                    prop_assert!(last.insert(key, taken.ticket).is_none_or(|before| before < taken.ticket));
                    working.push(taken);
                    seen += 1;
                }
                if working.is_empty() { break }
                let index = releases.next().map_or(0, |index| index.index(working.len()));
                let done = working.swap_remove(index);
                dispatch.release(done.key);
            }
            prop_assert_eq!(seen, keys.len());
        }
    }
}
