//! How far a candidate may differ from the baseline and still be taken for the same.
//!
//! A test that finds no difference has shown nothing: with few studies it never finds one. So a measure passes only where
//! the whole interval of its change lies within a margin that was set before (equivalence testing; Schuirmann 1987). The
//! values a fresh installation has stand in `margins.toml` beside this crate, each with its reason.

use serde::{Deserialize, Serialize};

/// The margins of a fresh installation, as the table `[replay.margins]` holds them.
pub const STANDARD: &str = include_str!("../margins.toml");

/// The table `[replay.margins]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Margins {
    /// Chance of a false conclusion of each test: above 0, below 0.5.
    pub alpha: f64,
    /// Pairs below which nothing is concluded.
    pub min_pairs: u64,
    /// Draws of each bootstrap.
    pub resamples: u32,
    /// Share of studies whose verdict, abstention, certainty, tag or reason code may differ.
    pub verdict_share: f64,
    /// Share of answers in which a finding, the view or the quality may differ.
    pub finding_share: f64,
    /// Share of studies whose keyframes may differ.
    pub keyframe_share: f64,
    /// Studies that may fail in the candidate and did not in the baseline.
    pub new_failures: u64,
    /// Mean difference of ejection fractions and of interval widths, in points.
    pub ef_bias_points: f64,
    /// Difference in one study that a reader would notice, in points.
    pub ef_step_points: f64,
    /// Share of studies that may differ by more than a step.
    pub ef_step_share: f64,
    /// Median seconds of the candidate over those of the baseline.
    pub latency_ratio: f64,
    /// Mean increase in seconds a study below which there is none.
    pub latency_floor: f64,
    /// Mean requests and tokens a study of the candidate over those of the baseline.
    pub cost_ratio: f64,
    /// Share of studies with a known truth whose interval may gain or lose it.
    pub coverage_share: f64,
    /// Increase of the expected calibration error where truths are known.
    pub calibration_error: f64,
}

/// A margin with which nothing could be judged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("replay.margins.{name} is {given}; expected {expected}")]
pub struct MarginsError {
    name: &'static str,
    given: f64,
    expected: &'static str,
}

impl Margins {
    /// Whether every margin can be judged by.
    ///
    /// # Errors
    /// The first one that cannot.
    pub fn check(&self) -> Result<(), MarginsError> {
        let open = |low: f64, high: f64| move |value: f64| low < value && value < high;
        let share = "a share above 0 and below 1";
        let points = "points above 0, at most 100";
        let ratio = "a ratio above 1, at most 100";
        let in_points = |value: f64| 0.0 < value && value <= 100.0;
        let above_one = |value: f64| 1.0 < value && value <= 100.0;
        let from_zero = |value: f64| (0.0..1e6).contains(&value);
        let rules = [
            ("alpha", self.alpha, "more than 0 and less than 0.5", open(0.0, 0.5)(self.alpha)),
            (
                "min_pairs",
                self.min_pairs as f64,
                "at least 2, at most 1000000",
                (2..=1_000_000).contains(&self.min_pairs),
            ),
            ("resamples", self.resamples.into(), "100 to 100000", (100..=100_000).contains(&self.resamples)),
            ("verdict_share", self.verdict_share, share, open(0.0, 1.0)(self.verdict_share)),
            ("finding_share", self.finding_share, share, open(0.0, 1.0)(self.finding_share)),
            ("keyframe_share", self.keyframe_share, share, open(0.0, 1.0)(self.keyframe_share)),
            ("ef_bias_points", self.ef_bias_points, points, in_points(self.ef_bias_points)),
            ("ef_step_points", self.ef_step_points, points, in_points(self.ef_step_points)),
            ("ef_step_share", self.ef_step_share, share, open(0.0, 1.0)(self.ef_step_share)),
            ("latency_ratio", self.latency_ratio, ratio, above_one(self.latency_ratio)),
            ("latency_floor", self.latency_floor, "seconds from 0", from_zero(self.latency_floor)),
            ("cost_ratio", self.cost_ratio, ratio, above_one(self.cost_ratio)),
            ("coverage_share", self.coverage_share, share, open(0.0, 1.0)(self.coverage_share)),
            ("calibration_error", self.calibration_error, share, open(0.0, 1.0)(self.calibration_error)),
        ];
        match rules.into_iter().find(|(.., holds)| !holds) {
            Some((name, given, expected, _)) => Err(MarginsError { name, given, expected }),
            None => Ok(()),
        }
    }
}
