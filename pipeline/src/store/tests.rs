//! The store against a real PostgreSQL: one embedded server for all of it, each behaviour with a study of its own.

#![expect(clippy::expect_used, reason = "a test that cannot go on says so by a panic")]

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use prometheus::Registry;
use runtime::{Headers, Record, Sink as _};
use schemas::{
    CalibrationUsed, Cause, DeadLetter, DeadLetterPayload, Digest, Envelope, EventId, FindingsInferred,
    InstanceGated, InstanceUid, Message, ReportIssued, Revision, RunId, StudyAcquired, StudyRejected,
    StudyUid, encode,
};
use stage::StageError;

use super::*;
use crate::embedded::EmbeddedDatabase;

mod audit;
mod dead_letters;
mod heartbeats;
mod replays;

const ACQUIRED: &str =
    include_str!("../../../schemas/topics/study.acquired.v1/examples/echo_by_association.json");
const REPORT: &str =
    include_str!("../../../schemas/topics/report.issued.v1/examples/number_with_doubts.json");
const ABSTAINS: &str = include_str!("../../../schemas/topics/report.issued.v1/examples/abstains.json");
const FINDINGS: &str =
    include_str!("../../../schemas/topics/findings.inferred.v1/examples/answer_with_evidence.json");
const REJECTED: &str = include_str!("../../../schemas/topics/study.rejected.v1/examples/blurred.json");

const GATED: &str = include_str!("../../../schemas/topics/instance.gated.v1/examples/blurred.json");

struct Store {
    database: Database,
    registry: Registry,
    writer: StoreWriter,
    next_offset: i64,
}

fn study(number: u32) -> StudyUid {
    StudyUid::new(&format!("2.25.{number}")).expect("a uid")
}

fn event(number: u128) -> EventId {
    EventId(uuid::Uuid::from_u128(number))
}

impl Store {
    fn record(&mut self, topic: &str, headers: Headers, payload: Vec<u8>) -> Arc<Record> {
        self.next_offset += 1;
        Arc::new(Record {
            topic: topic.into(),
            partition: 0,
            offset: self.next_offset,
            timestamp: Timestamp::UNIX_EPOCH,
            key: None,
            headers,
            payload,
        })
    }

    fn message<M: Message>(&mut self, message: &M, id: EventId) -> Arc<Record> {
        let now = "2026-11-20T08:00:00Z".parse().expect("a time");
        let envelope = Envelope::of(message, id, RunId::live(), "test", now);
        let headers = envelope.to_headers().into_iter().collect();
        self.record(M::TOPIC.name, headers, encode(message))
    }

    fn acquired(&mut self, number: u32, revision: u32, id: u128) -> Arc<Record> {
        let mut message: StudyAcquired = serde_json::from_str(ACQUIRED).expect("an example");
        (message.study.study_uid, message.study.revision) = (study(number), Revision(revision));
        self.message(&message, event(id))
    }

    fn report(&mut self, example: &str, number: u32, revision: u32, id: u128) -> Arc<Record> {
        let mut message: ReportIssued = serde_json::from_str(example).expect("an example");
        (message.study.study_uid, message.study.revision) = (study(number), Revision(revision));
        self.message(&message, event(id))
    }

    fn findings(&mut self, number: u32, id: u128) -> Arc<Record> {
        let mut message: FindingsInferred = serde_json::from_str(FINDINGS).expect("an example");
        message.study.study_uid = study(number);
        self.message(&message, event(id))
    }

    /// A physician's decision on revision 1 of a study, at that minute.
    fn review(&self, number: u32, action: &'static str, ef: Option<f64>, minute: i64) {
        let (uid, decided) =
            (study(number).to_string(), Timestamp::from_second(60 * minute).expect("a time"));
        let written = self.database.write(Role::App, move |sql| {
            sql.execute(
                "INSERT INTO prescreen.reviews (review_id, run_id, study_uid, revision, report_event_id, action,
                    ef_percent, reviewer, decided_at) VALUES ($1, 'live', $2, 1, $3, $4, $5, 'reader-1', $6)",
                &[
                    &uuid::Uuid::new_v4(), &uid, &uuid::Uuid::nil(), &action, &ef, &decided,
                ],
            )
        });
        assert_eq!(written.expect("stored"), 1);
    }

    /// A letter of the gate, with the headers that `original` had.
    fn letter(&mut self, original: Headers, offset: i64) -> Arc<Record> {
        let letter = DeadLetter {
            cause: Cause::Invalid,
            detail: "why".to_owned(),
            stage: "quality_gate".to_owned(),
            topic: "study.acquired.v1".to_owned(),
            partition: 0,
            offset,
            attempts: 1,
            time: Timestamp::UNIX_EPOCH,
            payload: DeadLetterPayload::Embedded,
        };
        let mut headers = original;
        for header in letter.to_headers() {
            headers.push(&header.key, &header.value);
        }
        self.record("study.acquired.v1.dlq", headers, b"poison".to_vec())
    }

    fn keep(&mut self, records: &[Arc<Record>]) {
        for result in self.writer.write(records) {
            result.expect("stored");
        }
    }

    fn timeline(&self, number: u32) -> console::site::StudyTimeline {
        timeline(&self.database, &RunId::live(), &study(number)).expect("an answer").expect("a known study")
    }

    /// States of a study's revisions, newest first.
    fn states(&self, number: u32) -> Vec<(i32, String)> {
        self.timeline(number).revisions.into_iter().map(|row| (row.revision, row.state)).collect()
    }

    fn counter(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect("a declared metric");
        family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum()
    }
}

#[test]
fn the_store_keeps_its_promises() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = EmbeddedDatabase::start(folder.path()).expect("a server");
    let reach = server.url().parse().expect("a url");
    let database = Database::start(reach, Duration::from_secs(10)).expect("a thread");
    let files = std::fs::read_dir("../schemas/tables").expect("the migrations").count();
    assert_eq!(pending(&database).expect("an answer").len(), files, "before the first migration");
    assert_eq!(migrate(&database).expect("migrated").len(), files);
    assert_eq!(migrate(&database).expect("migrated"), Vec::<String>::new(), "a second time changes nothing");
    assert_eq!(pending(&database).expect("an answer"), Vec::<String>::new());

    let registry = Registry::new();
    let metrics = StoreMetrics::register(&registry).expect("metrics");
    let writer = StoreWriter::new(database.clone(), metrics, None);
    let mut store = Store { database, registry, writer, next_offset: 0 };
    the_first_write_wins_and_others_are_counted(&mut store);
    a_later_revision_supersedes_what_is_unfinished(&mut store);
    a_dead_letter_ends_a_study_until_it_is_sent_back(&mut store);
    letters_that_name_no_study_are_kept(&mut store);
    one_record_the_database_refuses_does_not_hold_up_its_batch(&mut store);
    a_study_is_unaccounted_once_it_is_older_than_the_deadline(&mut store);
    a_word_on_an_instance_is_kept_once_and_touches_no_study(&mut store);
    what_physicians_confirmed_stands_beside_what_the_model_said(&mut store);
    the_last_reports_of_a_set_come_back_in_their_order(&mut store);
    heartbeats::heartbeats_are_kept_apart_count_for_nothing_and_go(&mut store);
    each_role_sees_its_own_tables_only(&store);
    audit::a_row_that_was_edited_deleted_or_cut_off_is_named(&store);
    dead_letters::a_study_goes_on_when_no_letter_of_it_waits_any_more(&mut store);
    dead_letters::a_study_with_another_letter_or_a_later_revision_does_not_go_on(&mut store);
    replays::a_run_has_one_plan_and_each_row_once(&store);
    replays::a_report_is_of_a_finished_run_and_a_promotion_of_the_latest_report(&store);
    replays::live_rows_are_what_the_store_keeps_of_each_step(&mut store);
    drop(store);
    drop(server);
}

fn the_first_write_wins_and_others_are_counted(store: &mut Store) {
    let report = store.report(ABSTAINS, 1, 1, 100);
    store.keep(std::slice::from_ref(&report));
    store.keep(&[report]);
    assert_eq!(store.counter("prescreen_duplicates_suppressed_total"), 1.0);
    assert_eq!(store.counter("prescreen_duplicate_divergent_total"), 0.0);

    // Another payload under the same event, and under another event of the same revision.
    for id in [100, 101] {
        let other = store.report(REPORT, 1, 1, id);
        store.keep(&[other]);
    }
    assert_eq!(store.counter("prescreen_duplicate_divergent_total"), 2.0);
    let timeline = store.timeline(1);
    assert_eq!(timeline.report.expect("a report")["abstention"], "MODEL_UNTRAINED");
    assert_eq!(timeline.revisions[0].reason.as_deref(), Some("MODEL_UNTRAINED"));
    let findings = store
        .database
        .read(Role::App, |sql| sql.query_one("SELECT count(*) FROM prescreen.findings", &[]))
        .map(|row| row.get::<_, i64>(0));
    assert_eq!(findings.expect("an answer"), 0, "no finding of the report that lost");
    assert_eq!(store.counter("prescreen_studies_terminal_total"), 1.0);
    assert_eq!(store.counter("prescreen_reports_total"), 1.0);

    // The study's own record comes last and fills in the stub.
    let acquired = store.acquired(1, 1, 102);
    store.keep(&[acquired]);
    assert_eq!(store.timeline(1).revisions[0].domain.as_deref(), Some("echo"));
    assert_eq!(store.states(1), [(1, "reported".to_owned())]);
}

fn what_physicians_confirmed_stands_beside_what_the_model_said(store: &mut Store) {
    for number in 800..805 {
        let findings = store.findings(number, 8_000 + u128::from(number));
        store.keep(&[findings.clone(), findings]);
    }
    let before = store.counter("prescreen_duplicate_divergent_total");
    let mut other: FindingsInferred = serde_json::from_str(FINDINGS).expect("an example");
    other.study.study_uid = study(800);
    other.evidence = None;
    let other = store.message(&other, event(8_900));
    store.keep(&[other]);
    assert_eq!(store.counter("prescreen_duplicate_divergent_total"), before + 1.0, "the first answer stands");

    store.review(801, "confirm", Some(57.0), 2);
    store.review(800, "confirm", Some(60.0), 1);
    store.review(800, "correct", Some(41.5), 3);
    store.review(802, "confirm", Some(50.0), 4);
    store.review(802, "object", None, 5);
    store.review(803, "reject", None, 6);
    store.review(899, "confirm", Some(50.0), 7); // nobody has seen its findings
    let confirmed = |skip, limit| {
        let studies = confirmed_studies(&store.database, &RunId::live(), skip, limit).expect("an answer");
        let pair = |study: console::site::ConfirmedStudy| {
            assert!(study.findings.evidence.is_some());
            (study.findings.study.study_uid.to_string(), study.truth_ef)
        };
        studies.into_iter().map(pair).collect::<Vec<_>>()
    };
    let (first, second) = (("2.25.801".to_owned(), 57.0), ("2.25.800".to_owned(), 41.5));
    assert_eq!(
        confirmed(0, 10),
        [first.clone(), second.clone()],
        "the latest decision, in the order of decisions"
    );
    assert_eq!((confirmed(0, 1), confirmed(1, 10)), (vec![first], vec![second]));
}

fn the_last_reports_of_a_set_come_back_in_their_order(store: &mut Store) {
    let digest = Digest::of(b"a set");
    for (number, of_set) in [(901, true), (902, false), (903, true), (904, true)] {
        let mut report: ReportIssued = serde_json::from_str(REPORT).expect("an example");
        report.study.study_uid = study(number);
        report.calibration = of_set.then(|| CalibrationUsed {
            id: "a".to_owned(),
            digest,
            alpha: 0.1,
            group: "all".to_owned(),
            studies: 100,
            synthetic: false,
        });
        let time = Timestamp::from_second(i64::from(1_000_000_000 + number)).expect("a time");
        let envelope = Envelope::of(&report, event(9_000 + u128::from(number)), RunId::live(), "test", time);
        let headers = envelope.to_headers().into_iter().collect();
        let record = store.record(ReportIssued::TOPIC.name, headers, encode(&report));
        store.keep(&[record]);
    }
    let reports = calibrated_reports(&store.database, &RunId::live(), digest, 2).expect("an answer");
    let uids: Vec<String> = reports.iter().map(|report| report.study.study_uid.to_string()).collect();
    assert_eq!(uids, ["2.25.903", "2.25.904"]);
    let none = calibrated_reports(&store.database, &RunId::live(), Digest::of(b"another"), 2);
    assert_eq!(none.expect("an answer"), []);
}

fn a_later_revision_supersedes_what_is_unfinished(store: &mut Store) {
    let first = store.acquired(2, 1, 200);
    let second = store.acquired(2, 2, 201);
    store.keep(&[first, second]);
    assert_eq!(store.states(2), [(2, "in_progress".to_owned()), (1, "superseded".to_owned())]);
    let late = store.report(ABSTAINS, 2, 1, 202);
    let report = store.report(ABSTAINS, 2, 2, 203);
    store.keep(&[late, report]);
    assert_eq!(store.states(2), [(2, "reported".to_owned()), (1, "superseded".to_owned())]);

    // Heard of in the wrong order.
    let second = store.report(ABSTAINS, 3, 2, 300);
    let first = store.acquired(3, 1, 301);
    store.keep(&[second, first]);
    let rows = store.timeline(3).revisions;
    assert_eq!((rows[0].revision, rows[1].state.as_str()), (2, "superseded"));
    assert!(rows[1].terminal_at.is_some() && rows[1].reason.as_deref() == Some("SUPERSEDED"));

    // What was finished stays so.
    let mut rejected: StudyRejected = serde_json::from_str(REJECTED).expect("an example");
    rejected.study.study_uid = study(4);
    let rejected = store.message(&rejected, event(400));
    let second = store.acquired(4, 2, 401);
    store.keep(&[rejected, second]);
    assert_eq!(store.states(4), [(2, "in_progress".to_owned()), (1, "rejected".to_owned())]);
    assert!(store.timeline(4).rejection.is_some());
}

fn a_dead_letter_ends_a_study_until_it_is_sent_back(store: &mut Store) {
    let acquired = store.acquired(5, 1, 500);
    let letter = store.letter(acquired.headers.clone(), 50);
    store.keep(&[acquired, letter.clone()]);
    assert_eq!(store.states(5), [(1, "dead_lettered".to_owned())]);
    assert_eq!(store.timeline(5).dead_letters[0].cause, "invalid");
    let report = store.report(ABSTAINS, 5, 1, 501);
    store.keep(&[report, letter]);
    assert_eq!(store.states(5), [(1, "reported".to_owned())]);
    assert_eq!(store.timeline(5).dead_letters.len(), 1);
}

fn letters_that_name_no_study_are_kept(store: &mut Store) {
    let headless = store.letter(Headers::default(), 60);
    let mut message: StudyAcquired = serde_json::from_str(ACQUIRED).expect("an example");
    message.study.revision = Revision(u32::MAX);
    let uncountable = store.message(&message, event(600));
    let letter = store.letter(uncountable.headers.clone(), 61);
    store.keep(&[headless, letter]);
    assert!(matches!(store.writer.write(&[uncountable])[..], [Err(StageError::Invalid(_))]));
    let unattributed = "SELECT count(*) FROM prescreen.dead_letters WHERE study_uid IS NULL";
    let row = store.database.read(Role::App, |sql| sql.query_one(unattributed, &[])).expect("an answer");
    assert_eq!(row.get::<_, i64>(0), 2);
}

fn one_record_the_database_refuses_does_not_hold_up_its_batch(store: &mut Store) {
    let mut message: ReportIssued = serde_json::from_str(ABSTAINS).expect("an example");
    message.study.study_uid = study(7);
    message.text.en.push('\0');
    let nul = store.message(&message, event(700));
    let good = store.report(ABSTAINS, 8, 1, 701);
    // A place too long for an index.
    let mut long = Headers::default();
    for (name, value) in store.letter(Headers::default(), 70).headers.iter() {
        long.push(name, value);
    }
    let noise: String = (0..200_u8).map(|n| Digest::of(&[n]).to_string()).collect();
    long.push("dl_topic", noise.as_bytes());
    let unindexable = store.record("study.acquired.v1.dlq", long, Vec::new());
    let results = store.writer.write(&[nul, good, unindexable]);
    assert!(
        matches!(results[..], [Err(StageError::Invalid(_)), Ok(()), Err(StageError::Invalid(_))]),
        "{results:?}"
    );
    assert_eq!(store.states(8), [(1, "reported".to_owned())]);
    assert!(timeline(&store.database, &RunId::live(), &study(7)).expect("an answer").is_none());
}

fn a_study_is_unaccounted_once_it_is_older_than_the_deadline(store: &mut Store) {
    let acquired = store.acquired(9, 1, 900);
    store.keep(&[acquired]);
    let closed: Timestamp = "2026-11-20T08:00:00Z".parse().expect("a time");
    let counts = |minutes| {
        let now = closed + SignedDuration::from_mins(minutes);
        state_counts(&store.database, &RunId::live(), now, SignedDuration::from_mins(60)).expect("an answer")
    };
    let (young, old) = (counts(59), counts(61));
    // Study 4 has a revision in progress of the same time.
    assert_eq!((young.in_progress, young.unaccounted), (2, 0));
    assert_eq!((old.in_progress, old.unaccounted), (0, 2));
    for all in [young, old] {
        let parts = all.in_progress + all.reported + all.rejected + all.dead_lettered + all.superseded;
        assert_eq!(all.received, parts + all.unaccounted);
    }
}

fn a_word_on_an_instance_is_kept_once_and_touches_no_study(store: &mut Store) {
    let now = Timestamp::now();
    let word = |number: u32, instance: u32, at: Timestamp| {
        let mut word: InstanceGated = serde_json::from_str(GATED).expect("an example");
        word.study.study_uid = study(number);
        word.instance.instance_uid = InstanceUid::new(&format!("2.25.{instance}")).expect("a uid");
        word.received_at = at;
        word
    };
    let words = |store: &Store, sender: &str| {
        arrivals(&store.database, &RunId::live(), sender, 100).expect("an answer")
    };
    let divergent = store.counter("prescreen_duplicate_divergent_total");
    let ended = store.counter("prescreen_studies_terminal_total");
    let first = word(10, 1, now - SignedDuration::from_secs(2));
    let record = store.message(&first, event(1000));
    store.keep(std::slice::from_ref(&record));
    store.keep(&[record]);
    let mut other = first.clone();
    other.advice = None;
    let other = store.message(&other, event(1001));
    store.keep(&[other]);
    assert_eq!(store.counter("prescreen_duplicate_divergent_total"), divergent + 1.0);
    let stored = words(store, "VIVID1");
    assert_eq!(stored.len(), 1, "once, however often it comes");
    assert_eq!((&stored[0].gate, stored[0].study_state.as_deref()), (&first, None));

    // Files have a sender of their own, an old word goes, and the newest comes first.
    let mut from_folder = word(11, 2, now);
    from_folder.received_from.ae_title = None;
    let (newer, old) = (word(10, 3, now), word(10, 4, now - SignedDuration::from_hours(49)));
    let records = [&from_folder, &old, &newer]
        .map(|word| store.message(word, event(word.received_at.as_second() as u128)));
    store.keep(&records);
    let uids: Vec<String> =
        words(store, "VIVID1").iter().map(|one| one.gate.instance.instance_uid.to_string()).collect();
    assert_eq!(uids, ["2.25.3", "2.25.1"]);
    assert_eq!(words(store, "folder").len(), 1);
    let listed = senders(&store.database, &RunId::live()).expect("an answer");
    let listed: Vec<(&str, i64)> = listed.iter().map(|one| (one.ae_title.as_str(), one.instances)).collect();
    assert_eq!(listed, [("VIVID1", 2), ("folder", 1)]);

    // A dead one is kept as a dead letter of its study and decides nothing.
    let mut letter = store.message(&newer, event(1004)).headers.clone();
    let dead = DeadLetter {
        cause: Cause::Undecodable,
        detail: "why".to_owned(),
        stage: "store".to_owned(),
        topic: "instance.gated.v1.urgent".to_owned(),
        partition: 0,
        offset: 70,
        attempts: 1,
        time: now,
        payload: DeadLetterPayload::Embedded,
    };
    for header in dead.to_headers() {
        letter.push(&header.key, &header.value);
    }
    let letter = store.record("instance.gated.v1.dlq", letter, b"poison".to_vec());
    store.keep(&[letter]);
    let buried = "SELECT study_uid FROM prescreen.dead_letters WHERE topic = 'instance.gated.v1.urgent'";
    let buried = store.database.read(Role::App, |sql| sql.query_one(buried, &[])).expect("an answer");
    assert_eq!(buried.get::<_, String>(0), "2.25.10");
    assert!(
        timeline(&store.database, &RunId::live(), &study(10)).expect("an answer").is_none(),
        "no study is made"
    );
    assert_eq!(store.counter("prescreen_studies_terminal_total"), ended);

    // Once the study is closed, its own state stands beside the word.
    let acquired = store.acquired(10, 1, 1005);
    store.keep(&[acquired]);
    assert_eq!(words(store, "VIVID1")[0].study_state.as_deref(), Some("in_progress"));
    let none = word(12, 5, now);
    let mut contradictory = store.message(&none, event(1006));
    let elsewhere = store.message(&newer, event(1007)).headers.clone();
    Arc::get_mut(&mut contradictory).expect("one owner").headers = elsewhere;
    assert!(matches!(store.writer.write(&[contradictory])[..], [Err(StageError::Invalid(_))]));
}

fn each_role_sees_its_own_tables_only(store: &Store) {
    let identity =
        pixels::Identity { patient_name: b"NOBODY^AT ALL".to_vec(), ..pixels::Identity::default() };
    let row = || IdentityRow::of(&study(9), &identity);
    identity_upsert(&store.database, row(), Timestamp::UNIX_EPOCH).expect("stored");
    identity_upsert(&store.database, row(), Timestamp::UNIX_EPOCH).expect("stored again");
    let read = |role, table: &str| {
        let query = format!("SELECT * FROM prescreen.{table}");
        store.database.read(role, move |sql| sql.query(&query, &[])).map(|rows| rows.len())
    };
    assert_eq!(read(Role::Identity, "identity").expect("its own table"), 1);
    for (role, table) in [(Role::App, "identity"), (Role::Identity, "studies"), (Role::Identity, "reports")] {
        let refusal = read(role, table).expect_err("not its table");
        assert!(matches!(&refusal, DatabaseError::Refused { code, .. } if code == "42501"), "{refusal}");
    }
}
