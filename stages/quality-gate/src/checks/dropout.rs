//! The whole sector shows something.

use schemas::{Check, CheckVerdict, ReasonCode};

use crate::rule::{Limits, Rule, Worse};

const RULE: Rule = Rule {
    name: "dropout",
    unit: "1",
    worse: Worse::Above,
    code: ReasonCode::known("DROPOUT"),
    advice: [
        "Part of the sector is dark: use more gel, press or move the probe off the rib, acquire again.",
        "部分扇区无回声：请增加耦合剂、加压或移动探头避开肋骨后重新采集。",
    ],
};

/// Judges the share of beams that show no tissue; none where tissue could not be told from blood, which the contrast
/// answers for.
pub(crate) fn check(share: Option<f64>, limits: Limits) -> Check {
    share.map_or_else(|| RULE.check(None, limits.warn, CheckVerdict::Pass), |share| RULE.judge(share, limits))
}
