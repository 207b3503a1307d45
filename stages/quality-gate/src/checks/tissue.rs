//! A field of view shows tissue.

use schemas::{Check, ReasonCode};

use crate::rule::{Limits, Rule, Worse};

const RULE: Rule = Rule {
    name: "tissue",
    unit: "1",
    worse: Worse::Below,
    code: ReasonCode::known("BLANK"),
    advice: [
        "There is hardly any tissue in this picture: choose a field of view on tissue.",
        "图像中几乎没有组织：请选择含组织的视野。",
    ],
};

/// Judges the share of the picture that is tissue.
pub(crate) fn check(share: f64, limits: Limits) -> Check {
    RULE.judge(share, limits)
}
