//! Notices a consumer that gets nothing although records wait.
//!
//! Seen in the field: an assigned consumer stops fetching after a leader change or a client bug, keeps its heartbeat
//! and holds its partitions for ever. Lag alone cannot tell this from slow work; a position that does not move while
//! nothing is paused can.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Watchdog {
    patience: Duration,
    quiet_since: Instant,
}

impl Watchdog {
    pub(crate) fn new(patience: Duration, now: Instant) -> Self {
        Self { patience, quiet_since: now }
    }

    /// A record came, or none could: nothing is assigned, or everything is paused.
    pub(crate) fn pet(&mut self, now: Instant) {
        self.quiet_since = now;
    }

    /// Whether it is time to ask the broker if records wait. Once for each stretch of silence as long as the patience.
    pub(crate) fn suspects(&mut self, now: Instant) -> bool {
        let suspicious = now.saturating_duration_since(self.quiet_since) >= self.patience;
        if suspicious {
            self.quiet_since = now;
        }
        suspicious
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_only_after_its_patience_without_a_record() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watchdog = Watchdog::new(Duration::from_secs(30), start);
        assert!(!watchdog.suspects(at(29)));
        watchdog.pet(at(29));
        assert!(!watchdog.suspects(at(58)));
        assert!(watchdog.suspects(at(59)));
        assert!(!watchdog.suspects(at(60)), "asked already");
        assert!(watchdog.suspects(at(89)));
    }
}
