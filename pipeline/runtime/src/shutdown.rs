//! Asking a run to stop, in two phases.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// How far a stop has been asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not at all.
    Running,
    /// Take nothing new, finish what is being worked on, commit, leave.
    Draining,
    /// Leave at once. What is not committed is done again by whoever comes next.
    Aborting,
}

/// A token shared by whoever may stop a run and the runs to be stopped. It only moves forward.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(Arc<AtomicU8>);

impl Shutdown {
    /// A token of a process that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every run to drain. Nothing happens if it was asked to abort before.
    pub fn drain(&self) {
        self.0.fetch_max(Phase::Draining as u8, Ordering::SeqCst);
    }

    /// Asks every run to leave at once.
    pub fn abort(&self) {
        self.0.fetch_max(Phase::Aborting as u8, Ordering::SeqCst);
    }

    /// How far a stop has been asked for.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::SeqCst) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Aborting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_only_move_forward_for_every_holder() {
        let shutdown = Shutdown::new();
        let other = shutdown.clone();
        assert_eq!(other.phase(), Phase::Running);
        shutdown.drain();
        assert_eq!(other.phase(), Phase::Draining);
        other.abort();
        shutdown.drain();
        assert_eq!(shutdown.phase(), Phase::Aborting);
    }
}
