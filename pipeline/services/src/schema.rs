//! The schema that an answer is held to, whichever backend holds it.

use serde_json::Value;
use stage::ModelRequest;

/// Why an answer cannot be held to a schema.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaFault {
    #[error("the schema of the answer is not JSON")]
    Json(#[source] serde_json::Error),
    #[error("the schema of the answer allows answers without end")]
    Unbounded(#[source] glm46v::Unbounded),
    #[error(
        "the longest answer of the schema has {longest} bytes after its prefix, but max_new_tokens is {max_new_tokens}"
    )]
    TooLong { longest: usize, max_new_tokens: usize },
}

/// The schema of a request, if its longest answer fits the cap on tokens: one that is cut off is no JSON. A token may be a
/// single byte, so bytes are what counts.
pub(crate) fn of(request: &ModelRequest) -> Result<Option<Value>, SchemaFault> {
    let Some(schema) = &request.schema else { return Ok(None) };
    let schema = serde_json::from_str(schema).map_err(SchemaFault::Json)?;
    let longest = glm46v::longest_answer(&schema)
        .map_err(SchemaFault::Unbounded)?
        .saturating_sub(request.answer_prefix.len());
    let max_new_tokens = request.max_new_tokens as usize;
    if longest > max_new_tokens {
        return Err(SchemaFault::TooLong { longest, max_new_tokens });
    }
    Ok(Some(schema))
}
