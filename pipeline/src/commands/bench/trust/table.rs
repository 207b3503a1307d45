//! What was measured, against what is asked for, as text and as JSON.

use std::fmt;

use schemas::ModelIdentity;
use serde::Serialize;
use serde_json::json;

use super::{
    super::{Measured, machine::Machine},
    score::{
        COVERAGE, LEAST_DECLINED, LEAST_STUDIES, LEAST_UNTRAINED_DECLINED, LEAST_VIEWS, MOST_ERROR, Row,
        Scores, Untrained,
    },
};
use crate::commands::calibrate::ranking::{COVERAGES, Ranking};

/// One run of the bench.
#[derive(Debug)]
pub(super) struct Table {
    /// How to get it again.
    pub(super) command: String,
    pub(super) seed: u64,
    pub(super) full: bool,
    pub(super) machine: Machine,
    pub(super) model: ModelIdentity,
    pub(super) scores: Scores,
    pub(super) untrained: Untrained,
}

/// One thing asked for, and whether it holds.
struct Target {
    holds: bool,
    what: String,
}

fn spoilt(row: &Row) -> bool {
    !row.sound
}

impl Table {
    fn targets(&self) -> Vec<Target> {
        let scores = &self.scores;
        let shown = |value: Option<f64>, unit: f64| {
            value.map_or_else(|| "none".to_owned(), |value| format!("{:.2}", unit * value))
        };
        let at_least = |value: Option<f64>, least: f64| value.is_some_and(|value| value >= least);
        let mut targets = vec![
            Target {
                holds: scores.error.is_some_and(|error| error <= MOST_ERROR),
                what: format!(
                    "mean error of the ejection fraction {} points, at most {MOST_ERROR} (always saying the mean: {})",
                    shown(scores.error, 1.0),
                    shown(scores.mean_predictor_error, 1.0)
                ),
            },
            Target {
                holds: at_least(scores.view_accuracy(), LEAST_VIEWS),
                what: format!(
                    "view right in {} % of {} answers, at least {:.0} %",
                    shown(scores.view_accuracy(), 100.0),
                    scores.answers,
                    100.0 * LEAST_VIEWS
                ),
            },
            Target {
                holds: at_least(scores.declined(spoilt), LEAST_DECLINED),
                what: format!(
                    "no number on {} % of wrong views and spoilt loops, at least {:.0} %",
                    shown(scores.declined(spoilt), 100.0),
                    100.0 * LEAST_DECLINED
                ),
            },
        ];
        let declined = 1.0 - self.untrained.believed as f64 / self.untrained.phantoms.max(1) as f64;
        targets.push(Target {
            holds: declined >= LEAST_UNTRAINED_DECLINED,
            what: format!(
                "an untrained model gives no number on {:.2} % of {} phantoms, at least {:.0} %",
                100.0 * declined,
                self.untrained.phantoms,
                100.0 * LEAST_UNTRAINED_DECLINED
            ),
        });
        if self.full {
            let [least, most] = COVERAGE;
            let coverage = scores.coverage();
            targets.push(Target {
                holds: coverage.is_some_and(|coverage| (least..=most).contains(&coverage)),
                what: format!(
                    "{} % of {} intervals hold the truth, {:.0} to {:.0} %; mean width {} points",
                    shown(coverage, 100.0),
                    scores.intervals,
                    100.0 * least,
                    100.0 * most,
                    shown(scores.mean_width, 1.0)
                ),
            });
            let behind = scores.set.as_ref().map_or(0, |set| set.studies);
            let [calibrated, judged] = LEAST_STUDIES;
            targets.push(Target {
                holds: behind >= calibrated && scores.intervals >= judged,
                what: format!(
                    "{behind} studies behind the intervals, at least {calibrated}; {} judged, at least {judged}",
                    scores.intervals
                ),
            });
        }
        targets
    }
}

impl Measured for Table {
    fn targets_hold(&self) -> bool {
        self.targets().iter().all(|target| target.holds)
    }
}

impl Serialize for Table {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ranking = |ranking: &Ranking| {
            json!({
                "doubt": ranking.name,
                "studies": ranking.studies(),
                "rank_correlation": ranking.correlation(),
                "excess_aurc": ranking.excess(),
                "kept": COVERAGES,
                "mean_error": COVERAGES.map(|coverage| ranking.risk(coverage)),
            })
        };
        let target = |target: &Target| json!({ "holds": target.holds, "what": target.what });
        json!({
            "command": self.command,
            "version": env!("CARGO_PKG_VERSION"),
            "machine": self.machine,
            "seed": self.seed,
            "model": self.model,
            "scores": self.scores,
            "view_accuracy": self.scores.view_accuracy(),
            "coverage": self.scores.coverage(),
            "rankings": self.scores.rankings.iter().map(ranking).collect::<Vec<_>>(),
            "untrained": self.untrained,
            "targets": self.targets().iter().map(target).collect::<Vec<_>>(),
        })
        .serialize(serializer)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        let model = &self.model;
        writeln!(f, "{}", self.command)?;
        writeln!(f, "{} {build} build; {}; seed {}", env!("CARGO_PKG_VERSION"), self.machine, self.seed)?;
        writeln!(f, "model {} ({}, {}), sha256 {}", model.name, model.dtype, model.device, model.digest)?;
        match &self.scores.set {
            Some(set) => writeln!(
                f,
                "calibration set {} of {} studies, {:.0} % intervals\n",
                set.id,
                set.studies,
                100.0 * set.coverage
            )?,
            None => writeln!(f, "no calibration set: no number has an interval\n")?,
        }
        writeln!(
            f,
            "{:<24} {:>8} {:>8} {:>9} {:>8}  why not",
            "group", "phantoms", "rejected", "abstained", "numbers"
        )?;
        for row in &self.scores.rows {
            let reasons: Vec<String> =
                row.reasons.iter().map(|(code, count)| format!("{code} {count}")).collect();
            writeln!(
                f,
                "{:<24} {:>8} {:>8} {:>9} {:>8}  {}",
                row.group,
                row.phantoms,
                row.rejected,
                row.abstained,
                row.numbers,
                reasons.join(", ")
            )?;
        }
        let listed = |counts: &std::collections::BTreeMap<String, usize>| {
            counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        writeln!(f, "\nsound ones: {}; {}", listed(&self.scores.certainties), listed(&self.scores.tags))?;
        if let (false, Some(coverage), Some(width)) =
            (self.full, self.scores.coverage(), self.scores.mean_width)
        {
            writeln!(
                f,
                "intervals: {:.1} % of {} hold the truth, mean width {width:.1} points",
                100.0 * coverage,
                self.scores.intervals
            )?;
        }
        writeln!(f, "\n{}", Ranking::header())?;
        self.scores.rankings.iter().try_for_each(|ranking| writeln!(f, "{ranking}"))?;
        writeln!(f)?;
        for Target { holds, what } in self.targets() {
            writeln!(f, "{:<6} {what}", if holds { "holds" } else { "MISSED" })?;
        }
        Ok(())
    }
}
