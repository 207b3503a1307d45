//! The forms the model fills in, one for each kind of examination, and the closed words they are made of.
//!
//! ```text
//!                    ┌─ prompt      config/prompts/<form>.<language>.md asks for it
//!   closed words ────┼─ schema      holds the model to it, token by token
//!                    └─ parse       reads it: one JSON object, these keys, these words
//! ```
//!
//! Invariants:
//! - Every compact text that fits [`Form::schema`] is read by [`Form::parse`], and no answer is read that would not fit
//!   the schema once it is written compactly and its findings stand in the order of the form.
//! - The schema has a longest answer, and [`Form::longest_answer`] is its length.

mod echo;
mod pathology;

use schemas::{Answer, Quality, ReasonCode};
use serde::{Deserialize, Deserializer};

pub use echo::FindingCode;
pub(crate) use echo::before_number;
pub use pathology::{Artefact, Nuclei, Tissue};

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// One heart beat: view, quality, ejection fraction, findings.
    Echo,
    /// One tile: tissue, nuclei, artefact, quality.
    Pathology,
}

/// Why a text is not the form asked for. Holds nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnparsableAnswer {
    /// Not exactly one JSON object of the form's keys with values out of the closed vocabularies.
    #[error("answer is not the one json object asked for")]
    Form,
    /// An ejection fraction above 100 percent.
    #[error("answer has an ejection fraction of {percent} percent; expected 0 to 100")]
    EjectionFraction {
        /// The value found.
        percent: u8,
    },
    /// A finding named twice.
    #[error("answer names a finding twice")]
    RepeatedFinding,
}

impl Form {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Echo, Self::Pathology];

    /// The keys of the answer, in order.
    pub const fn keys(self) -> [&'static str; 4] {
        match self {
            Self::Echo => echo::KEYS,
            Self::Pathology => pathology::KEYS,
        }
    }

    /// Reads `text` as the form. White space is allowed, nothing else beside the object.
    pub fn parse(self, text: &str) -> Result<Answer, UnparsableAnswer> {
        match self {
            Self::Echo => echo::parse(text),
            Self::Pathology => pathology::parse(text),
        }
    }

    /// The JSON Schema of the answer, its keys in the order of the form.
    pub fn schema(self) -> String {
        let [first, second, third, fourth] = match self {
            Self::Echo => echo::schemas(),
            Self::Pathology => pathology::schemas(),
        };
        let [a, b, c, d] = self.keys();
        format!(
            r#"{{"type":"object","additionalProperties":false,"required":["{a}","{b}","{c}","{d}"],"properties":{{"{a}":{first},"{b}":{second},"{c}":{third},"{d}":{fourth}}}}}"#
        )
    }

    /// Bytes of the longest compact answer. A token is at least one byte, so a cap of as many tokens never cuts one.
    pub fn longest_answer(self) -> usize {
        match self {
            Self::Echo => echo::longest_answer(),
            Self::Pathology => pathology::longest_answer(),
        }
    }

    /// Every code that an answer of this form may hold, in order.
    pub fn codes(self) -> Vec<ReasonCode> {
        self.alternatives().concat()
    }

    /// The codes in groups: of each group an answer holds at most one.
    pub(crate) fn alternatives(self) -> Vec<Vec<ReasonCode>> {
        match self {
            Self::Echo => FindingCode::ALL.iter().map(|finding| vec![finding.code()]).collect(),
            Self::Pathology => vec![
                Tissue::ALL.map(Tissue::code).to_vec(),
                Nuclei::ALL.map(Nuclei::code).to_vec(),
                Artefact::ALL.map(Artefact::code).to_vec(),
            ],
        }
    }
}

/// Reads a form's wire struct. `from_str` refuses anything after the value, and serde refuses a key named twice. An
/// array of the values would deserialise as well, hence the look at the first character.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, UnparsableAnswer> {
    if !text.trim_start().starts_with('{') {
        return Err(UnparsableAnswer::Form);
    }
    serde_json::from_str(text).map_err(|_| UnparsableAnswer::Form)
}

/// `null` is an answer, a missing key is none: naming a function switches serde's default for absent options off.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

const QUALITIES: [Quality; 3] = [Quality::Good, Quality::Fair, Quality::Poor];

const fn quality_word(quality: Quality) -> &'static str {
    match quality {
        Quality::Good => "good",
        Quality::Fair => "fair",
        Quality::Poor => "poor",
    }
}

/// A word as JSON; closed words need no escape.
fn quoted(word: &str) -> String {
    format!("\"{word}\"")
}

/// JSON values as a JSON list.
fn list(values: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", values.into_iter().collect::<Vec<_>>().join(","))
}

/// The schema of a word out of `words`.
fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    format!(r#"{{"enum":{}}}"#, list(words.into_iter().map(quoted)))
}

/// The schema of a word out of `words`, or null.
fn one_of_or_null<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let values = words.into_iter().map(quoted).chain([NULL.to_owned()]);
    format!(r#"{{"enum":{}}}"#, list(values))
}

const NULL: &str = "null";

/// Bytes of the longest of `words` as JSON.
fn longest_word<'a>(words: impl IntoIterator<Item = &'a str>) -> usize {
    words.into_iter().map(|word| word.len() + 2).max().unwrap_or(0)
}
