//! One record as it lies on a topic, and where it lies.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use jiff::Timestamp;
use rdkafka::{
    Message as _,
    message::{BorrowedHeaders, BorrowedMessage, Headers as _},
};
use schemas::Header;

/// Headers of a record, kept as one buffer: a record has a dozen of them, and most are only passed on.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    bytes: Vec<u8>,
    /// End of the name and end of the value of each header in `bytes`.
    ends: Vec<(usize, usize)>,
}

impl Headers {
    /// Adds one header at the end; names may repeat.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.bytes.extend_from_slice(name.as_bytes());
        let name_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((name_end, self.bytes.len()));
    }

    /// Names and values, in the order of the record. A name that is not UTF-8 cannot come in.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, value_end)| {
            let name = self.bytes.get(start..name_end).and_then(|name| std::str::from_utf8(name).ok());
            let value = self.bytes.get(name_end..value_end);
            start = value_end;
            (name.unwrap_or_default(), value.unwrap_or_default())
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes held.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        let mut all = Self::default();
        for header in headers {
            all.push(&header.key, &header.value);
        }
        all
    }
}

impl fmt::Debug for Headers {
    /// Values come from outside and are not repeated.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// A record as read from a topic, nothing interpreted.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Topic it was read from, lane included.
    pub topic: Arc<str>,
    /// Partition it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The broker's record timestamp (`CreateTime`); the epoch if it has none.
    pub timestamp: Timestamp,
    /// Key; a study UID on every topic of ours.
    pub key: Option<Vec<u8>>,
    /// Headers.
    pub headers: Headers,
    /// Value; empty for a tombstone.
    pub payload: Vec<u8>,
}

impl Record {
    /// A copy of what the client read. `topic` is the message's own.
    pub(crate) fn of(message: &BorrowedMessage<'_>, topic: Arc<str>) -> Self {
        let timestamp = message.timestamp().to_millis().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Self {
            topic,
            partition: message.partition(),
            offset: message.offset(),
            timestamp: timestamp.unwrap_or(Timestamp::UNIX_EPOCH),
            key: message.key().map(<[u8]>::to_vec),
            headers: message.headers().map(copy_headers).unwrap_or_default(),
            payload: message.payload().unwrap_or_default().to_vec(),
        }
    }

    /// Bytes it holds in memory, for the bound on records in flight.
    pub(crate) fn size(&self) -> usize {
        self.payload.len() + self.headers.size() + self.key.as_ref().map_or(0, Vec::len)
    }

    /// Where it lies.
    pub(crate) fn position(&self) -> Position {
        Position { topic: Arc::clone(&self.topic), partition: self.partition, offset: self.offset }
    }
}

impl fmt::Debug for Record {
    /// Where it lies and how long it is; never what it holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({}, {} bytes)", self.position(), self.payload.len())
    }
}

/// Where one record lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// One partition of one of the topics a run reads: the topic by its place in the run's list of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Partition {
    pub(crate) input: usize,
    pub(crate) number: i32,
}

/// rdkafka panics on a header whose name is not UTF-8 and offers no other way to it: such a header is left out.
fn copy_headers(headers: &BorrowedHeaders) -> Headers {
    let mut copy = Headers::default();
    for index in 0..headers.count() {
        match catch_unwind(AssertUnwindSafe(|| headers.try_get(index))) {
            Ok(Some(header)) => copy.push(header.key, header.value.unwrap_or_default()),
            Ok(None) => {}
            Err(_) => tracing::warn!(index, "header with a name that is not UTF-8 left out"),
        }
    }
    copy
}
