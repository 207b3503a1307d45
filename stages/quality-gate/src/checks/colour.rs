//! Colour flow drawn into the picture, also where the header does not declare it.

use schemas::{Check, CheckVerdict, ReasonCode};

use crate::{
    applicability::NotApplicable,
    rule::{Rule, Worse},
};

const RULE: Rule = Rule {
    name: "colour",
    unit: "1",
    worse: Worse::Above,
    code: ReasonCode::known("COLOR_DOPPLER"),
    advice: ["", ""],
};

/// Judges the share of coloured pixels inside the fan. A clip beyond the bound is not meant for the purpose.
pub(crate) fn check(share: f64, bound: f64) -> Check {
    let verdict = if RULE.worse.beyond(share, bound) { CheckVerdict::Reject } else { CheckVerdict::Pass };
    let advice = (verdict == CheckVerdict::Reject).then(|| NotApplicable::Doppler.advice());
    Check { advice, ..RULE.check(Some(share), bound, verdict) }
}
