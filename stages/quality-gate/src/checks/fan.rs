//! There is an ultrasound sector in the picture.

use schemas::{Check, CheckVerdict, ReasonCode};

use crate::rule::{Range, Rule, Worse};

const RULE: Rule = Rule {
    name: "fan",
    unit: "1",
    worse: Worse::Below,
    code: NO_FAN,
    advice: [
        "No ultrasound sector was found in the picture: check what was sent; acquire an apical B-mode loop.",
        "图像中未找到超声扇形区：请核对所发送的内容；请采集心尖二维动态图像。",
    ],
};

/// The code of a picture without a sector, also where the decoder found none to keep.
pub(crate) const NO_FAN: ReasonCode = ReasonCode::known("NO_FAN");

/// No sector that a mask could keep was found.
pub(crate) fn missing(range: Range) -> Check {
    RULE.check(None, range.min, CheckVerdict::Reject)
}

/// Judges the share of the tissue window that the fan fills.
pub(crate) fn check(share: f64, range: Range) -> Check {
    if share < range.min {
        RULE.check(Some(share), range.min, CheckVerdict::Reject)
    } else if share > range.max {
        RULE.check(Some(share), range.max, CheckVerdict::Reject)
    } else {
        RULE.check(Some(share), range.min, CheckVerdict::Pass)
    }
}
