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
const BLACK: Rule = Rule {
    name: "black",
    unit: "1",
    worse: Worse::Above,
    code: ReasonCode::known("UNDER_GAIN"),
    advice: [
        "The gain is too low: raise the overall gain or TGC, acquire again.",
        "增益过低：请提高总增益或 TGC 后重新采集。",
    ],
};

/// Judges saturated pixels, the level of blood, and black pixels.
pub(crate) fn checks(exposure: Exposure, limits: &EchoLimits) -> [Check; 3] {
    [
        SATURATION.judge(exposure.saturated, limits.saturation),
        BLOOD_LEVEL.judge(exposure.low, limits.blood_level),
        BLACK.judge(exposure.black, limits.black),
    ]
}
