//! The tags of certainty: what each asks for. The worst of all rules holds.

use std::collections::BTreeSet;

use schemas::{Certainty, Tag, Verdict};
use serde::{Deserialize, Serialize};
use stage::ConfigError;

/// What a number must keep to for a certainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Width of the calibrated interval in points, at most.
    pub interval_width: f64,
    /// Semantic entropy, 0 to 1, at most.
    pub semantic_entropy: f64,
    /// Points between the model's and the contours' ejection fraction, at most.
    pub geometric_gap: f64,
    /// Studies of its group in the calibration set, at least.
    pub calibration_studies: u32,
}

/// Where no number is given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbstentionBounds {
    /// Width of the calibrated interval in points above which none is given.
    pub interval_width: f64,
    /// Probability of any number below which none is given.
    pub mass: f64,
}

/// The table `[stages.reporting.certainty]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// `U_LOW`.
    pub low: Bounds,
    /// `U_MEDIUM`. Beyond its gap the number is tagged `EF_DISAGREE`.
    pub medium: Bounds,
    /// `ABSTAIN`.
    pub abstain: AbstentionBounds,
    /// Probability of any number below which it is tagged `FORMAT_UNCERTAIN`.
    pub certain_mass: f64,
}

impl Rules {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let Self { low, medium, abstain, certain_mass } = *self;
        let ordered = |key, low: f64, high: f64, most: f64| {
            let holds = 0.0 <= low && low <= high && high <= most;
            let expected = format!("expected 0 to {most}, in rising order from low to medium to abstain");
            if holds { Ok(()) } else { Err(ConfigError { key, value: format!("{low}, {high}"), expected }) }
        };
        ordered(
            "certainty.low.interval_width",
            low.interval_width,
            medium.interval_width,
            abstain.interval_width,
        )?;
        ordered("certainty.abstain.interval_width", medium.interval_width, abstain.interval_width, 100.0)?;
        ordered("certainty.low.semantic_entropy", low.semantic_entropy, medium.semantic_entropy, 1.0)?;
        ordered("certainty.low.geometric_gap", low.geometric_gap, medium.geometric_gap, 100.0)?;
        ordered("certainty.abstain.mass", abstain.mass, certain_mass, 1.0)
    }
}

/// What is known of one number. What is absent could not be checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checks {
    pub(crate) interval_width: Option<f64>,
    pub(crate) semantic_entropy: Option<f64>,
    pub(crate) geometric_gap: Option<f64>,
    pub(crate) calibration_studies: Option<u32>,
    pub(crate) verdict: Verdict,
}

/// The worst of all rules. A check that could not be made allows `U_MEDIUM` at best; without an interval it is `U_HIGH`.
pub(crate) fn certainty(checks: &Checks, tags: &BTreeSet<Tag>, rules: &Rules) -> Certainty {
    let within = |value: Option<f64>, low: f64, medium: f64| match value {
        Some(value) if value <= low => Certainty::Low,
        Some(value) if value > medium => Certainty::High,
        _ => Certainty::Medium,
    };
    let (low, medium) = (&rules.low, &rules.medium);
    let studies = match checks.calibration_studies {
        Some(studies) if studies >= low.calibration_studies => Certainty::Low,
        Some(studies) if studies >= medium.calibration_studies => Certainty::Medium,
        _ => Certainty::High,
    };
    let gate = if checks.verdict == Verdict::Accept { Certainty::Low } else { Certainty::Medium };
    [
        within(checks.interval_width, low.interval_width, medium.interval_width),
        within(checks.semantic_entropy, low.semantic_entropy, medium.semantic_entropy),
        within(checks.geometric_gap, low.geometric_gap, medium.geometric_gap),
        studies,
        gate,
    ]
    .into_iter()
    .chain(tags.iter().map(|tag| allowed_by(*tag)))
    .max()
    .unwrap_or(Certainty::High)
}

/// The best certainty beside a tag.
fn allowed_by(tag: Tag) -> Certainty {
    match tag {
        Tag::Uncalibrated
        | Tag::EfDisagree
        | Tag::ViewConflict
        | Tag::FormatUncertain
        | Tag::DriftAlarm
        | Tag::LanguagePolicy => Certainty::High,
        // Beats of unlike length have unlike ejection fractions; a clip without trusted phases is none to lean on.
        Tag::Arrhythmia | Tag::PhaseUnreliable | Tag::QualityCaution => Certainty::Medium,
        Tag::Synthetic | Tag::BandAmbiguous | Tag::StainFallback => Certainty::Low,
    }
}
