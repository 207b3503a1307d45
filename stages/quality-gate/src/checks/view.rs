//! The picture looks like the view that an ejection fraction is read from. Only ever a warning: a clip that fails may be
//! good all the same, and a subcostal clip of four chambers passes.

use schemas::{Check, CheckVerdict, ReasonCode};

use crate::{
    config::EchoLimits,
    rule::{Limits, Rule, Worse},
    view::Look,
};

const CODE: ReasonCode = ReasonCode::known("VIEW_UNCONFIRMED");
const UNCONFIRMED: Rule = Rule {
    name: "chambers",
    unit: "{chambers}",
    worse: Worse::Below,
    code: CODE,
    advice: [
        "The chambers of an apical view could not be made out: check the view; all four (or in the two-chamber view both) must be in the sector.",
        "未能辨认心尖切面的心腔：请核对切面，四腔切面应完整显示四个心腔（两腔切面显示左心室和左心房）。",
    ],
};
const TILT: Rule = Rule {
    name: "axis_tilt",
    unit: "deg",
    worse: Worse::Above,
    code: CODE,
    advice: [
        "The left ventricle lies askew: slide or rotate the probe until its axis is upright, acquire again.",
        "左心室长轴倾斜：请滑动或旋转探头使长轴垂直后重新采集。",
    ],
};
const ANNULUS: Rule = Rule {
    name: "mitral_annulus",
    unit: "1",
    worse: Worse::Below,
    code: CODE,
    advice: [
        "The mitral annulus lies where it cannot be in an apical view: check the view.",
        "二尖瓣环位置不符合心尖切面：请核对切面。",
    ],
};
const RATIO: Rule = Rule {
    name: "rv_lv_ratio",
    unit: "1",
    worse: Worse::Above,
    code: ReasonCode::known("RV_LV_RATIO"),
    advice: [
        "The right ventricle looks large beside the left: check the view; if it is right, look for dilatation.",
        "右心室相对左心室偏大：请核对切面；若切面无误，请注意右心室扩大。",
    ],
};
const FORESHORTENED: ReasonCode = ReasonCode::known("FORESHORTENED");
const TRUE_APEX: [&str; 2] = [
    "The left ventricle is cut short: move the probe down an intercostal space towards the true apex, acquire again.",
    "左心室被缩短：请将探头下移一个肋间至真正心尖处后重新采集。",
];
const ELONGATION: Rule =
    Rule { name: "elongation", unit: "1", worse: Worse::Below, code: FORESHORTENED, advice: TRUE_APEX };
const APEX: Rule =
    Rule { name: "apex_depth", unit: "1", worse: Worse::Below, code: FORESHORTENED, advice: TRUE_APEX };

/// Judges what is seen, where `expected` chambers (2 or 4) belong to the view.
pub(crate) fn checks(look: Look, expected: u8, limits: &EchoLimits) -> Vec<Check> {
    let verdict = if look.chambers == expected { CheckVerdict::Pass } else { CheckVerdict::Warn };
    let mut checks = vec![UNCONFIRMED.check(Some(f64::from(look.chambers)), f64::from(expected), verdict)];
    let Some(ventricle) = look.ventricle else { return checks };
    checks.push(warning(&TILT, Some(ventricle.tilt_deg), limits.axis_tilt_warn));
    checks.push(match ventricle.annulus {
        Some(annulus) if annulus > limits.mitral_annulus.max => {
            ANNULUS.check(Some(annulus), limits.mitral_annulus.max, CheckVerdict::Warn)
        }
        annulus => warning(&ANNULUS, annulus, limits.mitral_annulus.min),
    });
    if expected == 4 {
        checks.push(warning(&RATIO, ventricle.ratio, limits.rv_lv_ratio_warn));
    }
    checks.push(warning(&ELONGATION, Some(ventricle.elongation), limits.elongation_warn));
    checks.push(warning(&APEX, Some(ventricle.apex_depth), limits.apex_depth_warn));
    checks
}

/// Judges a value that may warn and never reject. What could not be measured passes: that a chamber is missing has been
/// said.
fn warning(rule: &Rule, value: Option<f64>, warn: f64) -> Check {
    value.map_or_else(
        || rule.check(None, warn, CheckVerdict::Pass),
        |value| rule.judge(value, Limits { warn, reject: f64::NAN }.warning_only(rule.worse)),
    )
}
