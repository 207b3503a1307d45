//! Heartbeats are stored apart, count for nothing, and go.

use std::collections::BTreeMap;

use console::site::StudyFilter;
use runtime::Headers;
use schemas::{Class, KeyframesExtracted};

use super::*;
use crate::{
    drift,
    heartbeat::HeartbeatAges,
    store::{confirmed_studies, heartbeats::blobs_of},
};

const KEYFRAMES: &str =
    include_str!("../../../../schemas/topics/keyframes.extracted.v1/examples/one_beat.json");

/// A record of the heartbeat's run, made by `step`.
fn beat<M: Message>(store: &mut Store, message: &M, id: u128, step: &str) -> Arc<Record> {
    let now = "2026-11-20T09:00:00Z".parse().expect("a time");
    let envelope = Envelope {
        class: Class::Heartbeat,
        ..Envelope::of(message, event(id), RunId::heartbeat(), step, now)
    };
    store.record(M::TOPIC.name, envelope.to_headers().into_iter().collect(), encode(message))
}

fn example<M: Message>(text: &str, number: u32) -> M {
    let mut json: serde_json::Value = serde_json::from_str(text).expect("an example");
    json["study"]["study_uid"] = study(number).to_string().into();
    json["study"]["revision"] = 1.into();
    serde_json::from_value(json).expect("an example")
}

/// Every number on the metrics page.
fn numbers(store: &Store) -> BTreeMap<String, String> {
    let text = prometheus::TextEncoder::new().encode_to_string(&store.registry.gather()).expect("a page");
    let line = |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
}

fn rows(store: &Store, table: &str) -> i64 {
    let query = format!("SELECT count(*) FROM prescreen.{table} WHERE run_id = 'heartbeat'");
    store.database.read(Role::App, move |sql| sql.query_one(&query, &[])).expect("an answer").get(0)
}

const TABLES: [&str; 6] = ["studies", "study_events", "inferences", "reports", "rejections", "dead_letters"];

pub(super) fn heartbeats_are_kept_apart_count_for_nothing_and_go(store: &mut Store) {
    let live = RunId::live();
    let digest = Digest::of(b"a calibration set");
    let seen = |store: &Store| {
        let (database, now) = (&store.database, Timestamp::now());
        let deadline = SignedDuration::from_mins(60);
        let counts = state_counts(database, &live, now, deadline).expect("an answer");
        let listed = studies(database, &live, &StudyFilter { limit: 10_000, ..StudyFilter::default() });
        let confirmed = confirmed_studies(database, &live, 0, 10_000).expect("an answer").len();
        let watched =
            calibrated_reports(database, &live, digest, drift::REMEMBERED).expect("an answer").len();
        (format!("{counts:?}"), listed.expect("an answer").len(), confirmed, watched)
    };
    let (before, counted) = (seen(store), numbers(store));

    let acquired: StudyAcquired = example(ACQUIRED, 990);
    let keyframes: KeyframesExtracted = example(KEYFRAMES, 990);
    let findings: FindingsInferred = example(FINDINGS, 990);
    let mut report: ReportIssued = example(REPORT, 990);
    report.calibration = Some(CalibrationUsed {
        id: "set".to_owned(),
        digest,
        alpha: 0.1,
        group: "all".to_owned(),
        studies: 500,
        synthetic: true,
    });
    let rejected: StudyRejected = example(REJECTED, 991);
    let records = [
        beat(store, &acquired, 99_000, "heartbeat"),
        beat(store, &keyframes, 99_001, "keyframes"),
        beat(store, &findings, 99_002, "inference"),
        beat(store, &report, 99_003, "reporting"),
        beat(store, &rejected, 99_004, "quality_gate"),
    ];
    // A physician cannot be shown it; were one to decide on it all the same, nothing is calibrated by it.
    let reviewed = store.database.write(Role::App, move |sql| {
        sql.execute(
            "INSERT INTO prescreen.reviews (review_id, run_id, study_uid, revision, report_event_id, action, ef_percent,
                reviewer, decided_at) VALUES ($1, 'heartbeat', '2.25.990', 1, $2, 'confirm', 55, 'reader-1', $3)",
            &[&uuid::Uuid::new_v4(), &uuid::Uuid::nil(), &Timestamp::UNIX_EPOCH],
        )
    });
    assert_eq!(reviewed.expect("stored"), 1);
    let registry = Registry::new();
    let ages =
        HeartbeatAges::register(&registry, ["keyframes", "inference"], Timestamp::now()).expect("declared");
    let metrics = store.writer.metrics.clone();
    store.writer = StoreWriter::new(store.database.clone(), metrics, None).with_heartbeats(Some(ages));
    store.keep(&records);
    store.keep(&records);
    let dead: Headers = records[0].headers.clone();
    let letter = store.letter(dead, 99_000);
    store.keep(&[letter]);

    assert_eq!(seen(store), before, "lists, counts, calibration and drift look at run live");
    assert_eq!(numbers(store), counted, "nothing was counted, not even that they came twice");
    let found = TABLES.map(|table| rows(store, table));
    assert_eq!(found, [2, 5, 1, 1, 1, 1]);
    let ages = registry.gather();
    let young = ages[0].get_metric().iter().filter(|metric| metric.get_gauge().get_value() < 60.0).count();
    assert_eq!(young, 4, "an age begins with the process, and old beats do not make it older");

    // What a record says of itself must agree: a list that goes by the run is not fooled by the class.
    for (run, class) in [(RunId::heartbeat(), Class::Clinical), (RunId::live(), Class::Heartbeat)] {
        let now = "2026-11-20T09:00:00Z".parse().expect("a time");
        let envelope = Envelope { class, ..Envelope::of(&acquired, event(99_009), run, "intake", now) };
        let headers = envelope.to_headers().into_iter().collect();
        let record = store.record(StudyAcquired::TOPIC.name, headers, encode(&acquired));
        assert!(matches!(store.writer.write(&[record])[..], [Err(StageError::Invalid(_))]), "{class:?}");
    }

    // What it leaves behind is known and goes; of a study that was taken in too, the blobs stay.
    let named = [blobs_of(&encode(&acquired)), blobs_of(&encode(&keyframes))].concat();
    assert!(named.iter().any(|blob| blob.area == schemas::Area::Raw), "{named:?}");
    assert!(named.iter().any(|blob| blob.area == schemas::Area::Frames), "{named:?}");
    let soon = Timestamp::now() + SignedDuration::from_secs(1);
    let expired = |before| expired_heartbeat_blobs(&store.database, before).expect("an answer");
    assert_eq!(expired("2026-11-19T00:00:00Z".parse().expect("a time")), [], "too young");
    let blobs = expired(soon);
    assert!(named.iter().all(|blob| blobs.contains(blob)), "{named:?} of {blobs:?}");
    let own = store.acquired(990, 1, 99_010);
    store.keep(&[own]);
    assert_eq!(
        expired_heartbeat_blobs(&store.database, soon).expect("an answer"),
        [],
        "2.25.990 is live too"
    );

    forget_heartbeats(&store.database, blobs, soon).expect("forgotten");
    assert_eq!(TABLES.map(|table| rows(store, table)), [0; 6]);
    assert_eq!(store.states(990), [(1, "in_progress".to_owned())], "the live one stays");
}
