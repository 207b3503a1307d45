//! A broker, blobs and metrics for one test, and the eyes to see what a run did.

use std::{
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use embedded_broker::{Broker, Config};
use jiff::Timestamp;
use prometheus::Registry;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers as _,
    types::RDKafkaErrorCode,
};
use runtime::{
    Client, Exit, Headers, LogKey, Metrics, PauseSwitch, Publisher, Run, RunSettings, Shutdown, Solitude,
    StageRun, run_stage, topics,
};
use schemas::{
    Completion, CompletionRule, DeadLetter, Domain, Envelope, Message, Priority, Protocol, ReceivedFrom,
    Revision, RunId, StudyAccepted, StudyAcquired, StudyHead, StudyRejected, StudyUid, event_id,
};
use stage::{
    Services,
    testing::{MemoryBlobs, MemoryFrames},
};
use tempfile::TempDir;

use crate::scripted::{Script, Scripted};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `what` holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A record as the test reads it.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) key: Vec<u8>,
    pub(crate) headers: Headers,
    pub(crate) payload: Vec<u8>,
}

impl Got {
    pub(crate) fn uid(&self) -> String {
        String::from_utf8(self.key.clone()).unwrap()
    }

    pub(crate) fn envelope(&self) -> Envelope {
        Envelope::from_headers(self.headers.iter()).unwrap()
    }

    pub(crate) fn dead_letter(&self) -> DeadLetter {
        DeadLetter::from_headers(self.headers.iter()).unwrap()
    }
}

pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) client: Client,
    pub(crate) publisher: Publisher,
    pub(crate) blobs: Arc<MemoryBlobs>,
    pub(crate) registry: Registry,
    pub(crate) metrics: Metrics,
    pub(crate) solitude: Solitude,
    dir: TempDir,
}

/// A stage at work on a thread of its own.
pub(crate) struct Running {
    pub(crate) shutdown: Shutdown,
    thread: JoinHandle<Exit>,
}

impl Running {
    pub(crate) fn of(shutdown: Shutdown, run: impl FnOnce() -> Exit + Send + 'static) -> Self {
        Self { shutdown, thread: thread::spawn(run) }
    }

    /// Waits for the end, whoever asked for it.
    pub(crate) fn ended(self) -> Exit {
        until("the run ends", || self.thread.is_finished());
        self.thread.join().unwrap()
    }

    pub(crate) fn drain(self) -> Exit {
        self.shutdown.drain();
        self.ended()
    }

    pub(crate) fn abort(self) -> Exit {
        self.shutdown.abort();
        self.ended()
    }
}

impl World {
    pub(crate) fn new(partitions: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().join("broker"));
        config.session_timeouts = Duration::from_secs(1)..=Duration::from_mins(30);
        let broker = Broker::start(config).unwrap();
        let client = Client::new(broker.bootstrap());
        let names =
            [topics::of::<StudyAcquired>(), topics::of::<StudyAccepted>(), topics::of::<StudyRejected>()];
        let specs: Vec<_> = names
            .into_iter()
            .flatten()
            .map(|name| topics::TopicSpec {
                name,
                partitions,
                replication: 1,
                cleanup: topics::Cleanup::Delete { retention: Some(Duration::from_hours(1)) },
            })
            .collect();
        topics::ensure(&client, &specs).unwrap();
        let publisher = Publisher::connect(&client, Duration::from_secs(10)).unwrap();
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let blobs = Arc::new(MemoryBlobs::default());
        Self { broker, client, publisher, blobs, registry, metrics, solitude: Solitude::default(), dir }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn publish(&self, n: u32, lane: Priority) -> StudyAcquired {
        let (message, envelope) = acquired(n, lane);
        self.publisher.publish(&message, &envelope, lane).unwrap();
        message
    }

    pub(crate) fn publish_routine(&self, numbers: std::ops::Range<u32>) {
        numbers.for_each(|n| drop(self.publish(n, Priority::Routine)));
    }

    pub(crate) fn run(&self, shutdown: &Shutdown, tune: impl FnOnce(&mut RunSettings)) -> Run {
        let mut settings = RunSettings::new(self.state_dir());
        settings.retry.first = Duration::from_millis(10);
        tune(&mut settings);
        Run {
            client: self.client.clone(),
            group: "prescreen.scripted".to_owned(),
            blobs: self.blobs.clone(),
            settings,
            metrics: self.metrics.clone(),
            log_key: LogKey::new(b"test"),
            shutdown: shutdown.clone(),
            pause: PauseSwitch::default(),
            solitude: self.solitude.clone(),
        }
    }

    pub(crate) fn start(&self, script: Script, tune: impl FnOnce(&mut RunSettings)) -> Running {
        let shutdown = Shutdown::new();
        let stage = StageRun::<Scripted> {
            run: self.run(&shutdown, tune),
            config: script.config(),
            services: Services::without_model(),
            frames: Arc::new(MemoryFrames::default()),
        };
        Running::of(shutdown, || run_stage(stage))
    }

    /// Reads `topic` from its start until `n` records are there.
    pub(crate) fn read(&self, topic: &str, n: usize) -> Vec<Got> {
        let records = read(&self.client, topic, Some(n));
        assert!(records.len() >= n, "{topic} has {} records instead of {n}", records.len());
        records
    }

    /// Everything on `topic` now.
    pub(crate) fn read_all(&self, topic: &str) -> Vec<Got> {
        read(&self.client, topic, None)
    }

    /// The value of a counter or gauge, summed over the label values not named.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map(|family| family.get_metric().to_vec()).unwrap_or_default();
        metrics
            .iter()
            .filter(|metric| {
                labels.iter().all(|(name, value)| {
                    metric.get_label().iter().any(|label| label.name() == *name && label.value() == *value)
                })
            })
            .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
            .sum()
    }
}

pub(crate) fn read(client: &Client, topic: &str, n: Option<usize>) -> Vec<Got> {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &client.bootstrap)
        .set("group.id", "test-reader")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let metadata = reader.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let mut list = TopicPartitionList::new();
    let mut there = 0;
    for partition in metadata.topics()[0].partitions() {
        list.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        let (low, high) = reader.fetch_watermarks(topic, partition.id(), PATIENCE).unwrap();
        there += usize::try_from(high - low).unwrap();
    }
    let n = n.unwrap_or(there);
    reader.assign(&list).unwrap();
    let mut records = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while records.len() < n && Instant::now() < deadline {
        let Some(message) = reader.poll(Duration::from_millis(20)) else { continue };
        let message = match message {
            Ok(message) => message,
            // A broker that has just come back may refuse the first connection; what counts is what is read by the deadline.
            Err(error) if error.rdkafka_error_code().is_some_and(is_transport) => continue,
            Err(error) => panic!("{topic} cannot be read: {error}"),
        };
        let mut headers = Headers::default();
        for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
            headers.push(header.key, header.value.unwrap_or_default());
        }
        records.push(Got {
            key: message.key().unwrap_or_default().to_vec(),
            headers,
            payload: message.payload().unwrap_or_default().to_vec(),
        });
    }
    records
}

pub(crate) fn uid(n: u32) -> String {
    format!("2.25.{}", 1000 + n)
}

/// The `n`-th study: revision 1, no instances.
pub(crate) fn acquired(n: u32, lane: Priority) -> (StudyAcquired, Envelope) {
    acquired_revision(n, 1, lane)
}

pub(crate) fn acquired_revision(n: u32, revision: u32, lane: Priority) -> (StudyAcquired, Envelope) {
    let message = StudyAcquired {
        study: StudyHead {
            study_uid: StudyUid::new(&uid(n)).unwrap(),
            revision: Revision(revision),
            priority: lane,
            domain: Domain::Echo,
            synthetic: true,
        },
        completion: Completion { rule: CompletionRule::Forced, closed_at: Timestamp::UNIX_EPOCH },
        received_from: ReceivedFrom { protocol: Protocol::Folder, ae_title: None, tls: false },
        instances: Vec::new(),
    };
    let id = event_id(&RunId::live(), "intake", &[message.study().study_uid.as_str(), &revision.to_string()]);
    let envelope = Envelope::of(&message, id, RunId::live(), "intake", Timestamp::now());
    (message, envelope)
}

/// A gated instance, to make an output long.
pub(crate) fn gated(input: &StudyAcquired) -> schemas::GatedInstance {
    schemas::GatedInstance {
        series_uid: schemas::SeriesUid::new(input.study().study_uid.as_str()).unwrap(),
        instance_uid: schemas::InstanceUid::new(input.study().study_uid.as_str()).unwrap(),
        blob: schemas::BlobRef::of(schemas::Area::Raw, b""),
        frames: 1,
        applicable: false,
        verdict: schemas::Verdict::Reject,
        code: None,
        view: None,
        timing: None,
        checks: Vec::new(),
    }
}

fn is_transport(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::OperationTimedOut
    )
}
