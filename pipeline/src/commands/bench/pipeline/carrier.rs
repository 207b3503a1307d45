//! What carries records from topic to topic: the plain loop, a stage under the runtime, or a chain of stages.
//!
//! All read the same records and write them with the same guarantee (idempotent, acknowledged by all replicas). The
//! plain loop has no more to it: one thread, the same bytes out, one commit at its end. Beyond librdkafka's defaults it
//! has the two settings of the runtime that are about waiting, so that what differs is work.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use prometheus::Registry;
use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedHeaders, BorrowedMessage, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use runtime::{
    Exit, InFlight, LogKey, Metrics, PauseSwitch, Phase, Run, RunSettings, Shutdown, Solitude, StageRun,
    run_stage,
};
use stage::{
    Services,
    testing::{MemoryBlobs, MemoryFrames},
};

use crate::{config::Runtime, exit::Failure};

use super::{
    place::Place,
    relay::{Accepted, Acquired, Extracted, FirstInput, Inferred, OnBench, Relay, RelayConfig, Report},
};

/// How long the loop waits for a record before it looks whether it should end.
const POLL: Duration = Duration::from_millis(50);
/// As the runtime's producer: how long a record waits for company.
const LINGER_MS: &str = "2";
/// As the runtime's consumer: how long it fetches nothing after it has enough.
const FETCH_BACKOFF_MS: &str = "5";
/// How long the last records may take to be acknowledged.
const FLUSH: Duration = Duration::from_mins(1);
/// The key of `runtime.workers` that sets the relays' threads.
const WORKERS: &str = "bench";

/// Who carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// A consumer and a producer in a loop: [`Acquired`] to [`Accepted`].
    Raw,
    /// One pass-through stage: [`Acquired`] to [`Accepted`].
    Runtime,
    /// Four pass-through stages: [`Acquired`] to [`Report`].
    Chain,
}

/// Starts carriers.
pub(super) struct Carriers<'a> {
    /// Where they carry.
    pub(super) place: &'a Place,
    options: &'a Runtime,
}

/// Carriers at work.
pub(super) struct Carrying {
    /// Set when the first record reaches the first of them.
    pub(super) first_input: FirstInput,
    shutdown: Shutdown,
    threads: Vec<JoinHandle<Result<(), Failure>>>,
}

impl Carrying {
    /// Whether one of them has ended by itself; then waiting for records is in vain.
    pub(super) fn has_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }
}

impl<'a> Carriers<'a> {
    /// Carriers at `place`; stages behave as `options` say.
    pub(super) fn new(place: &'a Place, options: &'a Runtime) -> Self {
        Self { place, options }
    }

    /// Threads of each stage: `runtime.workers.bench`, or one.
    pub(super) fn workers(&self) -> usize {
        self.options.workers.get(WORKERS).copied().unwrap_or(1)
    }

    /// Has `carrier` carry from `start` on while `body` looks at it. Its own failure goes before the body's.
    pub(super) fn carry<T>(
        &self,
        carrier: Carrier,
        start: &[i64],
        body: impl FnOnce(&Carrying) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut carrying =
            Carrying { first_input: FirstInput::default(), shutdown: Shutdown::new(), threads: Vec::new() };
        let result = self.start(carrier, start, &mut carrying).and_then(|()| body(&carrying));
        carrying.shutdown.drain();
        for thread in carrying.threads {
            thread.join().map_err(|_| Failure::from("a carrier panicked".to_owned()))??;
        }
        result
    }

    fn start(&self, carrier: Carrier, start: &[i64], carrying: &mut Carrying) -> Result<(), Failure> {
        match carrier {
            Carrier::Raw => self.raw(start, carrying),
            Carrier::Runtime => self.stage::<Acquired, Accepted>(start, carrying),
            Carrier::Chain => {
                self.stage::<Acquired, Accepted>(start, carrying)?;
                self.stage::<Accepted, Extracted>(&self.place.ends(Accepted::NAME)?, carrying)?;
                self.stage::<Extracted, Inferred>(&self.place.ends(Extracted::NAME)?, carrying)?;
                self.stage::<Inferred, Report>(&self.place.ends(Inferred::NAME)?, carrying)
            }
        }
    }

    fn raw(&self, start: &[i64], carrying: &mut Carrying) -> Result<(), Failure> {
        let group = self.place.group("raw", Acquired::NAME, start)?;
        let (config, clock, shutdown) =
            (self.place.librdkafka(), carrying.first_input.clone(), carrying.shutdown.clone());
        let body = move || raw_loop(&config, &group, &clock, &shutdown);
        carrying.threads.push(std::thread::Builder::new().name("raw".to_owned()).spawn(body)?);
        Ok(())
    }

    fn stage<In: OnBench, Out: OnBench>(
        &self,
        start: &[i64],
        carrying: &mut Carrying,
    ) -> Result<(), Failure> {
        let group = self.place.group(Out::STEP, In::NAME, start)?;
        let settings = RunSettings {
            workers: self.workers(),
            in_flight: InFlight { records: self.options.in_flight, ..InFlight::default() },
            ..RunSettings::new(self.place.scratch().join("runtime").join(&group))
        };
        let clock = carrying.first_input.clone();
        let stage = StageRun::<Relay<In, Out>> {
            run: Run {
                client: self.place.client.clone(),
                group,
                blobs: Arc::new(MemoryBlobs::default()),
                settings,
                metrics: Metrics::register(&Registry::new())?,
                log_key: LogKey::new(b"bench"),
                shutdown: carrying.shutdown.clone(),
                pause: PauseSwitch::default(),
                solitude: Solitude::default(),
            },
            config: Arc::new(move || RelayConfig { clock: clock.clone() }),
            services: Services::without_model(),
            frames: Arc::new(MemoryFrames::default()),
        };
        let body = move || match run_stage(stage) {
            Exit::Drained => Ok(()),
            exit => Err(Failure::from(exit.to_string())),
        };
        carrying.threads.push(std::thread::Builder::new().name(Out::STEP.to_owned()).spawn(body)?);
        Ok(())
    }
}

/// Consumes each record and produces the same bytes to the next topic, until asked to stop.
fn raw_loop(
    config: &ClientConfig,
    group: &str,
    first_input: &FirstInput,
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    let consumer: BaseConsumer = config
        .clone()
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", FETCH_BACKOFF_MS)
        .create()?;
    let producer = producer(config)?;
    consumer.subscribe(&[Acquired::NAME])?;
    while shutdown.phase() == Phase::Running {
        if let Some(message) = consumer.poll(POLL) {
            let message = message?;
            first_input.get_or_init(Instant::now);
            let headers = message.headers().map(BorrowedHeaders::detach).unwrap_or_default();
            let (key, payload) = content(&message);
            send(&producer, BaseRecord::to(Accepted::NAME).key(key).payload(payload).headers(headers))?;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(FLUSH)?;
    if first_input.get().is_some() {
        consumer.commit_consumer_state(CommitMode::Sync)?;
    }
    Ok(())
}

fn content<'a>(message: &'a BorrowedMessage<'_>) -> (&'a [u8], &'a [u8]) {
    (message.key().unwrap_or_default(), message.payload().unwrap_or_default())
}

/// A plain producer with the guarantee that the runtime's has.
pub(super) fn producer(config: &ClientConfig) -> Result<BaseProducer, Failure> {
    Ok(config
        .clone()
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", LINGER_MS)
        .set("partitioner", "murmur2_random")
        .create()?)
}

/// Queues a record; waits where the queue is full.
pub(super) fn send(producer: &BaseProducer, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Failure> {
    let mut record = record;
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                producer.poll(Duration::from_millis(10));
                record = returned;
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// An envelope's headers as librdkafka takes them.
pub(super) fn owned(headers: &[schemas::Header]) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |owned, header| {
        owned.insert(rdkafka::message::Header { key: &header.key, value: Some(&header.value) })
    })
}
