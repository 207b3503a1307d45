//! Verdicts and the checks behind them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::message::text_schema;

/// The verdict on an instance or a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Fit to be read.
    Accept,
    /// Fit to be read, with warnings that the report repeats.
    Caution,
    /// Not fit; the reasons say what to re-acquire.
    Reject,
}

/// The verdict of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// Within bounds.
    Pass,
    /// Outside the warning bound.
    Warn,
    /// Outside the rejecting bound.
    Reject,
}

/// A text that is no reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reason code is not 2 to 40 of A-Z, 0-9, '_', beginning with a letter")]
pub struct ReasonCodeError;

/// A stable code such as `BLUR` or `LOW_FPS`; scripts and translations rely on it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReasonCode(std::borrow::Cow<'static, str>);

text_schema!(ReasonCode, r"^[A-Z][A-Z0-9_]{1,39}$", "Stable code such as `BLUR`.");

impl ReasonCode {
    const fn is_valid(text: &str) -> bool {
        let bytes = text.as_bytes();
        if bytes.len() < 2 || bytes.len() > 40 || !bytes[0].is_ascii_uppercase() {
            return false;
        }
        let mut index = 1;
        while index < bytes.len() {
            if !(bytes[index].is_ascii_uppercase() || bytes[index].is_ascii_digit() || bytes[index] == b'_') {
                return false;
            }
            index += 1;
        }
        true
    }

    /// A code known when compiling; one that is not valid does not compile when used in a `const`.
    pub const fn known(code: &'static str) -> Self {
        assert!(Self::is_valid(code), "reason code is not 2 to 40 of A-Z, 0-9, '_'");
        Self(std::borrow::Cow::Borrowed(code))
    }

    /// Checks `text`.
    pub fn new(text: &str) -> Result<Self, ReasonCodeError> {
        if Self::is_valid(text) {
            Ok(Self(std::borrow::Cow::Owned(text.to_owned())))
        } else {
            Err(ReasonCodeError)
        }
    }

    /// The code's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ReasonCode {
    type Error = ReasonCodeError;
    fn try_from(text: String) -> Result<Self, ReasonCodeError> {
        Self::new(&text)
    }
}

impl From<ReasonCode> for String {
    fn from(code: ReasonCode) -> Self {
        code.0.into_owned()
    }
}

/// One sentence in both languages of the product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Bilingual {
    /// English.
    pub en: String,
    /// Simplified Chinese.
    pub zh: String,
}

impl Bilingual {
    /// The same thing said twice.
    pub fn new(en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self { en: en.into(), zh: zh.into() }
    }
}

/// One measured property with the bound it was held against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Check {
    /// What was measured, for example `blur`.
    pub name: String,
    /// The measured value; absent where it could not be measured (then `code` says why).
    pub value: Option<f64>,
    /// The value's unit as UCUM: `1` for a ratio, `s`, `Hz`, `{frames}`.
    pub unit: String,
    /// The bound that decided: the rejecting one on `reject`, else the warning one.
    pub threshold: f64,
    /// The verdict.
    pub verdict: CheckVerdict,
    /// The reason code when the verdict is not `pass`.
    pub code: Option<ReasonCode>,
    /// What the technologist should do about it.
    pub advice: Option<Bilingual>,
}
