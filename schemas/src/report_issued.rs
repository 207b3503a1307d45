//! `report.issued.v1`: the uncertainty-tagged preliminary report, a draft until a physician moves it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Bilingual, Clip, Digest, Inference, Message, ModelIdentity, ReasonCode, StudyHead, Topic, Verdict,
};

/// How far the report may be believed. The worst applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Certainty {
    /// Calibrated 90 % interval at most 12 points wide, and every cross-check agrees.
    #[serde(rename = "U_LOW")]
    Low,
    /// At most 20 points.
    #[serde(rename = "U_MEDIUM")]
    Medium,
    /// Wider, or without a calibration: a number is shown only beside its doubts.
    #[serde(rename = "U_HIGH")]
    High,
    /// No number at all, and the reason.
    #[serde(rename = "ABSTAIN")]
    Abstain,
}

/// A doubt or mark beside the certainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Tag {
    /// A phantom, not a patient.
    Synthetic,
    /// No calibration set stands behind the number.
    Uncalibrated,
    /// Model and geometry differ by more than 10 points.
    EfDisagree,
    /// Model and header name different views.
    ViewConflict,
    /// ED and ES could not be found reliably.
    PhaseUnreliable,
    /// The gate passed it with warnings.
    QualityCaution,
    /// The text was replaced because a wording rule was broken.
    LanguagePolicy,
}

/// The state of a report. Only a physician moves it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportStatus {
    /// Written by the system, seen by nobody.
    AiDraft,
}

/// The ejection fraction as reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EfEstimate {
    /// The model's value in percent.
    pub percent: f64,
    /// The calibrated 90 % interval in percent; absent without a calibration set.
    pub interval: Option<[f64; 2]>,
}

/// The preliminary report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ReportIssued {
    /// The study.
    pub study: StudyHead,
    /// Always `ai_draft` here.
    pub status: ReportStatus,
    /// The gate's verdict.
    pub verdict: Verdict,
    /// The gate's warnings.
    pub cautions: Vec<ReasonCode>,
    /// How far to believe it.
    pub certainty: Certainty,
    /// Doubts and marks, in a fixed order, none twice.
    pub tags: Vec<Tag>,
    /// Why it abstains, if it does.
    pub abstention: Option<ReasonCode>,
    /// The ejection fraction; absent when abstaining.
    pub ef: Option<EfEstimate>,
    /// The model's answer or abstention, unchanged.
    pub inference: Inference,
    /// The text, ending with the mandatory last line.
    pub text: Bilingual,
    /// Keyframes and independent geometry.
    pub clips: Vec<Clip>,
    /// Who answered.
    pub model: ModelIdentity,
    /// Fingerprint of the inference.
    pub inference_fingerprint: Digest,
    /// Fingerprint of the whole run: inference, report template, word lists.
    pub run_fingerprint: Digest,
}

impl Message for ReportIssued {
    const TOPIC: Topic = Topic { name: "report.issued.v1", major: 1, minor: 0 };

    fn study(&self) -> &StudyHead {
        &self.study
    }
}
