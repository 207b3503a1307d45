//! How a replay makes way for the live system. Decisions only: time and readings are passed in.

use std::time::{Duration, Instant};

/// At most so many studies a minute.
#[derive(Debug, Clone)]
pub struct Pace {
    every: Duration,
    next: Option<Instant>,
}

impl Pace {
    /// `rate` studies a minute; none for as fast as it goes.
    pub fn new(rate: Option<u32>) -> Self {
        let every = rate.filter(|rate| *rate > 0).map(|rate| Duration::from_mins(1) / rate);
        Self { every: every.unwrap_or(Duration::ZERO), next: None }
    }

    /// How long the next study has to wait. Called once for each study; a slow one earns the next one nothing.
    pub fn wait(&mut self, now: Instant) -> Duration {
        let begins = self.next.unwrap_or(now).max(now);
        self.next = Some(begins + self.every);
        begins.saturating_duration_since(now)
    }
}

/// What to do before the next study.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    /// Go on.
    Free,
    /// The live system is behind: wait.
    Blocked,
    /// It has been for too long: end the run.
    GiveUp {
        /// For so long.
        waited: Duration,
    },
}

/// Steps aside while the live system is behind its objective, and gives up after a while.
#[derive(Debug, Clone)]
pub struct Yielding {
    objective: Duration,
    give_up_after: Duration,
    since: Option<Instant>,
}

impl Yielding {
    /// Waits while the oldest unprocessed record is older than `objective`, for at most `give_up_after` on end.
    pub fn new(objective: Duration, give_up_after: Duration) -> Self {
        Self { objective, give_up_after, since: None }
    }

    /// What to do now. `oldest` is the oldest age of any stage in the live system: none where it could not be told, which
    /// counts as behind.
    pub fn look(&mut self, oldest: Option<Duration>, now: Instant) -> Way {
        if oldest.is_some_and(|oldest| oldest <= self.objective) {
            self.since = None;
            return Way::Free;
        }
        let waited = now.saturating_duration_since(*self.since.get_or_insert(now));
        if waited >= self.give_up_after { Way::GiveUp { waited } } else { Way::Blocked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn studies_begin_no_faster_than_the_rate_and_none_catches_up() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(Some(6));
        assert_eq!(pace.wait(start), Duration::ZERO);
        assert_eq!(pace.wait(after(1)), Duration::from_secs(9));
        assert_eq!(pace.wait(after(45)), Duration::ZERO, "late already");
        assert_eq!(pace.wait(after(46)), Duration::from_secs(9), "what was late is not made up for");
        let mut free = Pace::new(None);
        assert_eq!((free.wait(start), free.wait(start)), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn it_makes_way_while_the_live_system_is_behind_and_gives_up_in_the_end() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let age = |seconds| Some(Duration::from_secs(seconds));
        let mut yielding = Yielding::new(Duration::from_mins(2), Duration::from_mins(1));
        assert_eq!(yielding.look(age(0), start), Way::Free);
        assert_eq!(yielding.look(age(120), start), Way::Free);
        assert_eq!(yielding.look(age(121), after(1)), Way::Blocked);
        assert_eq!(yielding.look(None, after(50)), Way::Blocked, "not to know is not to be free");
        assert_eq!(yielding.look(age(3), after(55)), Way::Free);
        assert_eq!(yielding.look(None, after(60)), Way::Blocked, "waiting is counted anew");
        assert_eq!(yielding.look(age(500), after(119)), Way::Blocked);
        let waited = Duration::from_mins(1);
        assert_eq!(yielding.look(age(500), after(120)), Way::GiveUp { waited });
    }
}
