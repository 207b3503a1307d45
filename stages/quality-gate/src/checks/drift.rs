//! The picture stays where it is while the heart beats in it.

use schemas::{Check, CheckVerdict, ReasonCode};

use crate::{
    checks::frame_rate,
    config::EchoLimits,
    rule::{Limits, Rule, Worse},
};

const DRIFT: Rule = Rule {
    name: "drift",
    unit: "mm",
    worse: Worse::Above,
    code: ReasonCode::known("DRIFT"),
    advice: [
        "The picture moves as a whole: hold the probe still, ask for breath-hold, acquire again.",
        "图像整体移动：请固定探头，嘱患者屏气后重新采集。",
    ],
};
const RESPIRATORY: Rule = Rule {
    name: "respiratory_drift",
    unit: "mm",
    worse: Worse::Above,
    code: ReasonCode::known("RESPIRATORY"),
    advice: [
        "The heart moves with breathing: acquire again at end-expiration with the breath held.",
        "心脏随呼吸移动：请嘱患者呼气末屏气后重新采集。",
    ],
};

/// Judges the millimetres that the picture wanders, against the bound of any drift and that of a breath; both warn and
/// never reject. Without timing it cannot be measured.
pub(crate) fn checks(amplitude: Option<f64>, limits: &EchoLimits) -> [Check; 2] {
    [(&DRIFT, limits.drift_warn), (&RESPIRATORY, limits.respiratory_warn)].map(|(rule, warn)| match amplitude
    {
        Some(value) => rule.judge(value, Limits { warn, reject: f64::INFINITY }),
        None => Check {
            code: Some(frame_rate::UNKNOWN),
            advice: None,
            ..rule.check(None, warn, CheckVerdict::Pass)
        },
    })
}
