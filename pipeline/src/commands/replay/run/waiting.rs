//! Waiting for what is down, and not for ever.

use std::{
    thread,
    time::{Duration, Instant},
};

use console::site::Status;

use super::say;
use crate::{
    api_client::{ApiClient, ApiError},
    exit::Failure,
};

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

/// Waits longer and longer, and gives up in the end.
pub(super) struct Patience {
    most: Duration,
    next: Duration,
    since: Option<Instant>,
}

impl Patience {
    /// Gives up when it has waited for `most`.
    pub(super) fn new(most: Duration) -> Self {
        Self { most, next: FIRST, since: None }
    }

    /// Waits once more because of `why`.
    ///
    /// # Errors
    /// `why`, when it was waited for long enough.
    pub(super) fn wait(&mut self, why: &str) -> Result<(), Failure> {
        let now = Instant::now();
        let since = *self.since.get_or_insert_with(|| {
            say(&format!("waiting: {why}"));
            now
        });
        if now.saturating_duration_since(since) >= self.most {
            return Err(Failure::from(format!("{why}, for {}s (replay.give_up_after)", self.most.as_secs())));
        }
        thread::sleep(self.next);
        self.next = (self.next * 2).min(LONGEST);
        Ok(())
    }
}

/// Tells the running system `what` until it has heard it. A refusal is an answer.
pub(super) fn insist<T>(
    most: Duration,
    what: &str,
    mut tell: impl FnMut() -> Result<T, ApiError>,
) -> Result<T, Failure> {
    let mut patience = Patience::new(most);
    loop {
        match tell() {
            Err(error @ (ApiError::Unreachable { .. } | ApiError::Refused { status: 500.., .. })) => {
                patience.wait(&format!("{what} cannot be told: {error}"))?;
            }
            answer => return Ok(answer?),
        }
    }
}

/// The oldest age of any live stage; none where it is not known.
pub(super) fn oldest(api: &ApiClient) -> Option<Duration> {
    oldest_of(&api.status().ok()?)
}

fn oldest_of(status: &Status) -> Option<Duration> {
    if status.stages.is_empty() {
        return None;
    }
    let ages = status.stages.iter().map(|stage| match stage.oldest_age_s {
        Some(age) => Duration::try_from_secs_f64(age).ok(),
        None if stage.lag_records == 0 => Some(Duration::ZERO),
        None => None,
    });
    ages.collect::<Option<Vec<Duration>>>()?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use console::site::{Drain, StageStatus, StateCounts};
    use jiff::Timestamp;

    use super::*;

    fn status(stages: &[(i64, Option<f64>)]) -> Status {
        let stage = |(lag_records, oldest_age_s): &(i64, Option<f64>)| StageStatus {
            stage: "a".to_owned(),
            topic: "t".to_owned(),
            lag_records: *lag_records,
            oldest_age_s: *oldest_age_s,
            drain_eta_s: None,
            drain: Drain::Unknown,
            rate_per_s: 0.0,
            in_flight: 0,
            busy_ratio: 0.0,
            backpressured_ratio: 0.0,
            paused: None,
            errors: 0,
        };
        Status {
            at: Timestamp::UNIX_EPOCH,
            studies: StateCounts::default(),
            spooled: 0,
            stages: stages.iter().map(stage).collect(),
        }
    }

    #[test]
    fn the_oldest_age_of_all_stages_counts_and_what_is_not_known_is_not_zero() {
        let age = |stages: &[_]| oldest_of(&status(stages));
        assert_eq!(age(&[(0, None), (3, Some(12.5)), (1, Some(2.0))]), Some(Duration::from_millis(12_500)));
        assert_eq!(age(&[(0, None)]), Some(Duration::ZERO));
        assert_eq!(age(&[]), None, "no picture of the backlog is no permission");
        assert_eq!(age(&[(0, None), (3, None)]), None, "lag of unknown age");
    }

    #[test]
    fn a_refusal_is_an_answer_and_an_outage_has_an_end() {
        let refused = |status| ApiError::Refused { url: "u".to_owned(), status, message: "no".to_owned() };
        let mut calls = 0;
        let mut told = |status, works: u32| {
            calls = 0;
            let answer = insist(Duration::ZERO, "a row", || {
                calls += 1;
                if calls > works { Err(refused(status)) } else { Ok(()) }
            });
            (answer.is_ok(), calls)
        };
        assert_eq!(told(422, 0), (false, 1));
        assert_eq!(told(503, 0), (false, 1), "no patience at all");
        assert_eq!(told(422, 1), (true, 1));
    }
}
