//! Poison ends on the dead-letter topic with its cause, and the partition goes on.

use std::time::Duration;

use runtime::{Exit, Headers};
use schemas::{
    Area, BlobRef, Cause, Class, DeadLetterPayload, Message, Priority, StudyAccepted, StudyAcquired, encode,
};
use stage::{Blobs, StageError};

use crate::{
    scripted::{Script, accepted},
    world::{Got, World, acquired, uid},
};

const TOPIC: &str = StudyAcquired::TOPIC.name;

fn dead(world: &World, n: usize) -> Vec<Got> {
    world.read(&StudyAcquired::TOPIC.dead_letters(), n)
}

fn headers(n: u32, change: impl FnOnce(&mut schemas::Envelope)) -> Headers {
    let (_, mut envelope) = acquired(n, Priority::Routine);
    change(&mut envelope);
    envelope.to_headers().into_iter().collect()
}

#[test]
fn every_kind_of_unreadable_record_has_its_cause_and_is_kept_as_it_was() {
    let world = World::new(1);
    let publish = |headers: &Headers, payload: &[u8]| {
        world.publisher.publish_record(TOPIC, Some(b"key"), headers, payload).unwrap();
    };
    let good = encode(&acquired(1, Priority::Routine).0);
    let unknown_field =
        String::from_utf8(good.clone()).unwrap().replacen('{', r#"{"patient_name":"Doe^Jane","#, 1);
    publish(&headers(1, |_| ()), b"\x00\xff\xfe random bytes \x01");
    publish(&headers(1, |_| ()), unknown_field.as_bytes());
    publish(&Headers::default(), &good);
    publish(&headers(1, |envelope| envelope.event_type = "study.accepted.v1".to_owned()), &good);
    publish(&headers(2, |_| ()), &good);
    publish(&headers(1, |envelope| envelope.major = 2), &good);
    publish(&headers(1, |_| ()), b"");
    publish(&headers(1, |_| ()), "[".repeat(100_000).as_bytes());
    world.publish_routine(9..10);

    let running = world.start(Script::accept(), |_| {});
    assert_eq!(world.read(StudyAccepted::TOPIC.name, 1)[0].uid(), uid(9), "the partition goes on");
    let letters = dead(&world, 8);
    assert!(matches!(running.drain(), Exit::Drained));
    let causes: Vec<&str> = letters.iter().map(|letter| letter.dead_letter().cause.as_str()).collect();
    assert_eq!(
        causes,
        [
            "undecodable",
            "undecodable",
            "envelope",
            "envelope",
            "envelope",
            "schema_newer",
            "undecodable",
            "undecodable"
        ]
    );
    assert_eq!(letters[0].payload, b"\x00\xff\xfe random bytes \x01");
    for (offset, letter) in letters.iter().enumerate() {
        let says = letter.dead_letter();
        assert_eq!((says.topic.as_str(), says.partition, says.offset), (TOPIC, 0, offset as i64));
        assert_eq!((letter.key.as_slice(), says.stage.as_str()), (&b"key"[..], "scripted"));
        assert!(!says.detail.contains("Doe") && !says.detail.contains("random"), "{}", says.detail);
    }
    assert_eq!(letters[0].envelope().class, Class::Clinical, "the original headers are kept");
    let causes = [("cause", "undecodable"), ("stage", "scripted")];
    assert_eq!(world.metric("prescreen_stage_dead_letters_total", &causes), 4.0);
}

#[test]
fn what_a_stage_cannot_work_with_names_missing_and_damaged_objects() {
    let world = World::new(1);
    let damaged = world.blobs.put(Area::Raw, b"as received").unwrap();
    world.blobs.corrupt(&damaged, b"rotten".to_vec());
    let script = Script::new(move |input, ctx| {
        let uid = input.study().study_uid.to_string();
        if uid == super::world::uid(0) {
            ctx.blobs().get(&BlobRef::of(Area::Raw, b"never stored"))?;
        }
        if uid == super::world::uid(1) {
            ctx.blobs().get(&damaged)?;
        }
        if uid == super::world::uid(2) {
            return Err(StageError::invalid("no clip in this study"));
        }
        Ok(accepted(input))
    });
    world.publish_routine(0..4);
    let running = world.start(script, |_| {});
    let causes: Vec<_> = dead(&world, 3).iter().map(|letter| letter.dead_letter().cause).collect();
    assert_eq!(causes, [Cause::ObjectMissing, Cause::ObjectMismatch, Cause::Invalid]);
    assert_eq!(world.read(StudyAccepted::TOPIC.name, 1)[0].uid(), uid(3));
    assert!(matches!(running.drain(), Exit::Drained));
}

#[test]
fn a_record_of_the_largest_size_is_quarantined() {
    let world = World::new(1);
    let payload = vec![b'x'; 900_000];
    world.publisher.publish_record(TOPIC, Some(b"key"), &headers(1, |_| ()), &payload).unwrap();
    world.publish_routine(2..3);
    let running = world.start(Script::accept(), |_| {});
    let letter = dead(&world, 1).remove(0);
    assert_eq!(letter.dead_letter().payload, DeadLetterPayload::Quarantined);
    let reference: BlobRef = serde_json::from_slice(&letter.payload).unwrap();
    assert_eq!(world.blobs.get(&reference).unwrap(), payload);
    world.read(StudyAccepted::TOPIC.name, 1);
    assert!(matches!(running.drain(), Exit::Drained));
}

#[test]
fn a_header_that_is_not_utf8_harms_nobody() {
    let world = World::new(1);
    let mut headers = headers(1, |_| ());
    headers.push("binary", b"\xff\xfe");
    let good = encode(&acquired(1, Priority::Routine).0);
    world.publisher.publish_record(TOPIC, None, &headers, &good).unwrap();
    let running = world.start(Script::accept(), |_| {});
    assert_eq!(
        world.read(StudyAccepted::TOPIC.name, 1)[0].uid(),
        uid(1),
        "a record without key is processed, too"
    );
    assert!(matches!(running.drain(), Exit::Drained));
}

#[test]
fn a_panic_is_one_records_death_alone_and_in_a_batch() {
    for batch in [1, 8] {
        let world = World::new(1);
        let script = Script::new(|input, _| {
            assert_ne!(input.study().study_uid.as_str(), uid(3), "a bug");
            Ok(accepted(input))
        });
        world.publish_routine(0..8);
        let running = world.start(script.batch(batch, Duration::from_millis(100)), |_| {});
        let letter = dead(&world, 1).remove(0).dead_letter();
        assert_eq!((letter.cause, letter.offset), (Cause::Panic, 3));
        assert_eq!(world.read(StudyAccepted::TOPIC.name, 7).len(), 7);
        assert!(matches!(running.drain(), Exit::Drained));
        assert!(world.metric("prescreen_stage_errors_total", &[("kind", "panic")]) >= 1.0);
    }
}

#[test]
fn a_bad_deploy_stops_before_it_drains_the_topic_into_its_dead_letters() {
    let world = World::new(1);
    world.publish_routine(0..100);
    let broken = || Script::new(|_, _| Err(StageError::invalid("nothing works today")));
    let running = world.start(broken(), |settings| settings.dead_letters.min_records = 30);
    match running.ended() {
        Exit::DeadLetterLimit { stage, dead, records } => {
            assert_eq!((stage.as_str(), dead), ("scripted", records));
        }
        exit => panic!("{exit:?}"),
    }
    assert!(world.read_all(&StudyAcquired::TOPIC.dead_letters()).len() < 40);
    let fixed = world.start(Script::accept(), |_| {});
    let left = 100 - world.read_all(&StudyAcquired::TOPIC.dead_letters()).len();
    world.read(StudyAccepted::TOPIC.name, left);
    assert!(matches!(fixed.drain(), Exit::Drained));
}

#[test]
fn an_output_too_large_for_the_broker_is_a_dead_letter() {
    let world = World::new(1);
    let script = Script::new(|input, _| {
        let mut outcome = accepted(input);
        if let (stage::Outcome::Emit(message), true) =
            (&mut outcome, input.study().study_uid.as_str() == super::world::uid(0))
        {
            message.instances = vec![super::world::gated(input); 9000];
        }
        Ok(outcome)
    });
    world.publish_routine(0..2);
    let running = world.start(script, |_| {});
    assert_eq!(dead(&world, 1)[0].dead_letter().cause, Cause::Invalid);
    assert_eq!(world.read(StudyAccepted::TOPIC.name, 1)[0].uid(), uid(1));
    assert!(matches!(running.drain(), Exit::Drained));
}
