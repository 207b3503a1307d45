//! Lanes, backpressure, batches and the end of a run.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use runtime::{Exit, PauseSwitch, Shutdown, StageRun, run_stage};
use schemas::{Message, Priority, StudyAccepted};
use stage::{Services, testing::MemoryFrames};

use crate::{
    scripted::{Script, Scripted, accepted},
    world::{Running, World, uid, until},
};

#[test]
fn urgent_studies_overtake_a_backlog_and_stay_in_their_lane() {
    let world = World::new(1);
    world.publish_routine(0..400);
    let order: Arc<Mutex<Vec<String>>> = Arc::default();
    let script = {
        let order = order.clone();
        Script::new(move |input, _| {
            order.lock().unwrap().push(input.study().study_uid.to_string());
            std::thread::sleep(Duration::from_millis(3));
            Ok(accepted(input))
        })
    };
    let running = world.start(script, |settings| settings.in_flight.records = 32);
    world.read(StudyAccepted::TOPIC.name, 5);
    (1000..1010).for_each(|n| drop(world.publish(n, Priority::Urgent)));
    let before = order.lock().unwrap().len();
    let urgent = world.read(&StudyAccepted::TOPIC.urgent(), 10);
    assert!(urgent.iter().all(|output| output.uid() >= uid(1000)));
    let done = order.lock().unwrap().clone();
    let last_urgent = done.iter().rposition(|done| *done >= uid(1000)).unwrap();
    assert!(
        last_urgent < before + 60,
        "the last urgent study was number {last_urgent}, {before} were done before"
    );
    world.read(StudyAccepted::TOPIC.name, 400);
    assert!(matches!(running.drain(), Exit::Drained));
}

#[test]
fn a_slow_stage_pauses_its_partitions_and_keeps_its_membership() {
    let mut world = World::new(1);
    let timing =
        [("max.poll.interval.ms", "1500"), ("session.timeout.ms", "1500"), ("heartbeat.interval.ms", "300")];
    world.client.properties.extend(timing.map(|(name, value)| (name.to_owned(), value.to_owned())));
    world.publish_routine(0..600);
    let open = Arc::new(AtomicBool::new(false));
    let script = {
        let open = open.clone();
        Script::new(move |input, _| {
            while !open.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(accepted(input))
        })
    };
    let running = world.start(script, |settings| settings.in_flight.records = 16);
    until("the lane is paused", || world.metric("prescreen_kafka_pauses_total", &[]) >= 1.0);
    let in_flight = world.metric("prescreen_stage_in_flight", &[]);
    assert!((16.0..=20.0).contains(&in_flight), "{in_flight} in flight, 16 and one chunk of 4 allowed");
    // Longer than the consumer may go unpolled: were the poller waiting for work, the group would throw it out.
    std::thread::sleep(Duration::from_secs(3));
    let rebalances = world.metric("prescreen_kafka_rebalances_total", &[]);
    open.store(true, Ordering::SeqCst);
    world.read(StudyAccepted::TOPIC.name, 600);
    assert_eq!(world.metric("prescreen_kafka_rebalances_total", &[]), rebalances);
    assert!(matches!(running.drain(), Exit::Drained));
    assert_eq!(
        world.read_all(StudyAccepted::TOPIC.name).len(),
        600,
        "a pause neither loses nor repeats a record"
    );
}

#[test]
fn a_drain_finishes_what_was_begun_and_begins_nothing() {
    let world = World::new(1);
    world.publish_routine(0..50);
    let (begun, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let script = {
        let (begun, open) = (begun.clone(), open.clone());
        Script::new(move |input, _| {
            begun.fetch_add(1, Ordering::SeqCst);
            while !open.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(accepted(input))
        })
    };
    let running = world.start(script, |settings| settings.workers = 2);
    until("two are being worked on", || begun.load(Ordering::SeqCst) == 2);
    running.shutdown.drain();
    std::thread::sleep(Duration::from_millis(100));
    open.store(true, Ordering::SeqCst);
    assert!(matches!(running.ended(), Exit::Drained));
    assert_eq!(begun.load(Ordering::SeqCst), 2);
    assert_eq!(world.read_all(StudyAccepted::TOPIC.name).len(), 2);
    let rest = world.start(Script::accept(), |_| {});
    world.read(StudyAccepted::TOPIC.name, 50);
    assert!(matches!(rest.drain(), Exit::Drained));
    assert_eq!(world.read_all(StudyAccepted::TOPIC.name).len(), 50, "what the drain finished was committed");
}

#[test]
fn a_drain_that_takes_too_long_and_a_second_signal_leave_a_stuck_stage_behind() {
    for abort in [false, true] {
        let world = World::new(1);
        world.publish_routine(0..1);
        let (begun, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let script = {
            let (begun, open) = (begun.clone(), open.clone());
            Script::new(move |input, _| {
                begun.fetch_add(1, Ordering::SeqCst);
                while !open.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(accepted(input))
            })
        };
        let deadline = if abort { Duration::from_mins(10) } else { Duration::from_millis(100) };
        let running = world.start(script, |settings| settings.drain_deadline = deadline);
        until("it is being worked on", || begun.load(Ordering::SeqCst) == 1);
        running.shutdown.drain();
        if abort {
            running.shutdown.abort();
        }
        assert!(matches!(running.ended(), Exit::Aborted));
        open.store(true, Ordering::SeqCst);
        let next = world.start(Script::accept(), |_| {});
        world.read(StudyAccepted::TOPIC.name, 1);
        assert!(matches!(next.drain(), Exit::Drained));
    }
}

#[test]
fn a_batching_stage_gets_full_batches_and_does_not_wait_longer_than_it_lingers() {
    let world = World::new(1);
    world.publish_routine(0..20);
    let running = world.start(Script::accept().batch(8, Duration::from_millis(300)), |_| {});
    world.read(StudyAccepted::TOPIC.name, 20);
    assert!(matches!(running.drain(), Exit::Drained));
    let families = world.registry.gather();
    let sizes = families.iter().find(|family| family.name() == "prescreen_stage_batch_size").unwrap();
    let sizes = sizes.get_metric()[0].get_histogram();
    assert_eq!(
        (sizes.get_sample_sum(), sizes.get_sample_count()),
        (20.0, 3),
        "8, 8 and, after its linger, 4"
    );
}

#[test]
fn a_paused_stage_finishes_what_it_has_begins_nothing_and_goes_on_in_order() {
    let world = World::new(1);
    let begun: Arc<Mutex<Vec<String>>> = Arc::default();
    let open = Arc::new(AtomicBool::new(false));
    let script = {
        let (begun, open) = (begun.clone(), open.clone());
        Script::new(move |input, _| {
            begun.lock().unwrap().push(input.study().study_uid.to_string());
            while !open.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(accepted(input))
        })
    };
    let start = |pause: &PauseSwitch, script: &Script| {
        let shutdown = Shutdown::new();
        let stage = StageRun::<Scripted> {
            run: runtime::Run { pause: pause.clone(), ..world.run(&shutdown, |_| {}) },
            config: script.clone().config(),
            services: Services::without_model(),
            frames: Arc::new(MemoryFrames::default()),
        };
        Running::of(shutdown, || run_stage(stage))
    };
    let pause = PauseSwitch::default();
    let held = || world.metric("prescreen_stage_paused_by_operator", &[("stage", "scripted")]);
    let running = start(&pause, &script);
    world.publish_routine(0..20);
    until("a record is being worked on", || begun.lock().unwrap().len() == 1);
    pause.set(true);
    until("the run has noticed", || held() == 1.0);
    open.store(true, Ordering::SeqCst);
    world.read(StudyAccepted::TOPIC.name, 1);
    until("everything else is read and waits", || {
        world.metric("prescreen_stage_in_flight", &[("stage", "scripted")]) == 19.0
    });
    assert_eq!(begun.lock().unwrap().len(), 1);
    assert!(matches!(running.drain(), Exit::Drained), "a paused run can be stopped");
    assert_eq!(held(), 0.0);

    // One that begins paused stays so until it is let go.
    let running = start(&pause, &script);
    until("the run has noticed", || held() == 1.0);
    until("everything else is read and waits", || {
        world.metric("prescreen_stage_in_flight", &[("stage", "scripted")]) == 19.0
    });
    assert_eq!(begun.lock().unwrap().len(), 1);
    pause.set(false);
    world.read(StudyAccepted::TOPIC.name, 20);
    assert_eq!(*begun.lock().unwrap(), (0..20).map(uid).collect::<Vec<_>>());
    assert!(matches!(running.drain(), Exit::Drained));
}
