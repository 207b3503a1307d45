//! Records that nobody can work with, on every topic: each ends on its dead-letter topic with its cause, is seen in the
//! store, and the partition goes on.

use schemas::{Area, BlobRef, Digest};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{
    PATIENCE, eventually,
    process::Place,
    studies::{close, deliver, make, make_spoilt, small, submit},
    topic::{Raw, produce, records},
};

/// A topic and who reads it to work on it.
struct Way {
    topic: &'static str,
    reader: &'static str,
    /// Does the reader open objects that the message names?
    opens_objects: bool,
}

const WAYS: [Way; 6] = [
    Way { topic: "study.acquired.v1", reader: "quality_gate", opens_objects: true },
    Way { topic: "study.accepted.v1", reader: "keyframes", opens_objects: true },
    Way { topic: "keyframes.extracted.v1", reader: "inference", opens_objects: true },
    Way { topic: "findings.inferred.v1", reader: "reporting", opens_objects: false },
    Way { topic: "report.issued.v1", reader: "store", opens_objects: false },
    Way { topic: "study.rejected.v1", reader: "store", opens_objects: false },
];

/// What a broker with Kafka's defaults takes, less the record's own headers.
const ALMOST_TOO_LARGE: usize = (1 << 20) - 2048;

/// A poisoned record and what must become of it.
struct Poison {
    name: &'static str,
    cause: &'static str,
    record: Raw,
    /// Its study, where its envelope names one.
    study: Option<String>,
}

/// A real record turned into one of another study.
fn rename(template: &Raw) -> (Raw, String) {
    let old = std::str::from_utf8(&template.key).unwrap();
    let new = format!("2.25.{}", Uuid::new_v4().as_u128());
    let mut record = template.clone();
    record.payload = String::from_utf8(record.payload).unwrap().replace(old, &new).into_bytes();
    record.key = new.clone().into_bytes();
    record.set_header("ce_subject", &new);
    record.set_header("ce_id", &Uuid::new_v4().to_string());
    (record, new)
}

/// Replaces every reference to a blob inside `value`.
fn point_at(value: &mut Value, blob: &BlobRef) {
    match value {
        Value::Object(fields) if fields.contains_key("sha256") && fields.contains_key("area") => {
            let area = fields["area"].clone();
            *value = serde_json::to_value(blob).unwrap();
            value["area"] = area;
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| point_at(field, blob)),
        Value::Array(items) => items.iter_mut().for_each(|item| point_at(item, blob)),
        _ => {}
    }
}

fn poisons(way: &Way, template: &Raw, place: &Place) -> Vec<Poison> {
    let mut all = vec![Poison {
        name: "random bytes",
        cause: "envelope",
        record: Raw { key: b"?".to_vec(), payload: vec![0xA7; 300], ..Raw::default() },
        study: None,
    }];
    let mut add = |name, cause, spoil: &dyn Fn(&mut Raw)| {
        let (mut record, study) = rename(template);
        spoil(&mut record);
        all.push(Poison { name, cause, record, study: Some(study) });
    };
    add("random bytes in a good envelope", "undecodable", &|record| record.payload = vec![0xA7; 300]);
    add("another message", "undecodable", &|record| record.payload = br#"{"hello":"world"}"#.to_vec());
    add("a newer major version", "schema_newer", &|record| {
        let schema = record.header("ce_dataschema").unwrap().replace(":1.", ":2.");
        record.set_header("ce_dataschema", &schema);
    });
    add("an unknown field", "undecodable", &|record| {
        let mut message: Value = serde_json::from_slice(&record.payload).unwrap();
        message["surprise"] = json!(1);
        record.payload = serde_json::to_vec(&message).unwrap();
    });
    add("almost too large", "undecodable", &|record| record.payload = vec![b'x'; ALMOST_TOO_LARGE]);
    if way.opens_objects {
        let blob =
            |content: &str| BlobRef { area: Area::Raw, sha256: Digest::of(content.as_bytes()), bytes: 5_000 };
        let repoint = |record: &mut Raw, blob: &BlobRef| {
            let mut message: Value = serde_json::from_slice(&record.payload).unwrap();
            point_at(&mut message, blob);
            record.payload = serde_json::to_vec(&message).unwrap();
        };
        add("object missing", "object_missing", &|record| repoint(record, &blob("nobody has put this")));
        add("object damaged", "object_mismatch", &|record| {
            for area in [Area::Raw, Area::Frames] {
                let blob = BlobRef { area, ..blob(way.topic) };
                let path = place.data_dir().join("blobs").join(blob.key());
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, vec![1; 5_000]).unwrap();
            }
            repoint(record, &blob(way.topic));
        });
    }
    all
}

#[test]
fn a_study_that_intake_cannot_announce_ends_as_a_dead_letter() {
    let place = Place::new("service with a rotten spool");
    let folder = place.folder("sent");
    let mut service = place.start();
    let (rotten, good) = (make(&small(23), &folder), make(&small(24), &folder));
    deliver(&rotten, || place.entry()?.dicom);
    let spooled = std::fs::read_dir(place.data_dir().join("spool/objects")).unwrap();
    std::fs::write(spooled.into_iter().next().unwrap().unwrap().path(), b"rotten").unwrap();
    assert!(close(&service.entry(), &rotten.uid));
    submit(&good, || place.entry());

    let row = service.terminal(&rotten.uid);
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("dead_lettered", Some("object_mismatch")));
    let dead = service.study(&rotten.uid).unwrap().dead_letters;
    assert_eq!((dead.len(), dead[0].stage.as_str()), (1, "intake"), "{dead:?}");
    assert_eq!(service.terminal(&good.uid).state, "reported", "the next study has its turn");
    let studies = service.status().studies;
    assert_eq!((studies.received, studies.unaccounted), (2, 0));
    service.stop();
}

#[test]
fn poison_on_every_topic_is_put_aside_with_its_cause_and_the_partition_goes_on() {
    let place = Place::new("poisoned service");
    let folder = place.folder("sent");
    let mut service = place.start();
    let broker = service.entry().broker;
    let (good, bad) = (make(&small(20), &folder), make_spoilt(21, "blur:5", &folder));
    for study in [&good, &bad] {
        submit(study, || place.entry());
        service.terminal(&study.uid);
    }

    for way in &WAYS {
        let template = records(&broker, way.topic).into_iter().next().unwrap();
        let mut waiting = Vec::new();
        for poison in poisons(way, &template, &place) {
            let at = produce(&broker, way.topic, &poison.record);
            waiting.push((poison, at));
        }
        let dlq = format!("{}.dlq", way.topic);
        for (poison, (partition, offset)) in waiting {
            let what = format!("{} on {} is dead", poison.name, way.topic);
            let letter = eventually(&what, PATIENCE, || {
                let mut letters = records(&broker, &dlq).into_iter();
                letters.find(|letter| {
                    letter.header("dl_stage") == Some(way.reader)
                        && letter.header("dl_partition") == Some(&partition.to_string())
                        && letter.header("dl_offset") == Some(&offset.to_string())
                })
            });
            assert_eq!(letter.header("dl_cause"), Some(poison.cause), "{what}");
            assert_eq!(letter.header("dl_topic"), Some(way.topic), "{what}");
            let quarantined = poison.record.payload.len() > 512 << 10;
            assert_eq!(
                letter.header("dl_payload"),
                Some(if quarantined { "quarantined" } else { "embedded" })
            );
            if !quarantined {
                assert_eq!(letter.payload, poison.record.payload, "{what}: the original bytes are kept");
            }
            assert_eq!(letter.key, poison.record.key, "{what}");
            let Some(study) = poison.study else { continue };
            assert_eq!(service.terminal(&study).state, "dead_lettered", "{what}");
            let dead = service.study(&study).unwrap().dead_letters;
            assert!(
                dead.iter().any(|dead| dead.topic == way.topic && dead.offset == offset),
                "{what}: {dead:?}"
            );
        }
    }

    let next = make(&small(22), &folder);
    submit(&next, || place.entry());
    assert_eq!(service.terminal(&next.uid).state, "reported");
    service.until("every partition of every topic is read to its end", || {
        let lag: i64 = place.get_status()?.stages.iter().map(|stage| stage.lag_records).sum();
        (lag == 0).then_some(())
    });
    assert_eq!(service.status().studies.in_progress + service.status().studies.unaccounted, 0);
    service.stop();
}
