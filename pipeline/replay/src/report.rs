//! What a comparison says, as JSON, JUnit and one self-contained page.
//!
//! Invariants:
//! - A report is a value: the same rows, margins and seed give the same bytes in every form.
//! - Study UIDs stand in it, as on the console; names never do, because no message holds one.
//! - Text that a model may have had a hand in is escaped everywhere.

pub mod html;
pub mod junit;
mod plots;
mod token_diff;
mod words;

use std::collections::BTreeMap;

use schemas::{Bilingual, Digest, RunId};
use serde::{Deserialize, Serialize};

use crate::{
    diff::{
        answer::{Picture, Summary},
        observed::Points,
    },
    margins::Margins,
    pairs::{Pairing, StudyKey},
    result::{Arm, ModelUse},
    verdict::{Measure, Reason, Verdict},
};

/// Name and version of the JSON form. Inside a version it only grows.
pub const FORMAT: &str = "prescreen.replay.report/1";

/// The line that every form of a report carries.
pub const FOR_REFERENCE_ONLY: &str = "仅供参考 / for reference only";

/// What was compared, as the plan fixes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Hash of the plan.
    pub plan_sha256: Option<Digest>,
    /// Stage at which the studies entered.
    pub start_stage: String,
    /// Studies of the plan.
    pub inputs: u64,
    /// Inputs that retention or the blob store have lost.
    pub lost_inputs: u64,
    /// Model, prompt, adapter, configuration and code of both sides.
    pub pins: Vec<Pin>,
}

/// One thing that is pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// What, for example `prompt`.
    pub name: String,
    /// The baseline's.
    pub baseline: String,
    /// The candidate's.
    pub candidate: String,
}

/// What the model was asked for in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// By the baseline; absent where nobody counted.
    pub baseline: Option<ModelUse>,
    /// By the candidate.
    pub candidate: Option<ModelUse>,
}

/// How calibration moved, baseline first; each absent where no study of known truth has what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationShift {
    /// Studies of known truth.
    pub studies: u64,
    /// The coverage that the candidate's calibration set promises.
    pub promised: Option<f64>,
    /// Share of intervals that hold the truth.
    pub coverage: [Option<f64>; 2],
    /// Mean absolute error in points.
    pub absolute_error: [Option<f64>; 2],
}

/// Mean loss of the studies kept, the least doubted first, by their number less one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RiskCoverage {
    /// Loss is the distance from the truth; else that of both sides from each other.
    pub truth: bool,
    /// By the baseline's doubts.
    pub baseline: Vec<f64>,
    /// By the candidate's.
    pub candidate: Vec<f64>,
}

/// How many studies went from one word to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// `verdict` or `certainty`.
    pub of: String,
    /// The baseline's word.
    pub from: String,
    /// The candidate's.
    pub to: String,
    /// Studies.
    pub studies: u64,
}

/// The report texts of both sides; absent where a side has no report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextPair {
    /// The baseline's.
    pub baseline: Option<Bilingual>,
    /// The candidate's.
    pub candidate: Option<Bilingual>,
}

/// A study whose answers differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Discordant {
    /// Which.
    pub study: StudyKey,
    /// In which measures.
    pub differs: Vec<String>,
    /// Ejection fraction, candidate less baseline, in points.
    pub lvef_difference: Option<f64>,
    /// Whether that is more than a reader's step.
    pub beyond_step: bool,
    /// What the baseline says.
    pub baseline: Summary,
    /// What the candidate says.
    pub candidate: Summary,
    /// Both texts.
    pub text: TextPair,
    /// Whether other frames were chosen.
    pub frames_differ: bool,
    /// The baseline's keyframes.
    pub baseline_pictures: Vec<Picture>,
    /// The candidate's.
    pub candidate_pictures: Vec<Picture>,
}

/// A judged comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// The run.
    pub run: RunId,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<Reason>,
    /// About how many pairs would settle what is open.
    pub pairs_needed: Option<u64>,
    /// What was compared.
    pub facts: Facts,
    /// What it was held against.
    pub margins: Margins,
    /// Seed of every bootstrap.
    pub seed: u64,
    /// Whose rows the baseline is.
    pub baseline_arm: Arm,
    /// Whose rows its repetition is; absent without one.
    pub repetition_arm: Option<Arm>,
    /// Answers from the memo in computed arms: 0, or there would be no report.
    pub memo_hits: u64,
    /// Answers from the memo in rows of the live system, which may have some.
    pub live_memo_hits: u64,
    /// What the model was asked for.
    pub resources: Resources,
    /// How the rows meet.
    pub pairing: Pairing,
    /// Every measure, in order of stage and property.
    pub measures: Vec<Measure>,
    /// Numbers behind measures of numbers, by measure: baseline and candidate of each pair.
    pub points: BTreeMap<String, Points>,
    /// How calibration moved; absent without truths.
    pub calibration: Option<CalibrationShift>,
    /// Which side ranks its doubts better; absent where no side states one.
    pub risk: Option<RiskCoverage>,
    /// Verdicts and certainties.
    pub transitions: Vec<Transition>,
    /// Studies that differ, the gravest first.
    pub discordant: Vec<Discordant>,
    /// Studies whose text alone differs.
    pub text_only: Vec<StudyKey>,
}

impl Report {
    /// The JSON form, indented, with a line end.
    ///
    /// # Errors
    /// None that a report of [`crate::diff::compare`] can make.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Why the verdict is what it is, a sentence for each reason.
    pub fn reasons_in_words(&self) -> Vec<Bilingual> {
        self.reasons.iter().map(|reason| words::reason(self, reason)).collect()
    }

    /// The measure of that name.
    pub fn measure(&self, id: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.id == id)
    }
}
