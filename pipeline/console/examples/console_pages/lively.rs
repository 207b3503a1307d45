//! A hospital some while after an outage: inference still drains what waited, a replay runs, a few records have died. All of
//! it is made up, and moves with the clock.

use std::sync::{Mutex, OnceLock};

use console::site::{
    Arrival, DeadLetterRow, Drain, HistoryPoint, Pause, ReplayRun, ReplayState, ReplayVerdict, StageStatus,
    StateCounts, Status, StudyRow, StudyTimeline, TimelineDeadLetter, TimelineEvent,
};
use jiff::{SignedDuration, Timestamp};
use schemas::{Digest, RunId};

use crate::{
    reports::{self, UIDS},
    world::{World, graph, of},
};

const STAGES: [&str; 5] = ["quality_gate", "keyframes", "inference", "reporting", "store"];
const HOUR: i64 = 3600;
/// Seconds between two points of the history.
const STEP: i64 = 5;

/// When this world began: the outage was half an hour before.
fn begun() -> Timestamp {
    static BEGUN: OnceLock<Timestamp> = OnceLock::new();
    *BEGUN.get_or_init(Timestamp::now)
}

fn ago(seconds: i64) -> Timestamp {
    begun().saturating_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The world.
pub(crate) fn world() -> World {
    World {
        status,
        history,
        graph: graph(),
        studies: studies(),
        arrivals: arrivals(),
        picture: reports::picture,
        dead_letters: Mutex::new(dead_letters()),
        runs: runs(),
        ..World::default()
    }
}

/// A few seconds of one stage.
struct Moment {
    waiting: f64,
    rate: f64,
    busy: f64,
    blocked: f64,
}

fn moment(stage: &str, at: Timestamp) -> Moment {
    let minutes = (at - begun()).total(jiff::Unit::Minute).unwrap_or_default();
    let wave = |period: f64| (minutes * 60.0 / period).sin();
    // Nothing ran for eight minutes, half an hour before; what had gathered went through stage by stage.
    let burst = |from: f64, peak: f64, to: f64, height: f64| match minutes {
        m if m < from || m > to => 0.0,
        m if m < peak => height * (m - from) / (peak - from),
        m => height * (to - m) / (to - peak),
    };
    let down = (-38.0..-30.0).contains(&minutes);
    let (waiting, rate, busy, blocked) = match stage {
        "quality_gate" => (burst(-38.0, -30.0, -24.0, 190.0), 1.5 + 0.3 * wave(17.0), 0.34, 0.05),
        "keyframes" => (burst(-30.0, -24.0, -15.0, 150.0), 1.4 + 0.3 * wave(13.0), 0.45, 0.30),
        "inference" => (burst(-28.0, -15.0, 14.0, 240.0), 0.9 + 0.05 * wave(11.0), 0.97, 0.0),
        "reporting" => (1.0 + wave(7.0), 0.9 + 0.1 * wave(11.0), 0.06, 0.0),
        _ => (2.0 + 2.0 * wave(9.0), 5.6 + 0.8 * wave(15.0), 0.18, 0.0),
    };
    let wobble = if waiting > 0.0 { 3.0 + 3.0 * wave(5.0) } else { 0.0 };
    let rate = if down { 0.0 } else { rate };
    Moment { waiting: waiting + wobble, rate, busy: busy + 0.02 * wave(6.0), blocked }
}

fn status(world: &World) -> Status {
    let at = Timestamp::now();
    let lived = (at - begun()).total(jiff::Unit::Second).unwrap_or_default() as i64;
    let paused = of(&world.paused).clone();
    let mut stages = Vec::new();
    for stage in STAGES {
        let Moment { waiting, rate, busy, blocked } = moment(stage, at);
        let reads = world.graph.iter().find(|node| node.name == stage).map(|node| node.reads.as_slice());
        let is_paused = paused.contains(stage);
        for (index, topic) in reads.unwrap_or_default().iter().enumerate() {
            for (lane, share) in [("", 0.9), (".urgent", 0.1)] {
                let lag = if index == 0 { (waiting * share) as i64 } else { 0 };
                let eta = (lag > 0 && !is_paused).then(|| lag as f64 / (0.4 * rate).max(0.01));
                stages.push(StageStatus {
                    stage: stage.to_owned(),
                    topic: format!("{topic}{lane}"),
                    lag_records: lag,
                    oldest_age_s: (lag > 0).then(|| lag as f64 / rate.max(0.01)),
                    drain_eta_s: eta,
                    drain: match (lag, is_paused) {
                        (0, _) => Drain::Empty,
                        (_, true) => Drain::NotDraining,
                        (_, false) => Drain::Draining,
                    },
                    rate_per_s: if is_paused || index > 0 { 0.0 } else { share * rate },
                    in_flight: if is_paused { 0 } else { 1 + (waiting.min(7.0)) as i64 },
                    busy_ratio: if is_paused { 0.0 } else { busy },
                    backpressured_ratio: blocked,
                    paused: is_paused.then_some(Pause::Operator),
                    errors: u64::from(stage == "inference") * 3,
                });
            }
        }
    }
    let reported = 1_204 + lived / 2;
    let studies = StateCounts {
        received: reported + 187 + 61 + 3 + 12,
        in_progress: 187,
        reported,
        rejected: 61,
        dead_lettered: 3,
        superseded: 12,
        unaccounted: 0,
    };
    Status { at, studies, spooled: 0, stages }
}

fn history(_: &World) -> Vec<HistoryPoint> {
    let now = Timestamp::now().as_second() / STEP * STEP;
    let points = (0..HOUR / STEP).rev().filter_map(|back| Timestamp::from_second(now - back * STEP).ok());
    points
        .map(|at| {
            let mut point = HistoryPoint { at, ..HistoryPoint::default() };
            let mut through = 4.0;
            for stage in STAGES {
                let Moment { waiting, rate, .. } = moment(stage, at);
                through += waiting / 0.9;
                point.oldest_age_s.insert(stage.to_owned(), waiting / rate.max(0.4));
                point.rate_per_s.insert(stage.to_owned(), rate);
                point.lag_records.insert(stage.to_owned(), waiting as i64);
            }
            if at.as_second() % 30 == 0 {
                point.end_to_end_p50_s = Some(through);
                point.end_to_end_p95_s = Some(1.4 * through + 6.0);
            }
            point
        })
        .collect()
}

/// A UID as intake makes them for phantoms.
fn uid(index: i64) -> String {
    format!(
        "2.25.{}",
        204_871_934_016_277_330_512_840_918_273_i128 + i128::from(index) * 7_919_482_113_645_271
    )
}

/// The way of a study from `received` on: seconds of each hop after the one before.
fn events(received: Timestamp, revision: i32, hops: &[(&str, &str, &str, f64)]) -> Vec<TimelineEvent> {
    let mut at = received;
    let told = |(source, topic, summary, seconds): &(&str, &str, &str, f64)| {
        at = at.saturating_add(SignedDuration::from_secs_f64(*seconds)).unwrap_or(at);
        TimelineEvent {
            revision,
            at,
            topic: (*topic).to_owned(),
            source: format!("/prescreen/{source}"),
            summary: (*summary).to_owned(),
            deliveries: if *source == "keyframes" { 2 } else { 1 },
        }
    };
    hops.iter().map(told).collect()
}

const ACQUIRED: (&str, &str, &str, f64) =
    ("intake", "study.acquired.v1", "3 instances, closed by association_released", 0.0);
const ACCEPTED: (&str, &str, &str, f64) =
    ("quality_gate", "study.accepted.v1", "accept, 2 of 3 applicable", 1.9);
const EXTRACTED: (&str, &str, &str, f64) =
    ("keyframes", "keyframes.extracted.v1", "4 keyframes, 2 beats", 3.1);
const INFERRED: (&str, &str, &str, f64) =
    ("inference", "findings.inferred.v1", "answered, stop, 61 tokens", 14.2);
const ISSUED: (&str, &str, &str, f64) = ("reporting", "report.issued.v1", "LOW, LVEF 60 %", 0.4);
const REJECTED: (&str, &str, &str, f64) = ("quality_gate", "study.rejected.v1", "BLUR", 1.4);

fn studies() -> Vec<StudyTimeline> {
    let mut studies = Vec::new();
    for (index, (uid, name)) in (0..).zip(UIDS) {
        let received = ago(200 + 47 * index);
        let ends = |hops: &[(&str, &str, &str, f64)]| {
            let events = events(received, 1, hops);
            (events.last().map_or(received, |last| last.at), events)
        };
        let (ended, events) = match name {
            "rejected" => ends(&[ACQUIRED, REJECTED]),
            _ => ends(&[ACQUIRED, ACCEPTED, EXTRACTED, INFERRED, ISSUED]),
        };
        studies.push(StudyTimeline { events, ..reports::study(uid, name, received, ended) });
    }
    for index in 0..16_i64 {
        studies.push(made_up(index));
    }
    studies
}

fn made_up(index: i64) -> StudyTimeline {
    let received = ago(8 + 37 * index);
    let (state, reason, hops): (&str, Option<&str>, &[_]) = match index % 8 {
        0 | 1 | 5 => ("in_progress", None, &[ACQUIRED, ACCEPTED, EXTRACTED]),
        2 => ("dead_lettered", Some("retries_exhausted"), &[ACQUIRED, ACCEPTED]),
        3 => ("rejected", Some("NOTHING_APPLICABLE"), &[ACQUIRED, REJECTED]),
        _ => ("reported", None, &[ACQUIRED, ACCEPTED, EXTRACTED, INFERRED, ISSUED]),
    };
    let events = events(received, 1, hops);
    let ended = events.last().map(|last| last.at);
    let row = StudyRow {
        study_uid: uid(index),
        revision: 1,
        state: state.to_owned(),
        reason: reason.map(str::to_owned),
        domain: Some(if index % 6 == 4 { "pathology" } else { "echo" }.to_owned()),
        synthetic: Some(index % 4 == 3),
        priority: Some(if index % 5 == 0 { "urgent" } else { "routine" }.to_owned()),
        instances: Some(3 + (index * 7 % 40) as i32),
        received_at: Some(received),
        terminal_at: ended.filter(|_| state != "in_progress"),
    };
    let dead = (state == "dead_lettered").then(|| TimelineDeadLetter {
        topic: "study.accepted.v1".to_owned(),
        partition: 4,
        offset: 1_093 + index,
        stage: "keyframes".to_owned(),
        cause: "retries_exhausted".to_owned(),
        detail: "the blob store did not answer within 10 s".to_owned(),
        attempts: 5,
        at: ended.map_or(received, |at| at.saturating_add(SignedDuration::from_secs(62)).unwrap_or(at)),
        redriven_at: None,
    });
    StudyTimeline {
        revisions: vec![row],
        events,
        dead_letters: dead.into_iter().collect(),
        report: None,
        rejection: None,
    }
}

fn arrivals() -> Vec<(String, Vec<Arrival>)> {
    let examples = [
        include_str!("../../../../schemas/topics/instance.gated.v1/examples/blurred.json"),
        include_str!("../../../../schemas/topics/instance.gated.v1/examples/accepted.json"),
        include_str!("../../../../schemas/topics/instance.gated.v1/examples/not_applicable_from_folder.json"),
    ];
    let arrived = |(index, example): (i64, &str)| {
        let mut gate: schemas::InstanceGated = serde_json::from_str(example).ok()?;
        gate.received_at = ago(4 + 19 * index);
        Some(Arrival { gated_at: gate.received_at, gate, study_state: None, study_reason: None })
    };
    let arrivals: Vec<Arrival> = (0..).zip(examples).filter_map(arrived).collect();
    vec![("VIVID-E95-2".to_owned(), arrivals.clone()), ("EPIQ-7".to_owned(), arrivals)]
}

fn dead_letters() -> Vec<DeadLetterRow> {
    let died = [
        ("study.accepted.v1", "keyframes", "retries_exhausted", "the blob store did not answer within 10 s"),
        ("study.accepted.v1", "keyframes", "retries_exhausted", "the blob store did not answer within 10 s"),
        (
            "keyframes.extracted.v1",
            "inference",
            "worker_crash",
            "three processes died with this record in flight",
        ),
        (
            "study.acquired.v1",
            "quality_gate",
            "hash_mismatch",
            "blob 4f1c… holds other bytes than its name says",
        ),
        ("study.acquired.v1", "quality_gate", "undecodable", "unknown field at line 1 column 412"),
        (
            "findings.inferred.v1",
            "reporting",
            "schema_newer",
            "version 1.9 is newer than the 1.4 of this build",
        ),
        ("study.acquired.v1", "store", "lost_bytes", "the quarantined bytes are past their retention"),
    ];
    let letter = |(index, (topic, stage, cause, detail)): (i64, (&str, &str, &str, &str))| DeadLetterRow {
        dlq_topic: format!("{topic}.dlq"),
        dlq_partition: (index % 3) as i32,
        dlq_offset: 40 + index,
        topic: topic.to_owned(),
        study_uid: (cause != "undecodable").then(|| uid(2 + 8 * index)),
        revision: (cause != "undecodable").then_some(1),
        stage: stage.to_owned(),
        cause: cause.to_owned(),
        detail: detail.to_owned(),
        attempts: if cause == "retries_exhausted" { 5 } else { 1 },
        died_at: ago(95 + 411 * index),
        redriven_at: (index == 5).then(|| ago(60)),
    };
    (0..).zip(died).map(letter).collect()
}

const REPORT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Replay</title><style>\
    body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}h1{color:#1d7a46}\
    </style><h1>Pass</h1><p>An example of a stored report: one file, its styles in itself, no script.</p>\
    <svg viewBox=\"0 0 200 60\" width=\"100%\"><line x1=\"0\" y1=\"30\" x2=\"200\" y2=\"30\" stroke=\"#175c9e\"/>\
    <circle cx=\"60\" cy=\"24\" r=\"2\"/><circle cx=\"92\" cy=\"33\" r=\"2\"/><circle cx=\"140\" cy=\"29\" r=\"2\"/></svg></html>";

fn runs() -> Vec<(ReplayRun, Option<String>)> {
    let run = |name: &str, started: i64, state, rows, verdict: Option<ReplayVerdict>| {
        let run = ReplayRun {
            run_id: RunId::new(name).ok()?,
            state,
            started_at: ago(started),
            finished_at: (state != ReplayState::Running).then(|| ago(started - 1_312)),
            plan_sha256: Digest::of(name.as_bytes()),
            studies: 100,
            rows,
            expected: 800,
            started_by: "m.chen".to_owned(),
            failure: (state == ReplayState::Failed)
                .then(|| "live oldest age passed its objective for 30 min".to_owned()),
            verdict,
            report_sha256: verdict.map(|_| Digest::of(b"report")),
            promoted_at: (verdict == Some(ReplayVerdict::Pass)).then(|| ago(started - 2_000)),
        };
        Some((run, verdict.map(|_| REPORT.to_owned())))
    };
    let runs = [
        run("prompt-2026-11-b", 640, ReplayState::Running, 471, None),
        run("blur-threshold-55", 9_000, ReplayState::Finished, 800, Some(ReplayVerdict::Pass)),
        run("prompt-2026-11-a", 31_000, ReplayState::Finished, 800, Some(ReplayVerdict::Regression)),
        run("ten-pairs-only", 52_000, ReplayState::Finished, 800, Some(ReplayVerdict::Inconclusive)),
        run("first-try", 90_000, ReplayState::Failed, 112, None),
    ];
    runs.into_iter().flatten().collect()
}
