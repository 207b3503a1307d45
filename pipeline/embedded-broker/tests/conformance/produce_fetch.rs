use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;

use crate::client::{self, PATIENCE, deliveries, next, place, send};
use crate::on_each_broker;

#[test]
fn a_message_comes_back_as_it_was_sent() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(3, &[]);
        let producer = kafka.producer(&[]);
        let headers = OwnedHeaders::new()
            .insert(Header { key: "ce_id", value: Some("e-1") })
            .insert(Header { key: "empty", value: None::<&str> });
        let full = BaseRecord::to(&topic)
            .partition(2)
            .key("study")
            .payload("findings")
            .timestamp(1_700_000_000_123)
            .headers(headers);
        producer.send(full).unwrap();
        let tombstone: BaseRecord<'_, str, [u8]> = BaseRecord::to(&topic).partition(2).key("study");
        producer.send(tombstone).unwrap();
        let placed: Vec<(i32, i64)> = deliveries(&producer)
            .into_iter()
            .map(Result::unwrap)
            .map(|(_, partition, offset)| (partition, offset))
            .collect();
        assert_eq!(placed, [(2, 0), (2, 1)]);

        let consumer = kafka.reader(&topic, 2, Offset::Beginning, &[]);
        let message = next(&consumer);
        assert_eq!(message.key(), Some(&b"study"[..]));
        assert_eq!(message.payload(), Some(&b"findings"[..]));
        assert_eq!(message.timestamp().to_millis(), Some(1_700_000_000_123));
        let headers = message.headers().unwrap();
        assert_eq!((headers.get(0).key, headers.get(0).value), ("ce_id", Some(&b"e-1"[..])));
        assert_eq!((headers.get(1).key, headers.get(1).value), ("empty", None));
        let tombstone = next(&consumer);
        assert_eq!((tombstone.key(), tombstone.payload()), (Some(&b"study"[..]), None));
        assert_eq!(kafka.watermarks(&topic, 2), (0, 2));
        assert_eq!(kafka.watermarks(&topic, 0), (0, 0));
    });
}

#[test]
fn every_codec_passes_through() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(1, &[]);
        let value = "the same words again and again ".repeat(100);
        let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
        for codec in codecs {
            let producer = kafka.producer(&[("compression.type", codec)]);
            for n in 0..50 {
                producer
                    .send(BaseRecord::<str, str>::to(&topic).payload(&format!("{codec} {n} {value}")))
                    .unwrap();
            }
            assert!(deliveries(&producer).iter().all(Result::is_ok));
        }
        let read = kafka.read_all(&topic, 0, 0);
        let expected: Vec<Vec<u8>> = codecs
            .iter()
            .flat_map(|codec| (0..50).map(move |n| (codec, n)))
            .map(|(codec, n)| format!("{codec} {n} {value}").into_bytes())
            .collect();
        assert!(read.into_iter().map(|(_, value)| value).eq(expected));
        // From the middle of a compressed batch.
        assert_eq!(kafka.read_all(&topic, 0, 75)[0].0, 75);
    });
}

#[test]
fn a_waiting_fetch_wakes_when_data_comes() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(1, &[]);
        let patient =
            [("fetch.wait.max.ms", "20000"), ("fetch.min.bytes", "1"), ("socket.timeout.ms", "30000")];
        let consumer = kafka.reader(&topic, 0, Offset::Beginning, &patient);
        kafka.produce(&topic, 0, ["first"]);
        assert_eq!(next(&consumer).payload(), Some(&b"first"[..]));
        // By now the consumer's next fetch waits; only waking it delivers within less than its 20 s.
        assert!(consumer.poll(Duration::from_millis(500)).is_none());
        let sent = Instant::now();
        kafka.produce(&topic, 0, ["second"]);
        assert_eq!(next(&consumer).payload(), Some(&b"second"[..]));
        assert!(sent.elapsed() < Duration::from_secs(10), "{:?}", sent.elapsed());
    });
}

#[test]
fn a_large_message_goes_where_the_topic_allows_it_and_nowhere_else() {
    on_each_broker(|kafka| {
        let value = vec![7; 8 << 20];
        let large = [("message.max.bytes", "20000000")];
        let wide = kafka.topic(1, &[("max.message.bytes", "10000000")]);
        let narrow = kafka.topic(1, &[]);
        let producer = kafka.producer(&large);
        for topic in [&wide, &narrow] {
            send(&producer, BaseRecord::to(topic).payload(&value));
            let outcome = deliveries(&producer).remove(0);
            if topic == &wide {
                assert_eq!(outcome.unwrap().2, 0);
            } else {
                assert_eq!(outcome.unwrap_err(), RDKafkaErrorCode::MessageSizeTooLarge);
            }
        }
        // The consumer's limit is smaller than the message; it comes all the same.
        let consumer = kafka.reader(&wide, 0, Offset::Beginning, &[("fetch.message.max.bytes", "65536")]);
        assert_eq!(next(&consumer).payload().map(<[u8]>::len), Some(value.len()));
        kafka.produce(&narrow, 0, ["small"]);
        assert_eq!(kafka.read_all(&narrow, 0, 0).len(), 1);
    });
}

#[test]
fn an_idempotent_producer_writes_each_message_once_and_in_order() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(2, &[]);
        let producer = kafka.producer(&[("enable.idempotence", "true"), ("batch.num.messages", "50")]);
        for n in 0..2000 {
            let record = BaseRecord::<str, str>::to(&topic).partition(n % 2);
            producer.send(record.payload(&n.to_string())).unwrap();
        }
        assert!(deliveries(&producer).iter().all(Result::is_ok));
        for partition in 0..2 {
            let values = kafka.read_all(&topic, partition, 0).into_iter().map(|(_, value)| value);
            assert!(values.eq((partition..2000).step_by(2).map(|n| n.to_string().into_bytes())));
        }
    });
}

#[test]
fn many_partitions_are_written_and_read_together() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(100, &[]);
        let producer = kafka.producer(&[]);
        for n in 0..1000 {
            let record = BaseRecord::<str, str>::to(&topic).partition(n % 100);
            producer.send(record.payload(&n.to_string())).unwrap();
        }
        assert!(deliveries(&producer).iter().all(Result::is_ok));
        let consumer = kafka.reader(&topic, 0, Offset::Beginning, &[]);
        let mut all = rdkafka::TopicPartitionList::new();
        all.add_partition_range(&topic, 0, 99);
        all.set_all_offsets(Offset::Beginning).unwrap();
        consumer.assign(&all).unwrap();
        let mut read: Vec<i32> = (0..1000)
            .map(|_| {
                let message = next(&consumer);
                let value: i32 = std::str::from_utf8(message.payload().unwrap()).unwrap().parse().unwrap();
                assert_eq!(value % 100, message.partition());
                value
            })
            .collect();
        read.sort_unstable();
        assert!(read.into_iter().eq(0..1000));
    });
}

#[test]
fn seek_and_pause_do_what_they_say() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(1, &[]);
        kafka.produce(&topic, 0, (0..100).map(|n| n.to_string()));
        let consumer = kafka.reader(&topic, 0, Offset::OffsetTail(10), &[]);
        assert_eq!(next(&consumer).offset(), 90);
        consumer.seek(&topic, 0, Offset::Offset(40), PATIENCE).unwrap();
        assert_eq!(next(&consumer).offset(), 40);
        consumer.pause(&place(&topic, 0, Offset::Invalid)).unwrap();
        assert!(client::poll(&consumer).is_none());
        consumer.resume(&place(&topic, 0, Offset::Invalid)).unwrap();
        assert_eq!(next(&consumer).offset(), 41);
    });
}

#[test]
fn an_offset_outside_of_the_log_resets_as_the_client_wishes() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(1, &[]);
        kafka.produce(&topic, 0, ["a", "b"]);
        let consumer = kafka.reader(&topic, 0, Offset::Offset(50), &[]);
        assert_eq!(next(&consumer).offset(), 0);
        let strict = kafka.reader(&topic, 0, Offset::Offset(50), &[("auto.offset.reset", "error")]);
        let mut error = None;
        client::until("the offset is refused", || {
            error = strict.poll(Duration::from_millis(50)).and_then(Result::err);
            error.is_some()
        });
        assert_eq!(error.unwrap().rdkafka_error_code(), Some(RDKafkaErrorCode::AutoOffsetReset));
    });
}

#[test]
fn an_unknown_topic_is_named_as_such() {
    on_each_broker(|kafka| {
        let consumer: BaseConsumer = kafka.config(&[]).create().unwrap();
        let name = client::unique("nowhere");
        let metadata = consumer.fetch_metadata(Some(&name), PATIENCE).unwrap();
        let error = metadata.topics()[0].error().map(RDKafkaErrorCode::from);
        assert_eq!(error, Some(RDKafkaErrorCode::UnknownTopicOrPartition));
        let all = consumer.fetch_metadata(None, PATIENCE).unwrap();
        assert!(all.topics().iter().all(|topic| topic.name() != name));
        assert_eq!(all.brokers().len(), 1);
    });
}

#[test]
fn acks_0_and_1_arrive_too() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(1, &[]);
        for acks in ["0", "1"] {
            let producer = kafka.producer(&[("acks", acks)]);
            producer.send(BaseRecord::<str, str>::to(&topic).payload(acks)).unwrap();
            assert!(deliveries(&producer)[0].is_ok());
            client::until("it is in the log", || {
                kafka.read_all(&topic, 0, 0).last().is_some_and(|(_, value)| value == acks.as_bytes())
            });
        }
    });
}
