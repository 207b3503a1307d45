//! The fan is drawn large enough for the sharpness bounds, which were measured 256 px high.

use schemas::{Check, ReasonCode};

use crate::rule::{Limits, Rule, Worse};

const RULE: Rule = Rule {
    name: "resolution",
    unit: "{px}",
    worse: Worse::Below,
    code: ReasonCode::known("LOW_RES"),
    advice: [
        "The picture is small; export the loop at full resolution.",
        "图像分辨率较低；请以原始分辨率导出动态图像。",
    ],
};

/// Judges the height of the fan in pixels; a small picture is only a warning.
pub(crate) fn check(height: f64, warn: f64) -> Check {
    RULE.judge(height, Limits { warn, reject: 0.0 })
}
