//! Heartbeats: records like any other, but never answered from memory and never worked on when they are old.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use runtime::Exit;
use schemas::{Class, Message, Priority, RunId, StudyAccepted, event_id};

use crate::{
    scripted::{Script, accepted},
    world::{World, acquired, uid, until},
};

/// Publishes the `n`-th study as a heartbeat that was made `ago`.
fn beat(world: &World, n: u32, ago: SignedDuration) {
    let (message, mut envelope) = acquired(n, Priority::Urgent);
    envelope.run = RunId::heartbeat();
    envelope.class = Class::Heartbeat;
    envelope.id = event_id(&envelope.run, "heartbeat", &[message.study().study_uid.as_str()]);
    envelope.time = Timestamp::now() - ago;
    world.publisher.publish(&message, &envelope, Priority::Urgent).unwrap();
}

#[test]
fn a_heartbeat_is_worked_on_each_time_and_hands_on_its_run_and_class() {
    let world = World::new(1);
    let asked = Arc::new(AtomicUsize::new(0));
    let mut script = {
        let asked = asked.clone();
        Script::new(move |input, _| {
            asked.fetch_add(1, Ordering::SeqCst);
            Ok(accepted(input))
        })
    };
    script.memo = true;
    for _ in 0..2 {
        beat(&world, 1, SignedDuration::ZERO);
    }
    let running = world.start(script, |_| {});
    let outputs = world.read(&StudyAccepted::TOPIC.urgent(), 2);
    assert!(matches!(running.drain(), Exit::Drained));
    assert_eq!(asked.load(Ordering::SeqCst), 2, "nothing was remembered");
    assert_eq!(world.metric("prescreen_stage_memo_hits_total", &[]), 0.0);
    for output in outputs {
        let envelope = output.envelope();
        assert_eq!((envelope.run.as_str(), envelope.class), ("heartbeat", Class::Heartbeat));
        assert!(!envelope.is_clinical());
    }
}

#[test]
fn what_an_outage_leaves_of_heartbeats_is_passed_over_and_studies_of_the_same_age_are_not() {
    for batch in [1, 4] {
        let world = World::new(1);
        let old = SignedDuration::from_mins(11);
        (0..5).for_each(|n| beat(&world, n, old));
        let (message, mut envelope) = acquired(20, Priority::Urgent);
        envelope.time = Timestamp::now() - old;
        world.publisher.publish(&message, &envelope, Priority::Urgent).unwrap();
        beat(&world, 21, SignedDuration::ZERO);
        let running = world.start(Script::accept().batch(batch, Duration::from_millis(50)), |_| {});
        let outputs = world.read(&StudyAccepted::TOPIC.urgent(), 2);
        let expired = [("stage", "scripted"), ("outcome", "expired")];
        until("the old ones are passed over", || {
            world.metric("prescreen_stage_processed_total", &expired) == 5.0
        });
        assert!(matches!(running.drain(), Exit::Drained));
        let uids: Vec<String> = outputs.iter().map(super::world::Got::uid).collect();
        assert_eq!(uids, [uid(20), uid(21)]);
        assert_eq!(world.read_all(&StudyAccepted::TOPIC.urgent()).len(), 2);
        let again = world.start(Script::accept(), |_| {});
        world.publish_routine(30..31);
        world.read(StudyAccepted::TOPIC.name, 1);
        assert!(matches!(again.drain(), Exit::Drained));
        assert_eq!(
            world.metric("prescreen_stage_processed_total", &expired),
            5.0,
            "their offsets were committed"
        );
    }
}

#[test]
fn a_heartbeat_does_not_wait_for_a_backlog_of_routine_studies() {
    let world = World::new(1);
    world.publish_routine(0..40);
    let done = Arc::new(AtomicUsize::new(0));
    let script = {
        let done = done.clone();
        Script::new(move |input, _| {
            std::thread::sleep(Duration::from_millis(100));
            done.fetch_add(1, Ordering::SeqCst);
            Ok(accepted(input))
        })
    };
    let running = world.start(script, |_| {});
    world.read(StudyAccepted::TOPIC.name, 3);
    beat(&world, 100, SignedDuration::ZERO);
    let before = done.load(Ordering::SeqCst);
    world.read(&StudyAccepted::TOPIC.urgent(), 1);
    let meanwhile = done.load(Ordering::SeqCst) - before;
    assert!(meanwhile <= 10, "it waited for {meanwhile} records of a backlog of {}", 40 - before);
    running.abort();
}
