//! Where a group stands; [`rebalance`](super::rebalance) draws the ways between.

use std::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    /// Waiting for members to join.
    Preparing {
        deadline: Instant,
    },
    /// Waiting for the leader's assignment.
    Completing {
        deadline: Instant,
    },
    Stable,
}

impl State {
    /// Kafka's name for it, as DescribeGroups gives it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Preparing { .. } => "PreparingRebalance",
            State::Completing { .. } => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}
