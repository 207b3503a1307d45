//! Whether pictures are prepared while the model works on others.
//!
//! ```text
//!   caller 1  ░░░░░███████░░░░░       ███████      ░ prepares: resizing, patches
//!   caller 2       ░░░░░       ███████░░░░░  …     █ the model: vision and prefill
//! ```
//! Two callers ask in turn about large pictures. Of all preparing, how much lies beside the model's work on the other's?

use std::{thread, time::Instant};

use glm46v::{Message, Part, Prompt, Request, RequestError, Role, Thinking};
use serde::Serialize;

use super::{
    ours::{Ours, how, seconds},
    questions::picture,
};
use crate::exit::Failure;

const CALLERS: u64 = 2;
const ASKINGS: u64 = 4;
/// Of a picture, in pixels: a video frame of an ultrasound machine, twice as wide and high.
const SIZE: (u32, u32) = (2048, 1536);
/// The share that is asked for. Each caller's first preparing has no model beside it.
const LEAST: f64 = 0.5;

/// What was seen.
#[derive(Debug, Serialize)]
pub(super) struct Overlap {
    /// Preparing, all askings.
    pub(super) prepare_seconds: f64,
    /// The model's work, all askings.
    pub(super) model_seconds: f64,
    /// From the first question to the last answer.
    pub(super) wall_seconds: f64,
    /// Of the preparing, what lay beside the model's work on another asking.
    pub(super) beside_seconds: f64,
}

impl Overlap {
    pub(super) const LEAST: f64 = LEAST;

    /// Of the preparing, beside the model.
    pub(super) fn share(&self) -> f64 {
        self.beside_seconds / self.prepare_seconds
    }

    pub(super) fn holds(&self) -> bool {
        self.share() >= LEAST
    }
}

/// When one asking was prepared, and when the model worked on it.
struct Times {
    prepare: (Instant, Instant),
    model: (Instant, Instant),
}

pub(super) fn measure(ours: &Ours<'_>) -> Result<Overlap, Failure> {
    let handle = ours.handle();
    let ask = |seed: u64| -> Result<Times, RequestError> {
        let content = vec![
            Part::Image(picture(seed, SIZE.0, SIZE.1)),
            Part::Text("What does the picture show?".to_owned()),
        ];
        let prompt =
            Prompt { messages: vec![Message { role: Role::User, content }], thinking: Thinking::Off };
        let request = Request::new(prompt, how(1));
        let begun = Instant::now();
        let pending = handle.submit(&request)?;
        let sent = Instant::now();
        let spent = pending.wait()?.timings;
        let ended = Instant::now();
        let model = spent.vision + spent.prefill + spent.decode;
        Ok(Times { prepare: (begun, sent), model: (ended.checked_sub(model).unwrap_or(sent), ended) })
    };
    let all = thread::scope(|scope| {
        let ask = &ask;
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                scope.spawn(move || {
                    (0..ASKINGS).map(|asking| ask(caller * ASKINGS + asking)).collect::<Result<Vec<_>, _>>()
                })
            })
            .collect();
        callers.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut times = Vec::new();
    for of_caller in all {
        times.extend(of_caller.map_err(|_| "a thread of the bench panicked")??);
    }
    Ok(overlap(&times))
}

fn overlap(times: &[Times]) -> Overlap {
    let total = |of: fn(&Times) -> (Instant, Instant)| -> f64 {
        times.iter().map(|one| seconds(of(one).0, of(one).1)).sum()
    };
    let mut beside = 0.0;
    for (i, one) in times.iter().enumerate() {
        // The model works on one after the other, so these do not overlap each other.
        let others = times.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, other)| other.model);
        let common = |(from, to): (Instant, Instant)| seconds(from.max(one.prepare.0), to.min(one.prepare.1));
        beside += others.map(common).sum::<f64>();
    }
    let first = times.iter().map(|one| one.prepare.0).min();
    let last = times.iter().map(|one| one.model.1).max();
    Overlap {
        prepare_seconds: total(|one| one.prepare),
        model_seconds: total(|one| one.model),
        wall_seconds: first.zip(last).map_or(0.0, |(first, last)| seconds(first, last)),
        beside_seconds: beside,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_preparing_beside_the_work_on_another_counts() {
        let zero = Instant::now();
        let at = |seconds: u64| zero + Duration::from_secs(seconds);
        let times = [
            Times { prepare: (at(0), at(2)), model: (at(2), at(6)) },
            // Half of it beside the first one's model, none beside its own.
            Times { prepare: (at(4), at(8)), model: (at(8), at(9)) },
        ];
        let seen = overlap(&times);
        assert_eq!(seen.prepare_seconds, 6.0);
        assert_eq!(seen.model_seconds, 5.0);
        assert_eq!(seen.wall_seconds, 9.0);
        assert_eq!(seen.beside_seconds, 2.0);
        assert!(!seen.holds());
    }
}
