//! Something is written outside the sector, as names and dates are.

use schemas::{Check, CheckVerdict, ReasonCode};

use crate::rule::{Rule, Worse, bilingual};

const ADVICE: [&str; 2] = [
    "Text is burned into the picture outside the sector; it is blacked out here. If it names the patient, set the device to leave it out.",
    "扇区外的图像中有烧录文字，本系统已将其遮盖；如含患者身份，请在设备上关闭该显示。",
];
const RULE: Rule = Rule {
    name: "burned_in_text",
    unit: "1",
    worse: Worse::Above,
    code: ReasonCode::known("BURNED_IN_TEXT"),
    advice: ADVICE,
};

/// Notes the share of bright pixels outside tissue and electrocardiogram. It never fails, since nothing outside the
/// sector leaves the decoder; beyond the bound the check carries its code so that the site can look at its devices.
pub(crate) fn check(share: f64, bound: f64) -> Check {
    let check = RULE.check(Some(share), bound, CheckVerdict::Pass);
    if RULE.worse.beyond(share, bound) {
        Check { code: Some(RULE.code), advice: Some(bilingual(ADVICE)), ..check }
    } else {
        check
    }
}
