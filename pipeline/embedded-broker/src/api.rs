//! The answers, one file per family of requests.

pub(crate) mod admin;
pub(crate) mod fetch;
pub(crate) mod groups;
pub(crate) mod metadata;
pub(crate) mod offsets;
pub(crate) mod produce;

use kafka_protocol::error::ResponseError;
use kafka_protocol::protocol::StrBytes;

/// Code 0: no error.
pub(crate) const NO_ERROR: i16 = 0;

/// The code on the wire.
pub(crate) fn code<T>(outcome: &Result<T, ResponseError>) -> i16 {
    outcome.as_ref().err().map_or(NO_ERROR, ResponseError::code)
}

pub(crate) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}
