//! Reads fields of the checkpoint's JSON files so that every complaint names the file and the field.
//!
//! A field is looked up in the named part first and in the file's root second: transformers 4 wrote some text fields
//! outside `text_config`. `null` counts as absent, as in transformers.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::LoadError;

/// One JSON object, or one part of it over its root.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    file: &'static str,
    part: &'static str,
    own: Option<&'a Map<String, Value>>,
    fallback: Option<&'a Map<String, Value>>,
}

impl<'a> Fields<'a> {
    /// The root of `file`.
    pub(crate) fn root(file: &'static str, value: &'a Value) -> Result<Self, LoadError> {
        let own = value.as_object().ok_or_else(|| LoadError::FieldValue {
            file,
            field: "(root)".to_owned(),
            value: kind(value).to_owned(),
            expected: "an object".to_owned(),
        })?;
        Ok(Self { file, part: "", own: Some(own), fallback: None })
    }

    /// The object `part` if it is there, else an empty one.
    pub(crate) fn part(&self, part: &'static str) -> Result<Self, LoadError> {
        match self.own.and_then(|own| own.get(part)) {
            None | Some(Value::Null) => Ok(Self { part, own: None, fallback: None, ..*self }),
            Some(Value::Object(own)) => Ok(Self { part, own: Some(own), fallback: None, ..*self }),
            Some(other) => Err(self.value_error(part, kind(other), "an object")),
        }
    }

    /// As [`Fields::part`], and what the part lacks is looked up in the root.
    pub(crate) fn part_over_root(&self, part: &'static str) -> Result<Self, LoadError> {
        Ok(Self { fallback: self.own, ..self.part(part)? })
    }

    /// Whether the field is there and not null.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    /// Whether the part itself has the field, root aside.
    pub(crate) fn has_own(&self, field: &str) -> bool {
        self.own.and_then(|own| own.get(field)).is_some_and(|value| !value.is_null())
    }

    /// The field, or `None` where absent.
    pub(crate) fn optional<T: DeserializeOwned>(&self, field: &str) -> Result<Option<T>, LoadError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        T::deserialize(value).map(Some).map_err(|source| LoadError::FieldType {
            file: self.file,
            field: self.path(field),
            source,
        })
    }

    /// The field, or an error where absent.
    pub(crate) fn required<T: DeserializeOwned>(&self, field: &str) -> Result<T, LoadError> {
        self.optional(field)?
            .ok_or_else(|| LoadError::FieldMissing { file: self.file, field: self.path(field) })
    }

    /// A count of 1 to `largest`. The bound keeps a damaged file from asking for absurd amounts of memory.
    pub(crate) fn count(&self, field: &str, largest: usize) -> Result<usize, LoadError> {
        let value: u64 = self.required(field)?;
        self.bounded(field, value, largest)
    }

    /// As [`Fields::count`] with a default.
    pub(crate) fn count_or(&self, field: &str, default: usize, largest: usize) -> Result<usize, LoadError> {
        match self.optional::<u64>(field)? {
            Some(value) => self.bounded(field, value, largest),
            None => Ok(default),
        }
    }

    fn bounded(&self, field: &str, value: u64, largest: usize) -> Result<usize, LoadError> {
        match usize::try_from(value) {
            Ok(count) if (1..=largest).contains(&count) => Ok(count),
            _ => Err(self.value_error(field, value, format!("1 to {largest}"))),
        }
    }

    /// A finite number above zero, or the default.
    pub(crate) fn positive_or(&self, field: &str, default: f64) -> Result<f64, LoadError> {
        match self.optional::<f64>(field)? {
            None => Ok(default),
            Some(value) if value.is_finite() && value > 0.0 => Ok(value),
            Some(value) => Err(self.value_error(field, value, "a number above 0")),
        }
    }

    /// As [`Fields::positive_or`], and at most `largest`.
    pub(crate) fn positive_up_to(&self, field: &str, default: f64, largest: f64) -> Result<f64, LoadError> {
        match self.positive_or(field, default)? {
            value if value <= largest => Ok(value),
            value => Err(self.value_error(field, value, format!("at most {largest}"))),
        }
    }

    /// Complains about the value of a field.
    pub(crate) fn value_error(
        &self,
        field: &str,
        value: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> LoadError {
        LoadError::FieldValue {
            file: self.file,
            field: self.path(field),
            value: value.to_string(),
            expected: expected.into(),
        }
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        let found = |map: &'a Map<String, Value>| map.get(field).filter(|value| !value.is_null());
        self.own.and_then(found).or_else(|| self.fallback.and_then(found))
    }

    fn path(&self, field: &str) -> String {
        if self.part.is_empty() { field.to_owned() } else { format!("{}.{field}", self.part) }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
