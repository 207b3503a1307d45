//! Which offset may be committed: the end of the contiguous completed prefix of each partition.
//!
//! ```text
//!   received   40 41 42 43 44 45        many in flight, completed in any order
//!   completed  ██ ██ ·· ██ ·· ··        committed: 42, the first that is not complete
//! ```
//! Invariants:
//! - An offset is never committed while one received before it is not complete.
//! - Nothing of an assignment that was revoked counts any more: its records are stale, whenever they complete.
//!
//! An *epoch* numbers the assignments of the consumer, rising. A record carries the epoch it was received in; a
//! partition revoked at epoch `e` makes every record of it with an epoch up to `e` stale.

use std::collections::{HashMap, VecDeque};

use crate::record::Partition;

/// An offset to be committed: the next one to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) partition: Partition,
    /// Epoch of the last record below `next`; the poller drops the commit if the partition was revoked since.
    pub(crate) epoch: u64,
    pub(crate) next: i64,
}

/// Whether a record may be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipt {
    Fresh,
    /// Of a revoked assignment, or received before.
    Stale,
}

#[derive(Debug, Default)]
struct Progress {
    /// Offsets received and not yet below the prefix, rising, with whether they are complete.
    window: VecDeque<(i64, bool)>,
    last_received: Option<i64>,
    epoch: u64,
    next: Option<i64>,
    committed: Option<i64>,
}

/// Progress of every partition of a run.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    partitions: HashMap<Partition, Progress>,
    revoked: HashMap<Partition, u64>,
}

impl Offsets {
    /// Whether a record of this partition and epoch belongs to a revoked assignment.
    pub(crate) fn is_stale(&self, partition: Partition, epoch: u64) -> bool {
        self.revoked.get(&partition).is_some_and(|revoked| epoch <= *revoked)
    }

    /// Notes a received record.
    pub(crate) fn receive(&mut self, partition: Partition, epoch: u64, offset: i64) -> Receipt {
        if self.is_stale(partition, epoch) {
            return Receipt::Stale;
        }
        let progress = self.partitions.entry(partition).or_default();
        if progress.last_received.is_some_and(|last| offset <= last) {
            return Receipt::Stale;
        }
        progress.last_received = Some(offset);
        progress.epoch = epoch;
        progress.window.push_back((offset, false));
        Receipt::Fresh
    }

    /// Notes that everything a record asked for is done. A stale one changes nothing.
    pub(crate) fn complete(&mut self, partition: Partition, epoch: u64, offset: i64) {
        if self.is_stale(partition, epoch) {
            return;
        }
        let Some(progress) = self.partitions.get_mut(&partition) else { return };
        let Ok(index) = progress.window.binary_search_by_key(&offset, |(offset, _)| *offset) else { return };
        if let Some((_, complete)) = progress.window.get_mut(index) {
            *complete = true;
        }
        while let Some((offset, true)) = progress.window.front().copied() {
            progress.next = Some(offset + 1);
            progress.window.pop_front();
        }
    }

    /// Forgets a partition and everything received of it up to `epoch`; returns what may still be committed.
    pub(crate) fn revoke(&mut self, partition: Partition, epoch: u64) -> Option<Commit> {
        let revoked = self.revoked.entry(partition).or_default();
        *revoked = epoch.max(*revoked);
        let progress = self.partitions.remove(&partition)?;
        progress.commit(partition)
    }

    /// What moved since the last call, marked as committed.
    pub(crate) fn take_commits(&mut self) -> Vec<Commit> {
        let mut commits = Vec::new();
        for (partition, progress) in &mut self.partitions {
            if let Some(commit) = progress.commit(*partition) {
                progress.committed = progress.next;
                commits.push(commit);
            }
        }
        commits
    }

    /// A commit did not reach the broker: the same offset is handed out again.
    pub(crate) fn commit_failed(&mut self, partition: Partition) {
        if let Some(progress) = self.partitions.get_mut(&partition) {
            progress.committed = None;
        }
    }
}

impl Progress {
    fn commit(&self, partition: Partition) -> Option<Commit> {
        let next = self.next.filter(|next| Some(*next) != self.committed)?;
        Some(Commit { partition, epoch: self.epoch, next })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const P: Partition = Partition { input: 0, number: 3 };

    fn next(offsets: &mut Offsets) -> Option<i64> {
        offsets.take_commits().first().map(|commit| commit.next)
    }

    #[test]
    fn a_revoked_assignment_never_moves_the_next_one() {
        let mut offsets = Offsets::default();
        for offset in 10..13 {
            assert_eq!(offsets.receive(P, 1, offset), Receipt::Fresh);
        }
        offsets.complete(P, 1, 10);
        assert_eq!(offsets.revoke(P, 1), Some(Commit { partition: P, epoch: 1, next: 11 }));
        assert_eq!(
            offsets.receive(P, 1, 13),
            Receipt::Stale,
            "still on its way when the partition was revoked"
        );
        assert_eq!(offsets.receive(P, 2, 11), Receipt::Fresh);
        offsets.complete(P, 1, 11);
        assert_eq!(next(&mut offsets), None, "the old epoch's work does not complete the new epoch's record");
        offsets.complete(P, 2, 11);
        assert_eq!(next(&mut offsets), Some(12));
    }

    #[test]
    fn a_failed_commit_is_handed_out_again() {
        let mut offsets = Offsets::default();
        offsets.receive(P, 1, 0);
        offsets.complete(P, 1, 0);
        assert_eq!(next(&mut offsets), Some(1));
        assert_eq!(next(&mut offsets), None);
        offsets.commit_failed(P);
        assert_eq!(next(&mut offsets), Some(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Model: the set of offsets received and not complete. Offsets may have gaps, as in a compacted topic.
        #[test]
        fn commits_exactly_the_contiguous_completed_prefix(
            gaps in prop::collection::vec(1_i64..4, 1..60),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
        ) {
            let mut offsets = Offsets::default();
            let received: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            for offset in &received {
                prop_assert_eq!(offsets.receive(P, 7, *offset), Receipt::Fresh);
                prop_assert_eq!(offsets.receive(P, 7, *offset), Receipt::Stale);
            }
            let mut open: BTreeSet<i64> = received.iter().copied().collect();
            let mut committed = None;
            for index in order {
                let offset = *index.get(&received);
                offsets.complete(P, 7, offset);
                open.remove(&offset);
                committed = next(&mut offsets).or(committed);
                let expected = received.iter().take_while(|offset| !open.contains(offset)).last().map(|last| last + 1);
                prop_assert_eq!(committed, expected);
            }
        }
    }
}
