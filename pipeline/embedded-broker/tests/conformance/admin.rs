use rdkafka::admin::{NewPartitions, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;

use crate::client::{PATIENCE, admin_options, next, place, until, wait};
use crate::on_each_broker;

#[test]
fn a_topic_is_created_once_and_only_with_what_makes_sense() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(2, &[]);
        assert_eq!(kafka.create_topic(&topic, 2, &[]), Err(RDKafkaErrorCode::TopicAlreadyExists));
        assert_eq!(kafka.create_topic("no/slashes", 1, &[]), Err(RDKafkaErrorCode::InvalidTopic));
        assert_eq!(kafka.create_topic("none", 0, &[]), Err(RDKafkaErrorCode::InvalidPartitions));
        let odd = [("retention.ms", "soon")];
        assert_eq!(kafka.create_topic("odd", 1, &odd), Err(RDKafkaErrorCode::InvalidConfig));
        let unknown = [("retention.years", "3")];
        assert_eq!(kafka.create_topic("odd", 1, &unknown), Err(RDKafkaErrorCode::InvalidConfig));
    });
}

#[test]
fn a_deleted_topic_is_gone_and_its_name_starts_anew() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(1, &[]);
        kafka.produce(&topic, 0, ["old"]);
        let delete = || wait(kafka.admin().delete_topics(&[&topic], &admin_options())).unwrap().remove(0);
        assert_eq!(delete(), Ok(topic.clone()));
        let consumer: BaseConsumer = kafka.config(&[]).create().unwrap();
        until("nobody lists the topic", || {
            let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
            metadata.topics().iter().all(|listed| listed.name() != topic)
        });
        assert_eq!(delete(), Err((topic.clone(), RDKafkaErrorCode::UnknownTopicOrPartition)));
        kafka.create_topic(&topic, 1, &[]).unwrap();
        assert_eq!(kafka.watermarks(&topic, 0), (0, 0));
        kafka.produce(&topic, 0, ["new"]);
        assert_eq!(kafka.read_all(&topic, 0, 0), [(0, b"new".to_vec())]);
    });
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(1, &[]);
        kafka.produce(&topic, 0, ["kept"]);
        let grow = |count| {
            let more = NewPartitions::new(&topic, count);
            wait(kafka.admin().create_partitions([&more], &admin_options())).unwrap().remove(0)
        };
        assert_eq!(grow(3), Ok(topic.clone()));
        assert_eq!(grow(2), Err((topic.clone(), RDKafkaErrorCode::InvalidPartitions)));
        let consumer: BaseConsumer = kafka.config(&[]).create().unwrap();
        until("all partitions have leaders", || {
            let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).unwrap();
            metadata.topics()[0].partitions().iter().filter(|partition| partition.leader() >= 0).count() == 3
        });
        kafka.produce(&topic, 2, ["added"]);
        assert_eq!(kafka.read_all(&topic, 0, 0), [(0, b"kept".to_vec())]);
        assert_eq!(kafka.read_all(&topic, 2, 0), [(0, b"added".to_vec())]);
    });
}

#[test]
fn deleted_records_are_gone_for_everyone() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(1, &[]);
        kafka.produce(&topic, 0, (0..100).map(|n| n.to_string()));
        let delete = |before| {
            let places = place(&topic, 0, before);
            let deleted = wait(kafka.admin().delete_records(&places, &admin_options())).unwrap();
            let partition = &deleted.elements()[0];
            partition.error().map(|()| partition.offset())
        };
        assert_eq!(delete(Offset::Offset(60)), Ok(Offset::Offset(60)));
        assert_eq!(kafka.watermarks(&topic, 0), (60, 100));
        assert_eq!(delete(Offset::Offset(10)), Ok(Offset::Offset(60)));
        assert_eq!(
            delete(Offset::Offset(101)).unwrap_err().rdkafka_error_code(),
            Some(RDKafkaErrorCode::OffsetOutOfRange)
        );
        let consumer = kafka.reader(&topic, 0, Offset::Offset(5), &[]);
        assert_eq!(next(&consumer).payload(), Some(&b"60"[..]));
        assert_eq!(delete(Offset::End), Ok(Offset::Offset(100)));
        assert_eq!(kafka.watermarks(&topic, 0), (100, 100));
        kafka.produce(&topic, 0, ["next"]);
        assert_eq!(kafka.read_all(&topic, 0, 100), [(100, b"next".to_vec())]);
    });
}

#[test]
fn a_topics_settings_can_be_read_back() {
    on_each_broker(|kafka| {
        let topic = kafka.topic(1, &[("retention.ms", "86400000"), ("cleanup.policy", "compact")]);
        let topic = ResourceSpecifier::Topic(&topic);
        let described =
            wait(kafka.admin().describe_configs([&topic], &admin_options())).unwrap().remove(0).unwrap();
        let value = |name: &str| described.get(name).and_then(|entry| entry.value.clone());
        assert_eq!(value("retention.ms").as_deref(), Some("86400000"));
        assert_eq!(value("cleanup.policy").as_deref(), Some("compact"));
        assert_eq!(value("max.message.bytes").as_deref(), Some("1048588"));
        let broker = wait(kafka.admin().describe_configs([&ResourceSpecifier::Broker(1)], &admin_options()));
        assert!(broker.unwrap().remove(0).unwrap().get("message.max.bytes").is_some());
    });
}
