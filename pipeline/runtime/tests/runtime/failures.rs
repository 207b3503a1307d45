//! Failures that pass, and those that do not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use runtime::Exit;
use schemas::{Cause, Message, StudyAccepted, StudyAcquired};
use stage::StageError;

use crate::{
    scripted::{Script, accepted},
    world::{World, uid, until},
};

#[test]
fn a_record_that_fails_again_and_again_is_given_up_over_restarts() {
    let world = World::new(1);
    world.publish_routine(0..3);
    let tries = Arc::new(AtomicUsize::new(0));
    let script = || {
        let tries = tries.clone();
        Script::new(move |input, _| {
            if input.study().study_uid.as_str() == uid(1) {
                tries.fetch_add(1, Ordering::SeqCst);
                return Err(StageError::record("out of memory"));
            }
            Ok(accepted(input))
        })
    };
    let first = world.start(script(), |settings| settings.retry.first = Duration::from_millis(100));
    until("it has failed twice", || tries.load(Ordering::SeqCst) == 2);
    assert!(matches!(first.drain(), Exit::Drained));
    let second = world.start(script(), |_| {});
    let letter = world.read(&StudyAcquired::TOPIC.dead_letters(), 1).remove(0).dead_letter();
    assert_eq!((letter.cause, letter.attempts, letter.offset), (Cause::RetriesExhausted, 5, 1));
    assert_eq!(tries.load(Ordering::SeqCst), 5, "the budget counts over restarts");
    assert!(matches!(second.drain(), Exit::Drained));
    assert_eq!(world.metric("prescreen_stage_retries_total", &[("reason", "record")]), 4.0);
}

#[test]
fn an_outage_pauses_the_stage_and_makes_no_dead_letter() {
    let world = World::new(2);
    let down = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicUsize::new(0));
    let script = {
        let (down, asked) = (down.clone(), asked.clone());
        Script::new(move |input, _| {
            asked.fetch_add(1, Ordering::SeqCst);
            if down.load(Ordering::SeqCst) {
                Err(StageError::dependency("database is down"))
            } else {
                Ok(accepted(input))
            }
        })
    };
    world.publish_routine(0..100);
    let running = world.start(script, |settings| {
        settings.workers = 2;
        settings.retry.record_budget = 1;
        settings.in_flight.records = 8;
    });
    until("it is paused", || world.metric("prescreen_stage_paused", &[]) == 1.0);
    until("it has probed", || asked.load(Ordering::SeqCst) >= 8);
    down.store(false, Ordering::SeqCst);
    world.read(StudyAccepted::TOPIC.name, 100);
    assert_eq!(world.metric("prescreen_stage_paused", &[]), 0.0);
    assert!(matches!(running.drain(), Exit::Drained));
    assert_eq!(
        world.read_all(StudyAccepted::TOPIC.name).len(),
        100,
        "nothing is lost and nothing done twice"
    );
    assert_eq!(world.metric("prescreen_stage_dead_letters_total", &[]), 0.0);
}

#[test]
fn a_broker_that_goes_away_and_comes_back_loses_nothing() {
    let world = World::new(2);
    world.publish_routine(0..50);
    let script = Script::new(|input, _| {
        std::thread::sleep(Duration::from_millis(5));
        Ok(accepted(input))
    });
    let running = world.start(script, |_| {});
    world.read(StudyAccepted::TOPIC.name, 5);
    world.broker.faults().stop_listening();
    std::thread::sleep(Duration::from_millis(500));
    world.broker.faults().resume();
    world.read(StudyAccepted::TOPIC.name, 50);
    assert!(matches!(running.drain(), Exit::Drained));
    assert_eq!(
        world.read_all(StudyAccepted::TOPIC.name).len(),
        50,
        "the idempotent producer sends nothing twice"
    );
    assert_eq!(world.metric("prescreen_stage_dead_letters_total", &[]), 0.0);
}

#[test]
fn a_fatal_error_and_a_bad_configuration_end_the_run_and_say_why() {
    let world = World::new(1);
    world.publish_routine(0..1);
    let fatal = world.start(Script::new(|_, _| Err(StageError::Fatal("weights are damaged".into()))), |_| {});
    match fatal.ended() {
        Exit::Fatal { stage, source } => {
            assert_eq!((stage.as_str(), source.to_string().as_str()), ("scripted", "weights are damaged"));
        }
        exit => panic!("{exit:?}"),
    }
    let unconfigured = world.start(Script { step: None, batch: None, memo: false }, |_| {});
    match unconfigured.ended() {
        Exit::Fatal { source, .. } => assert!(source.to_string().contains("step is none"), "{source}"),
        exit => panic!("{exit:?}"),
    }
    let fixed = world.start(Script::accept(), |_| {});
    world.read(StudyAccepted::TOPIC.name, 1);
    assert!(matches!(fixed.drain(), Exit::Drained));
}
