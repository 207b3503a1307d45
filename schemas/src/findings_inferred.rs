//! `findings.inferred.v1`: what the model said, strictly parsed, or why it said nothing usable.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Clip, Digest, Message, ReasonCode, StudyHead, Topic, Verdict, View};

/// Image quality as the model grades it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Structures clearly seen.
    Good,
    /// Usable.
    Fair,
    /// Not usable.
    Poor,
}

/// One observation out of a closed vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Finding {
    /// Stable code, for example `LV_SYSTOLIC_FUNCTION_REDUCED`.
    pub code: ReasonCode,
}

/// The model's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Answer {
    /// The view the model sees.
    pub view: Option<View>,
    /// The quality the model sees.
    pub quality: Quality,
    /// Left ventricular ejection fraction in percent, or nothing where the model declines.
    #[schemars(range(min = 0, max = 100))]
    pub lvef_percent: Option<u8>,
    /// Observations.
    pub findings: Vec<Finding>,
}

/// No usable answer, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Abstention {
    /// Stable code, for example `MODEL_UNTRAINED` or `ANSWER_UNPARSABLE`.
    pub code: ReasonCode,
    /// One sentence for the report, made of our own words only: never the model's text.
    pub detail: String,
}

/// The model's answer or its absence. Exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Inference {
    /// The model answered in the form asked for.
    Answer(Answer),
    /// It did not, or must not be believed.
    Abstained(Abstention),
}

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model said it is done.
    Stop,
    /// The token cap.
    Length,
    /// A repetition loop was cut.
    Repetition,
}

/// What the generation cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct GenerationStats {
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens in, images included.
    pub prompt_tokens: u32,
    /// Of these, image tokens.
    pub vision_tokens: u32,
    /// Tokens out.
    pub generated_tokens: u32,
}

/// Which model spoke, and under which conditions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ModelIdentity {
    /// Name of the checkpoint folder or of the served model.
    pub name: String,
    /// SHA-256 over weights, configuration, tokenizer and template.
    pub digest: Digest,
    /// Number format, for example `f32`.
    pub dtype: String,
    /// Device kind, for example `cpu`.
    pub device: String,
    /// Random weights: its output is not believed.
    pub untrained: bool,
    /// Trained on phantoms only: it answers synthetic studies only.
    pub synthetic_only: bool,
}

/// What the model said of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FindingsInferred {
    /// The study.
    pub study: StudyHead,
    /// The gate's verdict, carried along.
    pub verdict: Verdict,
    /// The gate's warnings, carried along.
    pub cautions: Vec<ReasonCode>,
    /// What the model was shown.
    pub clips: Vec<Clip>,
    /// Who answered.
    pub model: ModelIdentity,
    /// SHA-256 over model, prompt, decoder settings and code version: the same fingerprint and input give the same answer.
    pub fingerprint: Digest,
    /// The answer.
    pub inference: Inference,
    /// What it cost; absent where the model was not asked.
    pub generation: Option<GenerationStats>,
}

impl Message for FindingsInferred {
    const TOPIC: Topic = Topic { name: "findings.inferred.v1", major: 1, minor: 0 };

    fn study(&self) -> &StudyHead {
        &self.study
    }
}
