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
    /// The text was reworded or replaced because a wording rule was broken.
    LanguagePolicy,
    /// The interval reaches over 40 or 50 percent: the band is not certain.
    BandAmbiguous,
    /// The beats of the clip differ in length.
    Arrhythmia,
    /// Lately the model's inputs or errors are not those of its calibration.
    DriftAlarm,
    /// The stains of a tile were brought to the reference by the fallback matrix.
    StainFallback,
    /// The model left much probability outside the numbers it was asked for.
    FormatUncertain,
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
    /// The calibrated interval in percent, with the coverage its set promises; absent without a calibration set.
    pub interval: Option<[f64; 2]>,
    /// What the contours alone say, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometric_percent: Option<f64>,
}

/// The calibration set behind an interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CalibrationUsed {
    /// Its name and version.
    pub id: String,
    /// SHA-256 of its file.
    pub digest: Digest,
    /// The share of intervals that may miss, for example 0.1.
    pub alpha: f64,
    /// The group the study fell into, for example `all` or `quality=good,view=A4C`.
    pub group: String,
    /// Studies of that group in the set.
    pub studies: u32,
    /// Made of phantoms: it stands behind no number of a patient.
    pub synthetic: bool,
}

/// A coding system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum CodeSystem {
    /// LOINC, by Regenstrief.
    #[serde(rename = "LOINC")]
    Loinc,
    /// SNOMED CT, international edition.
    #[serde(rename = "SNOMED")]
    Snomed,
    /// DICOM PS3.16, annex D.
    #[serde(rename = "DCM")]
    Dicom,
}

/// What a part of the report is called in a coding system. Verified codes only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Coding {
    /// Our own stable name, for example `LVEF`, `VIEW_A4C` or a finding's code.
    pub concept: ReasonCode,
    /// The coding system.
    pub system: CodeSystem,
    /// The code in it.
    pub code: String,
    /// Its name there, in English.
    pub display: String,
}

/// A passage of the reference corpus, printed below the text and of no influence on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Reference {
    /// Its number in the text, from 1.
    pub number: u32,
    /// The passage's id in the corpus.
    pub id: String,
    /// Source, edition and page as they are to be cited.
    pub source: Bilingual,
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
    /// The calibration set behind the interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationUsed>,
    /// Passages to read on, in order of number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// Codes for what the report speaks of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<Coding>,
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
    const TOPIC: Topic = Topic { name: "report.issued.v1", major: 1, minor: 1 };

    fn study(&self) -> &StudyHead {
        &self.study
    }
}
