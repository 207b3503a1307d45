//! What an operator sees: topics, lag, dead letters.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use runtime::{
    Begin, Exit, Headers, PublishError, Publisher, Tail, TailError,
    lag::{DrainEta, LagReader, Watched},
    topics,
};
use schemas::{Message, Priority, StudyAccepted, StudyAcquired};

use crate::{
    scripted::Script,
    world::{World, acquired},
};

#[test]
fn making_topics_again_changes_nothing() {
    let world = World::new(1);
    let cleanup = topics::Cleanup::Compact;
    let spec =
        |name: &str| topics::TopicSpec { name: name.to_owned(), partitions: 3, replication: 1, cleanup };
    let wanted = [spec("worker.status.v1"), spec(StudyAcquired::TOPIC.name)];
    let first = topics::ensure(&world.client, &wanted).unwrap();
    assert_eq!(first, [topics::Ensured::Created, topics::Ensured::Existed]);
    let second = topics::ensure(&world.client, &wanted).unwrap();
    assert_eq!(second, [topics::Ensured::Existed, topics::Ensured::Existed]);
}

#[test]
fn lag_is_told_in_records_and_in_time() {
    let world = World::new(2);
    let group = "prescreen.scripted".to_owned();
    let watched = Watched { group: group.clone(), topics: topics::of::<StudyAcquired>().to_vec() };
    let mut reader = LagReader::connect(&world.client, vec![watched]).unwrap();
    world.publish_routine(0..10);
    let later = Timestamp::now() + SignedDuration::from_mins(5);
    let lags = reader.observe(later, Instant::now()).unwrap();
    let base = lags.iter().find(|lag| lag.topic == StudyAcquired::TOPIC.name).unwrap();
    assert_eq!((base.records(), base.lost, base.drain_eta), (10, 0, DrainEta::Unknown));
    let age = base.oldest_age.unwrap();
    assert!(age > Duration::from_secs(290) && age < Duration::from_secs(310), "{age:?}");
    let urgent = lags.iter().find(|lag| lag.topic == StudyAcquired::TOPIC.urgent()).unwrap();
    assert_eq!((urgent.records(), urgent.oldest_age, urgent.drain_eta), (0, None, DrainEta::Empty));
    world.metrics.observe_lag(&lags);
    let labels = [("group", group.as_str()), ("topic", StudyAcquired::TOPIC.name)];
    assert_eq!(world.metric("prescreen_kafka_lag_records", &labels), 10.0);

    let running = world.start(Script::accept(), |_| {});
    world.read(StudyAccepted::TOPIC.name, 10);
    assert!(matches!(running.drain(), Exit::Drained));
    let lags = reader.observe(later, Instant::now()).unwrap();
    assert!(lags.iter().all(|lag| lag.records() == 0 && lag.oldest_age.is_none()), "{lags:?}");
    assert_eq!(reader.records(StudyAccepted::TOPIC.name).unwrap(), 10);
}

#[test]
fn a_publisher_says_what_became_of_a_record() {
    let world = World::new(1);
    let (message, envelope) = acquired(1, Priority::Urgent);
    let acknowledged = world.publisher.publish(&message, &envelope, Priority::Urgent).unwrap();
    assert_eq!((acknowledged.partition, acknowledged.offset), (0, 0));
    let headers = envelope.to_headers().into_iter().collect();
    let large = vec![0; 2_000_000];
    let error =
        world.publisher.publish_record(StudyAcquired::TOPIC.name, None, &headers, &large).unwrap_err();
    assert_eq!(
        error,
        PublishError::TooLarge { topic: StudyAcquired::TOPIC.name.to_owned(), bytes: 2_000_000 }
    );
    let hasty = Publisher::connect(&world.client, Duration::from_millis(500)).unwrap();
    world.broker.faults().stop_listening();
    let error = hasty.publish(&message, &envelope, Priority::Urgent).unwrap_err();
    assert!(matches!(error, PublishError::Unavailable { .. }), "{error:?}");
    world.broker.faults().resume();
    let acknowledged = world.publisher.publish(&message, &envelope, Priority::Urgent).unwrap();
    assert_eq!(acknowledged.offset, 1, "what was not acknowledged was not written");
}

#[test]
fn a_topic_is_followed_from_its_start_from_before_its_end_and_from_its_end() {
    let world = World::new(1);
    let topic = StudyAcquired::TOPIC.name;
    world.publish_routine(0..10);
    let offsets = |begin, wait| {
        let mut tail = Tail::begin(&world.client, topic, begin).unwrap();
        let mut offsets = Vec::new();
        while !tail.caught_up() {
            offsets.extend(tail.next(wait).unwrap().map(|record| record.offset));
        }
        offsets
    };
    let long = Duration::from_secs(10);
    assert_eq!(offsets(Begin::Start, long), (0..10).collect::<Vec<_>>());
    assert_eq!(offsets(Begin::Before(3), long), [7, 8, 9]);
    assert_eq!(offsets(Begin::Before(300), long).len(), 10);

    let mut tail = Tail::begin(&world.client, topic, Begin::End).unwrap();
    assert!(tail.caught_up() && tail.next(Duration::ZERO).unwrap().is_none());
    world.publisher.publish_record(topic, Some(b"key"), &Headers::default(), b"value").unwrap();
    let record = tail.next(long).unwrap().expect("the next record");
    assert_eq!(
        (record.offset, record.key.as_deref(), record.payload.as_slice()),
        (10, Some(&b"key"[..]), &b"value"[..])
    );

    // The broker goes and comes again: following goes on where it was.
    world.broker.faults().stop_listening();
    assert!(tail.next(Duration::from_millis(300)).unwrap().is_none());
    world.broker.faults().resume();
    world.publisher.publish_record(topic, None, &Headers::default(), b"later").unwrap();
    assert_eq!(tail.next(long).unwrap().expect("the next record").offset, 11);
    let missing = Tail::begin(&world.client, "no.such.topic", Begin::Start);
    assert!(matches!(missing, Err(TailError::NoTopic { .. })), "a topic is not made by asking for it");
}
