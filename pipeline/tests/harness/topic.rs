//! Raw records: what anybody could write on a topic, and what lies on it.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message as _, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::{Header, Headers as _, OwnedHeaders},
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
};

use super::PATIENCE;

/// A record with nothing interpreted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) payload: Vec<u8>,
}

impl Raw {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.iter().rev().find(|(key, _)| key == name)?;
        std::str::from_utf8(&value.1).ok()
    }

    pub(crate) fn set_header(&mut self, name: &str, value: &str) {
        let found = self.headers.iter_mut().find(|(key, _)| key == name).unwrap();
        found.1 = value.as_bytes().to_vec();
    }
}

struct Places;

impl rdkafka::ClientContext for Places {}

impl ProducerContext for Places {
    type DeliveryOpaque = Box<crossbeam_channel::Sender<(i32, i64)>>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Self::DeliveryOpaque) {
        if let Ok(message) = result {
            place.send((message.partition(), message.offset())).unwrap();
        }
    }
}

/// Writes a record and says where it lies.
pub(crate) fn produce(bootstrap: &str, topic: &str, record: &Raw) -> (i32, i64) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("message.max.bytes", "10000000");
    let producer: ThreadedProducer<Places> = config.create_with_context(Places).unwrap();
    let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    });
    let (place, placed) = crossbeam_channel::bounded(1);
    let message = BaseRecord::with_opaque_to(topic, Box::new(place)).headers(headers);
    producer.send(message.key(&record.key).payload(&record.payload)).unwrap();
    producer.flush(PATIENCE).unwrap();
    placed.recv_timeout(PATIENCE).unwrap()
}

/// Every record of a topic, from its start to what is its end now.
pub(crate) fn records(bootstrap: &str, topic: &str) -> Vec<Raw> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "a-test").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions();
    let mut list = TopicPartitionList::new();
    let mut left = 0;
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE).unwrap();
        left += high - low;
        list.add_partition_offset(topic, partition.id(), rdkafka::Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut records = Vec::new();
    while (records.len() as i64) < left {
        assert!(Instant::now() < deadline, "{topic}: {} of {left} records read", records.len());
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let headers = message.headers().into_iter().flat_map(rdkafka::message::BorrowedHeaders::iter);
        records.push(Raw {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().unwrap_or_default().to_vec(),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
                .collect(),
            payload: message.payload().unwrap_or_default().to_vec(),
        });
    }
    records
}
