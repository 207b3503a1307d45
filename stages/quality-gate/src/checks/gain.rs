//! Overall gain: neither saturated nor black.

use schemas::{Check, ReasonCode};

use crate::{
    config::EchoLimits,
    exposure::Exposure,
    rule::{Rule, Worse},
};

const OVER: ReasonCode = ReasonCode::known("OVER_GAIN");
const LOWER_GAIN: [&str; 2] =
    ["The gain is too high: lower the overall gain, acquire again.", "增益过高：请降低总增益后重新采集。"];
const SATURATION: Rule =
    Rule { name: "saturation", unit: "1", worse: Worse::Above, code: OVER, advice: LOWER_GAIN };
const BLOOD_LEVEL: Rule =
    Rule { name: "blood_level", unit: "{grey}", worse: Worse::Above, code: OVER, advice: LOWER_GAIN };
const UNDER: ReasonCode = ReasonCode::known("UNDER_GAIN");
const RAISE_GAIN: [&str; 2] = [
    "The gain is too low: raise the overall gain or TGC, acquire again.",
    "增益过低：请提高总增益或 TGC 后重新采集。",
];
const BLACK: Rule = Rule { name: "black", unit: "1", worse: Worse::Above, code: UNDER, advice: RAISE_GAIN };
const TISSUE_LEVEL: Rule =
    Rule { name: "tissue_level", unit: "{grey}", worse: Worse::Below, code: UNDER, advice: RAISE_GAIN };

/// Judges saturated pixels and the level of blood, which too much gain raises, and black pixels and the level of
/// tissue, which too little changes.
pub(crate) fn checks(exposure: Exposure, limits: &EchoLimits) -> [Check; 4] {
    [
        SATURATION.judge(exposure.saturated, limits.saturation),
        BLOOD_LEVEL.judge(exposure.low, limits.blood_level),
        BLACK.judge(exposure.black, limits.black),
        TISSUE_LEVEL.judge(exposure.high, limits.tissue_level),
    ]
}
