//! What one arm of a replay made of one study at one stage.

use std::fmt;

use schemas::{Digest, EventId, Revision, StudyUid};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whose answers these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// What the live system stored when it did the study.
    Live,
    /// The present configuration, computed again.
    Baseline,
    /// What is to be judged.
    Candidate,
}

impl Arm {
    /// As it is written in tables and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Baseline => "baseline",
            Self::Candidate => "candidate",
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a stage ended for a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// With a message for the next stage.
    Emitted,
    /// Rejected for a clinical reason (`study.rejected.v1`).
    Rejected,
    /// The input cannot be processed: live, a dead letter. `output` holds `{"cause", "detail"}`.
    Failed,
}

/// What the model was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUse {
    /// Askings that reached the model: answers and scorings.
    pub requests: u64,
    /// Tokens of the prompts, those of pictures included.
    pub prompt_tokens: u64,
    /// Tokens of the pictures.
    pub vision_tokens: u64,
    /// Tokens of the answers.
    pub generated_tokens: u64,
}

/// One row: unique by (run, arm, study, revision, stage).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageResult {
    /// Whose.
    pub arm: Arm,
    /// Study Instance UID.
    pub study_uid: StudyUid,
    /// Which closing of the study.
    pub revision: Revision,
    /// Stage, as in the catalogue: `quality_gate`, `keyframes`, `inference`, `reporting`.
    pub stage: String,
    /// The event it was made from.
    pub input_event: EventId,
    /// How it ended.
    pub ended: Ended,
    /// The message emitted or the rejection, as JSON; a cause where it failed.
    pub output: Value,
    /// SHA-256 of the canonical JSON of `output`.
    pub output_sha256: Digest,
    /// Wall-clock seconds of this stage; absent for the live arm, whose clock measured other things too.
    pub seconds: Option<f64>,
    /// What the model was asked for; absent where nobody counted.
    pub model: Option<ModelUse>,
    /// Answers taken from the memo; must be 0 in a replay.
    pub memo_hits: u64,
}
