//! A sample of a topic that an operator may see.
//!
//! What is shown is decided by what is known to be safe, not by what is known to be dangerous:
//! - Headers only as the envelope or the dead letter that they parse as; a header of anybody else is counted, not shown.
//! - A message only where it is one of its topic's type; bytes that are none, poison first of all, are never shown.
//! - UIDs as the keyed hash that the logs show, here and inside sentences. Text is replaced by its length: what a model wrote
//!   of a patient is read in the report, by those who may.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use console::site::{TapRequest, TappedRecord};
use jiff::Timestamp;
use runtime::{Begin, Client, LogKey, Record, Tail, TailError};
use schemas::{
    CONTROL_TOPIC, DeadLetter, DeadLetterPayload, Envelope, Message, MessageVisitor, StageControl, decode,
};
use serde_json::Value;

use crate::system::topics;

/// Bytes of all messages of one sample, as they lie on the topic.
const MOST_BYTES: usize = 16 << 20;
/// How long what is there already may take to be read.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(50);
/// The longest text that counts as a code.
const LONGEST_CODE: usize = 80;

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TapError {
    /// A topic that is not ours.
    #[error("{topic} is no topic of prescreen; `prescreen topics` lists them")]
    Unknown {
        /// As it was named.
        topic: String,
    },
    /// It cannot be read.
    #[error("the topic cannot be read")]
    Topic(#[from] TailError),
}

/// Takes a sample: the latest records, or those that come while it waits, not more a second than asked for.
pub(crate) fn tap(
    client: &Client,
    key: &LogKey,
    request: &TapRequest,
) -> Result<Vec<TappedRecord>, TapError> {
    let TapRequest { topic, count, wait_ms, rate_per_s } = request;
    let known = topics()
        .iter()
        .flat_map(|topic| [topic.name.to_owned(), topic.urgent(), topic.dead_letters()])
        .any(|name| name == *topic);
    if !known && topic != CONTROL_TOPIC {
        return Err(TapError::Unknown { topic: topic.clone() });
    }
    let records = if *wait_ms == 0 {
        latest(client, topic, *count)?
    } else {
        coming(client, topic, *count, Duration::from_millis(*wait_ms), *rate_per_s)?
    };
    Ok(records.iter().map(|record| masked(record, key)).collect())
}

/// The latest `count` records of all partitions, the oldest of them first.
fn latest(client: &Client, topic: &str, count: u32) -> Result<Vec<Record>, TapError> {
    let mut tail = Tail::begin(client, topic, Begin::Before(count))?;
    let deadline = Instant::now() + PATIENCE;
    let (mut records, mut bytes): (Vec<Record>, usize) = (Vec::new(), 0);
    while !tail.caught_up() && bytes < MOST_BYTES && Instant::now() < deadline {
        if let Some(record) = tail.next(POLL)? {
            bytes += record.payload.len();
            records.push(record);
        }
    }
    records.sort_by_key(|record| (record.timestamp, record.partition, record.offset));
    let too_many = records.len().saturating_sub(count as usize);
    records.drain(..too_many);
    Ok(records)
}

/// Records that come within `wait`. Of more than `rate` in a second (0: any number) the first ones are taken.
fn coming(
    client: &Client,
    topic: &str,
    count: u32,
    wait: Duration,
    rate: u32,
) -> Result<Vec<Record>, TapError> {
    let mut tail = Tail::begin(client, topic, Begin::End)?;
    let deadline = Instant::now() + wait;
    let (mut records, mut bytes): (Vec<Record>, usize) = (Vec::new(), 0);
    let mut second = (Instant::now(), 0);
    while records.len() < count as usize && bytes < MOST_BYTES {
        let now = Instant::now();
        if now >= deadline {
            break;
        }
        if now.saturating_duration_since(second.0) >= Duration::from_secs(1) {
            second = (now, 0);
        }
        let Some(record) = tail.next(POLL.min(deadline.saturating_duration_since(now)))? else { continue };
        if rate > 0 && second.1 >= rate {
            continue;
        }
        second.1 += 1;
        bytes += record.payload.len();
        records.push(record);
    }
    Ok(records)
}

fn masked(record: &Record, key: &LogKey) -> TappedRecord {
    let is_dead = record.topic.ends_with(".dlq");
    let mut headers = BTreeMap::new();
    let envelope = Envelope::from_headers(record.headers.iter()).ok();
    if let Some(envelope) = &envelope {
        for header in envelope.to_headers() {
            let value = String::from_utf8(header.value).unwrap_or_default();
            headers.insert(header.key, mask_text(&value, key));
        }
    }
    // On another topic these headers are nobody's, and may say anything.
    let letter = DeadLetter::from_headers(record.headers.iter()).ok().filter(|_| is_dead);
    if let Some(letter) = &letter {
        for header in letter.to_headers() {
            let value = String::from_utf8(header.value).unwrap_or_default();
            // Our own sentence, written without any text of the payload; a UID may stand in it.
            let value =
                if header.key == "dl_detail" { mask_uids(&value, key) } else { mask_text(&value, key) };
            headers.insert(header.key, value);
        }
    }
    let ours = headers.len();
    let others = record.headers.len().saturating_sub(ours);
    if others > 0 {
        headers.insert("(others)".to_owned(), format!("{others} not shown"));
    }
    let embedded = letter.is_none_or(|letter| letter.payload == DeadLetterPayload::Embedded);
    let message = if *record.topic == *CONTROL_TOPIC {
        serde_json::from_slice::<StageControl>(&record.payload)
            .ok()
            .and_then(|control| serde_json::to_value(control).ok())
    } else {
        envelope.filter(|_| embedded).and_then(|envelope| message(record, &envelope))
    };
    TappedRecord {
        partition: record.partition,
        offset: record.offset,
        at: (record.timestamp != Timestamp::UNIX_EPOCH).then_some(record.timestamp),
        headers,
        message: message.map(|message| mask(message, key)),
        bytes: record.payload.len() as u64,
    }
}

/// The message, if the bytes are one of the topic's type.
fn message(record: &Record, envelope: &Envelope) -> Option<Value> {
    struct Read<'a> {
        record: &'a Record,
        envelope: &'a Envelope,
        message: Option<Value>,
    }
    impl MessageVisitor for Read<'_> {
        fn message<M: Message>(&mut self) {
            let [base, urgent, dead] = [M::TOPIC.name.to_owned(), M::TOPIC.urgent(), M::TOPIC.dead_letters()];
            if ![base, urgent, dead].iter().any(|topic| **topic == *self.record.topic) {
                return;
            }
            // Written again from the type: what a newer minor version has beside it is not shown.
            let read = decode::<M>(&self.record.payload, self.envelope.major, self.envelope.minor);
            self.message = read.ok().and_then(|message| serde_json::to_value(message).ok());
        }
    }
    let mut read = Read { record, envelope, message: None };
    schemas::visit(&mut read);
    read.message
}

fn mask(value: Value, key: &LogKey) -> Value {
    match value {
        Value::String(text) => Value::String(mask_text(&text, key)),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| mask(item, key)).collect()),
        // Names of fields come from the types; a map with UIDs for keys would show them.
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(name, value)| (mask_uids(&name, key), mask(value, key))).collect(),
        ),
        other => other,
    }
}

/// A UID becomes its hash, a code stays, any other text is replaced by its length.
fn mask_text(text: &str, key: &LogKey) -> String {
    if is_uid(text) {
        return hashed(text, key);
    }
    let is_code = |c: char| c.is_ascii_alphanumeric() || "_.:/+-=,[]@".contains(c);
    if text.len() <= LONGEST_CODE && text.chars().all(is_code) {
        return mask_uids(text, key);
    }
    format!("({} characters)", text.chars().count())
}

fn hashed(uid: &str, key: &LogKey) -> String {
    format!("uid:{}", key.hash(uid.as_bytes()))
}

/// Replaces every UID inside `text`.
fn mask_uids(text: &str, key: &LogKey) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(from.len());
        let (run, after) = from.split_at(end);
        // A full stop behind it ends the sentence.
        let uid = run.trim_end_matches('.');
        masked.push_str(before);
        if is_uid(uid) {
            masked.push_str(&hashed(uid, key));
            masked.push_str(run.strip_prefix(uid).unwrap_or_default());
        } else {
            masked.push_str(run);
        }
        rest = after;
    }
    masked.push_str(rest);
    masked
}

/// PS3.5 §9: numbers joined by full stops. Two short ones are a measure, three a version.
fn is_uid(text: &str) -> bool {
    let mut parts = text.split('.');
    let numbers = parts.clone().count();
    // As long as no version of ours and no address is short.
    let long_enough = if numbers >= 3 { text.len() >= 6 } else { numbers == 2 && text.len() >= 12 };
    long_enough && parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use runtime::Headers;
    use schemas::{Cause, EventId, ReportIssued, RunId, StudyAcquired, encode};
    use uuid::Uuid;

    use super::*;

    const ACQUIRED: &str =
        include_str!("../../schemas/topics/study.acquired.v1/examples/echo_by_association.json");
    const REPORT: &str =
        include_str!("../../schemas/topics/report.issued.v1/examples/number_with_doubts.json");

    fn key() -> LogKey {
        LogKey::new(b"test")
    }

    fn record<M: Message>(topic: &str, message: &M) -> Record {
        let now = "2026-11-21T08:00:00Z".parse().expect("a time");
        let envelope = Envelope::of(message, EventId(Uuid::from_u128(7)), RunId::live(), "test", now);
        Record {
            topic: topic.into(),
            partition: 1,
            offset: 5,
            timestamp: now,
            key: Some(message.study().study_uid.as_str().as_bytes().to_vec()),
            headers: envelope.to_headers().into_iter().collect(),
            payload: encode(message),
        }
    }

    #[test]
    fn uids_are_hashed_wherever_they_stand_and_the_same_one_the_same_way() {
        let key = key();
        let hash = hashed("1.2.840.10008.5", &key);
        assert_eq!(mask_text("1.2.840.10008.5", &key), hash);
        assert_eq!(mask_uids("study 1.2.840.10008.5. (2.25.77) of 3.5 MB", &key), {
            format!("study {hash}. ({}) of 3.5 MB", hashed("2.25.77", &key))
        });
        assert_eq!(mask_text("raw/1.2.840.10008.5", &key), format!("raw/{hash}"));
        for code in
            ["0.81", "1.5", "BLUR", "study.acquired.v1", "urn:prescreen:study.acquired:1.0", "127", ""]
        {
            assert_eq!(mask_text(code, &key), code);
        }
        assert!(is_uid("2.25.3") && is_uid("2.253019485720394") && !is_uid("12.5") && !is_uid("1..2"));
    }

    #[test]
    fn text_is_replaced_by_its_length() {
        for text in ["DOE^JOHN", "a sentence", "患者", "line\nbreak", &"x".repeat(81)] {
            assert_eq!(mask_text(text, &key()), format!("({} characters)", text.chars().count()));
        }
    }

    #[test]
    fn a_message_is_shown_without_uids_and_text() {
        let acquired: StudyAcquired = serde_json::from_str(ACQUIRED).expect("an example");
        let shown = masked(&record("study.acquired.v1.urgent", &acquired), &key());
        let uid = acquired.study.study_uid.as_str();
        let text = serde_json::to_string(&shown).expect("json");
        assert!(!text.contains(uid), "{text}");
        for instance in &acquired.instances {
            assert!(!text.contains(instance.instance_uid.as_str()), "{text}");
        }
        let message = shown.message.expect("a message");
        assert_eq!(message["study"]["study_uid"], hashed(uid, &key()));
        assert_eq!(shown.headers["ce_subject"], hashed(uid, &key()));
        assert_eq!(shown.headers["ce_type"], "study.acquired.v1");
        assert_eq!((shown.partition, shown.offset, shown.bytes > 100), (1, 5, true));

        let report: ReportIssued = serde_json::from_str(REPORT).expect("an example");
        let shown = masked(&record("report.issued.v1", &report), &key());
        let text = serde_json::to_string(&shown).expect("json");
        let english = &report.text.en;
        assert!(!english.is_empty() && !text.contains(english.lines().next().expect("a line")), "{text}");
        assert!(
            shown.message.expect("a message")["text"]["en"].as_str().expect("text").ends_with("characters)")
        );
    }

    #[test]
    fn poison_is_counted_and_never_shown() {
        let acquired: StudyAcquired = serde_json::from_str(ACQUIRED).expect("an example");
        let mut poison = record("study.acquired.v1", &acquired);
        poison.payload = b"{\"name\":\"DOE^JOHN\"}".to_vec();
        poison.headers.push("x-patient", b"DOE^JOHN");
        poison.headers.push("dl_detail", b"DOE^JOHN");
        let shown = masked(&poison, &key());
        assert_eq!((shown.message.clone(), shown.bytes), (None, 19));
        assert_eq!(shown.headers["(others)"], "2 not shown");
        assert!(!serde_json::to_string(&shown).expect("json").contains("DOE"));

        poison.headers = Headers::default();
        poison.headers.push("ce_id", b"DOE^JOHN");
        let shown = masked(&poison, &key());
        assert!(!serde_json::to_string(&shown).expect("json").contains("DOE"));
    }

    #[test]
    fn a_dead_letter_says_why_and_shows_what_is_a_message() {
        let acquired: StudyAcquired = serde_json::from_str(ACQUIRED).expect("an example");
        let uid = acquired.study.study_uid.clone();
        let mut dead = record("study.acquired.v1.dlq", &acquired);
        let letter = DeadLetter {
            cause: Cause::ObjectMissing,
            detail: format!("object of study {uid} is not there"),
            stage: "quality_gate".to_owned(),
            topic: "study.acquired.v1".to_owned(),
            partition: 0,
            offset: 3,
            attempts: 1,
            time: Timestamp::UNIX_EPOCH,
            payload: DeadLetterPayload::Embedded,
        };
        for header in letter.to_headers() {
            dead.headers.push(&header.key, &header.value);
        }
        let shown = masked(&dead, &key());
        assert_eq!(shown.headers["dl_cause"], "object_missing");
        assert_eq!(
            shown.headers["dl_detail"],
            format!("object of study {} is not there", hashed(uid.as_str(), &key()))
        );
        assert!(shown.message.is_some(), "well-formed, though it could not be worked with");
        dead.payload = b"\xffDOE^JOHN".to_vec();
        assert_eq!(masked(&dead, &key()).message, None);
    }
}
