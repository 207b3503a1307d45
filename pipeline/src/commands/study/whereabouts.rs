//! Where a study is now, and why there.

use console::site::{Drain, Pause, StageStatus, Status, StudyRow, StudyTimeline, TimelineDeadLetter};
use serde::Serialize;

use super::super::figures::{by_stage, drained_in, duration_or_dash};
use crate::system::entries;

/// The answer to "where is study X, and why?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Whereabouts {
    /// Of the latest revision.
    pub(super) state: String,
    /// Who has to take it next, while it is on its way.
    pub(super) waits_for: Option<String>,
    /// One sentence.
    pub(super) why: String,
}

/// Tells where the latest revision is, from its timeline and the state of the system; nothing for a study without one.
pub(super) fn whereabouts(timeline: &StudyTimeline, status: &Status) -> Option<Whereabouts> {
    let row = timeline.revisions.first()?;
    let reason = row.reason.as_deref().unwrap_or("no reason given");
    let done = |why: String| Whereabouts { state: row.state.clone(), waits_for: None, why };
    Some(match row.state.as_str() {
        "reported" => done(format!("there is a report ({reason})")),
        "rejected" => done(format!("rejected for {reason}; the rejection says what to do")),
        "superseded" => done("a later revision took its place".to_owned()),
        "dead_lettered" => done(stuck(&timeline.dead_letters)),
        _ => on_its_way(row, timeline, &status.stages),
    })
}

fn stuck(letters: &[TimelineDeadLetter]) -> String {
    let waiting = letters.iter().rev().find(|letter| letter.redriven_at.is_none());
    let Some(letter) = waiting.or_else(|| letters.last()) else {
        return "it is stuck, and its dead letter is not known here".to_owned();
    };
    let base = letter.topic.strip_suffix(".urgent").unwrap_or(&letter.topic);
    format!(
        "{} gave up: {}: {}; mend that, then: prescreen redrive --topic {base} --reason {}",
        letter.stage, letter.cause, letter.detail, letter.cause
    )
}

fn on_its_way(row: &StudyRow, timeline: &StudyTimeline, stages: &[StageStatus]) -> Whereabouts {
    let entries = entries();
    let of_revision = timeline.events.iter().filter(|event| event.revision == row.revision);
    // The furthest step: a redrive sends an older topic's record again, and clocks differ.
    let furthest = of_revision
        .filter_map(|event| entries.iter().position(|entry| entry.input.name == event.topic))
        .max();
    let Some(next) = furthest.and_then(|index| entries.get(index)) else {
        let why = "its first record has not reached the store, or the last step is done and not stored yet";
        return Whereabouts { state: row.state.clone(), waits_for: None, why: why.to_owned() };
    };
    let line = by_stage(stages).into_iter().find(|line| line.stage == next.name);
    let why = match &line {
        None => format!("{} has it next; its backlog is not known at the moment", next.name),
        Some(line) => {
            let backlog = format!(
                "{} waiting there, the oldest for {}, drained in: {}",
                line.lag,
                duration_or_dash(line.oldest_s),
                drained_in(line.drain, line.eta_s)
            );
            match line.paused {
                Some(Pause::Operator) => format!("{} is paused by an operator; {backlog}", next.name),
                Some(Pause::Dependency) => {
                    format!("{} waits for something it depends on; {backlog}", next.name)
                }
                None if line.drain == Drain::Empty => {
                    format!(
                        "{} has done what was there; the next record of this study is on its way",
                        next.name
                    )
                }
                None => format!("waits for or is in {}; {backlog}", next.name),
            }
        }
    };
    Whereabouts { state: row.state.clone(), waits_for: Some(next.name.to_owned()), why }
}

#[cfg(test)]
mod tests {
    use console::site::{StateCounts, TimelineEvent};
    use jiff::Timestamp;

    use super::*;
    use crate::commands::figures::tests::row as stage;

    fn timeline(state: &str, topics: &[&str]) -> StudyTimeline {
        let row = StudyRow {
            study_uid: "2.25.1".to_owned(),
            revision: 1,
            state: state.to_owned(),
            reason: Some("BLUR".to_owned()),
            domain: None,
            synthetic: None,
            priority: None,
            instances: None,
            received_at: None,
            terminal_at: None,
        };
        let event = |topic: &&str| TimelineEvent {
            revision: 1,
            at: Timestamp::UNIX_EPOCH,
            topic: (*topic).to_owned(),
            source: "/prescreen/test".to_owned(),
            summary: String::new(),
            deliveries: 1,
        };
        StudyTimeline {
            revisions: vec![row],
            events: topics.iter().map(event).collect(),
            dead_letters: Vec::new(),
            report: None,
            rejection: None,
        }
    }

    fn status(stages: Vec<StageStatus>) -> Status {
        Status { at: Timestamp::UNIX_EPOCH, studies: StateCounts::default(), spooled: 0, stages }
    }

    #[test]
    fn a_study_on_its_way_is_with_who_reads_what_it_has_come_to() {
        let way = ["study.acquired.v1", "study.accepted.v1", "keyframes.extracted.v1"];
        let waiting = stage("inference", 312, Drain::NotDraining, None);
        let told =
            whereabouts(&timeline("in_progress", &way), &status(vec![waiting.clone()])).expect("a place");
        assert_eq!(told.waits_for.as_deref(), Some("inference"));
        assert!(told.why.contains("312 waiting") && told.why.contains("not draining"), "{}", told.why);

        let paused = StageStatus { paused: Some(Pause::Operator), ..waiting.clone() };
        let told = whereabouts(&timeline("in_progress", &way), &status(vec![paused])).expect("a place");
        assert!(told.why.starts_with("inference is paused by an operator; 312 waiting"), "{}", told.why);
        let down = StageStatus { paused: Some(Pause::Dependency), ..waiting };
        let told = whereabouts(&timeline("in_progress", &way), &status(vec![down])).expect("a place");
        assert!(told.why.starts_with("inference waits for something it depends on"), "{}", told.why);

        // A redrive of an early step changes nothing about how far it has come.
        let again = ["study.acquired.v1", "study.accepted.v1", "study.acquired.v1"];
        let told = whereabouts(&timeline("in_progress", &again), &status(Vec::new())).expect("a place");
        assert_eq!(told.waits_for.as_deref(), Some("keyframes"));
        let told = whereabouts(&timeline("in_progress", &[]), &status(Vec::new())).expect("a place");
        assert_eq!(told.waits_for, None);
    }

    #[test]
    fn a_study_that_is_stuck_says_what_mends_it() {
        let mut timeline = timeline("dead_lettered", &["study.acquired.v1"]);
        let letter = |cause: &str, redriven_at| TimelineDeadLetter {
            topic: "study.accepted.v1.urgent".to_owned(),
            partition: 0,
            offset: 1,
            stage: "keyframes".to_owned(),
            cause: cause.to_owned(),
            detail: "why".to_owned(),
            attempts: 1,
            at: Timestamp::UNIX_EPOCH,
            redriven_at,
        };
        timeline.dead_letters =
            vec![letter("object_missing", None), letter("panic", Some(Timestamp::UNIX_EPOCH))];
        let told = whereabouts(&timeline, &status(Vec::new())).expect("a place");
        assert_eq!(
            told.why,
            "keyframes gave up: object_missing: why; mend that, then: prescreen redrive --topic study.accepted.v1 --reason object_missing"
        );
        let told = whereabouts(&self::timeline("rejected", &[]), &status(Vec::new())).expect("a place");
        assert_eq!(told.why, "rejected for BLUR; the rejection says what to do");
    }
}
