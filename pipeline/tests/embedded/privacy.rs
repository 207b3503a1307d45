//! Who the patient is stays in the objects as received and in the identity table.

use std::fs;

use crate::harness::{
    process::{Place, stderr, stdout},
    studies::{make, make_spoilt, small, submit},
    topic::records,
};

/// What must not be found: the phantom's name, and its patient id and accession number.
const SECRETS: [&str; 2] = ["PHANTOM^ECHO", "PH-0000"];

fn assert_clean(what: &str, bytes: &[u8]) {
    for secret in SECRETS {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{what} holds {secret}");
    }
}

#[test]
fn no_name_and_no_patient_id_leaves_the_raw_objects_and_the_identity_table() {
    let place = Place::new("discreet service").set("log.filter=\"debug\"");
    let folder = place.folder("sent");
    let mut service = place.start();
    let studies = [make(&small(80), &folder), make_spoilt(81, "blur", &folder)];
    let sent = fs::read(&studies[0].files[0]).unwrap();
    for secret in SECRETS {
        assert!(
            sent.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "the objects hold {secret}"
        );
    }
    for study in &studies {
        submit(study, || place.entry());
        service.terminal(&study.uid);
        let uid = &study.uid;
        for path in [
            format!("/api/studies/{uid}"),
            format!("/studies/{uid}"),
            format!("/api/studies?study_uid={uid}"),
        ] {
            let (status, body) = service.get(&path);
            assert_eq!(status, 200, "{path}");
            assert_clean(&path, body.as_bytes());
        }
        let output = place.cli(&["study", uid]);
        assert_clean("study", stdout(&output).as_bytes());
        assert_clean("study", stderr(&output).as_bytes());
    }
    for path in [
        "/",
        "/studies",
        "/pipeline",
        "/dead-letters",
        "/replays",
        "/api/graph",
        "/api/history",
        "/api/dead-letters",
        "/api/status",
        "/metrics",
        "/acquisition",
        "/acquisition/PHANTOM",
        "/api/acquisition/PHANTOM",
    ] {
        assert_clean(path, service.get(path).1.as_bytes());
    }

    let broker = service.entry().broker;
    for line in stdout(&place.cli(&["topics"])).lines() {
        let topic = line.split_whitespace().next().unwrap();
        for record in records(&broker, topic) {
            assert_clean(topic, &record.payload);
            assert_clean(topic, &record.key);
            record.headers.iter().for_each(|(name, value)| assert_clean(name, value));
        }
    }
    service.stop();

    let log = fs::read_to_string(place.log()).unwrap();
    assert_clean("the log", log.as_bytes());
    for study in &studies {
        assert!(!log.contains(&study.uid), "logs carry a keyed hash of the study, nothing else");
    }
    // Spool and raw objects keep what was received; PostgreSQL's files hold the identity table.
    let kept = ["spool", "blobs/raw", "postgres"].map(|name| place.data_dir().join(name));
    let mut seen = 0;
    for entry in walkdir::WalkDir::new(place.data_dir()) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() && !kept.iter().any(|kept| entry.path().starts_with(kept)) {
            assert_clean(&entry.path().display().to_string(), &fs::read(entry.path()).unwrap());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} files looked at");
}
