//! What a record on a dead-letter topic says about itself, in headers of its own.
//!
//! The record keeps its original key, value and headers; `dl_*` headers say where it came from and why it is here.
//! A value over 512 KiB is replaced by a JSON [`BlobRef`] into area `quarantine`, and `dl_payload` says so.

use std::{fmt, str::FromStr};

use jiff::Timestamp;

use crate::Header;

/// Why a record is dead. Decides what an operator does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The value is not the JSON this topic carries.
    Undecodable,
    /// The headers are no envelope.
    Envelope,
    /// A newer major version than this build reads.
    SchemaNewer,
    /// Well-formed, but the stage cannot work with it.
    Invalid,
    /// A blob it names is not there.
    ObjectMissing,
    /// A blob it names has other content than the reference says.
    ObjectMismatch,
    /// The record failed again and again for reasons of its own.
    RetriesExhausted,
    /// The record was in flight at three deaths of the process.
    WorkerCrash,
    /// The stage panicked on it.
    Panic,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 9] = [
        Self::Undecodable,
        Self::Envelope,
        Self::SchemaNewer,
        Self::Invalid,
        Self::ObjectMissing,
        Self::ObjectMismatch,
        Self::RetriesExhausted,
        Self::WorkerCrash,
        Self::Panic,
    ];

    /// The stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Envelope => "envelope",
            Self::SchemaNewer => "schema_newer",
            Self::Invalid => "invalid",
            Self::ObjectMissing => "object_missing",
            Self::ObjectMismatch => "object_mismatch",
            Self::RetriesExhausted => "retries_exhausted",
            Self::WorkerCrash => "worker_crash",
            Self::Panic => "panic",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Cause {
    type Err = DeadLetterError;
    fn from_str(text: &str) -> Result<Self, DeadLetterError> {
        Self::ALL
            .into_iter()
            .find(|cause| cause.as_str() == text)
            .ok_or(DeadLetterError { header: "dl_cause" })
    }
}

/// A `dl_*` header is absent or malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("dead letter has no valid header {header}")]
pub struct DeadLetterError {
    /// Which header.
    pub header: &'static str,
}

/// Where the original value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterPayload {
    /// It is the record's value.
    Embedded,
    /// The record's value is a JSON reference to it.
    Quarantined,
}

/// The `dl_*` headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Why.
    pub cause: Cause,
    /// One sentence; never any text of the payload.
    pub detail: String,
    /// The consumer that gave up, for example `quality_gate`.
    pub stage: String,
    /// Topic it was read from, lane included.
    pub topic: String,
    /// Partition it was read from.
    pub partition: i32,
    /// Offset it was read at.
    pub offset: i64,
    /// How often it was tried.
    pub attempts: u32,
    /// When it died.
    pub time: Timestamp,
    /// Where its value is.
    pub payload: DeadLetterPayload,
}

impl DeadLetter {
    /// The headers, in a fixed order.
    pub fn to_headers(&self) -> Vec<Header> {
        let payload = match self.payload {
            DeadLetterPayload::Embedded => "embedded",
            DeadLetterPayload::Quarantined => "quarantined",
        };
        [
            ("dl_cause", self.cause.to_string()),
            ("dl_detail", self.detail.clone()),
            ("dl_stage", self.stage.clone()),
            ("dl_topic", self.topic.clone()),
            ("dl_partition", self.partition.to_string()),
            ("dl_offset", self.offset.to_string()),
            ("dl_attempts", self.attempts.to_string()),
            ("dl_time", self.time.to_string()),
            ("dl_payload", payload.to_owned()),
        ]
        .into_iter()
        .map(|(key, value)| Header { key: key.to_owned(), value: value.into_bytes() })
        .collect()
    }

    /// Reads the headers back; others are skipped, the last of a name counts.
    pub fn from_headers<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, DeadLetterError> {
        let headers: Vec<(&str, &[u8])> = headers.into_iter().collect();
        let text = |header: &'static str| {
            let value = headers.iter().rev().find(|(key, _)| *key == header).map(|(_, value)| *value);
            value.and_then(|value| std::str::from_utf8(value).ok()).ok_or(DeadLetterError { header })
        };
        Ok(Self {
            cause: text("dl_cause")?.parse()?,
            detail: text("dl_detail")?.to_owned(),
            stage: text("dl_stage")?.to_owned(),
            topic: text("dl_topic")?.to_owned(),
            partition: number(text("dl_partition")?, "dl_partition")?,
            offset: number(text("dl_offset")?, "dl_offset")?,
            attempts: number(text("dl_attempts")?, "dl_attempts")?,
            time: number(text("dl_time")?, "dl_time")?,
            payload: match text("dl_payload")? {
                "embedded" => DeadLetterPayload::Embedded,
                "quarantined" => DeadLetterPayload::Quarantined,
                _ => return Err(DeadLetterError { header: "dl_payload" }),
            },
        })
    }
}

fn number<T: FromStr>(text: &str, header: &'static str) -> Result<T, DeadLetterError> {
    text.parse().map_err(|_| DeadLetterError { header })
}
