//! A fixed range of topics, read by hand: no group, nothing committed, nothing waited for.
//!
//! ```text
//!   Bound: earliest, latest, time, offsets ──resolve──▶ TopicRange: start ≤ offset < end of each partition
//!                                             │                            │
//!                                             └▶ LostRecords               └──read──▶ records, in the order of (partition, offset)
//! ```
//!
//! Invariants:
//! - A range is resolved once; what is produced afterwards is not in it, and reading it again gives the same records for
//!   as long as the broker keeps them.
//! - Reading ends at the range's end even where its last offsets hold no record (compaction, transaction markers).
//! - What was asked for and is no longer there is named, never left out in silence.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::Arc,
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
use schemas::Priority;

use crate::{
    client::{Client, ClientError, Logging, is_fatal},
    record::Record,
};

/// How long the broker may take to answer a question.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a partition may give nothing although its range is not read to the end.
const SILENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// Why a range could not be resolved or read.
#[derive(Debug, thiserror::Error)]
pub enum BoundedError {
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
    /// There is no such topic.
    #[error("topic {topic} does not exist on this broker")]
    NoTopic {
        /// Which.
        topic: String,
    },
    /// A partition was named that the topic does not have.
    #[error("{topic} has no partition {partition}; it has {count}")]
    NoPartition {
        /// Which topic.
        topic: String,
        /// The partition named.
        partition: i32,
        /// How many there are.
        count: usize,
    },
    /// An offset was named that nothing has been written to yet.
    #[error("{topic}[{partition}] ends at offset {end}; {offset} lies behind it")]
    BeyondEnd {
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
        /// The offset named.
        offset: i64,
        /// Where the partition ends.
        end: i64,
    },
    /// The range ends before it begins.
    #[error(
        "{topic}[{partition}] would be read from offset {start} to {end}; --from must not lie behind --to"
    )]
    Reversed {
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
        /// The start asked for.
        start: i64,
        /// The end asked for.
        end: i64,
    },
    /// Reading stopped.
    #[error("{topic}[{partition}] gave nothing for {}s at offset {offset}, before the range's end", SILENCE.as_secs())]
    Silent {
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
        /// The next offset.
        offset: i64,
    },
}

/// A text that is no bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no bound; write earliest, latest, a time such as 2026-11-21T08:00:00Z, or offsets such as 0:120,1:98 \
     (urgent lane: urgent:0:7)"
)]
pub struct BoundError {
    text: String,
}

/// Where a range begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// At the first record kept.
    Earliest,
    /// Behind the last record there is now.
    Latest,
    /// At the first record of this time or later, by the broker's record timestamp.
    Time(Timestamp),
    /// At these offsets, by lane and partition. A partition that is not named is not read.
    Offsets(BTreeMap<(Priority, i32), i64>),
}

impl FromStr for Bound {
    type Err = BoundError;
    fn from_str(text: &str) -> Result<Self, BoundError> {
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Ok(time) = text.parse() {
            return Ok(Self::Time(time));
        }
        let wrong = || BoundError { text: text.chars().take(120).collect() };
        let mut offsets = BTreeMap::new();
        for part in text.split(',') {
            let (lane, rest) = match part.strip_prefix("urgent:") {
                Some(rest) => (Priority::Urgent, rest),
                None => (Priority::Routine, part),
            };
            let (partition, offset) = rest.split_once(':').ok_or_else(wrong)?;
            // `parse` would take a sign.
            if !rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') {
                return Err(wrong());
            }
            let partition: i32 = partition.parse().map_err(|_| wrong())?;
            let offset: i64 = offset.parse().map_err(|_| wrong())?;
            if offsets.insert((lane, partition), offset).is_some() {
                return Err(wrong());
            }
        }
        Ok(Self::Offsets(offsets))
    }
}

/// Offsets of one partition: `start` is read, `end` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionRange {
    /// Which partition.
    pub partition: i32,
    /// First offset.
    pub start: i64,
    /// One more than the last offset; equal to `start` where there is nothing.
    pub end: i64,
}

/// Offsets of one topic, by partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRange {
    /// Name, lane included.
    pub topic: String,
    /// Sorted by partition.
    pub partitions: Vec<PartitionRange>,
}

/// Records that were asked for and that the broker no longer keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRecords {
    /// Which topic.
    pub topic: String,
    /// Which partition.
    pub partition: i32,
    /// First offset asked for; absent where a time was asked for, and the offset it once stood for is not known any more.
    pub from: Option<i64>,
    /// One more than the last offset lost.
    pub to: i64,
}

impl fmt::Display for LostRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some(from) => write!(f, "{}[{}] offsets {from} to {}", self.topic, self.partition, self.to - 1),
            None => write!(f, "{}[{}] records before offset {}", self.topic, self.partition, self.to),
        }
    }
}

/// What a partition holds now: offsets from `low` to before `high`.
#[derive(Debug, Clone, Copy)]
struct Kept {
    low: i64,
    high: i64,
}

/// The part of `asked` (first offset, end) that is kept, and the part that is lost. Nothing lies behind `kept.high`.
fn split(asked: (i64, i64), kept: Kept) -> ((i64, i64), Option<(i64, i64)>) {
    let (start, end) = asked;
    let lost = (start < end && start < kept.low).then(|| (start, end.min(kept.low)));
    let start = start.clamp(kept.low, kept.high);
    ((start, end.clamp(start, kept.high)), lost)
}

/// Reads ranges of one broker's topics.
pub struct BoundedReader {
    consumer: BaseConsumer<Logging>,
}

impl BoundedReader {
    /// A reader that joins no group.
    pub fn connect(client: &Client) -> Result<Self, BoundedError> {
        let consumer = BaseConsumer::from_config_and_context(&client.bounded_reader(), Logging)
            .map_err(client.error("bounded reader"))?;
        Ok(Self { consumer })
    }

    /// The fixed offsets that `from` and `to` mean for `topic`, which is one lane, and what of them is lost.
    pub fn resolve(
        &self,
        topic: &str,
        lane: Priority,
        from: &Bound,
        to: &Bound,
    ) -> Result<(TopicRange, Vec<LostRecords>), BoundedError> {
        let numbers = self.partitions(topic)?;
        for bound in [from, to] {
            let Bound::Offsets(offsets) = bound else { continue };
            let named = offsets.keys().filter(|(named, _)| *named == lane).map(|(_, partition)| *partition);
            if let Some(partition) = named.into_iter().find(|partition| !numbers.contains(partition)) {
                return Err(BoundedError::NoPartition {
                    topic: topic.to_owned(),
                    partition,
                    count: numbers.len(),
                });
            }
        }
        let mut range = TopicRange { topic: topic.to_owned(), partitions: Vec::new() };
        let mut lost = Vec::new();
        for partition in numbers {
            let kept = self.kept(topic, partition)?;
            let place = Place { topic, lane, partition, kept };
            let (Some(start), Some(end)) = (self.offset(place, from)?, self.offset(place, to)?) else {
                continue;
            };
            if start > end && !matches!((from, to), (Bound::Latest, _) | (_, Bound::Earliest)) {
                return Err(BoundedError::Reversed { topic: topic.to_owned(), partition, start, end });
            }
            let ((first, last), gone) = split((start, end.max(start)), kept);
            range.partitions.push(PartitionRange { partition, start: first, end: last });
            if let Some((from, to)) = gone {
                lost.push(LostRecords { topic: topic.to_owned(), partition, from: Some(from), to });
            } else if let Bound::Time(time) = from
                && self.lacks_a_beginning(place, start, *time)?
            {
                lost.push(LostRecords { topic: topic.to_owned(), partition, from: None, to: kept.low });
            }
        }
        Ok((range, lost))
    }

    /// Reads exactly the records of `range` that the broker keeps.
    pub fn read<E: From<BoundedError>>(
        &self,
        range: &TopicRange,
        mut each: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let topic: Arc<str> = range.topic.as_str().into();
        for partition in range.partitions.iter().filter(|partition| partition.start < partition.end) {
            let read = self.read_partition(&topic, *partition, &mut each);
            let failed = unanswered("that it is left alone", &topic);
            self.consumer.unassign().map_err(|error| E::from(failed(error)))?;
            read?;
        }
        Ok(())
    }

    /// The record at one offset, if the broker keeps it.
    pub fn record(&self, topic: &str, partition: i32, offset: i64) -> Result<Option<Record>, BoundedError> {
        let one = PartitionRange { partition, start: offset, end: offset.saturating_add(1) };
        let mut found = None;
        // Retention may have come further than the offset: then the partition begins behind it.
        if self.kept(topic, partition)?.high > offset {
            self.read(&TopicRange { topic: topic.to_owned(), partitions: vec![one] }, |record| {
                found = Some(record);
                Ok::<_, BoundedError>(())
            })?;
        }
        Ok(found)
    }

    fn read_partition<E: From<BoundedError>>(
        &self,
        topic: &Arc<str>,
        range: PartitionRange,
        each: &mut impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = unanswered("its records", topic);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, range.partition, Offset::Offset(range.start)).map_err(&failed)?;
        self.consumer.assign(&list).map_err(&failed)?;
        let mut next = range.start;
        let mut deadline = Instant::now() + SILENCE;
        while next < range.end {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    if message.topic() != &**topic || message.partition() != range.partition {
                        continue;
                    }
                    if message.offset() >= range.end {
                        return Ok(());
                    }
                    if message.offset() >= next {
                        next = message.offset() + 1;
                        each(Record::of(&message, Arc::clone(topic)))?;
                        deadline = Instant::now() + SILENCE;
                    }
                }
                // The end of the partition: the range's last offsets hold no record.
                Some(Err(KafkaError::PartitionEOF(partition))) if partition == range.partition => {
                    return Ok(());
                }
                Some(Err(error)) if is_fatal(&error) => return Err(failed(error).into()),
                Some(Err(error)) => {
                    tracing::warn!(%error, topic = &**topic, "reading goes on after an error");
                }
                None => {}
            }
            if Instant::now() > deadline {
                let topic = topic.to_string();
                return Err(BoundedError::Silent { topic, partition: range.partition, offset: next }.into());
            }
        }
        Ok(())
    }

    fn partitions(&self, topic: &str) -> Result<Vec<i32>, BoundedError> {
        let metadata = self
            .consumer
            .fetch_metadata(Some(topic), TIMEOUT)
            .map_err(unanswered("the partitions", topic))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
        let mut numbers: Vec<i32> = found
            .map(|found| found.partitions().iter().map(MetadataPartition::id).collect())
            .unwrap_or_default();
        if numbers.is_empty() {
            return Err(BoundedError::NoTopic { topic: topic.to_owned() });
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn kept(&self, topic: &str, partition: i32) -> Result<Kept, BoundedError> {
        let (low, high) = self
            .consumer
            .fetch_watermarks(topic, partition, TIMEOUT)
            .map_err(unanswered("the ends", topic))?;
        Ok(Kept { low, high })
    }

    /// The offset that `bound` means; none where it names other partitions only.
    fn offset(&self, place: Place<'_>, bound: &Bound) -> Result<Option<i64>, BoundedError> {
        let Place { topic, lane, partition, kept } = place;
        Ok(match bound {
            Bound::Earliest => Some(kept.low),
            Bound::Latest => Some(kept.high),
            Bound::Time(time) => Some(self.offset_of(place, *time)?),
            Bound::Offsets(offsets) => {
                let Some(&offset) = offsets.get(&(lane, partition)) else { return Ok(None) };
                if offset > kept.high {
                    let topic = topic.to_owned();
                    return Err(BoundedError::BeyondEnd { topic, partition, offset, end: kept.high });
                }
                Some(offset)
            }
        })
    }

    /// The first kept offset whose record is of `time` or later; the partition's end where there is none.
    fn offset_of(&self, place: Place<'_>, time: Timestamp) -> Result<i64, BoundedError> {
        let failed = unanswered("the offset of a time", place.topic);
        let mut list = TopicPartitionList::new();
        // The broker counts in milliseconds: the first one that is not before `time`.
        let floor = time.as_millisecond();
        let exact = Timestamp::from_millisecond(floor).is_ok_and(|whole| whole == time);
        let millis = if exact { floor } else { floor + 1 }.max(0);
        list.add_partition_offset(place.topic, place.partition, Offset::Offset(millis)).map_err(&failed)?;
        let found = self.consumer.offsets_for_times(list, TIMEOUT).map_err(&failed)?;
        let found = found.find_partition(place.topic, place.partition);
        if let Some(error) = found.as_ref().and_then(|element| element.error().err()) {
            return Err(failed(error));
        }
        let offset = found.and_then(|element| element.offset().to_raw()).filter(|offset| *offset >= 0);
        Ok(offset.unwrap_or(place.kept.high))
    }

    /// Whether records of `time` or later may have been deleted: the range begins where the partition does, others lay
    /// before, and the first one left is younger than `time`.
    fn lacks_a_beginning(&self, place: Place<'_>, start: i64, time: Timestamp) -> Result<bool, BoundedError> {
        let Kept { low, high } = place.kept;
        if start > low || low == 0 {
            return Ok(false);
        }
        if low == high {
            // Nothing is left of the whole partition.
            return Ok(true);
        }
        let mut first = None;
        let one = PartitionRange { partition: place.partition, start: low, end: high };
        let range = TopicRange { topic: place.topic.to_owned(), partitions: vec![one] };
        let stopped = self.read(&range, |record| {
            first = Some(record.timestamp);
            Err(Enough::Found)
        });
        match stopped {
            Ok(()) | Err(Enough::Found) => Ok(first.is_none_or(|first| first > time)),
            Err(Enough::Failed(error)) => Err(error),
        }
    }
}

/// Why reading was cut short.
enum Enough {
    Found,
    Failed(BoundedError),
}

impl From<BoundedError> for Enough {
    fn from(error: BoundedError) -> Self {
        Self::Failed(error)
    }
}

/// A partition of a lane, and what it holds.
#[derive(Clone, Copy)]
struct Place<'a> {
    topic: &'a str,
    lane: Priority,
    partition: i32,
    kept: Kept,
}

fn unanswered(what: &'static str, topic: &str) -> impl Fn(KafkaError) -> BoundedError {
    let topic = topic.to_owned();
    move |source| BoundedError::Unanswered { what, topic: topic.clone(), source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_are_read_as_they_are_written() {
        assert_eq!("earliest".parse(), Ok(Bound::Earliest));
        assert_eq!("latest".parse(), Ok(Bound::Latest));
        let time = "2026-11-21T08:00:00+08:00".parse::<Bound>();
        assert_eq!(time, Ok(Bound::Time("2026-11-21T00:00:00Z".parse().unwrap())));
        let offsets =
            [((Priority::Routine, 0), 120), ((Priority::Routine, 1), 98), ((Priority::Urgent, 0), 7)];
        assert_eq!("0:120,1:98,urgent:0:7".parse(), Ok(Bound::Offsets(offsets.into())));
        for wrong in
            ["", "now", "0", "0:", ":1", "0:-1", "0:1,0:2", "0:1,", "routine:0:1", "99999999999:1", "0:1:2"]
        {
            let error = wrong.parse::<Bound>().unwrap_err();
            assert!(error.to_string().contains("no bound"), "{wrong}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_was_asked_for_is_kept_or_lost_and_nothing_else_is_read(
            low in 0_i64..50, kept in 0_i64..50, start in 0_i64..100, asked in 0_i64..100,
        ) {
            let kept = Kept { low, high: low + kept };
            let start = start.min(kept.high);
            let end = (start + asked).min(kept.high);
            let ((first, last), lost) = split((start, end), kept);
            prop_assert!(kept.low <= first && first <= last && last <= kept.high);
            for offset in 0..=kept.high {
                let wanted = (start..end).contains(&offset);
                let read = (first..last).contains(&offset);
                let gone = lost.is_some_and(|(from, to)| (from..to).contains(&offset));
                prop_assert_eq!(wanted, read || gone, "offset {}", offset);
                prop_assert!(!(read && gone));
                prop_assert_eq!(gone, wanted && offset < low);
            }
        }
    }
}
