//! Metadata and DescribeCluster: one node, leader of everything.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterResponse, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::api::text;
use crate::node::{NODE_ID, Node, now_ms};
use crate::topics::Topic;

pub(crate) const HOST: StrBytes = StrBytes::from_static_str("127.0.0.1");
/// "Not asked for", where a client could ask for the operations it is authorized to.
pub(crate) const OPERATIONS_UNKNOWN: i32 = i32::MIN;

pub(crate) fn metadata(node: &Node, version: i16, asked: MetadataRequest) -> MetadataResponse {
    // Version 0 asks for all topics by an empty list, later ones by null.
    let topics = match asked.topics {
        Some(topics) if version > 0 || !topics.is_empty() => {
            let may_create =
                node.config.auto_create_topics && (version < 4 || asked.allow_auto_topic_creation);
            topics
                .into_iter()
                .map(|topic| one_topic(node, topic.name.unwrap_or_default(), may_create))
                .collect()
        }
        _ => node.topics.all().iter().map(|topic| describe(topic)).collect(),
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE_ID))
        .with_host(HOST)
        .with_port(i32::from(node.port));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(node.topics.cluster_id.to_string())))
        .with_controller_id(BrokerId(NODE_ID))
        .with_topics(topics)
}

fn one_topic(node: &Node, name: TopicName, may_create: bool) -> MetadataResponseTopic {
    if let Some(topic) = node.topics.get(&name) {
        return describe(&topic);
    }
    let refuse = |name: TopicName, code: ResponseError| {
        MetadataResponseTopic::default().with_name(Some(name)).with_error_code(code.code())
    };
    let partitions = node.config.default_partitions;
    match node.topics.check(&name, partitions) {
        Err(refused) => refuse(name, refused.code),
        Ok(()) if !may_create => refuse(name, ResponseError::UnknownTopicOrPartition),
        Ok(()) => {
            let created = node.topics.create(&name, partitions, node.config.topic_defaults, now_ms());
            // Another connection may have been quicker.
            match created.ok().or_else(|| node.topics.get(&name)) {
                Some(topic) => describe(&topic),
                None => refuse(name, ResponseError::LeaderNotAvailable),
            }
        }
    }
}

fn describe(topic: &Topic) -> MetadataResponseTopic {
    let node = vec![BrokerId(NODE_ID)];
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(0)
            .with_replica_nodes(node.clone())
            .with_isr_nodes(node.clone())
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(topic.name.as_str()))))
        .with_partitions((0..topic.partition_count()).map(partition).collect())
        .with_topic_authorized_operations(OPERATIONS_UNKNOWN)
}

pub(crate) fn cluster(node: &Node) -> DescribeClusterResponse {
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(NODE_ID))
        .with_host(HOST)
        .with_port(i32::from(node.port));
    DescribeClusterResponse::default()
        .with_cluster_id(text(node.topics.cluster_id.to_string()))
        .with_controller_id(BrokerId(NODE_ID))
        .with_brokers(vec![broker])
        .with_cluster_authorized_operations(OPERATIONS_UNKNOWN)
}
