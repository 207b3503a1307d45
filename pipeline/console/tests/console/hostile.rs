//! A site whose every free text is an attack on the page that shows it.

use std::sync::Mutex;

use console::site::{
    Arrival, DeadLetterRow, ReplayRun, ReplayState, StudyRow, StudyTimeline, TimelineDeadLetter,
    TimelineEvent,
};
use jiff::Timestamp;
use schemas::{Bilingual, BlobRef, Digest, InstanceGated, RunId};

use crate::world::World;

pub(crate) const HOSTILE: &str = "<script>alert(1)</script>\"'&";
pub(crate) const KNOWN: &str = "2.25.1";
/// An AE title that has to be escaped in a path.
pub(crate) const ODD_AE: &str = "US 1/2?#%&<b>";

/// A rejected loop of a study that is still open.
pub(crate) fn blurred() -> Arrival {
    let example = include_str!("../../../../schemas/topics/instance.gated.v1/examples/blurred.json");
    let mut gate: InstanceGated = serde_json::from_str(example).expect("an example");
    gate.advice = Some(Bilingual::new(HOSTILE, HOSTILE));
    Arrival { gate, gated_at: Timestamp::UNIX_EPOCH, study_state: None, study_reason: None }
}

/// A colour loop after it, for which the gate has no use.
pub(crate) fn colour() -> Arrival {
    let example =
        include_str!("../../../../schemas/topics/instance.gated.v1/examples/not_applicable_from_folder.json");
    let gate: InstanceGated = serde_json::from_str(example).expect("an example");
    Arrival { gate, gated_at: Timestamp::UNIX_EPOCH, study_state: None, study_reason: None }
}

/// A loop that is fine, of a study that has its report, without a picture.
pub(crate) fn accepted() -> Arrival {
    let example = include_str!("../../../../schemas/topics/instance.gated.v1/examples/accepted.json");
    let mut gate: InstanceGated = serde_json::from_str(example).expect("an example");
    gate.picture = None;
    let study_state = Some("reported".to_owned());
    Arrival { gate, gated_at: Timestamp::UNIX_EPOCH, study_state, study_reason: None }
}

fn text() -> String {
    HOSTILE.to_owned()
}

fn row() -> StudyRow {
    StudyRow {
        study_uid: KNOWN.to_owned(),
        revision: 1,
        state: "reported".to_owned(),
        reason: Some(text()),
        domain: Some(text()),
        synthetic: Some(true),
        priority: Some("urgent".to_owned()),
        instances: Some(3),
        received_at: Some(Timestamp::UNIX_EPOCH),
        terminal_at: Some(Timestamp::UNIX_EPOCH),
    }
}

fn study() -> StudyTimeline {
    let event = TimelineEvent {
        revision: 1,
        at: Timestamp::UNIX_EPOCH,
        topic: text(),
        source: text(),
        summary: text(),
        deliveries: 1,
    };
    let letter = TimelineDeadLetter {
        topic: text(),
        partition: 0,
        offset: 0,
        stage: text(),
        cause: text(),
        detail: text(),
        attempts: 1,
        at: Timestamp::UNIX_EPOCH,
        redriven_at: None,
    };
    StudyTimeline {
        revisions: vec![row()],
        events: vec![event],
        dead_letters: vec![letter],
        report: Some(serde_json::json!({ "of another version": HOSTILE })),
        rejection: None,
    }
}

fn dead_letter() -> DeadLetterRow {
    DeadLetterRow {
        dlq_topic: text(),
        dlq_partition: 0,
        dlq_offset: 0,
        topic: text(),
        study_uid: Some(text()),
        revision: Some(2),
        stage: text(),
        cause: text(),
        detail: text(),
        attempts: 1,
        died_at: Timestamp::UNIX_EPOCH,
        redriven_at: None,
    }
}

fn run() -> ReplayRun {
    ReplayRun {
        run_id: RunId::new("candidate-1").expect("a run id"),
        state: ReplayState::Failed,
        started_at: Timestamp::UNIX_EPOCH,
        finished_at: Some(Timestamp::UNIX_EPOCH),
        plan_sha256: Digest::of(b"plan"),
        studies: 10,
        rows: 4,
        expected: 80,
        started_by: text(),
        failure: Some(text()),
        verdict: None,
        report_sha256: Some(Digest::of(b"report")),
        promoted_at: None,
    }
}

fn only_the_blurred(asked: &BlobRef) -> Option<Vec<u8>> {
    (Some(asked) == blurred().gate.picture.as_ref()).then(|| b"a picture".to_vec())
}

pub(crate) fn world() -> World {
    let mut world = World {
        studies: vec![study()],
        arrivals: vec![
            (ODD_AE.to_owned(), vec![colour(), blurred(), accepted()]),
            (HOSTILE.to_owned(), Vec::new()),
        ],
        picture: only_the_blurred,
        dead_letters: Mutex::new(vec![dead_letter()]),
        runs: vec![(run(), Some(format!("<style>p {{ color: red }}</style><p>{HOSTILE}</p>")))],
        ..World::default()
    };
    if let Some(node) = world.graph.get_mut(1) {
        node.name = text();
    }
    world
}
