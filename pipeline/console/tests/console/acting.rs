//! What changes something: only with the token, never by GET, and with a name for the audit log.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Mutex,
};

use console::{
    Token,
    site::{DeadLetterRow, Redrive, Redriven, UploadOptions},
};
use jiff::Timestamp;
use schemas::{Digest, Priority};

use crate::{
    hostile::KNOWN,
    serving::{Serving, TOKEN},
    world::World,
};

fn letter(offset: i64, cause: &str) -> DeadLetterRow {
    DeadLetterRow {
        dlq_topic: "study.accepted.v1.dlq".to_owned(),
        dlq_partition: 1,
        dlq_offset: offset,
        topic: "study.accepted.v1".to_owned(),
        study_uid: Some(KNOWN.to_owned()),
        revision: Some(1),
        stage: "keyframes".to_owned(),
        cause: cause.to_owned(),
        detail: "a sentence".to_owned(),
        attempts: 5,
        died_at: Timestamp::UNIX_EPOCH,
        redriven_at: None,
    }
}

fn world() -> World {
    let letters =
        vec![letter(7, "retries_exhausted"), letter(8, "worker_crash"), letter(9, "retries_exhausted")];
    World { dead_letters: Mutex::new(letters), ..World::default() }
}

const CHANGING: [(&str, &str); 5] = [
    ("/api/studies/2.25.1/close", ""),
    ("/api/instances", "DICM"),
    ("/api/dead-letters/redrive", r#"{"dry_run":true}"#),
    ("/api/stages/keyframes/pause", ""),
    ("/api/stages/keyframes/resume", ""),
];

#[test]
fn only_the_token_may_change_something_and_nothing_changes_by_get() {
    let console = Serving::start(world());
    let almost = format!("{}0", &TOKEN[..TOKEN.len() - 1]);
    for (path, body) in CHANGING {
        for token in [None, Some(""), Some("wrong"), Some(almost.as_str()), Some(&TOKEN[1..])] {
            assert_eq!(console.post_json(path, token, body).status, 401, "{path} {token:?}");
        }
        let get = console.raw(
            &format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}", console.address),
            b"",
        );
        assert_eq!(get.status, 405, "{path}");
    }
    assert!(console.told().iter().all(|told| told == "auth failed"), "{:?}", console.told());
    assert_eq!(console.told().len(), 25, "each is counted");
}

#[test]
fn a_redrive_says_what_it_would_do_and_then_does_it() {
    let console = Serving::start(world());
    let redrive = |body: &str| {
        let answer = console.post_json("/api/dead-letters/redrive", Some(TOKEN), body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str::<Redriven>(&answer.body).expect("what became of them")
    };
    let listed = |query: &str| {
        let body = console.get(&format!("/api/dead-letters{query}")).body;
        serde_json::from_str::<Vec<DeadLetterRow>>(&body).expect("dead letters").len()
    };
    let became = |redriven: &Redriven| redriven.letters.iter().map(|(_, became)| *became).collect::<Vec<_>>();

    let dry = redrive(r#"{"cause":"retries_exhausted","dry_run":true}"#);
    assert_eq!((became(&dry), dry.audit_id), (vec![Redrive::Sent, Redrive::Sent], None));
    assert_eq!(listed(""), 3, "nothing was done yet");
    let one = redrive(r#"{"one":["study.accepted.v1.dlq",1,9],"dry_run":false}"#);
    assert_eq!((became(&one), one.audit_id), (vec![Redrive::Sent], Some(42)));
    assert_eq!((listed(""), listed("?redriven=true"), listed("?redriven=true&limit=2")), (2, 3, 2));
    let rest = redrive(r#"{"topic":"study.accepted.v1","dry_run":false,"by":"m.chen"}"#);
    assert_eq!(became(&rest), [Redrive::Sent, Redrive::Duplicate]);
    assert!(console.told()[1].ends_with("dry_run: false, by: \"api\" }"), "{:?}", console.told());
    assert!(console.told()[2].ends_with("by: \"m.chen\" }"), "{:?}", console.told());

    for body in ["", "[]", "{}", r#"{"dry_run":true,"patient":"x"}"#, r#"{"dry_run":true,"by":""}"#] {
        let status = console.post_json("/api/dead-letters/redrive", Some(TOKEN), body).status;
        assert!([400, 422].contains(&status), "{body}: {status}");
    }
    assert_eq!(console.told().len(), 3, "what makes no sense is not done");
}

#[test]
fn a_step_is_paused_and_resumed_under_the_name_of_who_did_it() {
    let console = Serving::start(world());
    let pause = |stage: &str, headers: &str| {
        console.post(&format!("/api/stages/{stage}/pause"), Some(TOKEN), headers, b"").status
    };
    assert_eq!(pause("keyframes", ""), 200);
    assert_eq!(pause("inference", "\r\nX-Prescreen-Actor: 陈工"), 200);
    let resumed = console.post("/api/stages/keyframes/resume", Some(TOKEN), "", b"");
    assert_eq!((resumed.status, resumed.body.as_str()), (200, "null"));
    let told = ["pause keyframes by api", "pause inference by 陈工", "resume keyframes by api"];
    assert_eq!(console.told(), told);

    assert_eq!(pause("no_such_step", ""), 404);
    assert_eq!(pause("intake", ""), 422, "the site's own refusal");
    let long = "x".repeat(65);
    for name in ["", " ", "\t", long.as_str()] {
        assert_eq!(pause("keyframes", &format!("\r\nX-Prescreen-Actor: {name}")), 400, "{name:?}");
    }
    assert_eq!(console.told(), told, "nothing of it was done");
}

#[test]
fn buttons_wait_for_their_script_and_say_what_they_do() {
    let console = Serving::start(world());
    let page = console.get("/dead-letters?cause=worker_crash").body;
    let all = "data-act=\"redrive\" data-cause=\"worker_crash\" hidden";
    assert!(page.contains(all), "the filter is that of the button: {page}");
    assert!(page.contains(
        "data-dlq-topic=\"study.accepted.v1.dlq\" data-dlq-partition=\"1\" data-dlq-offset=\"8\" hidden"
    ));
    assert!(!page.contains("data-dlq-offset=\"7\""), "others are filtered out");
    assert!(page.contains("<dialog id=\"act\"") && page.contains("type=\"password\""), "{page}");
    assert!(page.contains("<noscript>"), "who has no script is told what else there is");
}

#[test]
fn an_upload_reaches_intake_whole_and_leaves_no_file_behind() {
    let console = Serving::start(World::default());
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761) as u8).collect();
    let answer = console.post("/api/instances?priority=urgent&synthetic=true", Some(TOKEN), "", &bytes);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("stored"), "{}", answer.body);
    let options = UploadOptions { priority: Some(Priority::Urgent), synthetic: true, domain: None };
    assert_eq!(console.told(), [format!("receive {} {options:?}", Digest::of(&bytes))]);
    assert_eq!(console.kept_uploads(), 0);
    assert_eq!(console.post("/api/instances?patient=x", Some(TOKEN), "", b"").status, 400);

    // One that breaks off half-way.
    let mut stream = TcpStream::connect(console.address).expect("a connection");
    let head = format!(
        "POST /api/instances HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 1000\r\n\r\nhalf",
        console.address
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("shut");
    let mut rest = Vec::new();
    // The server may answer 400 or only hang up; either way it has ended with this upload.
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(console.told().len(), 1);
    assert_eq!(console.kept_uploads(), 0);
}

#[test]
fn a_study_is_closed_and_its_revision_told() {
    let console = Serving::start(World::default());
    let answer = console.post(&format!("/api/studies/{KNOWN}/close"), Some(TOKEN), "", b"");
    assert_eq!((answer.status, answer.body.as_str()), (200, "1"));
    assert_eq!(console.told(), [format!("close {KNOWN}")]);
}

#[test]
fn a_short_token_is_none() {
    assert!(Token::new("short").is_none());
}
