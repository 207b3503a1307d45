//! Whether a server is asked at all. Time is passed in.

use std::time::{Duration, Instant};

/// Open after failures in a row, until one request after a pause succeeds.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Whether a request may go out: closed, or one try after the pause.
    pub(super) fn admits(&mut self, now: Instant, pause: Duration) -> bool {
        match self.open_until {
            Some(until) if now < until => false,
            Some(_) => {
                // One request tries; until it has ended, the others wait another pause.
                self.open_until = Some(now + pause);
                true
            }
            None => true,
        }
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    pub(super) fn failed(&mut self, now: Instant, most: u32, pause: Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= most.max(1) {
            self.open_until = Some(now + pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaker_opens_after_failures_in_a_row_and_lets_one_try_after_its_pause() {
        let (start, pause) = (Instant::now(), Duration::from_secs(10));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::default();
        breaker.failed(at(0), 2, pause);
        breaker.succeeded();
        breaker.failed(at(1), 2, pause);
        assert!(breaker.admits(at(1), pause));
        breaker.failed(at(2), 2, pause);
        assert!(!breaker.admits(at(11), pause));
        assert!(breaker.admits(at(12), pause), "one tries");
        assert!(!breaker.admits(at(13), pause), "the others wait for it");
        breaker.succeeded();
        assert!(breaker.admits(at(13), pause));
    }
}
