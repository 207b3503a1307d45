//! A client of whichever broker answers at an address: short words for what the tests do over and over.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use uuid::Uuid;

/// Longer than anything may take; what takes this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Client {
    pub(crate) bootstrap: String,
}

/// Keeps what became of each message, in the order of the answers.
#[derive(Default)]
pub(crate) struct Deliveries(std::sync::Mutex<Vec<Delivery>>);

/// (payload, partition, offset), or why not.
pub(crate) type Delivery = Result<(Vec<u8>, i32, i64), RDKafkaErrorCode>;

impl rdkafka::ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let delivery = match result {
            Ok(message) => {
                Ok((message.payload().unwrap_or_default().to_vec(), message.partition(), message.offset()))
            }
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap()),
        };
        self.0.lock().unwrap().push(delivery);
    }
}

pub(crate) type TestProducer = BaseProducer<Deliveries>;

/// Waits for all messages under way; what became of each since the last call.
pub(crate) fn deliveries(producer: &TestProducer) -> Vec<Delivery> {
    producer.flush(PATIENCE).unwrap();
    std::mem::take(&mut *producer.context().0.lock().unwrap())
}

/// Sends, waiting for room in the client's queue.
pub(crate) fn send(producer: &TestProducer, mut record: BaseRecord<'_, [u8], [u8]>) {
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull));
        producer.poll(Duration::from_millis(50));
        record = back;
    }
}

impl Client {
    pub(crate) fn new(bootstrap: String) -> Client {
        Client { bootstrap }
    }

    pub(crate) fn config(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config(&[]).create().unwrap()
    }

    /// A new topic of a name of its own.
    pub(crate) fn topic(&self, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = unique("topic");
        self.create_topic(&name, partitions, settings).unwrap();
        name
    }

    pub(crate) fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<(), RDKafkaErrorCode> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            topic = topic.set(name, value);
        }
        let created = wait(self.admin().create_topics([&topic], &admin_options())).unwrap();
        created.into_iter().next().unwrap().map_err(|(_, code)| code)?;
        // Real Kafka answers before every part of it knows the topic.
        let consumer: BaseConsumer = self.config(&[]).create().unwrap();
        until("the topic has leaders", || {
            let metadata = consumer.fetch_metadata(Some(name), PATIENCE).unwrap();
            metadata.topics().iter().any(|topic| {
                topic.partitions().len() as i32 == partitions
                    && topic.partitions().iter().all(|p| p.leader() >= 0)
            })
        });
        Ok(())
    }

    pub(crate) fn producer(&self, settings: &[(&str, &str)]) -> TestProducer {
        let mut config = self.config(&[("linger.ms", "5")]);
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config.create_with_context(Deliveries::default()).unwrap()
    }

    /// Sends values to one partition and waits until all are acknowledged.
    pub(crate) fn produce(
        &self,
        topic: &str,
        partition: i32,
        values: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) {
        let producer = self.producer(&[]);
        for value in values {
            send(&producer, BaseRecord::to(topic).partition(partition).payload(value.as_ref()));
        }
        assert!(deliveries(&producer).iter().all(Result::is_ok));
    }

    /// A consumer outside of groups, from this offset on.
    pub(crate) fn reader(
        &self,
        topic: &str,
        partition: i32,
        from: Offset,
        settings: &[(&str, &str)],
    ) -> BaseConsumer {
        let mut config = self.config(&[("group.id", "reader"), ("enable.auto.commit", "false")]);
        config.set("auto.offset.reset", "earliest");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.assign(&place(topic, partition, from)).unwrap();
        consumer
    }

    /// The values of a partition from an offset to its end, with their offsets.
    pub(crate) fn read_all(&self, topic: &str, partition: i32, from: i64) -> Vec<(i64, Vec<u8>)> {
        let consumer = self.reader(topic, partition, Offset::Offset(from), &[]);
        let (_, end) = consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap();
        let mut read = Vec::new();
        while read.last().map_or(from, |(offset, _)| offset + 1) < end {
            let message = next(&consumer);
            read.push((message.offset(), message.payload().unwrap_or_default().to_vec()));
        }
        read
    }

    pub(crate) fn watermarks(&self, topic: &str, partition: i32) -> (i64, i64) {
        let consumer: BaseConsumer = self.config(&[]).create().unwrap();
        consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap()
    }

    /// A subscribed member of a group that commits only when told to.
    pub(crate) fn member(&self, group: &str, topics: &[&str], settings: &[(&str, &str)]) -> BaseConsumer {
        let mut config = self.config(&[
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "200"),
        ]);
        for (name, value) in settings {
            config.set(*name, *value);
        }
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(topics).unwrap();
        consumer
    }

    pub(crate) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let consumer: BaseConsumer = self.config(&[("group.id", group)]).create().unwrap();
        let asked = place(topic, partition, Offset::Invalid);
        let answered = consumer.committed_offsets(asked, PATIENCE).unwrap();
        match answered.elements().first().unwrap().offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }
}

pub(crate) fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

pub(crate) fn place(topic: &str, partition: i32, offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, offset).unwrap();
    list
}

pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", Uuid::new_v4())
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Goes on until `reached`; each turn is expected to wait a little by itself or to be cheap.
pub(crate) fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "not reached: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Reports that librdkafka deals with by itself.
fn is_about_the_connection(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure))
}

/// The next message; reports of a lost connection are passed over.
pub(crate) fn next(consumer: &BaseConsumer) -> BorrowedMessage<'_> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => return message,
            Some(Err(error)) => assert!(is_about_the_connection(&error), "{error}"),
            None => {}
        }
    }
    panic!("no message within {PATIENCE:?}");
}

/// Polls once, briefly; errors are the business of the test that expects some.
pub(crate) fn poll(consumer: &BaseConsumer) -> Option<OwnedMessage> {
    consumer.poll(Duration::from_millis(20)).and_then(Result::ok).map(|message| message.detach())
}

/// The partitions a member owns now.
pub(crate) fn owned(consumer: &BaseConsumer) -> BTreeSet<i32> {
    consumer
        .assignment()
        .unwrap()
        .elements()
        .iter()
        .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
        .collect()
}
