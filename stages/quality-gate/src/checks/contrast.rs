//! Blood and tissue differ enough to be told apart.

use schemas::{Check, ReasonCode};

use crate::rule::{Limits, Rule, Worse};

const RULE: Rule = Rule {
    name: "contrast",
    unit: "{grey}",
    worse: Worse::Below,
    code: ReasonCode::known("LOW_CONTRAST"),
    advice: [
        "Blood and wall hardly differ: reduce noise, adjust gain and dynamic range, improve contact, acquire again.",
        "血池与心肌对比不足：请降低噪声、调整增益和动态范围、改善探头接触后重新采集。",
    ],
};

/// Judges the grey levels between blood and tissue.
pub(crate) fn check(contrast: f64, limits: Limits) -> Check {
    RULE.judge(contrast, limits)
}
