//! A fixed range of a topic, read without a group.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use runtime::{
    Answer, Given, OfflineParts, OfflineStage, Record, RetryPolicy, Trouble,
    bounded::{Bound, BoundedError, BoundedReader, LostRecords, PartitionRange, TopicRange},
    lag::{LagReader, Watched},
};
use schemas::{Cause, Message, Priority, StudyAccepted, StudyAcquired, decode};
use stage::{
    Services, StageError,
    testing::{MemoryBlobs, MemoryFrames},
};

use crate::{
    scripted::{Script, Scripted, accepted, rejected},
    world::{World, uid},
};

const TOPIC: &str = StudyAcquired::TOPIC.name;

fn read(reader: &BoundedReader, range: &TopicRange) -> Vec<Record> {
    let mut records = Vec::new();
    reader
        .read(range, |record| {
            records.push(record);
            Ok::<_, BoundedError>(())
        })
        .unwrap();
    records
}

fn places(records: &[Record]) -> Vec<(i32, i64)> {
    records.iter().map(|record| (record.partition, record.offset)).collect()
}

fn all_places(range: &TopicRange) -> Vec<(i32, i64)> {
    range.partitions.iter().flat_map(|p| (p.start..p.end).map(|offset| (p.partition, offset))).collect()
}

fn offsets(of: &[(i32, i64)]) -> Bound {
    Bound::Offsets(of.iter().map(|(partition, offset)| ((Priority::Routine, *partition), *offset)).collect())
}

/// Deletes the records of a partition before `offset`, as retention does.
fn delete_before(world: &World, partition: i32, offset: i64) {
    let config = ClientConfig::new().set("bootstrap.servers", &world.client.bootstrap).clone();
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, partition, Offset::Offset(offset)).unwrap();
    let options = AdminOptions::new();
    let mut deletion = pin!(admin.delete_records(&list, &options));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Poll::Ready(done) = deletion.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            done.unwrap();
            return;
        }
        assert!(Instant::now() < deadline, "records are deleted");
        std::thread::yield_now();
    }
}

#[test]
fn a_range_is_read_whole_again_and_again_whatever_comes_later() {
    let world = World::new(2);
    world.publish_routine(0..20);
    world.publish(100, Priority::Urgent);
    let reader = BoundedReader::connect(&world.client).unwrap();
    let resolve = |topic: &str, lane| reader.resolve(topic, lane, &Bound::Earliest, &Bound::Latest).unwrap();
    let (range, lost) = resolve(TOPIC, Priority::Routine);
    assert!(lost.is_empty(), "{lost:?}");
    world.publish_routine(20..30);

    let started = Instant::now();
    let records = read(&reader, &range);
    assert_eq!(records.len(), 20, "what came later is not in the range");
    assert_eq!(places(&records), all_places(&range), "in the order of (partition, offset)");
    let again = read(&reader, &range);
    assert!(again == records, "the same range is the same records");
    assert!(started.elapsed() < Duration::from_secs(10), "nothing is waited for: {:?}", started.elapsed());
    let (urgent, _) = resolve(&StudyAcquired::TOPIC.urgent(), Priority::Urgent);
    assert_eq!(read(&reader, &urgent)[0].key.as_deref(), Some(uid(100).as_bytes()));

    let one = &records[7];
    assert_eq!(reader.record(TOPIC, one.partition, one.offset).unwrap().as_ref(), Some(one));
    assert_eq!(reader.record(TOPIC, 0, 10_000).unwrap(), None);

    // Nobody's group knows that anything was read.
    let watched = Watched { group: "prescreen-reader".to_owned(), topics: vec![TOPIC.to_owned()] };
    let lags =
        LagReader::connect(&world.client, vec![watched]).unwrap().observe(Timestamp::now(), started).unwrap();
    assert_eq!(lags[0].records(), 30, "no offset was committed");
}

#[test]
fn times_become_the_first_offset_that_is_not_older() {
    let world = World::new(1);
    world.publish_routine(0..5);
    let reader = BoundedReader::connect(&world.client).unwrap();
    let range = |from: &Bound, to: &Bound| reader.resolve(TOPIC, Priority::Routine, from, to).unwrap();
    let all = read(&reader, &range(&Bound::Earliest, &Bound::Latest).0);
    let third = all[2].timestamp;
    let older = all.iter().filter(|record| record.timestamp < third).count() as i64;

    let (from_third, lost) = range(&Bound::Time(third), &Bound::Latest);
    assert_eq!(from_third.partitions, [PartitionRange { partition: 0, start: older, end: 5 }]);
    assert!(lost.is_empty());
    // A moment after a record's millisecond is not that record's time.
    let after = third.checked_add(SignedDuration::from_micros(1)).unwrap();
    let (from_after, _) = range(&Bound::Time(after), &Bound::Latest);
    let not_younger = all.iter().filter(|record| record.timestamp <= third).count() as i64;
    assert_eq!(from_after.partitions[0].start, not_younger);
    let (to_third, _) = range(&Bound::Earliest, &Bound::Time(third));
    assert_eq!(to_third.partitions, [PartitionRange { partition: 0, start: 0, end: older }]);
    let future = Timestamp::now() + SignedDuration::from_hours(1);
    assert_eq!(
        range(&Bound::Time(future), &Bound::Latest).0.partitions[0],
        PartitionRange { partition: 0, start: 5, end: 5 }
    );
    let whole = range(&Bound::Time(Timestamp::UNIX_EPOCH), &Bound::Time(future));
    assert_eq!((places(&read(&reader, &whole.0)).len(), whole.1.len()), (5, 0), "nothing was ever deleted");
}

#[test]
fn named_offsets_are_taken_as_they_are_or_refused_by_name() {
    let world = World::new(2);
    world.publish_routine(0..20);
    let reader = BoundedReader::connect(&world.client).unwrap();
    let resolve = |from: &Bound, to: &Bound| reader.resolve(TOPIC, Priority::Routine, from, to);
    let (range, _) = resolve(&offsets(&[(0, 2), (1, 1)]), &offsets(&[(0, 4), (1, 1)])).unwrap();
    let expected =
        [(0, 2, 4), (1, 1, 1)].map(|(partition, start, end)| PartitionRange { partition, start, end });
    assert_eq!(range.partitions, expected);
    assert_eq!(places(&read(&reader, &range)), [(0, 2), (0, 3)]);
    let (only_one, _) = resolve(&offsets(&[(1, 0)]), &Bound::Latest).unwrap();
    assert_eq!(only_one.partitions.iter().map(|p| p.partition).collect::<Vec<_>>(), [1]);

    let refused = |from: Bound, to: Bound| resolve(&from, &to).unwrap_err().to_string();
    assert!(refused(offsets(&[(7, 0)]), Bound::Latest).contains("no partition 7; it has 2"));
    assert!(refused(offsets(&[(0, 500)]), Bound::Latest).contains("500 lies behind it"));
    assert!(refused(offsets(&[(0, 3)]), offsets(&[(0, 1)])).contains("from offset 3 to 1"));
    let missing = reader.resolve("no.such.topic", Priority::Routine, &Bound::Earliest, &Bound::Latest);
    assert!(matches!(missing, Err(BoundedError::NoTopic { .. })), "{missing:?}");
}

#[test]
fn what_retention_has_deleted_is_named_and_the_rest_is_read() {
    let world = World::new(1);
    world.publish_routine(0..10);
    let reader = BoundedReader::connect(&world.client).unwrap();
    let resolve = |from: &Bound, to: &Bound| reader.resolve(TOPIC, Priority::Routine, from, to).unwrap();
    let (before, _) = resolve(&Bound::Earliest, &Bound::Latest);
    let fifth = read(&reader, &before)[4].timestamp;
    delete_before(&world, 0, 4);

    let lost = |from, to| vec![LostRecords { topic: TOPIC.to_owned(), partition: 0, from, to }];
    let (range, gone) = resolve(&offsets(&[(0, 1)]), &offsets(&[(0, 6)]));
    assert_eq!(
        (range.partitions[0], gone),
        (PartitionRange { partition: 0, start: 4, end: 6 }, lost(Some(1), 4))
    );
    let (range, gone) = resolve(&offsets(&[(0, 1)]), &offsets(&[(0, 3)]));
    assert_eq!((range.partitions[0].start, range.partitions[0].end, gone), (4, 4, lost(Some(1), 3)));
    let (_, gone) = resolve(&Bound::Time(Timestamp::UNIX_EPOCH), &Bound::Latest);
    assert_eq!(gone, lost(None, 4), "a time that lies before the first record left");
    let (_, gone) = resolve(&Bound::Time(fifth), &Bound::Latest);
    assert_eq!(gone, [], "the first record left is of that time");
    assert_eq!(resolve(&Bound::Earliest, &Bound::Latest).1, [], "earliest is what there is");

    // A range that was resolved before gives what is left of it, and ends.
    assert_eq!(places(&read(&reader, &before)), (4..10).map(|offset| (0, offset)).collect::<Vec<_>>());
    assert_eq!(reader.record(TOPIC, 0, 2).unwrap(), None);
    delete_before(&world, 0, 10);
    assert_eq!(read(&reader, &before), []);
    assert_eq!(resolve(&Bound::Time(fifth), &Bound::Latest).1, lost(None, 10), "nothing at all is left");
}

fn offline(script: Script) -> OfflineStage<Scripted> {
    OfflineStage::build(OfflineParts {
        config: script.config(),
        services: Services::without_model(),
        blobs: Arc::new(MemoryBlobs::default()),
        frames: Arc::new(MemoryFrames::default()),
        retry: RetryPolicy {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(2),
            record_budget: 3,
        },
    })
    .unwrap()
}

#[test]
fn a_stage_run_by_hand_answers_as_one_over_kafka() {
    let world = World::new(1);
    let message = world.publish(1, Priority::Routine);
    let reader = BoundedReader::connect(&world.client).unwrap();
    let mut record = reader.record(TOPIC, 0, 0).unwrap().unwrap();
    let answer = offline(Script::accept()).answer(Given::Record(&record)).unwrap();
    let Answer::Emitted(emitted) = answer else { panic!("{answer:?}") };
    let emitted: StudyAccepted = decode(&emitted, 1, 0).unwrap();
    assert_eq!(emitted.study, message.study);
    let rejecting = offline(Script::new(|_, _| Ok(rejected()))).answer(Given::Record(&record)).unwrap();
    assert!(matches!(rejecting, Answer::Rejected(rejection) if rejection.reasons[0].code.as_str() == "BLUR"));
    let payload = schemas::encode(&message);
    let given = Given::Message { payload: &payload, time: Timestamp::UNIX_EPOCH };
    assert!(matches!(offline(Script::accept()).answer(given).unwrap(), Answer::Emitted(_)));
    record.payload = b"{}".to_vec();
    let broken = offline(Script::accept()).answer(Given::Record(&record)).unwrap();
    assert!(matches!(broken, Answer::Dead { cause: Cause::Undecodable, .. }), "{broken:?}");
}

#[test]
fn panics_and_failures_of_a_stage_run_by_hand_have_an_end() {
    let world = World::new(1);
    world.publish(1, Priority::Routine);
    let record = BoundedReader::connect(&world.client).unwrap().record(TOPIC, 0, 0).unwrap().unwrap();
    let counted = |fail: fn(u32) -> Result<(), StageError>| {
        let calls = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&calls);
        let script = Script::new(move |input, _| {
            fail(count.fetch_add(1, Ordering::Relaxed) + 1)?;
            Ok(accepted(input))
        });
        let mut stage = offline(script);
        let answer = stage.answer(Given::Record(&record));
        (answer, calls.load(Ordering::Relaxed))
    };
    let cause = |answer: Result<Answer, Trouble>| match answer {
        Ok(Answer::Dead { cause, .. }) => cause,
        other => panic!("{other:?}"),
    };
    let (answer, calls) = counted(|_| panic!("as planned"));
    assert_eq!((cause(answer), calls), (Cause::Panic, 2));
    let (answer, calls) = counted(|call| if call == 1 { panic!("once") } else { Ok(()) });
    assert!(matches!((answer, calls), (Ok(Answer::Emitted(_)), 2)));
    let (answer, calls) = counted(|_| Err(StageError::record("again")));
    assert_eq!((cause(answer), calls), (Cause::RetriesExhausted, 3));
    let (answer, calls) = counted(|call| if call < 3 { Err(StageError::record("again")) } else { Ok(()) });
    assert!(matches!((answer, calls), (Ok(Answer::Emitted(_)), 3)));
    let (answer, calls) = counted(|_| Err(StageError::invalid("never")));
    assert_eq!((cause(answer), calls), (Cause::Invalid, 1));
    let (answer, calls) = counted(|_| Err(StageError::dependency("down")));
    assert!(matches!((answer, calls), (Err(Trouble::Dependency { stage: "scripted", .. }), 1)));
    let (answer, calls) = counted(|_| Err(StageError::Fatal("broken".into())));
    assert!(matches!((answer, calls), (Err(Trouble::Fatal { .. }), 1)));
}
