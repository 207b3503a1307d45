//! What only this broker does: faults, limits, retention at a test's pace, refusal of what it does not have, and hostile
//! bytes.

#![expect(
    clippy::unwrap_used,
    reason = "a step that fails is a test that fails, in a function of its own too"
)]

#[expect(dead_code, reason = "the conformance suite uses all of it")]
mod client;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use client::{Client, PATIENCE, deliveries, next, until};
use embedded_broker::{ApiKey, Broker, Config, Fault, Injection, ResponseError, SyncPolicy};
use proptest::prelude::*;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;

fn start(change: impl FnOnce(&mut Config)) -> (tempfile::TempDir, Broker, Client) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    change(&mut config);
    let broker = Broker::start(config).unwrap();
    let kafka = Client::new(broker.bootstrap());
    (dir, broker, kafka)
}

fn values(kafka: &Client, topic: &str) -> Vec<String> {
    kafka.read_all(topic, 0, 0).into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect()
}

#[test]
fn a_lost_answer_is_retried_and_the_message_is_there_once() {
    let (_dir, broker, kafka) = start(|_| {});
    let topic = kafka.topic(1, &[]);
    broker.faults().inject(Injection { api: ApiKey::Produce, skip: 1, count: 2, fault: Fault::LoseResponse });
    let producer = kafka.producer(&[("enable.idempotence", "true")]);
    for n in 0..5 {
        producer.send(BaseRecord::<str, str>::to(&topic).payload(&n.to_string())).unwrap();
        let (_, _, offset) = deliveries(&producer).remove(0).unwrap();
        assert_eq!(offset, n, "the retry is answered with the offset of the first attempt");
    }
    assert_eq!(values(&kafka, &topic), ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_lost_request_and_a_refused_one_are_retried() {
    let (_dir, broker, kafka) = start(|_| {});
    let topic = kafka.topic(1, &[]);
    let refuse = Fault::Refuse(ResponseError::NotEnoughReplicas);
    broker.faults().inject(Injection { api: ApiKey::Produce, skip: 0, count: 1, fault: refuse });
    broker.faults().inject(Injection { api: ApiKey::Produce, skip: 1, count: 1, fault: Fault::LoseRequest });
    kafka.produce(&topic, 0, ["through it all"]);
    let refuse = Fault::Refuse(ResponseError::NotLeaderOrFollower);
    broker.faults().inject(Injection { api: ApiKey::Fetch, skip: 0, count: 2, fault: refuse });
    assert_eq!(values(&kafka, &topic), ["through it all"]);
}

#[test]
fn a_permanent_refusal_reaches_the_producer() {
    let (_dir, broker, kafka) = start(|_| {});
    let topic = kafka.topic(1, &[]);
    let fault = Fault::Refuse(ResponseError::TopicAuthorizationFailed);
    broker.faults().inject(Injection { api: ApiKey::Produce, skip: 0, count: 1, fault });
    let producer = kafka.producer(&[]);
    producer.send(BaseRecord::<str, str>::to(&topic).payload("no")).unwrap();
    assert_eq!(deliveries(&producer), [Err(RDKafkaErrorCode::TopicAuthorizationFailed)]);
}

#[test]
fn a_delayed_request_is_late_and_whole() {
    let (_dir, broker, kafka) = start(|_| {});
    let topic = kafka.topic(1, &[]);
    let delay = Duration::from_millis(300);
    broker.faults().inject(Injection { api: ApiKey::Produce, skip: 0, count: 1, fault: Fault::Delay(delay) });
    let sent = Instant::now();
    kafka.produce(&topic, 0, ["late"]);
    assert!(sent.elapsed() >= delay);
    assert_eq!(values(&kafka, &topic), ["late"]);
}

#[test]
fn clients_outlive_a_broker_that_is_away_or_silent() {
    let (_dir, broker, kafka) = start(|_| {});
    let topic = kafka.topic(1, &[]);
    let quick = [("reconnect.backoff.ms", "10"), ("reconnect.backoff.max.ms", "50")];
    let producer = kafka.producer(&quick);
    let consumer = kafka.reader(&topic, 0, Offset::Beginning, &quick);
    for stop in [embedded_broker::Faults::stop_listening, embedded_broker::Faults::pause] {
        producer.send(BaseRecord::<str, str>::to(&topic).payload("before")).unwrap();
        deliveries(&producer).remove(0).unwrap();
        assert_eq!(next(&consumer).payload(), Some(&b"before"[..]));
        stop(&broker.faults());
        producer.send(BaseRecord::<str, str>::to(&topic).payload("during")).unwrap();
        assert!(producer.flush(Duration::from_millis(300)).is_err());
        broker.faults().resume();
        deliveries(&producer).remove(0).unwrap();
        assert_eq!(next(&consumer).payload(), Some(&b"during"[..]));
    }
}

#[test]
fn nobody_is_listening_while_stopped() {
    let (_dir, broker, kafka) = start(|_| {});
    kafka.topic(1, &[]);
    broker.faults().stop_listening();
    until("connections are refused", || TcpStream::connect(broker.bootstrap()).is_err());
    broker.faults().clear();
    until("connections are taken", || TcpStream::connect(broker.bootstrap()).is_ok());
    kafka.topic(1, &[]);
}

#[test]
fn transactions_are_refused_at_once_and_for_good() {
    let (_dir, _broker, kafka) = start(|_| {});
    let producer = kafka.producer(&[("transactional.id", "stage-1")]);
    let error = producer.init_transactions(PATIENCE).unwrap_err();
    let KafkaError::Transaction(error) = error else { panic!("{error}") };
    assert!(error.is_fatal(), "{error}");
    assert_eq!(error.code(), RDKafkaErrorCode::TransactionalIdAuthorizationFailed);
}

#[test]
fn topics_come_by_themselves_only_where_that_is_wanted() {
    for wanted in [true, false] {
        let (_dir, _broker, kafka) = start(|config| {
            config.auto_create_topics = wanted;
            config.default_partitions = 3;
        });
        let consumer: BaseConsumer = kafka.config(&[("allow.auto.create.topics", "true")]).create().unwrap();
        let metadata = consumer.fetch_metadata(Some("by-itself"), PATIENCE).unwrap();
        assert_eq!(metadata.topics()[0].partitions().len(), if wanted { 3 } else { 0 });
    }
}

#[test]
fn old_segments_go_by_size_and_by_age_while_the_broker_runs() {
    let (_dir, _broker, kafka) = start(|config| config.retention_check_interval = Duration::from_millis(20));
    let by_size =
        kafka.topic(1, &[("segment.bytes", "2000"), ("retention.bytes", "6000"), ("retention.ms", "-1")]);
    for n in 0..30 {
        kafka.produce(&by_size, 0, [format!("{n} {}", "x".repeat(900))]);
    }
    until("the oldest are gone", || kafka.watermarks(&by_size, 0).0 > 15);
    let (low, high) = kafka.watermarks(&by_size, 0);
    assert_eq!(high, 30);
    assert!(kafka.read_all(&by_size, 0, low)[0].1.starts_with(format!("{low} ").as_bytes()));

    let by_age = kafka.topic(1, &[("retention.ms", "60000")]);
    let producer = kafka.producer(&[]);
    producer.send(BaseRecord::<str, str>::to(&by_age).timestamp(1_600_000_000_000).payload("old")).unwrap();
    deliveries(&producer).remove(0).unwrap();
    until("the old one is gone", || kafka.watermarks(&by_age, 0) == (1, 1));
    kafka.produce(&by_age, 0, ["young"]);
    assert_eq!(kafka.read_all(&by_age, 0, 1), [(1, b"young".to_vec())]);
}

#[test]
fn with_fsync_before_each_acknowledgement_it_works_the_same() {
    let (_dir, _broker, kafka) = start(|config| config.sync = SyncPolicy::EveryBatch);
    let topic = kafka.topic(1, &[]);
    kafka.produce(&topic, 0, ["a", "b"]);
    assert_eq!(values(&kafka, &topic), ["a", "b"]);
}

#[test]
fn connections_beyond_the_limit_are_closed_and_places_become_free_again() {
    let (_dir, broker, _kafka) = start(|config| config.max_connections = 2);
    let connect = || TcpStream::connect(broker.bootstrap()).unwrap();
    let held = [connect(), connect()];
    // Accepted in order, so the answers show that both are in.
    for mut stream in &held {
        assert_eq!(ask_versions(&mut stream), 18);
    }
    assert_eq!(connect().read(&mut [0]).unwrap(), 0);
    drop(held);
    until("a place is free", || {
        let mut stream = connect();
        let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 18, 255, 255];
        stream.write_all(&request).is_ok() && stream.read(&mut [0]).is_ok_and(|bytes| bytes == 1)
    });
}

/// Asks for ApiVersions 0 and returns the answer's correlation id, which was 18.
fn ask_versions(stream: &mut impl ReadWrite) -> i32 {
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 18, 255, 255]).unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    i32::from_be_bytes(answer[4..].try_into().unwrap())
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// Sends bytes and waits for the connection's end or, failing that, half a second without any.
fn send_raw(broker: &Broker, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(broker.bootstrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    stream.write_all(bytes).unwrap();
    let _or_it_ended = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _or_reset = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn hostile_lengths_end_their_connection_and_no_other() {
    let (_dir, broker, kafka) = start(|_| {});
    let topic = kafka.topic(1, &[]);
    let huge_frame = i32::MAX.to_be_bytes();
    let negative_frame = (-5_i32).to_be_bytes();
    let no_header = [0, 0, 0, 2, 0, 0];
    // Metadata 4 with 2^31 - 1 topics, in 19 bytes.
    let huge_array = [0, 0, 0, 15, 0, 3, 0, 4, 0, 0, 0, 1, 255, 255, 0x7f, 255, 255, 255, 1];
    let unknown_kind = [0, 0, 0, 10, 0, 99, 0, 0, 0, 0, 0, 1, 255, 255];
    for hostile in [&huge_frame[..], &negative_frame, &no_header, &huge_array, &unknown_kind] {
        assert!(send_raw(&broker, hostile).is_empty(), "{hostile:?}");
    }
    kafka.produce(&topic, 0, ["still here"]);
    assert_eq!(values(&kafka, &topic), ["still here"]);
}

#[test]
fn a_version_from_the_future_is_told_what_there_is() {
    let (_dir, broker, _kafka) = start(|_| {});
    let answer = send_raw(&broker, &[0, 0, 0, 10, 0, 18, 0, 99, 0, 0, 0, 7, 255, 255]);
    assert_eq!(answer[4..8], [0, 0, 0, 7]);
    assert_eq!(answer[8..10], ResponseError::UnsupportedVersion.code().to_be_bytes());
    assert!(i32::from_be_bytes(answer[10..14].try_into().unwrap()) > 20);
}

#[test]
fn a_damaged_batch_is_refused_and_not_stored() {
    let (_dir, broker, kafka) = start(|_| {});
    kafka.create_topic("t", 1, &[]).unwrap();
    // Produce 3, acks 1, topic "t", partition 0, 70 bytes of nonsense.
    let mut request = vec![0, 0, 0, 3, 0, 0, 0, 9, 255, 255, 255, 255, 0, 1, 0, 0, 0, 100];
    request.extend([0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 70]);
    request.extend([2; 70]);
    let mut frame = (request.len() as i32).to_be_bytes().to_vec();
    frame.extend(request);
    let answer = send_raw(&broker, &frame);
    // length, correlation id, 1 topic, "t", 1 partition, index, then the code
    assert_eq!(answer[23..25], ResponseError::CorruptMessage.code().to_be_bytes());
    assert_eq!(kafka.watermarks("t", 0), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Any body of any kind of request: an answer or the connection's end, and the broker lives on.
    #[test]
    fn random_requests_never_take_the_broker_down(
        requests in proptest::collection::vec((0_i16..64, 0_i16..14, proptest::collection::vec(any::<u8>(), 0..80)), 1..8)
    ) {
        static BROKER: std::sync::LazyLock<(tempfile::TempDir, Broker, Client)> = std::sync::LazyLock::new(|| start(|_| {}));
        let (_, broker, _) = &*BROKER;
        for (api, version, body) in requests {
            let mut frame = ((body.len() + 10) as i32).to_be_bytes().to_vec();
            frame.extend(api.to_be_bytes());
            frame.extend(version.to_be_bytes());
            frame.extend([0, 0, 0, 1, 255, 255]);
            frame.extend(body);
            let mut stream = TcpStream::connect(broker.bootstrap()).unwrap();
            stream.write_all(&frame).unwrap();
        }
        let mut stream = TcpStream::connect(broker.bootstrap()).unwrap();
        prop_assert_eq!(ask_versions(&mut stream), 18);
    }
}
