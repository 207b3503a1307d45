//! The longest answer that a schema allows, so that a token limit can be held against it before anything is asked.

use serde_json::Value;

/// Where a schema allows answers without end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} has no longest value; {fix}")]
pub struct Unbounded {
    /// JSON pointer into the schema.
    pub path: String,
    /// What would bound it.
    pub fix: &'static str,
}

/// Most bytes of one character of a JSON string: an escaped surrogate pair.
const CHARACTER: usize = 12;

/// Bytes of the longest compact JSON that fits `schema`. A token is at least one byte, so a limit of as many tokens is
/// always enough. Known are `enum`, `const`, `anyOf`, `oneOf`, strings with `maxLength`, integers with `minimum` and
/// `maximum`, booleans, null, arrays with `maxItems` and objects without `additionalProperties`.
pub fn longest_answer(schema: &Value) -> Result<usize, Unbounded> {
    longest(schema, "")
}

fn longest(schema: &Value, path: &str) -> Result<usize, Unbounded> {
    let unbounded =
        |fix| Err(Unbounded { path: if path.is_empty() { "/".to_owned() } else { path.to_owned() }, fix });
    if let Some(constant) = schema.get("const") {
        return Ok(constant.to_string().len());
    }
    if let Some(Value::Array(values)) = schema.get("enum") {
        return Ok(values.iter().map(|value| value.to_string().len()).max().unwrap_or(0));
    }
    for of in ["anyOf", "oneOf"] {
        if let Some(Value::Array(schemas)) = schema.get(of) {
            return largest(schemas.iter().enumerate(), |i| format!("{path}/{of}/{i}"));
        }
    }
    match schema.get("type") {
        Some(Value::String(name)) => longest_of_type(name, schema, path),
        Some(Value::Array(names)) => names.iter().try_fold(0, |longest_so_far, name| {
            let length = longest_of_type(name.as_str().unwrap_or_default(), schema, path)?;
            Ok(longest_so_far.max(length))
        }),
        _ => unbounded("give it a type, an enum or a const"),
    }
}

fn longest_of_type(name: &str, schema: &Value, path: &str) -> Result<usize, Unbounded> {
    let unbounded =
        |fix| Err(Unbounded { path: if path.is_empty() { "/".to_owned() } else { path.to_owned() }, fix });
    let size = |field: &str| schema.get(field).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    match name {
        "null" => Ok(4),
        "boolean" => Ok(5),
        "string" => match size("maxLength") {
            Some(characters) => Ok(characters.saturating_mul(CHARACTER).saturating_add(2)),
            None => unbounded("give it a maxLength or an enum"),
        },
        "integer" => match (
            schema.get("minimum").and_then(Value::as_i64),
            schema.get("maximum").and_then(Value::as_i64),
        ) {
            (Some(least), Some(most)) => Ok(least.to_string().len().max(most.to_string().len())),
            _ => unbounded("give it a minimum and a maximum"),
        },
        "array" => {
            let Some(items) = schema.get("items") else { return unbounded("give it items") };
            let Some(count) = size("maxItems") else { return unbounded("give it maxItems") };
            let item = longest(items, &format!("{path}/items"))?;
            Ok(item.saturating_add(1).saturating_mul(count).saturating_add(2))
        }
        "object" => {
            if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
                return unbounded("set additionalProperties to false");
            }
            let Some(Value::Object(fields)) = schema.get("properties") else { return Ok(2) };
            fields.iter().try_fold(2_usize, |bytes, (name, field)| {
                let value = longest(field, &format!("{path}/properties/{name}"))?;
                // "name":value,
                let name = Value::String(name.clone()).to_string().len();
                Ok(bytes.saturating_add(name).saturating_add(value).saturating_add(2))
            })
        }
        _ => unbounded("use integer, string, boolean, null, array, object, enum or const"),
    }
}

fn largest<'a>(
    schemas: impl Iterator<Item = (usize, &'a Value)>,
    path: impl Fn(usize) -> String,
) -> Result<usize, Unbounded> {
    let mut most = 0;
    for (i, schema) in schemas {
        most = most.max(longest(schema, &path(i))?);
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn longest_answer_is_as_long_as_its_json() {
        let schema = json!({"type": "object", "additionalProperties": false, "properties": {
            "view": {"enum": ["A4C", "SUBCOSTAL"]},
            "lvef": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 100}, {"type": "null"}]},
            "findings": {"type": "array", "maxItems": 2, "items": {"type": "boolean"}},
        }});
        let answer = r#"{"view":"SUBCOSTAL","lvef":null,"findings":[false,false]}"#;
        let longest = longest_answer(&schema).unwrap();
        // One separator each that the last field and item do not have.
        assert_eq!(longest, answer.len() + 2);
    }

    #[test]
    fn what_has_no_end_is_named() {
        let object = |field: Value| json!({"type": "object", "additionalProperties": false, "properties": {"a": field}});
        for (schema, path) in [
            (object(json!({"type": "string"})), "/properties/a"),
            (object(json!({"type": "number"})), "/properties/a"),
            (object(json!({"type": "array", "items": {"type": "null"}})), "/properties/a"),
            (object(json!({"anyOf": [{"type": "null"}, {"type": "integer"}]})), "/properties/a/anyOf/1"),
            (json!({"type": "object", "properties": {}}), "/"),
            (json!({}), "/"),
        ] {
            assert_eq!(longest_answer(&schema).unwrap_err().path, path, "{schema}");
        }
    }
}
