//! Outputs on their way to the broker.
//!
//! Nobody waits for an acknowledgement: each output carries its record's ticket, and the delivery report goes to the
//! coordinator. A full queue is backpressure: the worker waits, and the time is counted.

use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use rdkafka::{
    ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer},
};

use crate::{
    client::{self, Client, ClientError},
    event::{Event, Failure},
    shutdown::{Phase, Shutdown},
};

/// How long a worker sleeps while the producer's queue is full: a few lingers.
const FULL_QUEUE: Duration = Duration::from_millis(5);

struct Reports(Sender<Event>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(target: "librdkafka", %error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        // The coordinator is gone only when the run is over.
        drop(self.0.send(Event::Acked { ticket, result }));
    }
}

/// One output record.
pub(crate) struct Output<'a, H> {
    pub(crate) topic: &'a str,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) headers: H,
    pub(crate) payload: &'a [u8],
}

/// The producer of one run, shared by its workers.
pub(crate) struct Outputs {
    producer: ThreadedProducer<Reports>,
    shutdown: Shutdown,
}

impl Outputs {
    pub(crate) fn connect(
        client: &Client,
        events: Sender<Event>,
        shutdown: Shutdown,
    ) -> Result<Self, ClientError> {
        let producer = ThreadedProducer::from_config_and_context(&client.producer(None), Reports(events))
            .map_err(client.error("producer"))?;
        Ok(Self { producer, shutdown })
    }

    /// Queues `output`; its delivery report carries `ticket`. Returns how long the queue was full.
    pub(crate) fn send<'h>(
        &self,
        output: Output<'_, impl Iterator<Item = (&'h str, &'h [u8])>>,
        ticket: usize,
    ) -> Result<Duration, Failure> {
        let mut headers = OwnedHeaders::new_with_capacity(16);
        for (key, value) in output.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut record =
            BaseRecord::with_opaque_to(output.topic, ticket).payload(output.payload).headers(headers);
        record.key = output.key;
        let mut full_since = None;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(full_since.map_or(Duration::ZERO, |since: Instant| since.elapsed())),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                    if self.shutdown.phase() == Phase::Aborting {
                        return Err(Failure::Aborted);
                    }
                    record = returned;
                    full_since.get_or_insert_with(Instant::now);
                    std::thread::sleep(FULL_QUEUE);
                }
                Err((error, _)) => return Err(failure(error)),
            }
        }
    }
}

/// What follows from an output that was not accepted or not delivered.
pub(crate) fn failure(error: KafkaError) -> Failure {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => Failure::Dead(crate::dead_letter::Death {
            cause: schemas::Cause::Invalid,
            detail: "its output is larger than the broker's message.max.bytes".to_owned(),
            attempts: 1,
        }),
        _ if client::is_fatal(&error) => Failure::Broker(error),
        _ => Failure::Dependency(format!("output was not delivered: {error}")),
    }
}
