//! The delivery guarantee: one output for each input, whatever is redelivered.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use runtime::Exit;
use schemas::{Class, Message, Priority, Revision, StudyAccepted, StudyRejected, decode, event_id};

use crate::{
    scripted::{Script, accepted, rejected},
    world::{World, acquired_revision, uid, until},
};

#[test]
fn outputs_inherit_the_envelope_and_a_drained_run_leaves_nothing_to_do() {
    let world = World::new(2);
    world.publish_routine(0..20);
    let script = Script::new(|input, _| {
        Ok(if input.study().study_uid.as_str() == uid(7) { rejected() } else { accepted(input) })
    });
    let running = world.start(script.clone(), |settings| settings.workers = 2);
    let outputs = world.read(StudyAccepted::TOPIC.name, 19);
    let rejections = world.read(StudyRejected::TOPIC.name, 1);
    assert!(matches!(running.drain(), Exit::Drained));

    let output = &outputs[0];
    let (_, input) =
        acquired_revision(output.uid()[5..].parse::<u32>().unwrap() - 1000, 1, Priority::Routine);
    let envelope = output.envelope();
    assert_eq!(envelope.id, event_id(&input.run, "scripted", &[&input.id.to_string()]));
    assert_eq!(envelope.trace, Some(input.trace_of(envelope.id)), "a child of its input's");
    assert_eq!((envelope.run, envelope.revision, envelope.class), (input.run, Revision(1), Class::Clinical));
    assert_eq!(envelope.source, "/prescreen/scripted");
    let message: StudyAccepted = decode(&output.payload, envelope.major, envelope.minor).unwrap();
    assert_eq!(message.study().study_uid.as_str(), output.uid());

    assert_eq!(rejections[0].uid(), uid(7));
    let rejected: StudyRejected = decode(&rejections[0].payload, 1, 0).unwrap();
    assert_eq!(rejected.stage, "scripted");

    let again = world.start(script, |_| {});
    world.publish_routine(50..51);
    world.read(StudyAccepted::TOPIC.name, 20);
    assert!(matches!(again.drain(), Exit::Drained));
    assert_eq!(world.read_all(StudyAccepted::TOPIC.name).len(), 20, "what was committed is not done again");
}

#[test]
fn work_cut_short_is_done_again_with_the_same_ids() {
    let world = World::new(2);
    world.publish_routine(0..40);
    let (stuck, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let script = {
        let (stuck, release) = (stuck.clone(), release.clone());
        Script::new(move |input, _| {
            // Slow enough for every record to be handed out by itself.
            std::thread::sleep(Duration::from_millis(3));
            let n: u32 = input.study().study_uid.as_str()[5..].parse().unwrap();
            if n % 10 == 3 {
                stuck.fetch_add(1, Ordering::SeqCst);
                while !release.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Ok(accepted(input))
        })
    };
    let first = world.start(script, |settings| {
        settings.workers = 4;
        settings.commit_every = Duration::from_mins(10);
    });
    until("all workers are stuck", || stuck.load(Ordering::SeqCst) == 4);
    let before = world.read_all(StudyAccepted::TOPIC.name).len();
    assert!(matches!(first.abort(), Exit::Aborted));
    release.store(true, Ordering::SeqCst);

    let second = world.start(Script::accept(), |_| {});
    until("every study has its output", || {
        let uids: BTreeSet<_> =
            world.read_all(StudyAccepted::TOPIC.name).iter().map(super::world::Got::uid).collect();
        uids.len() == 40
    });
    assert!(matches!(second.drain(), Exit::Drained));
    let outputs = world.read_all(StudyAccepted::TOPIC.name);
    assert!(
        outputs.len() > 40,
        "a redelivery was really felt: {before} before the abort, {} in all",
        outputs.len()
    );
    let mut ids: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    for output in &outputs {
        ids.entry(output.uid()).or_default().insert((output.envelope().id, output.payload.clone()));
    }
    assert!(ids.values().all(|ids| ids.len() == 1), "the same input gives the same output under the same id");
}

#[test]
fn revisions_of_a_study_are_done_one_at_a_time_and_in_order() {
    let world = World::new(1);
    for revision in 1..=10 {
        for n in 0..4 {
            let (message, envelope) = acquired_revision(n, revision, Priority::Routine);
            world.publisher.publish(&message, &envelope, Priority::Routine).unwrap();
        }
    }
    let working: Arc<Mutex<HashMap<String, bool>>> = Arc::default();
    let script = Script::new(move |input, _| {
        let uid = input.study().study_uid.to_string();
        assert_ne!(working.lock().unwrap().insert(uid.clone(), true), Some(true), "two at once");
        std::thread::sleep(Duration::from_millis(2));
        working.lock().unwrap().insert(uid, false);
        Ok(accepted(input))
    });
    let running = world.start(script, |settings| settings.workers = 8);
    let outputs = world.read(StudyAccepted::TOPIC.name, 40);
    assert!(matches!(running.drain(), Exit::Drained));
    let mut revisions: HashMap<String, Vec<u32>> = HashMap::new();
    for output in outputs {
        revisions.entry(output.uid()).or_default().push(output.envelope().revision.0);
    }
    assert!(revisions.values().all(|seen| *seen == (1..=10).collect::<Vec<_>>()), "{revisions:?}");
    assert!(world.metric("prescreen_stage_dead_letters_total", &[]) == 0.0);
}

#[test]
fn two_runs_of_a_group_share_the_partitions_and_lose_nothing() {
    let world = World::new(4);
    let slow = || {
        Script::new(|input, _| {
            std::thread::sleep(Duration::from_millis(2));
            Ok(accepted(input))
        })
    };
    world.publish_routine(0..100);
    let first = world.start(slow(), |settings| settings.state_dir = settings.state_dir.join("a"));
    world.read(StudyAccepted::TOPIC.name, 10);
    let second = world.start(slow(), |settings| settings.state_dir = settings.state_dir.join("b"));
    until("the group rebalances", || world.metric("prescreen_kafka_rebalances_total", &[]) >= 3.0);
    world.publish_routine(100..200);
    assert!(matches!(first.drain(), Exit::Drained));
    world.publish_routine(200..250);
    until("every study has its output", || {
        let uids: BTreeSet<_> =
            world.read_all(StudyAccepted::TOPIC.name).iter().map(super::world::Got::uid).collect();
        uids.len() == 250
    });
    assert!(matches!(second.drain(), Exit::Drained));
}

#[test]
fn a_remembered_answer_is_emitted_without_doing_the_work_again() {
    let world = World::new(1);
    let asked = Arc::new(AtomicUsize::new(0));
    let script = {
        let asked = asked.clone();
        let mut script = Script::new(move |input, _| {
            asked.fetch_add(1, Ordering::SeqCst);
            Ok(accepted(input))
        });
        script.memo = true;
        script
    };
    world.publish_routine(0..1);
    world.publish_routine(0..1);
    let running = world.start(script.clone(), |_| {});
    let outputs = world.read(StudyAccepted::TOPIC.name, 2);
    assert!(matches!(running.drain(), Exit::Drained));
    assert_eq!(outputs[0].payload, outputs[1].payload);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(world.metric("prescreen_stage_memo_hits_total", &[]), 1.0);

    world.publish_routine(0..1);
    let off = world.start(script, |settings| settings.memo = runtime::Memo::Off);
    world.read(StudyAccepted::TOPIC.name, 3);
    assert!(matches!(off.drain(), Exit::Drained));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
