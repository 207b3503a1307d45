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

/// What was asked once: one beat or tile, shown in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AskedAbout {
    /// Index into the clips of this message, counted from 0.
    pub clip: u32,
    /// The beat of that clip, or the number of its tile, counted from 1.
    pub beat: u32,
    /// Which of the configured deterministic variations of the picture; 0 is the picture itself.
    pub variation: u32,
}

/// The ejection fraction as one asking distributes it over 0 to 100 percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EfSample {
    /// What was asked about.
    pub asked: AskedAbout,
    /// Mean in percent.
    pub mean: f64,
    /// Variance in percent squared.
    pub variance: f64,
    /// Probability of any whole number from 0 to 100 before it is scaled to 1.
    pub mass: f64,
    /// Probability that the model gives no number at all.
    pub declined: f64,
}

/// The ejection fraction over all askings. Quantiles are of the equal mixture of the samples, interpolated within a
/// whole number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EfDistribution {
    /// Median of the samples' means, in percent.
    pub estimate: f64,
    /// 5 % quantile in percent.
    pub q05: f64,
    /// Median in percent.
    pub q50: f64,
    /// 95 % quantile in percent.
    pub q95: f64,
    /// Entropy of the mixture in nats.
    pub entropy: f64,
    /// Smallest mass of the samples.
    pub mass: f64,
    /// Mean of the samples' variances.
    pub variance_within: f64,
    /// Variance of the samples' means.
    pub variance_between: f64,
    /// One for each asking, in order.
    pub samples: Vec<EfSample>,
}

/// How sure the model is, measured from its probabilities and not from its words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Evidence {
    /// The ejection fraction; absent where the model declines it or cannot be scored.
    pub ef: Option<EfDistribution>,
    /// Discrete semantic entropy over the structured class of all askings, 0 to 1: the bands of the ejection fraction
    /// (at most 40, 41 to 49, from 50, none) for echo, the named findings for pathology.
    pub semantic_entropy: f64,
    /// Mean log-probability of the tokens of the answers, natural logarithm; absent where the backend gives none.
    pub token_log_probability: Option<f64>,
    /// How often the model was asked.
    pub askings: u32,
    /// Of these, how often its view or its findings were those of the answer.
    pub agreeing: u32,
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
    /// What it cost, over all askings; absent where the model was not asked.
    pub generation: Option<GenerationStats>,
    /// How sure the model is; absent where there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

impl Message for FindingsInferred {
    const TOPIC: Topic = Topic { name: "findings.inferred.v1", major: 1, minor: 1 };

    fn study(&self) -> &StudyHead {
        &self.study
    }
}
