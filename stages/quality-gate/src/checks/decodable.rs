//! The pixels can be read.

use schemas::{Check, CheckVerdict, ReasonCode};

use crate::rule::{Limits, Rule, Worse};

const RULE: Rule = Rule {
    name: "decodable",
    unit: "1",
    worse: Worse::Above,
    // Replaced by the decoder's own code.
    code: ReasonCode::known("UNDECODABLE"),
    advice: [
        "The stored picture is damaged: send it again from the device or the archive.",
        "所存图像已损坏：请从设备或影像归档系统重新发送。",
    ],
};

/// Judges the share of damaged frames; `damage` is the decoder's code for the first of them.
pub(crate) fn check(share: f64, damage: Option<ReasonCode>, limits: Limits) -> Check {
    let check = RULE.judge(share, limits);
    Check { code: check.code.map(|own| damage.unwrap_or(own)), ..check }
}

/// The instance cannot be read at all.
pub(crate) fn unreadable(damage: ReasonCode, threshold: f64) -> Check {
    Check { code: Some(damage), ..RULE.check(None, threshold, CheckVerdict::Reject) }
}
