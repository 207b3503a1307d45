//! A record that cannot be processed, as it is put on its dead-letter topic.
//!
//! It keeps its key, its headers and, up to 512 KiB, its value; a longer value goes to the blob store's `quarantine`
//! and the letter carries the reference. `dl_*` headers say where it came from and why it is there.

use std::borrow::Cow;

use jiff::Timestamp;
use schemas::{Area, Cause, DeadLetter, DeadLetterPayload, DecodeError, EnvelopeError};
use stage::{BlobError, Blobs, FrameError, Source};

use crate::record::{Headers, Record};

/// Longest value that travels inside a letter.
const MAX_EMBEDDED: usize = 512 << 10;
/// Longest key, and most bytes of original headers. With the value below the 1,000,000 bytes of a message.
const MAX_KEY: usize = 64 << 10;
const MAX_HEADERS: usize = 256 << 10;
/// Longest detail, in characters.
const MAX_DETAIL: usize = 400;

/// Why a record is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) cause: Cause,
    /// One sentence, never any text of the payload.
    pub(crate) detail: String,
    pub(crate) attempts: u32,
}

impl Death {
    pub(crate) fn new(cause: Cause, error: &(dyn std::error::Error + 'static)) -> Self {
        Self { cause, detail: chain(error), attempts: 1 }
    }

    /// What cannot be worked with: headers, value, and a blob that is missing or damaged have causes of their own.
    pub(crate) fn invalid(source: &Source) -> Self {
        let source: &(dyn std::error::Error + 'static) = source.as_ref();
        let cause = causes(source).find_map(cause_of).unwrap_or(Cause::Invalid);
        Self::new(cause, source)
    }
}

fn cause_of(error: &(dyn std::error::Error + 'static)) -> Option<Cause> {
    if error.is::<EnvelopeError>() {
        return Some(Cause::Envelope);
    }
    if let Some(error) = error.downcast_ref::<DecodeError>() {
        let newer = matches!(error, DecodeError::Major { found, expected, .. } if found > expected);
        return Some(if newer { Cause::SchemaNewer } else { Cause::Undecodable });
    }
    if let Some(error) = error.downcast_ref::<BlobError>() {
        return match error {
            BlobError::NotFound { .. } => Some(Cause::ObjectMissing),
            BlobError::Mismatch { .. } => Some(Cause::ObjectMismatch),
            BlobError::Unavailable { .. } => None,
        };
    }
    match error.downcast_ref::<FrameError>()? {
        FrameError::NotFound { .. } => Some(Cause::ObjectMissing),
        FrameError::Mismatch { .. } => Some(Cause::ObjectMismatch),
        FrameError::NotAnalysable { .. } | FrameError::Damaged { .. } | FrameError::Unavailable(_) => None,
    }
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// An error and what is behind it, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let parts: Vec<String> = causes(error).map(ToString::to_string).collect();
    let line = parts.join(": ");
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_DETAIL).collect()
}

/// A letter ready to be sent.
#[derive(Debug)]
pub(crate) struct Letter<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) headers: Headers,
    pub(crate) payload: Cow<'a, [u8]>,
}

/// Writes the letter of `record`, given up by `stage` at `time`.
pub(crate) fn write<'a>(
    record: &'a Record,
    death: &Death,
    stage: &str,
    time: Timestamp,
    blobs: &dyn Blobs,
) -> Result<Letter<'a>, BlobError> {
    let mut headers = Headers::default();
    let mut dropped = 0;
    // A letter sent back and dead again says where it came from this time.
    for (name, value) in record.headers.iter().filter(|(name, _)| !name.starts_with("dl_")) {
        if headers.size() + name.len() + value.len() <= MAX_HEADERS {
            headers.push(name, value);
        } else {
            dropped += 1;
        }
    }
    let key = record.key.as_deref().filter(|key| key.len() <= MAX_KEY);
    let mut detail = death.detail.clone();
    if dropped > 0 {
        detail = format!("{detail} ({dropped} headers beyond {MAX_HEADERS} bytes left out)");
    }
    if key.is_none() && record.key.is_some() {
        detail = format!("{detail} (key of more than {MAX_KEY} bytes left out)");
    }
    let (payload, place) = if record.payload.len() <= MAX_EMBEDDED {
        (Cow::Borrowed(record.payload.as_slice()), DeadLetterPayload::Embedded)
    } else {
        let reference = blobs.put(Area::Quarantine, &record.payload)?;
        #[expect(clippy::expect_used, reason = "a BlobRef is a plain struct: serialisation cannot fail")]
        let reference = serde_json::to_vec(&reference).expect("blob references serialise");
        (Cow::Owned(reference), DeadLetterPayload::Quarantined)
    };
    let letter = DeadLetter {
        cause: death.cause,
        detail,
        stage: stage.to_owned(),
        topic: record.topic.to_string(),
        partition: record.partition,
        offset: record.offset,
        attempts: death.attempts,
        time,
        payload: place,
    };
    for header in letter.to_headers() {
        headers.push(&header.key, &header.value);
    }
    Ok(Letter { key, headers, payload })
}

#[cfg(test)]
mod tests {
    use schemas::BlobRef;
    use stage::{StageError, testing::MemoryBlobs};

    use super::*;

    fn record(payload: Vec<u8>) -> Record {
        let mut headers = Headers::default();
        headers.push("ce_id", b"original");
        headers.push("dl_cause", b"panic");
        Record {
            topic: "study.acquired.v1.urgent".into(),
            partition: 3,
            offset: 99,
            timestamp: Timestamp::UNIX_EPOCH,
            key: Some(b"1.2.3".to_vec()),
            headers,
            payload,
        }
    }

    fn death() -> Death {
        Death { cause: Cause::Invalid, detail: "why".to_owned(), attempts: 2 }
    }

    #[test]
    fn a_letter_keeps_the_record_and_says_where_it_came_from() {
        let record = record(b"{}".to_vec());
        let blobs = MemoryBlobs::default();
        let letter = write(&record, &death(), "quality_gate", Timestamp::UNIX_EPOCH, &blobs).unwrap();
        assert_eq!((letter.key, letter.payload.as_ref()), (Some(&b"1.2.3"[..]), &b"{}"[..]));
        assert_eq!(letter.headers.iter().next(), Some(("ce_id", &b"original"[..])));
        assert_eq!(letter.headers.iter().filter(|(name, _)| *name == "dl_cause").count(), 1);
        let read = DeadLetter::from_headers(letter.headers.iter()).unwrap();
        assert_eq!(
            (read.cause, read.topic.as_str(), read.offset),
            (Cause::Invalid, "study.acquired.v1.urgent", 99)
        );
        assert_eq!((read.attempts, read.payload), (2, DeadLetterPayload::Embedded));
    }

    #[test]
    fn a_long_value_is_quarantined_and_referred_to() {
        let value = vec![b'x'; MAX_EMBEDDED + 1];
        let record = record(value.clone());
        let blobs = MemoryBlobs::default();
        let letter = write(&record, &death(), "quality_gate", Timestamp::UNIX_EPOCH, &blobs).unwrap();
        let reference: BlobRef = serde_json::from_slice(&letter.payload).unwrap();
        assert_eq!(blobs.get(&reference).unwrap(), value);
        assert_eq!(reference.area, Area::Quarantine);
        let read = DeadLetter::from_headers(letter.headers.iter()).unwrap();
        assert_eq!(read.payload, DeadLetterPayload::Quarantined);
    }

    #[test]
    fn a_missing_or_damaged_object_has_a_cause_of_its_own() {
        let cause = |error: StageError| match error {
            StageError::Invalid(source) => Death::invalid(&source).cause,
            other => panic!("not invalid: {other}"),
        };
        assert_eq!(cause(BlobError::NotFound { key: "k".into() }.into()), Cause::ObjectMissing);
        assert_eq!(cause(FrameError::Mismatch { key: "k".into() }.into()), Cause::ObjectMismatch);
        assert_eq!(cause(StageError::invalid("no such thing")), Cause::Invalid);
    }

    #[test]
    fn details_are_one_short_line() {
        let long = Death::invalid(&format!("first\nsecond {}", "x".repeat(9000)).into());
        assert!(long.detail.starts_with("first second x") && long.detail.chars().count() == MAX_DETAIL);
    }
}
