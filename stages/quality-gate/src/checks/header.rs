//! Things about the header that the reader of the report should know.

use schemas::{Check, CheckVerdict, ReasonCode};

use crate::rule::{Rule, Worse};

const RULE: Rule = Rule {
    name: "header",
    unit: "1",
    worse: Worse::Above,
    // Replaced by the warning's own code.
    code: ReasonCode::known("HEADER"),
    advice: [
        "The header contradicts itself or the pixels; check the device's export settings.",
        "图像头信息自相矛盾或与像素不符；请检查设备的导出设置。",
    ],
};

/// A warning for each code found while reading the header.
pub(crate) fn checks(warnings: &[ReasonCode]) -> impl Iterator<Item = Check> {
    warnings
        .iter()
        .map(|code| Check { code: Some(code.clone()), ..RULE.check(None, 0.0, CheckVerdict::Warn) })
}
