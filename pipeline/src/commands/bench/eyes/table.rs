//! What was measured on both sides, against what is asked for, as text and as JSON.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use keyframes::Trace;
use schemas::{GatedInstance, KeyframeKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{Measured, machine::Machine, median},
    LEAST_RATIO,
};

/// Bytes that a worker may hold.
const MOST_BYTES: u64 = 100_000_000;
/// How far both sides may differ: in the re-blur metric, in share of the Laplacian's variance, in frames of an event.
const BLUR_WITHIN: f64 = 0.05;
const LAPLACIAN_WITHIN: f64 = 0.10;
const FRAMES_WITHIN: f64 = 1.0;

/// One way in which Python does a work.
#[derive(Debug)]
pub(super) struct Rival {
    /// Its name; empty if there is only one.
    pub(super) by: String,
    /// Whether the ratio that is asked for is the one to it.
    counts: bool,
    /// Of each run.
    pub(super) seconds: Vec<f64>,
}

/// How `eyes.py` calls decoding that leaves pydicom out: shown, because it is what a tuned pipeline would do, but the
/// ratio that is asked for is the one to pydicom.
const BESIDE_PYDICOM: &str = "OpenCV on pydicom's fragments";

impl Rival {
    /// Before its first run.
    pub(super) fn new(by: &str) -> Self {
        Self { by: by.to_owned(), counts: by != BESIDE_PYDICOM, seconds: Vec::new() }
    }
}

/// One work, done by both.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// What the times are of.
    pub(super) part: String,
    /// Asked of the ratio; none where it is only shown.
    pub(super) least: Option<f64>,
    /// Ours, of each run.
    pub(super) seconds: Vec<f64>,
    pub(super) rivals: Vec<Rival>,
}

impl Row {
    /// The median of the fastest rival that counts, over ours.
    fn ratio(&self) -> f64 {
        let theirs = self.rivals.iter().filter(|rival| rival.counts).map(|rival| median(&rival.seconds));
        theirs.fold(f64::INFINITY, f64::min) / median(&self.seconds)
    }

    fn holds(&self) -> bool {
        self.least.is_none_or(|least| self.ratio() >= least)
    }
}

/// Bytes that a decode worker held at most.
#[derive(Debug, Serialize)]
pub(super) struct Footprint {
    /// For what.
    pub(super) of: String,
    pub(super) bytes: u64,
}

/// What both sides said of the loop: ours first.
#[derive(Debug, Serialize)]
pub(super) struct Answers {
    blur: [f64; 2],
    laplacian_variance: [f64; 2],
    /// Ends of diastole and systole that each found.
    events: [usize; 2],
    /// Most frames from one of theirs to the nearest of ours of its kind.
    frames_apart: f64,
}

/// What `eyes.py` finds in the loop, as far as it is compared.
#[derive(Deserialize)]
struct Found {
    blur: f64,
    laplacian_variance: f64,
    ed: Vec<f64>,
    es: Vec<f64>,
}

impl Answers {
    /// Ours beside what Python found.
    pub(super) fn of(
        instance: &GatedInstance,
        trace: &Trace,
        found: Value,
    ) -> Result<Self, serde_json::Error> {
        let found: Found = serde_json::from_value(found)?;
        let value = |name: &str| {
            let check = instance.checks.iter().find(|check| check.name == name);
            check.and_then(|check| check.value).unwrap_or(f64::NAN)
        };
        let apart = |kind: KeyframeKind, theirs: &[f64]| {
            let ours = || trace.marks.iter().filter(move |mark| mark.kind == kind);
            let nearest = |at: f64| ours().map(|mark| (mark.frame - at).abs()).fold(f64::INFINITY, f64::min);
            theirs.iter().map(|at| nearest(*at)).fold(0.0, f64::max)
        };
        Ok(Self {
            blur: [value("blur"), found.blur],
            laplacian_variance: [value("laplacian_variance"), found.laplacian_variance],
            events: [trace.marks.len(), found.ed.len() + found.es.len()],
            frames_apart: apart(KeyframeKind::ED, &found.ed).max(apart(KeyframeKind::ES, &found.es)),
        })
    }

    /// Whether the two sides did the same work.
    fn agree(&self) -> bool {
        let ([blur, their_blur], [laplacian, their_laplacian]) = (self.blur, self.laplacian_variance);
        (blur - their_blur).abs() <= BLUR_WITHIN
            && (laplacian / their_laplacian - 1.0).abs() <= LAPLACIAN_WITHIN
            && self.events[0] > 0
            && self.events[0] == self.events[1]
            && self.frames_apart <= FRAMES_WITHIN
    }
}

/// One run of the bench.
#[derive(Debug)]
pub(super) struct Table {
    /// How to get it again.
    pub(super) command: String,
    /// Of the checkout it was run in; none outside of one.
    pub(super) commit: Option<String>,
    pub(super) date: Timestamp,
    pub(super) seed: u64,
    pub(super) runs: usize,
    pub(super) machine: Machine,
    /// Versions on the other side.
    pub(super) packages: BTreeMap<String, String>,
    pub(super) rows: Vec<Row>,
    pub(super) answers: Answers,
    pub(super) footprints: Vec<Footprint>,
}

impl Measured for Table {
    fn targets_hold(&self) -> bool {
        self.rows.iter().all(Row::holds) && self.answers.agree() && self.are_small()
    }
}

impl Table {
    fn are_small(&self) -> bool {
        self.footprints.iter().all(|footprint| footprint.bytes < MOST_BYTES)
    }
}

fn build() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

impl Serialize for Table {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rival =
            |rival: &Rival| json!({ "by": rival.by, "counts": rival.counts, "seconds": rival.seconds });
        let row = |row: &Row| {
            json!({
                "work": row.name,
                "of": row.part,
                "seconds": row.seconds,
                "rivals": row.rivals.iter().map(rival).collect::<Vec<_>>(),
                "ratio": row.ratio(),
                "asked": row.least,
                "holds": row.holds(),
            })
        };
        json!({
            "command": self.command,
            "version": env!("CARGO_PKG_VERSION"),
            "commit": self.commit,
            "date": self.date,
            "build": build(),
            "machine": self.machine,
            "packages": self.packages,
            "seed": self.seed,
            "runs": self.runs,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "answers": self.answers,
            "answers_agree": self.answers.agree(),
            "memory": self.footprints,
            "memory_asked_below": MOST_BYTES,
        })
        .serialize(serializer)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = self.commit.as_deref().unwrap_or("unknown");
        writeln!(f, "{}", self.command)?;
        writeln!(f, "{} {} build, commit {commit}, {}", env!("CARGO_PKG_VERSION"), build(), self.date)?;
        writeln!(f, "{}; seed {}, median of {} runs, one thread", self.machine, self.seed, self.runs)?;
        let packages: Vec<String> =
            self.packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
        writeln!(f, "beside: {}\n", packages.join(", "))?;
        writeln!(
            f,
            "{:<30} {:<20} {:>8} {:>10} {:>7}  theirs by",
            "processor ms", "of", "ours", "theirs", "ratio"
        )?;
        for row in &self.rows {
            let ours = 1e3 * median(&row.seconds);
            let (mut name, mut part, mut shown) = (row.name, row.part.as_str(), format!("{ours:.2}"));
            for Rival { by, counts, seconds } in &row.rivals {
                let theirs = 1e3 * median(seconds);
                let ratio = theirs / ours;
                writeln!(
                    f,
                    "{name:<30} {part:<20} {shown:>8} {theirs:>10.2} {ratio:>7.1}  {by}{}",
                    if *counts { "" } else { ", not counted" }
                )?;
                (name, part) = ("", "");
                shown.clear();
            }
        }
        writeln!(f, "\n{:<30} {:>8}", "worker holds at most", "MB")?;
        for Footprint { of, bytes } in &self.footprints {
            writeln!(f, "{of:<30} {:>8.1}", *bytes as f64 / 1e6)?;
        }
        let Answers { blur, laplacian_variance, events, frames_apart } = &self.answers;
        writeln!(f, "\n{:<30} {:>8} {:>10}", "answers", "ours", "theirs")?;
        writeln!(f, "{:<30} {:>8.3} {:>10.3}", "blur", blur[0], blur[1])?;
        writeln!(
            f,
            "{:<30} {:>8.0} {:>10.0}",
            "laplacian variance", laplacian_variance[0], laplacian_variance[1]
        )?;
        writeln!(
            f,
            "{:<30} {:>8} {:>10}  at most {frames_apart:.2} frames apart",
            "ED and ES", events[0], events[1]
        )?;
        let word = |holds: bool| if holds { "holds" } else { "MISSED" };
        writeln!(f)?;
        for row in self.rows.iter().filter(|row| row.least.is_some()) {
            let ratio = row.ratio();
            writeln!(
                f,
                "{:<6} {}: the fastest of them over ours, at least {LEAST_RATIO:.0}: {ratio:.1}",
                word(row.holds()),
                row.name
            )?;
        }
        writeln!(
            f,
            "{:<6} a decode worker holds less than {} MB",
            word(self.are_small()),
            MOST_BYTES / 1_000_000
        )?;
        writeln!(f, "{:<6} both sides come to the same answers", word(self.answers.agree()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, theirs: &[f64]) -> Row {
        let rivals = theirs.iter().map(|seconds| Rival { seconds: vec![*seconds; 3], ..Rival::new("") });
        Row {
            name: "work",
            part: String::new(),
            least: Some(LEAST_RATIO),
            seconds: vec![ours, 9.0, ours],
            rivals: rivals.collect(),
        }
    }

    #[test]
    fn the_fastest_rival_counts_and_one_slow_run_does_not() {
        assert_eq!(row(1.0, &[7.0, 4.0, 5.0]).ratio(), 4.0);
        assert!(row(1.0, &[9.0, 3.0]).holds());
        assert!(!row(1.0, &[9.0, 2.9]).holds());
        let mut shown = row(1.0, &[4.0]);
        shown.rivals.push(Rival { seconds: vec![1.0], ..Rival::new(BESIDE_PYDICOM) });
        assert_eq!(shown.ratio(), 4.0);
    }

    #[test]
    fn sides_that_found_different_events_do_not_agree() {
        let same = || Answers {
            blur: [0.30, 0.31],
            laplacian_variance: [1000.0, 1050.0],
            events: [4, 4],
            frames_apart: 0.4,
        };
        assert!(same().agree());
        assert!(!Answers { events: [4, 3], ..same() }.agree());
        assert!(!Answers { events: [0, 0], ..same() }.agree());
        assert!(!Answers { frames_apart: f64::INFINITY, ..same() }.agree());
        assert!(!Answers { blur: [f64::NAN, 0.31], ..same() }.agree());
        assert!(!Answers { laplacian_variance: [1000.0, 1200.0], ..same() }.agree());
    }
}
