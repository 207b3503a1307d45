//! Type, schema and examples of every topic agree.
//!
//! The examples are the golden corpus of the contract: an example is added, never edited. A change that no longer
//! reads one of them is a breaking change and needs a new major version, that is a new topic.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use schemas::{
    Cause, Class, DeadLetter, DeadLetterPayload, DecodeError, Envelope, EnvelopeError, Header, Message,
    MessageVisitor, RunId, StudyAcquired, TraceContext, decode, encode, event_id, json_schema,
    manifest_digest,
};

fn folder(topic: &str, kind: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("topics").join(topic).join(kind)
}

fn files(topic: &str, kind: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder(topic, kind))
        .unwrap_or_else(|error| panic!("{topic} has no {kind}: {error}"))
        .map(|entry| entry.expect("a directory entry").path())
        .map(|path| (path.display().to_string(), fs::read(&path).expect("a readable example")))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{topic} has no {kind}");
    files
}

fn topic_holds<M: Message>() {
    let topic = M::TOPIC;
    let committed = fs::read_to_string(folder(topic.name, "schema.json")).expect("a committed schema");
    assert_eq!(
        committed,
        json_schema::<M>(),
        "schema of {} differs from its type; run `cargo run -p schemas --example write_schemas` and review the diff",
        topic.name
    );
    let schema: serde_json::Value = serde_json::from_str(&committed).expect("the schema is JSON");
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .expect("the schema is a schema");
    for (name, bytes) in files(topic.name, "examples") {
        let json: serde_json::Value =
            serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(
            validator.is_valid(&json),
            "{name} does not fit its schema: {:?}",
            validator.iter_errors(&json).next()
        );
        let message: M =
            decode(&bytes, topic.major, topic.minor).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written: serde_json::Value =
            serde_json::from_slice(&encode(&message)).expect("what we write is JSON");
        assert_eq!(written, json, "{name} changes when read and written");
    }
    for (name, bytes) in files(topic.name, "invalid") {
        let json: serde_json::Value =
            serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(!validator.is_valid(&json), "{name} fits the schema");
        assert!(decode::<M>(&bytes, topic.major, topic.minor).is_err(), "{name} is read");
    }
}

/// Holds every topic's folder against its type, and remembers its name.
#[derive(Default)]
struct Topics(BTreeSet<String>);

impl MessageVisitor for Topics {
    fn message<M: Message>(&mut self) {
        topic_holds::<M>();
        self.0.insert(M::TOPIC.name.to_owned());
    }
}

#[test]
fn every_topic_agrees_with_its_schema_and_examples_and_no_folder_is_without_a_type() {
    let mut topics = Topics::default();
    schemas::visit(&mut topics);
    let folders: BTreeSet<String> = fs::read_dir(folder("", ""))
        .expect("the topics folder")
        .map(|entry| entry.expect("a directory entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders, topics.0);
}

fn acquired() -> StudyAcquired {
    let (_, bytes) = files("study.acquired.v1", "examples").remove(0);
    decode(&bytes, 1, 0).expect("the first example")
}

#[test]
fn a_newer_minor_version_is_read_open_and_a_newer_major_version_is_refused() {
    let mut json = serde_json::to_value(acquired()).expect("JSON");
    json["study"]["from_the_future"] = true.into();
    let bytes = serde_json::to_vec(&json).expect("JSON");
    assert!(matches!(
        decode::<StudyAcquired>(&bytes, 1, 0),
        Err(DecodeError::UnknownField { count: 1, depth: 2, .. })
    ));
    assert_eq!(decode::<StudyAcquired>(&bytes, 1, 1).expect("open reading"), acquired());
    assert!(matches!(
        decode::<StudyAcquired>(&bytes, 2, 0),
        Err(DecodeError::Major { found: 2, expected: 1, .. })
    ));
}

#[test]
fn a_decode_error_never_repeats_the_payload() {
    let error =
        decode::<StudyAcquired>(br#"{"study":{"study_uid":"DOE^JANE"}}"#, 1, 0).expect_err("no study");
    assert!(!format!("{error} {error:?}").contains("JANE"));
}

fn envelope() -> Envelope {
    let id = event_id(&RunId::live(), "intake", &["2.25.1", "1"]);
    Envelope::of(&acquired(), id, RunId::live(), "intake", "2026-11-20T08:00:00Z".parse().expect("a time"))
}

#[test]
fn an_envelope_survives_its_headers_in_any_order() {
    let mut envelope = envelope();
    let parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    envelope.trace = TraceContext::read(parent, Some(b"vendor=1"));
    envelope.class = Class::Heartbeat;
    let mut headers = envelope.to_headers();
    headers.reverse();
    let read =
        Envelope::from_headers(headers.iter().map(|header| (header.key.as_str(), header.value.as_slice())));
    assert_eq!(read.expect("an envelope"), envelope);
}

#[test]
fn an_envelope_names_the_header_that_is_missing_or_wrong() {
    let headers = envelope().to_headers();
    let needed = |header: &&Header| header.key != "content-type" && !header.key.starts_with("trace");
    for header in headers.iter().filter(needed) {
        let others = headers.iter().filter(|other| other.key != header.key);
        let read = Envelope::from_headers(others.map(|other| (other.key.as_str(), other.value.as_slice())));
        assert!(matches!(read, Err(EnvelopeError::Missing(name)) if name == header.key), "{}", header.key);
        let damaged = headers.iter().map(|other| {
            let value = if other.key == header.key { b"\xff".as_slice() } else { other.value.as_slice() };
            (other.key.as_str(), value)
        });
        assert!(Envelope::from_headers(damaged).is_err(), "{}", header.key);
    }
}

#[test]
fn a_dead_letter_survives_its_headers() {
    for cause in Cause::ALL {
        let letter = DeadLetter {
            cause,
            detail: "payload is not JSON".to_owned(),
            stage: "quality_gate".to_owned(),
            topic: "study.acquired.v1.urgent".to_owned(),
            partition: 3,
            offset: 1 << 40,
            attempts: 5,
            time: "2026-11-20T08:00:00.123456Z".parse().expect("a time"),
            payload: DeadLetterPayload::Quarantined,
        };
        let headers = letter.to_headers();
        let read = DeadLetter::from_headers(headers.iter().map(|h| (h.key.as_str(), h.value.as_slice())));
        assert_eq!(read.expect("a dead letter"), letter);
    }
}

#[test]
fn event_ids_depend_on_every_part_and_on_nothing_else() {
    let live = RunId::live();
    let id = event_id(&live, "intake", &["2.25.1", "1"]);
    assert_eq!(id, event_id(&live, "intake", &["2.25.1", "1"]));
    assert_ne!(id, event_id(&live, "intake", &["2.25.11", ""]));
    assert_ne!(id, event_id(&live, "gate", &["2.25.1", "1"]));
    assert_ne!(id, event_id(&RunId::new("r1").expect("a run id"), "intake", &["2.25.1", "1"]));
}

#[test]
fn the_manifest_digest_ignores_the_order_of_instances() {
    let mut instances = acquired().instances;
    let digest = manifest_digest(&instances);
    instances.reverse();
    assert_eq!(manifest_digest(&instances), digest);
    instances.pop();
    assert_ne!(manifest_digest(&instances), digest);
}
