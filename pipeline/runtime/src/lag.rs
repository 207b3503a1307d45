//! How far behind the consumer groups are: in records, in time, and until when.
//!
//! Reads only: other groups' offsets by a client that has their name and never joins, and the oldest unprocessed
//! record by one that belongs to no group. Blocks; runs on a thread of its own every few seconds.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    metadata::MetadataPartition,
};

use crate::{
    client::{Client, ClientError, Logging},
    drain::{DrainWindow, Progress},
    metrics::Metrics,
};

pub use crate::drain::DrainEta;

const TIMEOUT: Duration = Duration::from_secs(5);
/// How long all oldest records of one observation may take to be read.
const OLDEST: Duration = Duration::from_secs(3);

/// A group and the topics whose backlog it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Consumer group.
    pub group: String,
    /// Topics it reads.
    pub topics: Vec<String>,
}

/// Why lag could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LagError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The broker did not answer.
    #[error("broker did not say {what} of {topic}")]
    Unanswered {
        /// What was asked.
        what: &'static str,
        /// About which topic.
        topic: String,
        /// Why.
        source: KafkaError,
    },
}

/// The backlog of one group on one topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicLag {
    /// Consumer group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Records not committed, by partition number.
    pub partitions: Vec<i64>,
    /// Age of the oldest of them; none if there is none. Never negative.
    pub oldest_age: Option<Duration>,
    /// When it will be gone.
    pub drain_eta: DrainEta,
    /// Records a second that the group did of late, over all its members.
    pub rate_per_s: f64,
    /// Records that retention deleted before they were committed, as far as can be told now.
    pub lost: i64,
}

impl TopicLag {
    /// Records not committed.
    pub fn records(&self) -> i64 {
        self.partitions.iter().sum()
    }
}

/// Reads the lag of a fixed list of groups.
pub struct LagReader {
    watched: Vec<(Watched, BaseConsumer<Logging>)>,
    reader: BaseConsumer<Logging>,
    windows: HashMap<(String, String), DrainWindow>,
    /// Timestamp of the record at an offset of a partition: read once for each committed offset.
    oldest: HashMap<(String, i32), (i64, Timestamp)>,
    /// Highest loss counted so far for a group's partition.
    lost: HashMap<(String, String, i32), i64>,
}

/// What one partition of one group looks like.
struct PartitionLag {
    number: i32,
    /// Next offset the group will process.
    next: i64,
    records: i64,
    lost: i64,
}

impl LagReader {
    /// A reader of `watched`. Joins no group.
    pub fn connect(client: &Client, watched: Vec<Watched>) -> Result<Self, LagError> {
        let connect = |config| {
            BaseConsumer::from_config_and_context(&config, Logging).map_err(client.error("lag reader"))
        };
        let watched = watched
            .into_iter()
            .map(|watched| {
                let consumer = connect(client.consumer(&watched.group))?;
                Ok((watched, consumer))
            })
            .collect::<Result<_, ClientError>>()?;
        Ok(Self {
            watched,
            reader: connect(client.reader())?,
            windows: HashMap::new(),
            oldest: HashMap::new(),
            lost: HashMap::new(),
        })
    }

    /// Looks once. `wall` is the present, for ages; `now` the same on the clock that never jumps, for rates.
    pub fn observe(&mut self, wall: Timestamp, now: Instant) -> Result<Vec<TopicLag>, LagError> {
        let mut all = Vec::new();
        for index in 0..self.watched.len() {
            let topics =
                self.watched.get(index).map(|(watched, _)| watched.topics.clone()).unwrap_or_default();
            for topic in topics {
                all.extend(self.topic(index, &topic, wall, now)?);
            }
        }
        Ok(all)
    }

    fn topic(
        &mut self,
        index: usize,
        topic: &str,
        wall: Timestamp,
        now: Instant,
    ) -> Result<Option<TopicLag>, LagError> {
        let Some((watched, consumer)) = self.watched.get(index) else { return Ok(None) };
        let group = watched.group.clone();
        let mut partitions = partitions(consumer, topic)?;
        partitions.sort_by_key(|partition| partition.number);
        let mut lost = 0;
        for partition in &partitions {
            let counted = self.lost.entry((group.clone(), topic.to_owned(), partition.number)).or_default();
            *counted = partition.lost.max(*counted);
            lost += *counted;
        }
        let oldest = self.oldest(topic, &partitions)?;
        let oldest_age = oldest.map(|at| wall.duration_since(at).try_into().unwrap_or(Duration::ZERO));
        let records: i64 = partitions.iter().map(|partition| partition.records).sum();
        let done = partitions.iter().map(|partition| partition.next).sum();
        let window = self.windows.entry((group.clone(), topic.to_owned())).or_default();
        window.observe(now, Progress { done, end: done + records });
        Ok(Some(TopicLag {
            group,
            topic: topic.to_owned(),
            partitions: partitions.iter().map(|partition| partition.records).collect(),
            oldest_age,
            drain_eta: window.eta(),
            rate_per_s: window.rate_per_s(),
            lost,
        }))
    }

    /// The earliest timestamp among the first unprocessed records of the partitions.
    fn oldest(&mut self, topic: &str, partitions: &[PartitionLag]) -> Result<Option<Timestamp>, LagError> {
        let failed = unanswered("the oldest record", topic);
        let waiting: Vec<&PartitionLag> =
            partitions.iter().filter(|partition| partition.records > 0).collect();
        let mut wanted = TopicPartitionList::new();
        for partition in &waiting {
            let known = self.oldest.get(&(topic.to_owned(), partition.number));
            if known.is_none_or(|(offset, _)| *offset != partition.next) {
                wanted
                    .add_partition_offset(topic, partition.number, Offset::Offset(partition.next))
                    .map_err(&failed)?;
            }
        }
        let mut missing = wanted.count();
        if missing > 0 {
            self.reader.assign(&wanted).map_err(&failed)?;
            let deadline = Instant::now() + OLDEST;
            while missing > 0 && Instant::now() < deadline {
                let Some(Ok(message)) = self.reader.poll(Duration::from_millis(50)) else { continue };
                let number = message.partition();
                // Only the first of each partition is of interest; its offset may lie beyond a gap.
                let Some(partition) = waiting.iter().find(|partition| partition.number == number) else {
                    continue;
                };
                let known = self.oldest.get(&(topic.to_owned(), number));
                if known.is_some_and(|(offset, _)| *offset == partition.next) {
                    continue;
                }
                let millis = message.timestamp().to_millis();
                if let Some(at) = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()) {
                    self.oldest.insert((topic.to_owned(), number), (partition.next, at));
                }
                missing -= 1;
            }
            self.reader.unassign().map_err(&failed)?;
        }
        let at = |partition: &&PartitionLag| {
            self.oldest.get(&(topic.to_owned(), partition.number)).map(|(_, at)| *at)
        };
        Ok(waiting.iter().filter_map(at).min())
    }

    /// Records on a topic now, for example dead letters.
    pub fn records(&self, topic: &str) -> Result<i64, LagError> {
        let mut records = 0;
        for number in numbers(&self.reader, topic)? {
            let (low, high) = self
                .reader
                .fetch_watermarks(topic, number, TIMEOUT)
                .map_err(unanswered("the ends", topic))?;
            records += high - low;
        }
        Ok(records)
    }
}

fn unanswered(what: &'static str, topic: &str) -> impl Fn(KafkaError) -> LagError {
    let topic = topic.to_owned();
    move |source| LagError::Unanswered { what, topic: topic.clone(), source }
}

fn numbers(consumer: &BaseConsumer<Logging>, topic: &str) -> Result<Vec<i32>, LagError> {
    let metadata =
        consumer.fetch_metadata(Some(topic), TIMEOUT).map_err(unanswered("the partitions", topic))?;
    let topic = metadata.topics().iter().find(|found| found.name() == topic);
    Ok(topic.map(|topic| topic.partitions().iter().map(MetadataPartition::id).collect()).unwrap_or_default())
}

fn partitions(consumer: &BaseConsumer<Logging>, topic: &str) -> Result<Vec<PartitionLag>, LagError> {
    let numbers = numbers(consumer, topic)?;
    let mut list = TopicPartitionList::with_capacity(numbers.len());
    for number in &numbers {
        list.add_partition(topic, *number);
    }
    let committed =
        consumer.committed_offsets(list, TIMEOUT).map_err(unanswered("the committed offsets", topic))?;
    let mut partitions = Vec::with_capacity(numbers.len());
    for number in numbers {
        let (low, high) =
            consumer.fetch_watermarks(topic, number, TIMEOUT).map_err(unanswered("the ends", topic))?;
        let committed = committed.find_partition(topic, number).and_then(|element| element.offset().to_raw());
        let committed = committed.filter(|offset| *offset >= 0);
        let next = committed.unwrap_or(low).max(low);
        let lost = committed.map_or(0, |committed| (low - committed).max(0));
        partitions.push(PartitionLag { number, next, records: (high - next).max(0), lost });
    }
    Ok(partitions)
}

impl Metrics {
    /// Publishes observed lag.
    pub fn observe_lag(&self, lags: &[TopicLag]) {
        for lag in lags {
            let (group, topic) = (lag.group.as_str(), lag.topic.as_str());
            for (number, records) in lag.partitions.iter().enumerate() {
                self.lag_records.with_label_values(&[group, topic, &number.to_string()]).set(*records);
            }
            let age = lag.oldest_age.unwrap_or_default();
            self.oldest_age.with_label_values(&[group, topic]).set(age.as_secs_f64());
            let eta = match lag.drain_eta {
                DrainEta::Empty => 0.0,
                DrainEta::In(eta) => eta.as_secs_f64(),
                DrainEta::NotDraining => f64::INFINITY,
                DrainEta::Unknown => f64::NAN,
            };
            self.drain_eta.with_label_values(&[group, topic]).set(eta);
            let lost = self.lost_records.with_label_values(&[group, topic]);
            lost.inc_by(u64::try_from(lag.lost).unwrap_or(0).saturating_sub(lost.get()));
        }
    }

    /// Publishes how many records a dead-letter topic holds.
    pub fn observe_dead_letters(&self, topic: &str, records: i64) {
        self.dlq_records.with_label_values(&[topic]).set(records);
    }
}
