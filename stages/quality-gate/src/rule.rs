//! How a measured value becomes a [`Check`].

use schemas::{Bilingual, Check, CheckVerdict, ReasonCode};
use serde::Deserialize;
use stage::ConfigError;

/// The bounds of a check whose value is worse in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Beyond it the instance carries a warning.
    pub warn: f64,
    /// Beyond it the instance cannot be used.
    pub reject: f64,
}

/// The bounds of a check whose value may be too small or too large; outside them the instance cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The smallest good value.
    pub min: f64,
    /// The largest good value.
    pub max: f64,
}

/// The direction in which a value gets worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worse {
    Above,
    Below,
}

impl Worse {
    pub(crate) fn beyond(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Above => value > bound,
            Self::Below => value < bound,
        }
    }
}

/// What is fixed about a check.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// UCUM; `1` for a ratio, braces for things that UCUM does not know.
    pub(crate) unit: &'static str,
    pub(crate) worse: Worse,
    pub(crate) code: ReasonCode,
    /// The sentence for the technologist: English, Chinese.
    pub(crate) advice: [&'static str; 2],
}

impl Rule {
    /// Holds `value` against `limits`.
    pub(crate) fn judge(&self, value: f64, limits: Limits) -> Check {
        let value = rounded(value);
        if self.worse.beyond(value, limits.reject) {
            self.check(Some(value), limits.reject, CheckVerdict::Reject)
        } else if self.worse.beyond(value, limits.warn) {
            self.check(Some(value), limits.warn, CheckVerdict::Warn)
        } else {
            self.check(Some(value), limits.warn, CheckVerdict::Pass)
        }
    }

    /// A check with its verdict already known.
    pub(crate) fn check(&self, value: Option<f64>, threshold: f64, verdict: CheckVerdict) -> Check {
        let failed = verdict != CheckVerdict::Pass;
        Check {
            name: self.name.to_owned(),
            value: value.map(rounded),
            unit: self.unit.to_owned(),
            threshold,
            verdict,
            code: failed.then(|| self.code.clone()),
            advice: failed.then(|| bilingual(self.advice)),
        }
    }
}

/// To six decimals: what is shown is what was judged, and it survives JSON unchanged.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// A sentence written as `[English, Chinese]`.
pub(crate) fn bilingual([en, zh]: [&'static str; 2]) -> Bilingual {
    Bilingual::new(en, zh)
}

impl Limits {
    /// The same bounds for a value that may warn and never reject.
    pub(crate) fn warning_only(self, worse: Worse) -> Self {
        let reject = match worse {
            Worse::Above => f64::INFINITY,
            Worse::Below => f64::NEG_INFINITY,
        };
        Self { reject, ..self }
    }

    /// Refuses bounds of which the rejecting one would be met first.
    pub(crate) fn validated(self, key: &'static str, worse: Worse) -> Result<(), ConfigError> {
        let ordered =
            self.warn.is_finite() && self.reject.is_finite() && !worse.beyond(self.warn, self.reject);
        let side = if worse == Worse::Above { "at or above" } else { "at or below" };
        ordered.then_some(()).ok_or_else(|| ConfigError {
            key,
            value: format!("warn {}, reject {}", self.warn, self.reject),
            expected: format!("the rejecting bound lies {side} the warning bound"),
        })
    }
}

impl Range {
    /// Refuses an empty range.
    pub(crate) fn validated(self, key: &'static str) -> Result<(), ConfigError> {
        (self.min.is_finite() && self.max.is_finite() && self.min < self.max).then_some(()).ok_or_else(|| {
            ConfigError {
                key,
                value: format!("min {}, max {}", self.min, self.max),
                expected: "min lies below max".to_owned(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        name: "depth",
        unit: "cm",
        worse: Worse::Below,
        code: ReasonCode::known("SHALLOW"),
        advice: ["Scan deeper.", "请加大深度。"],
    };

    #[test]
    fn a_check_names_the_bound_that_decided_and_advises_only_when_it_failed() {
        let limits = Limits { warn: 12.0, reject: 8.0 };
        let verdicts = [12.0, 11.9, 8.0, 7.9].map(|value| {
            let check = RULE.judge(value, limits);
            assert_eq!(check.code.is_some(), check.verdict != CheckVerdict::Pass);
            assert_eq!(check.advice.is_some(), check.code.is_some());
            (check.verdict, check.threshold)
        });
        let (pass, warn, reject) = (CheckVerdict::Pass, CheckVerdict::Warn, CheckVerdict::Reject);
        assert_eq!(verdicts, [(pass, 12.0), (warn, 12.0), (warn, 12.0), (reject, 8.0)]);
    }

    #[test]
    fn bounds_in_the_wrong_order_are_refused_by_name() {
        let error = Limits { warn: 8.0, reject: 12.0 }.validated("echo.depth", Worse::Below).unwrap_err();
        assert_eq!(
            error.to_string(),
            "echo.depth is warn 8, reject 12; the rejecting bound lies at or below the warning bound"
        );
        assert!(Limits { warn: f64::NAN, reject: 1.0 }.validated("k", Worse::Above).is_err());
    }
}
