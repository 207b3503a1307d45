//! When a backlog will be gone: from what was done and what arrived of late.
//!
//! ```text
//!            ┌─ nothing waits ─▶ Empty
//!   lag now ─┤
//!            ├─ no record done for much longer than one takes ─▶ NotDraining
//!            ├─ it grows beyond what chance explains ──────────▶ NotDraining
//!            └─ else  lag / (rate done − rate arriving)
//! ```
//!
//! Both rates must be as young as possible and yet rest on enough records:
//! - *Done*: over the shortest stretch back from now that holds [`ENOUGH`] records, so the error is about the same whether
//!   a stage does a hundred a second or four a minute. A stretch never reaches back over an idle time or a standstill,
//!   when the rate said nothing about what the stage can do.
//! - *Arriving*: over the last minute, or as many more as a thin stream takes to be told from chance, a burst in it cut
//!   down to what chance explains: studies of a morning arrive in heaps, and a heap that has arrived is backlog and no
//!   stream.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Records from which a rate is told: with exponential service times the error is one in eight.
const ENOUGH: i64 = 60;
/// What is older is forgotten.
const SPAN: Duration = Duration::from_mins(10);
/// The shortest stretch that tells a rate.
const SHORTEST: Duration = Duration::from_secs(5);
/// How far back arrivals count: at least and at most, and where so many looks with an arrival are enough.
const ARRIVALS: Duration = Duration::from_mins(1);
const THIN_ARRIVALS: Duration = Duration::from_mins(5);
const LOOKS: usize = 20;
/// How far back growth counts.
const GROWTH: Duration = Duration::from_secs(10);
/// A standstill: no record for so long, and for so many times the usual distance between two.
const STANDSTILL: Duration = Duration::from_secs(8);
const USUAL: f64 = 4.0;
/// Without any record there is no usual distance; a model on a CPU may take minutes for the first.
const NEVER_DONE: Duration = Duration::from_mins(2);
/// A backlog that is worked through in so short a time, though as many arrive, is that of a stage that keeps up.
const KEEPS_UP: Duration = Duration::from_secs(10);

/// When a backlog will be gone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DrainEta {
    /// There is none.
    Empty,
    /// After so long, if it goes on as of late.
    In(Duration),
    /// It does not shrink.
    NotDraining,
    /// Too little was observed.
    Unknown,
}

/// One look at a topic: records of all partitions together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Records the group has done, ever.
    pub(crate) done: i64,
    /// Records there are, ever. The difference is the lag.
    pub(crate) end: i64,
}

impl Progress {
    fn lag(self) -> i64 {
        self.end - self.done
    }
}

/// What was seen of one group on one topic. Time comes in.
#[derive(Debug, Default)]
pub(crate) struct DrainWindow {
    points: VecDeque<(Instant, Progress)>,
    /// When the present stretch of work began: the first look with a backlog after an idle time or a standstill.
    begun: Option<Instant>,
    /// The first look at the present number of records done.
    moved: Option<Instant>,
    standing: bool,
}

impl DrainWindow {
    /// Takes one look in.
    pub(crate) fn observe(&mut self, now: Instant, progress: Progress) {
        let last = self.points.back().copied();
        if last.is_some_and(|(_, last)| progress.done < last.done || progress.end < last.end) {
            // Offsets went back: another topic of the same name, or a group that was reset.
            *self = Self::default();
        }
        let advanced = last.is_none_or(|(_, last)| progress.done > last.done);
        if advanced {
            if self.standing {
                // Some of the time before this look still belongs to the standstill.
                self.begun = Some(now);
            }
            (self.moved, self.standing) = (Some(now), false);
        }
        if progress.lag() <= 0 {
            self.begun = None;
        } else if self.begun.is_none() {
            self.begun = Some(now);
        }
        self.points.push_back((now, progress));
        while self.points.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > SPAN) {
            self.points.pop_front();
        }
        if !advanced && progress.lag() > 0 {
            self.standing = self.standing || self.stands(now);
        }
    }

    /// Whether nothing was done for much longer than a record takes.
    fn stands(&self, now: Instant) -> bool {
        // Waiting for work is no standstill.
        let (Some(begun), Some(moved)) = (self.begun, self.moved) else { return false };
        let still = now.saturating_duration_since(begun.max(moved));
        match self.rate_done() {
            Some(rate) if rate > 0.0 => still >= STANDSTILL && still.as_secs_f64() * rate >= USUAL,
            _ => still >= NEVER_DONE,
        }
    }

    /// Records done a second over the shortest stretch that tells it, up to the last one done.
    fn rate_done(&self) -> Option<f64> {
        let (begun, moved) = (self.begun?, self.moved?);
        let mut stretch = self.points.iter().rev().filter(|(at, _)| *at >= begun && *at <= moved);
        let (until, last) = *stretch.next()?;
        let mut rate = None;
        for (at, progress) in stretch {
            let (span, done) = (until.saturating_duration_since(*at), last.done - progress.done);
            if done > 0 {
                rate = Some(done as f64 / span.as_secs_f64());
            }
            if done >= ENOUGH && span >= SHORTEST {
                break;
            }
        }
        rate
    }

    /// Records arriving a second of late, bursts cut down.
    fn rate_arriving(&self) -> f64 {
        let Some((now, _)) = self.points.back().copied() else { return 0.0 };
        let mut looks: Vec<(f64, f64)> = Vec::new();
        let mut with_arrivals = 0;
        let pairs = self.points.iter().zip(self.points.iter().skip(1)).rev();
        for ((at, before), (then, after)) in pairs {
            let ago = now.saturating_duration_since(*at);
            if ago > THIN_ARRIVALS || (ago > ARRIVALS && with_arrivals >= LOOKS) {
                break;
            }
            let (arrived, seconds) =
                (after.end - before.end, then.saturating_duration_since(*at).as_secs_f64());
            with_arrivals += usize::from(arrived > 0);
            looks.extend((seconds > 0.0).then_some((arrived as f64, seconds)));
        }
        let mut rates: Vec<f64> = looks.iter().map(|(records, seconds)| records / seconds).collect();
        rates.sort_by(f64::total_cmp);
        let Some(usual) = rates.get(rates.len() / 2) else { return 0.0 };
        let (mut records, mut all) = (0.0, 0.0);
        for (arrived, seconds) in looks {
            // Three deviations of a Poisson count above the median, and always one record.
            let expected = usual * seconds;
            records += arrived.min(expected + 3.0 * expected.sqrt() + 1.0);
            all += seconds;
        }
        records / all
    }

    /// Whether the backlog grew of late beyond what chance explains: two deviations of the counts.
    fn grows(&self) -> bool {
        let Some((now, last)) = self.points.back().copied() else { return false };
        let before = self.points.iter().find(|(at, _)| now.saturating_duration_since(*at) <= GROWTH);
        let Some((_, first)) = before.copied() else { return false };
        let (arrived, done) = (last.end - first.end, last.done - first.done);
        (arrived - done) as f64 > 2.0 * ((arrived + done) as f64).sqrt()
    }

    /// When the last lag seen will be gone.
    pub(crate) fn eta(&self) -> DrainEta {
        let Some((now, last)) = self.points.back().copied() else { return DrainEta::Unknown };
        if last.lag() <= 0 {
            return DrainEta::Empty;
        }
        if self.standing {
            return DrainEta::NotDraining;
        }
        let seen = self.begun.map_or(Duration::ZERO, |begun| now.saturating_duration_since(begun));
        let Some(done) = self.rate_done().filter(|_| seen >= SHORTEST) else { return DrainEta::Unknown };
        let turnover = last.lag() as f64 / done;
        if turnover > KEEPS_UP.as_secs_f64() && self.grows() {
            return DrainEta::NotDraining;
        }
        let net = done - self.rate_arriving();
        let seconds = if net > 0.0 {
            last.lag() as f64 / net
        } else if turnover <= KEEPS_UP.as_secs_f64() {
            turnover
        } else {
            return DrainEta::NotDraining;
        };
        Duration::try_from_secs_f64(seconds).map_or(DrainEta::NotDraining, DrainEta::In)
    }

    /// Records done a second over the last ten seconds.
    pub(crate) fn rate_per_s(&self) -> f64 {
        let Some((now, last)) = self.points.back().copied() else { return 0.0 };
        let before = self.points.iter().find(|(at, _)| now.saturating_duration_since(*at) <= GROWTH);
        let Some((at, first)) = before.copied() else { return 0.0 };
        let span = now.saturating_duration_since(at).as_secs_f64();
        if span > 0.0 { (last.done - first.done) as f64 / span } else { 0.0 }
    }
}

#[cfg(test)]
mod tests;
