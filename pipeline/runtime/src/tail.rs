//! Following a topic by hand: no group, nothing committed. For compacted topics, which say what holds now, and for samples.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    metadata::MetadataPartition,
};

use crate::{
    client::{Client, ClientError, Logging, is_fatal},
    record::Record,
};

/// How long the broker may take to answer a question.
const TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// Why a topic cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The broker did not answer, or the client cannot go on.
    #[error("{topic} cannot be followed")]
    Unanswered {
        /// Which topic.
        topic: String,
        /// Why.
        source: KafkaError,
    },
    /// There is no such topic.
    #[error("topic {topic} does not exist on this broker")]
    NoTopic {
        /// Which.
        topic: String,
    },
}

/// Where following begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With the first record kept.
    Start,
    /// So many records before the end of each partition.
    Before(u32),
    /// With the next record.
    End,
}

/// A topic being followed.
pub struct Tail {
    consumer: BaseConsumer<Logging>,
    topic: Arc<str>,
    /// Partitions that have not been read up to where they ended at the beginning, with that end.
    behind: HashMap<i32, i64>,
}

impl Tail {
    /// Begins to follow `topic`.
    pub fn begin(client: &Client, topic: &str, begin: Begin) -> Result<Self, TailError> {
        let consumer = BaseConsumer::from_config_and_context(&client.bounded_reader(), Logging)
            .map_err(client.error("reader"))?;
        let failed = |source| TailError::Unanswered { topic: topic.to_owned(), source };
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).map_err(failed)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
        let numbers: Vec<i32> = found
            .map(|found| found.partitions().iter().map(MetadataPartition::id).collect())
            .unwrap_or_default();
        if numbers.is_empty() {
            return Err(TailError::NoTopic { topic: topic.to_owned() });
        }
        let mut list = TopicPartitionList::with_capacity(numbers.len());
        let mut behind = HashMap::new();
        for number in numbers {
            let (low, high) = consumer.fetch_watermarks(topic, number, TIMEOUT).map_err(failed)?;
            let start = match begin {
                Begin::Start => low,
                Begin::Before(records) => high.saturating_sub(i64::from(records)).max(low),
                Begin::End => high,
            };
            if start < high {
                behind.insert(number, high);
            }
            list.add_partition_offset(topic, number, Offset::Offset(start)).map_err(failed)?;
        }
        consumer.assign(&list).map_err(failed)?;
        Ok(Self { consumer, topic: topic.into(), behind })
    }

    /// Whether everything has been read that was there at the beginning.
    pub fn caught_up(&self) -> bool {
        self.behind.is_empty()
    }

    /// The next record; none if there is none within `wait`. A broker that is away is waited for.
    pub fn next(&mut self, wait: Duration) -> Result<Option<Record>, TailError> {
        let deadline = Instant::now() + wait;
        loop {
            match self.consumer.poll(POLL.min(wait)) {
                Some(Ok(message)) => {
                    let (partition, next) = (message.partition(), message.offset() + 1);
                    if self.behind.get(&partition).is_some_and(|end| next >= *end) {
                        self.behind.remove(&partition);
                    }
                    return Ok(Some(Record::of(&message, Arc::clone(&self.topic))));
                }
                // Its last offsets hold no record: compaction, transaction markers.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.behind.remove(&partition);
                    if self.behind.is_empty() && wait.is_zero() {
                        return Ok(None);
                    }
                }
                Some(Err(source)) if is_fatal(&source) => {
                    return Err(TailError::Unanswered { topic: self.topic.to_string(), source });
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, topic = &*self.topic, "following goes on after an error");
                }
                None => {}
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }
}
