//! Records per second of the runtime with a stage that does nothing, beside raw librdkafka on the same broker.
//!
//! ```sh
//! cargo run --release -p runtime --example throughput -- [RECORDS] [PARTITIONS] [spans]
//! ```
//! Both read the same records of about 1 KiB and write one for each: raw is consume and produce, nothing else; the
//! runtime decodes, checks, processes, encodes, produces and commits; with `spans` it also tells of each record. The latency is that of single records, one every
//! 20 ms, from produced to readable on the output topic.
#![expect(clippy::print_stdout, reason = "a command that reports to a terminal")]

use std::{
    collections::HashMap,
    error::Error,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use embedded_broker::{Broker, Config};
use jiff::Timestamp;
use prometheus::{IntCounter, Registry};
use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::OwnedHeaders,
    producer::{BaseProducer, BaseRecord, Producer},
};
use runtime::{
    Client, InFlight, LogKey, Metrics, PauseSwitch, Publisher, Run, RunSettings, Shutdown, Solitude,
    StageRun, run_stage, topics, trace::Spans,
};
use schemas::{
    AcquiredInstance, Area, BlobRef, Completion, CompletionRule, Domain, Envelope, InstanceUid, Message,
    Priority, Protocol, ReceivedFrom, Revision, RunId, SeriesUid, StudyAccepted, StudyAcquired, StudyHead,
    StudyUid, Uid, Verdict, encode, event_id,
};
use serde::Deserialize;
use stage::{
    ConfigError, Ctx, Outcome, Services, Stage, StageError,
    testing::{MemoryBlobs, MemoryFrames},
};

struct PassThrough;

#[derive(Deserialize)]
struct NoConfig {}

impl Stage for PassThrough {
    const NAME: &'static str = "pass_through";
    type Config = NoConfig;
    type In = StudyAcquired;
    type Out = StudyAccepted;

    fn build(_: NoConfig, _: &Services) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        input: &StudyAcquired,
        _: &mut Ctx<'_>,
    ) -> Result<Outcome<StudyAccepted>, StageError> {
        let study = input.study.clone();
        Ok(Outcome::Emit(StudyAccepted { study, verdict: Verdict::Accept, instances: Vec::new() }))
    }
}

type Failed = Box<dyn Error>;

fn study(n: usize) -> Result<(StudyAcquired, Envelope), Failed> {
    let instance = |index: usize| -> Result<AcquiredInstance, Failed> {
        Ok(AcquiredInstance {
            series_uid: SeriesUid::new("2.25.1001")?,
            instance_uid: InstanceUid::new(&format!("2.25.{index}"))?,
            sop_class_uid: Uid::new("1.2.840.10008.5.1.4.1.1.3.1")?,
            transfer_syntax_uid: Some(Uid::new("1.2.840.10008.1.2.4.50")?),
            frames: 90,
            blob: BlobRef::of(Area::Raw, b"x"),
            not_analysable: None,
        })
    };
    let message = StudyAcquired {
        study: StudyHead {
            study_uid: StudyUid::new(&format!("2.25.{n}"))?,
            revision: Revision::FIRST,
            priority: Priority::Routine,
            domain: Domain::Echo,
            synthetic: true,
        },
        completion: Completion { rule: CompletionRule::Forced, closed_at: Timestamp::UNIX_EPOCH },
        received_from: ReceivedFrom { protocol: Protocol::Folder, ae_title: None, tls: false },
        instances: (0..2).map(instance).collect::<Result<_, _>>()?,
    };
    let id = event_id(&RunId::live(), "intake", &[message.study.study_uid.as_str()]);
    let envelope = Envelope::of(&message, id, RunId::live(), "intake", Timestamp::UNIX_EPOCH);
    Ok((message, envelope))
}

fn produce(
    producer: &BaseProducer,
    topic: &str,
    key: &[u8],
    headers: OwnedHeaders,
    payload: &[u8],
) -> Result<(), Failed> {
    let mut record = BaseRecord::to(topic).key(key).payload(payload).headers(headers);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                producer.poll(Duration::ZERO);
                record = returned;
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// Consumes `records` from `from` and produces each to `to`.
fn raw(client: &Client, from: &str, to: &str, records: usize) -> Result<Duration, Failed> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &client.bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .create()?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &client.bootstrap)
        .set("group.id", "raw")
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[from])?;
    let mut started = None;
    for _ in 0..records {
        let message = loop {
            if let Some(message) = consumer.poll(Duration::from_millis(100)) {
                break message?;
            }
        };
        started.get_or_insert_with(Instant::now);
        let headers = message.headers().map(rdkafka::message::BorrowedHeaders::detach).unwrap_or_default();
        produce(
            &producer,
            to,
            message.key().unwrap_or_default(),
            headers,
            message.payload().unwrap_or_default(),
        )?;
    }
    producer.flush(Duration::from_mins(1))?;
    Ok(started.map(|at| at.elapsed()).unwrap_or_default())
}

fn ends(consumer: &BaseConsumer, topic: &str, partitions: i32) -> Result<usize, Failed> {
    let mut records = 0;
    for partition in 0..partitions {
        records += consumer.fetch_watermarks(topic, partition, Duration::from_secs(5))?.1 as usize;
    }
    Ok(records)
}

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let records: usize = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let partitions: i32 = arguments.next().map_or(Ok(4), |text| text.parse())?;
    let traced = arguments.next().is_some_and(|word| word == "spans");
    let dir = tempfile::tempdir()?;
    let broker = Broker::start(Config::new(dir.path().join("broker")))?;
    let client = Client::new(broker.bootstrap());
    let names = topics::of::<StudyAcquired>()
        .into_iter()
        .chain(topics::of::<StudyAccepted>())
        .chain(["raw".to_owned()]);
    let cleanup = topics::Cleanup::Delete { retention: None };
    let specs: Vec<_> = names
        .map(|name| topics::TopicSpec { name, partitions: partitions as u32, replication: 1, cleanup })
        .collect();
    topics::ensure(&client, &specs)?;

    let (from, to) = (StudyAcquired::TOPIC.name, StudyAccepted::TOPIC.name);
    let filler: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &client.bootstrap)
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        .create()?;
    let mut bytes = 0;
    for n in 0..records {
        let (message, envelope) = study(n)?;
        let mut headers = OwnedHeaders::new();
        for header in envelope.to_headers() {
            headers =
                headers.insert(rdkafka::message::Header { key: &header.key, value: Some(&header.value) });
        }
        let payload = encode(&message);
        bytes += payload.len();
        produce(&filler, from, message.study.study_uid.as_str().as_bytes(), headers, &payload)?;
    }
    filler.flush(Duration::from_mins(1))?;
    println!("{records} records of {} bytes and headers, {partitions} partitions", bytes / records.max(1));
    let raw = raw(&client, from, "raw", records)?;
    let raw = records as f64 / raw.as_secs_f64();
    println!("raw      {raw:>9.0} records/s");

    let shutdown = Shutdown::new();
    let mut settings = RunSettings::new(dir.path().join("state"));
    settings.workers = 2;
    settings.in_flight = InFlight { records: 4096, bytes: 64 << 20 };
    // Taken at once and forgotten: what is measured is what the work pays.
    let (queue, told) = crossbeam_channel::bounded(2048);
    let dropped = IntCounter::new("dropped", "spans")?;
    let taken = thread::spawn(move || told.iter().count());
    if traced {
        settings.spans = Spans::into_queue(queue, dropped.clone(), LogKey::new(b"bench"));
    } else {
        drop(queue);
    }
    let stage = StageRun::<PassThrough> {
        run: Run {
            client: client.clone(),
            group: "pass_through".to_owned(),
            blobs: Arc::new(MemoryBlobs::default()),
            settings,
            metrics: Metrics::register(&Registry::new())?,
            log_key: LogKey::new(b"bench"),
            shutdown: shutdown.clone(),
            pause: PauseSwitch::default(),
            solitude: Solitude::default(),
        },
        config: Arc::new(|| NoConfig {}),
        services: Services::without_model(),
        frames: Arc::new(MemoryFrames::default()),
    };
    let watcher: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &client.bootstrap)
        .set("group.id", "watcher")
        .create()?;
    let running = thread::spawn(|| run_stage(stage));
    let mut started = None;
    loop {
        let done = ends(&watcher, to, partitions)?;
        if done > 0 {
            started.get_or_insert_with(Instant::now);
        }
        if done >= records {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let ours = records as f64 / started.map(|at| at.elapsed()).unwrap_or_default().as_secs_f64();
    println!("runtime  {ours:>9.0} records/s, {:.0} % of raw", 100.0 * ours / raw);

    watcher.subscribe(&[to])?;
    let publisher = Publisher::connect(&client, Duration::from_secs(10))?;
    let mut sent = HashMap::new();
    let mut hops = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    // The first records wait for the watcher's own assignment.
    while watcher.assignment()?.count() == 0 {
        watcher.poll(Duration::from_millis(10));
    }
    while hops.len() < 500 && Instant::now() < deadline {
        let n = 1_000_000_000 + sent.len();
        let (message, envelope) = study(n)?;
        publisher.publish(&message, &envelope, Priority::Routine)?;
        sent.insert(message.study.study_uid.to_string().into_bytes(), Instant::now());
        let next = Instant::now() + Duration::from_millis(20);
        while let left = next.saturating_duration_since(Instant::now())
            && !left.is_zero()
        {
            let Some(Ok(message)) = watcher.poll(left) else { continue };
            hops.extend(sent.get(message.key().unwrap_or_default()).map(Instant::elapsed));
        }
    }
    hops.sort_unstable();
    let at = |part: f64| hops.get((hops.len() as f64 * part) as usize).copied().unwrap_or_default();
    println!("hop      p50 {:?}, p95 {:?} of {} records", at(0.50), at(0.95), hops.len());
    shutdown.drain();
    let exit = running.join().map_err(|_| "the run panicked")?;
    let taken = taken.join().map_err(|_| "the collector panicked")?;
    println!("{exit}; {taken} spans taken, {} dropped", dropped.get());
    Ok(())
}
