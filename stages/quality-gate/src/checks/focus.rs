//! A field of view is in focus: variance of the Laplacian on tissue.

use schemas::{Check, ReasonCode};

use crate::rule::{Limits, Rule, Worse};

const RULE: Rule = Rule {
    name: "focus",
    unit: "{grey}2",
    worse: Worse::Below,
    code: ReasonCode::known("OUT_OF_FOCUS"),
    advice: [
        "The picture is out of focus: focus again and capture the field of view again.",
        "图像失焦：请重新对焦并采集该视野。",
    ],
};

/// Judges the variance of the Laplacian; it rejects only where the re-blur metric exceeds `reject_blur` as well.
pub(crate) fn check(variance: f64, reblur: f64, limits: Limits, reject_blur: f64) -> Check {
    if reblur > reject_blur {
        RULE.judge(variance, limits)
    } else {
        RULE.judge(variance, limits.warning_only(Worse::Below))
    }
}
