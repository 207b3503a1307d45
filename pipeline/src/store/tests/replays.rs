//! Replay runs: one plan a run, the first write of a row, a report only of what is finished, and live rows beside them.

use console::site::{BeginReplay, EndReplay, KeepReport, ReplayState, ReplayVerdict};
use jiff::Timestamp;
use replay::{
    plan::canonical_sha256,
    result::{Arm, Ended, ModelUse, StageResult},
};
use schemas::{Digest, KeyframesExtracted, Message, Rejection, ReportIssued, Revision, RunId, StudyRejected};
use serde_json::{Value, json};

use super::{ABSTAINS, REJECTED, Store, event, study};
use crate::store::{
    DatabaseError, Promotion, ReplayStoreError, Role, begin_replay, done_steps, end_replay, keep_report,
    keep_results, live_results, promoted, replay_plan, replay_report, replay_results, replay_run,
    replay_runs,
};

const KEYFRAMES: &str =
    include_str!("../../../../schemas/topics/keyframes.extracted.v1/examples/one_beat.json");

fn begin(run: &str, plan: &str) -> BeginReplay {
    BeginReplay {
        run_id: RunId::new(run).expect("a run id"),
        plan: plan.to_owned(),
        studies: 2,
        expected: 16,
        started_by: "test".to_owned(),
    }
}

fn row(arm: Arm, number: u32, stage: &str, output: Value) -> StageResult {
    StageResult {
        arm,
        study_uid: study(number),
        revision: Revision(1),
        stage: stage.to_owned(),
        input_event: event(7),
        ended: Ended::Emitted,
        output_sha256: canonical_sha256(&output),
        output,
        seconds: Some(0.25),
        model: Some(ModelUse { requests: 1, ..ModelUse::default() }),
        memo_hits: 0,
    }
}

fn why<T: std::fmt::Debug>(result: Result<T, ReplayStoreError>) -> String {
    match result {
        Err(ReplayStoreError::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

pub(super) fn a_run_has_one_plan_and_each_row_once(store: &Store) {
    let (database, now) = (&store.database, Timestamp::now());
    let run = RunId::new("r-1").expect("a run id");
    assert_eq!(replay_run(database, &run).expect("an answer"), None);
    assert!(why(keep_results(database, &run, &[], now)).contains("never begun"));
    let begun = begin_replay(database, &begin("r-1", "{}"), now).expect("begun");
    assert_eq!((begun.state, begun.plan_sha256, begun.rows), (ReplayState::Running, Digest::of(b"{}"), 0));
    assert!(why(begin_replay(database, &begin("r-1", "{ }"), now)).contains("another plan"));
    let fewer = BeginReplay { expected: 8, ..begin("r-1", "{}") };
    assert!(why(begin_replay(database, &fewer, now)).contains("arms"));
    assert_eq!(replay_plan(database, &run).expect("an answer").as_deref(), Some("{}"));

    // Numbers come back as they were written, in whatever form PostgreSQL would like them better.
    let output = json!({ "z": 1e-7, "a": -0.0, "large": 1e16, "text": "左室" });
    let first = row(Arm::Candidate, 1, "quality_gate", output);
    let other = row(Arm::Baseline, 1, "quality_gate", json!({}));
    assert_eq!(keep_results(database, &run, &[first.clone(), other.clone()], now).expect("kept").len(), 2);
    let second = StageResult { seconds: Some(9.0), ..first.clone() };
    assert_eq!(
        keep_results(database, &run, &[second], now).expect("kept"),
        [],
        "the first write of a row wins"
    );
    let rows = replay_results(database, &run, 0, 10).expect("rows");
    assert_eq!(rows, [other, first.clone()]);
    assert_eq!(canonical_sha256(&rows[1].output), first.output_sha256);
    assert_eq!(replay_results(database, &run, 1, 10).expect("rows").len(), 1);
    assert_eq!(done_steps(database, &run).expect("steps").len(), 2);
    let wrong = StageResult { output: json!({ "other": 1 }), ..first.clone() };
    assert!(why(keep_results(database, &run, &[wrong], now)).contains("hash"));
    let live = StageResult { arm: Arm::Live, ..first };
    assert!(why(keep_results(database, &run, &[live], now)).contains("live"));
}

pub(super) fn a_report_is_of_a_finished_run_and_a_promotion_of_the_latest_report(store: &Store) {
    let (database, now) = (&store.database, Timestamp::now());
    let run = RunId::new("r-1").expect("a run id");
    let report = |json: &str| KeepReport {
        verdict: ReplayVerdict::Pass,
        html: "<p>".to_owned(),
        json: json.to_owned(),
    };
    assert!(why(keep_report(database, &run, &report("{}"), now)).contains("not finished"));
    let end = |state| EndReplay { state, failure: None };
    end_replay(database, &run, &end(ReplayState::Failed), now).expect("ended");
    assert_eq!(begin_replay(database, &begin("r-1", "{}"), now).expect("begun").state, ReplayState::Running);
    end_replay(database, &run, &end(ReplayState::Finished), now).expect("ended");
    assert!(why(end_replay(database, &run, &end(ReplayState::Failed), now)).contains("not running"));
    assert!(why(keep_results(database, &run, &[], now)).contains("no more rows"));
    assert_eq!(begin_replay(database, &begin("r-1", "{}"), now).expect("begun").state, ReplayState::Finished);

    let old = keep_report(database, &run, &report("{}"), now).expect("kept");
    let new = keep_report(database, &run, &report("{\"n\":1}"), now).expect("kept");
    assert_eq!(replay_report(database, &run).expect("an answer").as_deref(), Some("<p>"));
    let found = replay_run(database, &run).expect("an answer").expect("a run");
    assert_eq!((found.verdict, found.report_sha256), (Some(ReplayVerdict::Pass), Some(new)));
    let promotion = |report_sha256| Promotion {
        by: "engineer".to_owned(),
        forced: None,
        report_sha256,
        config_sha256: Digest::of(b"c"),
    };
    assert!(why(promoted(database, &found, &promotion(old), now)).contains("another report"));
    let id = promoted(database, &found, &promotion(new), now).expect("promoted");
    let noted = database.read(Role::App, move |sql| {
        sql.query_one("SELECT actor, action, subject, detail FROM prescreen.audit_log WHERE id = $1", &[&id])
    });
    let noted = noted.expect("a row");
    assert_eq!(noted.get::<_, String>(1), "replay.promote");
    assert_eq!(noted.get::<_, Value>(3)["report_sha256"], new.to_string());
    assert!(replay_runs(database).expect("runs").iter().all(|run| run.promoted_at.is_some()));

    for statement in [
        "UPDATE prescreen.replay_results SET output = '{}'",
        "DELETE FROM prescreen.replay_results",
        "UPDATE prescreen.replay_runs SET plan = ''",
    ] {
        let refused = database.write(Role::App, move |sql| sql.batch_execute(statement));
        assert!(
            matches!(&refused, Err(DatabaseError::Refused { code, .. }) if code == "42501"),
            "{statement}"
        );
    }
    let named_live = begin_replay(database, &begin("live", "{}"), now);
    assert!(matches!(named_live, Err(ReplayStoreError::Database(DatabaseError::Refused { .. }))));
}

pub(super) fn live_rows_are_what_the_store_keeps_of_each_step(store: &mut Store) {
    let live = RunId::live();
    let mut keyframes: KeyframesExtracted = serde_json::from_str(KEYFRAMES).expect("an example");
    keyframes.study.study_uid = study(900);
    let records = [
        store.acquired(900, 1, 9_000),
        store.message(&keyframes, event(9_001)),
        store.findings(900, 9_002),
        store.report(ABSTAINS, 900, 1, 9_003),
        store.acquired(901, 1, 9_010),
    ];
    store.keep(&records);
    let mut rejected: StudyRejected = serde_json::from_str(REJECTED).expect("an example");
    rejected.study.study_uid = study(901);
    let rejection = store.message(&rejected, event(9_011));
    store.keep(&[rejection]);

    let rows = live_results(&store.database, &live, &[study(900), study(901), study(902)]).expect("rows");
    let seen: Vec<_> =
        rows.iter().map(|row| (row.study_uid.clone(), row.stage.as_str(), row.ended)).collect();
    let expected = [
        (study(900), "inference", Ended::Emitted),
        (study(900), "reporting", Ended::Emitted),
        (study(901), rejected.stage.as_str(), Ended::Rejected),
    ];
    assert_eq!(seen, expected);
    assert_eq!(
        rows.iter().map(|row| row.input_event).collect::<Vec<_>>(),
        [event(9_001), event(9_002), event(9_010)]
    );
    assert!(
        rows.iter().all(|row| row.arm == Arm::Live && row.output_sha256 == canonical_sha256(&row.output))
    );
    let report: ReportIssued = serde_json::from_value(rows[1].output.clone()).expect("a report");
    assert_eq!(report.study().study_uid, study(900));
    let told: Rejection = serde_json::from_value(rows[2].output.clone()).expect("a rejection");
    assert_eq!(told, rejected.rejection);
}
