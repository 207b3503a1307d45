//! Sinks: the same loop, records as they are, several topics.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use runtime::{DeadLetters, Exit, Input, Record, Shutdown, Sink, SinkRun, inputs_of, run_sink};
use schemas::{Cause, Message, Priority, StudyAccepted, StudyAcquired};
use stage::StageError;

use crate::world::{Running, World, acquired, uid, until};

/// What was written, by position: writing it again changes nothing, as a sink must see to.
type Rows = Arc<Mutex<BTreeSet<(String, i32, i64)>>>;
type Write = dyn Fn(&Record) -> Result<(), StageError> + Send + Sync;

struct Table {
    write: Arc<Write>,
    rows: Rows,
}

impl Sink for Table {
    fn write(&mut self, records: &[Arc<Record>]) -> Vec<Result<(), StageError>> {
        records
            .iter()
            .map(|record| {
                (self.write)(record)?;
                self.rows.lock().unwrap().insert((record.topic.to_string(), record.partition, record.offset));
                Ok(())
            })
            .collect()
    }
}

struct Store {
    rows: Rows,
    opened: Arc<AtomicUsize>,
    running: Running,
}

fn store(world: &World, write: impl Fn(&Record) -> Result<(), StageError> + Send + Sync + 'static) -> Store {
    let shutdown = Shutdown::new();
    let (rows, opened) = (Rows::default(), Arc::new(AtomicUsize::new(0)));
    let write: Arc<Write> = Arc::new(write);
    let mut inputs = inputs_of::<StudyAcquired>();
    inputs.extend(inputs_of::<StudyAccepted>());
    inputs.push(Input {
        topic: StudyAcquired::TOPIC.dead_letters().into(),
        lane: Priority::Routine,
        dead_letters: DeadLetters::Terminal,
    });
    let open = {
        let (rows, opened) = (rows.clone(), opened.clone());
        move || {
            if opened.fetch_add(1, Ordering::SeqCst) == 0 {
                return Err(StageError::dependency("database is starting"));
            }
            Ok(Table { write: write.clone(), rows: rows.clone() })
        }
    };
    let run = world.run(&shutdown, |_| {});
    let sink = SinkRun { run, name: "store".to_owned(), inputs, open: Box::new(open) };
    Store { rows, opened, running: Running::of(shutdown, || run_sink(sink)) }
}

#[test]
fn a_sink_reads_all_its_topics_and_is_opened_until_it_works() {
    let world = World::new(2);
    world.publish_routine(0..30);
    drop(world.publish(30, Priority::Urgent));
    let (message, envelope) = acquired(31, Priority::Routine);
    let headers = envelope.to_headers().into_iter().collect();
    let accepted = StudyAccepted::TOPIC.name;
    world.publisher.publish_record(accepted, Some(b"31"), &headers, &schemas::encode(&message)).unwrap();
    let store = store(&world, |_| Ok(()));
    until("all rows are there", || store.rows.lock().unwrap().len() == 32);
    assert_eq!(store.opened.load(Ordering::SeqCst), 2);
    assert!(matches!(store.running.drain(), Exit::Drained));
    assert_eq!(
        world.metric("prescreen_stage_processed_total", &[("stage", "store"), ("outcome", "written")]),
        32.0
    );
}

#[test]
fn what_a_sink_cannot_write_is_a_dead_letter_once_and_never_twice() {
    let world = World::new(1);
    world.publish_routine(0..3);
    let store = store(&world, |record| match record.key.as_deref() {
        Some(key) if key == uid(1).as_bytes() => Err(StageError::invalid("row cannot be written")),
        Some(key) if key == uid(2).as_bytes() && &*record.topic == StudyAcquired::TOPIC.name => {
            panic!("a bug")
        }
        _ => Ok(()),
    });
    let letters = world.read(&StudyAcquired::TOPIC.dead_letters(), 2);
    let mut causes: Vec<_> = letters.iter().map(|letter| letter.dead_letter().cause.as_str()).collect();
    causes.sort_unstable();
    assert_eq!(causes, [Cause::Invalid.as_str(), Cause::Panic.as_str()]);
    // It reads its own dead letters: that of study 1 cannot be written there either, and is discarded.
    let discarded = [("stage", "store"), ("outcome", "discarded")];
    until("the dead letter is discarded", || {
        world.metric("prescreen_stage_processed_total", &discarded) == 1.0
    });
    until("the other one is written", || store.rows.lock().unwrap().len() == 2);
    assert!(matches!(store.running.drain(), Exit::Drained));
    assert_eq!(world.read_all(&StudyAcquired::TOPIC.dead_letters()).len(), 2);
}
