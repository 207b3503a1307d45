//! Publishing single messages and knowing that they arrived.

use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use rdkafka::{
    ClientContext, Message as _,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer},
};
use schemas::{Envelope, Message, Priority, encode};

use crate::{
    client::{self, Client, ClientError},
    record::Headers,
    topics,
};

/// Where an acknowledged record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Why a record is not known to have arrived. It may have, except where it is too large: publishing it again with the
/// same event id is always right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It can never be published.
    #[error("record of {bytes} bytes is larger than {topic} takes; send its content by reference")]
    TooLarge {
        /// Where it was to go.
        topic: String,
        /// Length of the value.
        bytes: usize,
    },
    /// The broker did not acknowledge it in time, or the queue is full. Try again later.
    #[error("record for {topic} was not acknowledged")]
    Unavailable {
        /// Where it was to go.
        topic: String,
        /// What the client says.
        source: KafkaError,
    },
    /// The client cannot go on: connect again.
    #[error("publisher for {topic} cannot go on; connect again")]
    Broken {
        /// Where it was to go.
        topic: String,
        /// What the client says.
        source: KafkaError,
    },
}

type Answer = Result<Acknowledged, KafkaError>;

struct Answers;

impl ClientContext for Answers {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(target: "librdkafka", %error, reason);
    }
}

impl ProducerContext for Answers {
    type DeliveryOpaque = Box<Sender<Answer>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let answer = match result {
            Ok(message) => Ok(Acknowledged { partition: message.partition(), offset: message.offset() }),
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever waited may have given up.
        drop(waiting.try_send(answer));
    }
}

/// Publishes and waits for the acknowledgement. Shared by reference between threads.
pub struct Publisher {
    producer: ThreadedProducer<Answers>,
    timeout: Duration,
}

impl Publisher {
    /// A publisher whose records are acknowledged within `timeout`, or not at all.
    pub fn connect(client: &Client, timeout: Duration) -> Result<Self, ClientError> {
        let producer = ThreadedProducer::from_config_and_context(&client.producer(Some(timeout)), Answers)
            .map_err(client.error("publisher"))?;
        Ok(Self { producer, timeout })
    }

    /// Publishes `message` on its topic's `lane`, keyed by its study.
    pub fn publish<M: Message>(
        &self,
        message: &M,
        envelope: &Envelope,
        lane: Priority,
    ) -> Result<Acknowledged, PublishError> {
        let headers = envelope.to_headers().into_iter().collect();
        let key = message.study().study_uid.as_str().as_bytes();
        self.publish_record(&topics::lane(&M::TOPIC, lane), Some(key), &headers, &encode(message))
    }

    /// Publishes a record as it is.
    pub fn publish_record(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        headers: &Headers,
        payload: &[u8],
    ) -> Result<Acknowledged, PublishError> {
        let (answer, answered) = bounded(1);
        let mut owned = OwnedHeaders::new_with_capacity(headers.len());
        for (key, value) in headers.iter() {
            owned = owned.insert(Header { key, value: Some(value) });
        }
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(answer)).payload(payload).headers(owned);
        record.key = key;
        let failed = |error: KafkaError| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                PublishError::TooLarge { topic: topic.to_owned(), bytes: payload.len() }
            }
            _ if client::is_fatal(&error) => PublishError::Broken { topic: topic.to_owned(), source: error },
            _ => PublishError::Unavailable { topic: topic.to_owned(), source: error },
        };
        self.producer.send(record).map_err(|(error, _)| failed(error))?;
        // The client answers at its own timeout; the second one is for a client that does not.
        match answered.recv_timeout(self.timeout + Duration::from_secs(5)) {
            Ok(answer) => answer.map_err(failed),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(failed(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)))
            }
        }
    }
}
