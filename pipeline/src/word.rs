//! An enum's word as the messages write it: `U_LOW`, `in_progress`, `r_wave`.

use serde::Serialize;

/// The word of a variant without fields; empty for anything else.
pub(crate) fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
