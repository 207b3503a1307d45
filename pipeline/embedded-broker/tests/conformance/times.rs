use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::Offset;

use crate::client::{Client, PATIENCE, deliveries, place};
use crate::on_each_broker;

/// Ten records, ten seconds apart, in one batch.
fn produce_by_the_clock(kafka: &Client, topic: &str, codec: &str, start: i64) {
    let producer = kafka.producer(&[("linger.ms", "200"), ("compression.type", codec)]);
    for n in 0..10 {
        let value = "x".repeat(500);
        let record = BaseRecord::<str, str>::to(topic).timestamp(start + n * 10_000);
        producer.send(record.payload(&value)).unwrap();
    }
    assert!(deliveries(&producer).iter().all(Result::is_ok));
}

fn offset_at(kafka: &Client, topic: &str, time: i64) -> Offset {
    let consumer: BaseConsumer = kafka.config(&[]).create().unwrap();
    let found = consumer.offsets_for_times(place(topic, 0, Offset::Offset(time)), PATIENCE).unwrap();
    found.elements().first().unwrap().offset()
}

const START: i64 = 1_700_000_000_000;

#[test]
fn a_time_is_found_to_the_record() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(1, &[("retention.ms", "-1")]);
        produce_by_the_clock(kafka, &topic, "none", START);
        produce_by_the_clock(kafka, &topic, "none", START + 1_000_000);
        assert_eq!(offset_at(kafka, &topic, 0), Offset::Offset(0));
        assert_eq!(offset_at(kafka, &topic, START + 30_000), Offset::Offset(3));
        assert_eq!(offset_at(kafka, &topic, START + 30_001), Offset::Offset(4));
        assert_eq!(offset_at(kafka, &topic, START + 500_000), Offset::Offset(10));
        assert_eq!(offset_at(kafka, &topic, START + 1_090_000), Offset::Offset(19));
        assert_eq!(offset_at(kafka, &topic, START + 1_090_001), Offset::End);
    });
}

#[test]
fn a_time_inside_a_compressed_batch_is_never_answered_too_late() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(1, &[("retention.ms", "-1")]);
        produce_by_the_clock(kafka, &topic, "lz4", START);
        produce_by_the_clock(kafka, &topic, "lz4", START + 1_000_000);
        let Offset::Offset(found) = offset_at(kafka, &topic, START + 1_030_000) else { panic!("no offset") };
        assert!((10..=13).contains(&found), "{found}");
        assert_eq!(offset_at(kafka, &topic, START + 500_000), Offset::Offset(10));
        assert_eq!(offset_at(kafka, &topic, START + 1_090_001), Offset::End);
    });
}
