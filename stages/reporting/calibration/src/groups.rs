//! Mondrian groups: studies of one kind get the bound of their kind, where the set has enough of them.
//!
//! ```text
//!   vendor=A,quality=good,view=A4C ─fewer than 100─▶ quality=good,view=A4C ─fewer─▶ view=A4C ─fewer─▶ all
//! ```
//! A parent drops the first key. Its bound is that of all its studies, so that its guarantee is over all of them.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The label of the group that every study belongs to.
pub const ALL: &str = "all";

/// The value of a trait that is not told.
const UNTOLD: &str = "unknown";

/// What tells groups of studies apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// Who made the ultrasound machine.
    Vendor,
    /// The quality the model sees.
    Quality,
    /// The view the model sees.
    View,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vendor => "vendor",
            Self::Quality => "quality",
            Self::View => "view",
        })
    }
}

/// A text that names no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no key of groups; the keys are vendor, quality, view")]
pub struct UnknownKey {
    given: String,
}

impl FromStr for Key {
    type Err = UnknownKey;
    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        [Self::Vendor, Self::Quality, Self::View]
            .into_iter()
            .find(|key| key.to_string() == text)
            .ok_or_else(|| UnknownKey { given: text.chars().take(40).collect() })
    }
}

/// A text that cannot stand in a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {key} is 1 to 32 letters, digits, '-' or '_'")]
pub struct TraitError {
    key: Key,
}

/// What a study is, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traits(BTreeMap<Key, String>);

impl Traits {
    /// Adds that `key` is `value`.
    pub fn with(mut self, key: Key, value: &str) -> Result<Self, TraitError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if value.is_empty() || value.len() > 32 || !value.bytes().all(allowed) {
            return Err(TraitError { key });
        }
        self.0.insert(key, value.to_owned());
        Ok(self)
    }

    /// The value of `key`, if told.
    pub fn get(&self, key: Key) -> Option<&str> {
        self.0.get(&key).map(String::as_str)
    }
}

/// The labels of the groups that a study with `traits` belongs to, by `keys`: its own first, [`ALL`] last.
pub fn labels(keys: &[Key], traits: &Traits) -> Vec<String> {
    let named = |key: &Key| format!("{key}={}", traits.get(*key).unwrap_or(UNTOLD));
    let mut labels: Vec<String> = (0..keys.len())
        .map(|first| keys.iter().skip(first).map(named).collect::<Vec<_>>().join(","))
        .collect();
    labels.push(ALL.to_owned());
    labels
}
