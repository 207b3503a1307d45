//! The form the model fills in, read strictly: one JSON object, these four keys, closed words, a whole number.

use schemas::{Answer, Finding, FinishReason, Inference, Quality, ReasonCode, View};
use serde::{Deserialize, Deserializer};
use stage::Generation;

use crate::AbstentionReason;

/// The observations the model may name. The prompt lists the same codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FindingCode {
    /// The left ventricle contracts less than expected.
    LvSystolicFunctionReduced,
    /// A part of the left ventricular wall moves less than the rest.
    RegionalWallMotionAbnormal,
    /// The left ventricle is wide.
    LvDilated,
    /// The left ventricular wall is thick.
    LvWallThickened,
    /// The left atrium is wide.
    LaDilated,
    /// The right ventricle is wide.
    RvDilated,
    /// The right atrium is wide.
    RaDilated,
    /// Fluid around the heart.
    PericardialEffusion,
}

impl FindingCode {
    /// Every code.
    pub const ALL: [Self; 8] = [
        Self::LvSystolicFunctionReduced,
        Self::RegionalWallMotionAbnormal,
        Self::LvDilated,
        Self::LvWallThickened,
        Self::LaDilated,
        Self::RvDilated,
        Self::RaDilated,
        Self::PericardialEffusion,
    ];

    /// The code as it stands in messages.
    pub const fn code(self) -> ReasonCode {
        match self {
            Self::LvSystolicFunctionReduced => const { ReasonCode::known("LV_SYSTOLIC_FUNCTION_REDUCED") },
            Self::RegionalWallMotionAbnormal => const { ReasonCode::known("REGIONAL_WALL_MOTION_ABNORMAL") },
            Self::LvDilated => const { ReasonCode::known("LV_DILATED") },
            Self::LvWallThickened => const { ReasonCode::known("LV_WALL_THICKENED") },
            Self::LaDilated => const { ReasonCode::known("LA_DILATED") },
            Self::RvDilated => const { ReasonCode::known("RV_DILATED") },
            Self::RaDilated => const { ReasonCode::known("RA_DILATED") },
            Self::PericardialEffusion => const { ReasonCode::known("PERICARDIAL_EFFUSION") },
        }
    }
}

/// The form on the wire.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(deserialize_with = "present")]
    view: Option<View>,
    quality: Quality,
    #[serde(deserialize_with = "present")]
    lvef_percent: Option<u8>,
    findings: Vec<FindingCode>,
}

/// `null` is an answer, a missing key is none: naming a function switches serde's default for absent options off.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// Why a text is not the form asked for. Holds nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnparsableAnswer {
    /// Not exactly one JSON object of the four keys with values out of the closed vocabularies.
    #[error("answer is not the one json object asked for")]
    Form,
    /// An ejection fraction above 100 percent.
    #[error("answer has an ejection fraction of {percent} percent; expected 0 to 100")]
    EjectionFraction {
        /// The value found.
        percent: u8,
    },
    /// A finding named twice.
    #[error("answer names a finding twice")]
    RepeatedFinding,
}

/// Reads `text` as the form. White space around it is allowed, nothing else.
pub fn parse_answer(text: &str) -> Result<Answer, UnparsableAnswer> {
    // `from_str` refuses anything after the value, and serde refuses a key named twice. An array of the four values
    // would deserialise as well, hence the look at the first character.
    if !text.trim_start().starts_with('{') {
        return Err(UnparsableAnswer::Form);
    }
    let form: Form = serde_json::from_str(text).map_err(|_| UnparsableAnswer::Form)?;
    if let Some(percent) = form.lvef_percent.filter(|percent| *percent > 100) {
        return Err(UnparsableAnswer::EjectionFraction { percent });
    }
    let repeated = |(index, code)| form.findings.iter().take(index).any(|earlier| earlier == code);
    if form.findings.iter().enumerate().any(repeated) {
        return Err(UnparsableAnswer::RepeatedFinding);
    }
    Ok(Answer {
        view: form.view,
        quality: form.quality,
        lvef_percent: form.lvef_percent,
        findings: form.findings.into_iter().map(|finding| Finding { code: finding.code() }).collect(),
    })
}

/// The answer, or why it is not believed. The worst reason names it.
pub(crate) fn judge(generation: &Generation, untrained: bool) -> Inference {
    let reason = match (untrained, generation.finish_reason) {
        (true, _) => AbstentionReason::ModelUntrained,
        (false, FinishReason::Length) => AbstentionReason::AnswerTruncated,
        (false, FinishReason::Repetition) => AbstentionReason::Repetition,
        (false, FinishReason::Stop) => match parse_answer(&generation.text) {
            Ok(answer) => return Inference::Answer(answer),
            Err(_) => AbstentionReason::AnswerUnparsable,
        },
    };
    Inference::Abstained(reason.abstention())
}
