//! CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords, DescribeConfigs.

use std::collections::HashMap;
use std::time::Instant;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::api::fetch::offset_code;
use crate::api::{NO_ERROR, code, text};
use crate::locks::hold;
use crate::node::{NODE_ID, Node, now_ms};
use crate::topics::TopicRefused;

pub(crate) fn create_topics(node: &Node, asked: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut named: HashMap<TopicName, usize> = HashMap::new();
    for topic in &asked.topics {
        *named.entry(topic.name.clone()).or_default() += 1;
    }
    let create = |topic: CreatableTopic| {
        let created = if named.get(&topic.name).is_some_and(|count| *count > 1) {
            Err(refused(ResponseError::InvalidRequest, "the request names the topic twice"))
        } else {
            create_topic(node, &topic, asked.validate_only)
        };
        let (error_code, message) = wire(created);
        CreatableTopicResult::default()
            .with_name(topic.name)
            .with_error_code(error_code)
            .with_error_message(message)
    };
    CreateTopicsResponse::default().with_topics(asked.topics.into_iter().map(create).collect())
}

fn create_topic(node: &Node, topic: &CreatableTopic, only_check: bool) -> Result<(), TopicRefused> {
    let is_here = |brokers: &[BrokerId]| brokers == [BrokerId(NODE_ID)];
    if !topic.assignments.iter().all(|assignment| is_here(&assignment.broker_ids)) {
        return Err(refused(ResponseError::InvalidReplicaAssignment, "there is one broker, its id is 1"));
    }
    if topic.assignments.is_empty() && !matches!(topic.replication_factor, -1 | 1) {
        let message = format!("replication factor {}: there is one broker, use 1", topic.replication_factor);
        return Err(refused(ResponseError::InvalidReplicationFactor, message));
    }
    let partitions = match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => node.config.default_partitions,
        (0, count) => u32::try_from(count).unwrap_or(0),
        (assigned, _) => assigned as u32,
    };
    let mut settings = node.config.topic_defaults;
    for setting in &topic.configs {
        let value = setting.value.as_deref().unwrap_or_default();
        settings
            .set(&setting.name, value)
            .map_err(|message| refused(ResponseError::InvalidConfig, message))?;
    }
    node.topics.check(&topic.name, partitions)?;
    if !only_check {
        node.topics.create(&topic.name, partitions, settings, now_ms())?;
    }
    Ok(())
}

fn refused(code: ResponseError, message: impl Into<String>) -> TopicRefused {
    TopicRefused { code, message: message.into() }
}

fn wire(outcome: Result<(), TopicRefused>) -> (i16, Option<StrBytes>) {
    match outcome {
        Ok(()) => (NO_ERROR, None),
        Err(refused) => (refused.code.code(), Some(text(refused.message))),
    }
}

/// Deletes topics, and every group's offsets in them.
pub(crate) fn delete_topics(node: &Node, asked: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let delete = |name: TopicName| {
        let deleted = node.topics.delete(&name).map_err(|refused| refused.code);
        let deleted = deleted.and_then(|()| hold(&node.groups).forget_topic(Instant::now(), &name));
        DeletableTopicResult::default().with_name(Some(name)).with_error_code(code(&deleted))
    };
    DeleteTopicsResponse::default().with_responses(asked.topic_names.into_iter().map(delete).collect())
}

pub(crate) fn create_partitions(node: &Node, asked: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(asked.topics.len());
    for topic in asked.topics {
        let count = u32::try_from(topic.count).unwrap_or(0);
        let (error_code, message) = wire(node.topics.grow(&topic.name, count, asked.validate_only, now_ms()));
        results.push(
            CreatePartitionsTopicResult::default()
                .with_name(topic.name)
                .with_error_code(error_code)
                .with_error_message(message),
        );
    }
    CreatePartitionsResponse::default().with_results(results)
}

pub(crate) fn delete_records(node: &Node, asked: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(asked.topics.len());
    for wanted in asked.topics {
        let topic = node.topics.get(&wanted.name);
        let delete = |index: i32, offset: i64| {
            let partition = topic.as_deref().and_then(|topic| topic.partition(index));
            let deleted =
                partition.ok_or(ResponseError::UnknownTopicOrPartition).and_then(|mut partition| {
                    partition.delete_before(offset).map_err(|error| offset_code(&error))
                });
            DeleteRecordsPartitionResult::default()
                .with_partition_index(index)
                .with_error_code(code(&deleted))
                .with_low_watermark(deleted.unwrap_or(-1))
        };
        let partitions = wanted.partitions.iter().map(|p| delete(p.partition_index, p.offset)).collect();
        topics.push(DeleteRecordsTopicResult::default().with_name(wanted.name).with_partitions(partitions));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

/// DescribeConfigs' numbers for what a configuration belongs to and where its value comes from.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const FROM_TOPIC: i8 = 1;
const FROM_BROKER_FILE: i8 = 4;

pub(crate) fn describe_configs(node: &Node, asked: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let describe = |resource: DescribeConfigsResource| {
        let response = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        let (entries, source) = match describe_resource(node, &resource) {
            Ok(described) => described,
            Err(code) => {
                return response
                    .with_error_code(code.code())
                    .with_error_message(Some(text(code.to_string())));
            }
        };
        let is_wanted = |name: &str| {
            let keys = resource.configuration_keys.as_ref();
            keys.is_none_or(|keys| keys.iter().any(|key| key.as_str() == name))
        };
        let configs = entries.into_iter().filter(|(name, _)| is_wanted(name)).map(|(name, value)| {
            DescribeConfigsResourceResult::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(text(value)))
                .with_read_only(true)
                .with_config_source(source)
        });
        response.with_configs(configs.collect())
    };
    DescribeConfigsResponse::default().with_results(asked.resources.into_iter().map(describe).collect())
}

type Described = (Vec<(&'static str, String)>, i8);

fn describe_resource(node: &Node, resource: &DescribeConfigsResource) -> Result<Described, ResponseError> {
    match resource.resource_type {
        TOPIC => {
            let topic =
                node.topics.get(&resource.resource_name).ok_or(ResponseError::UnknownTopicOrPartition)?;
            Ok((topic.settings.entries(), FROM_TOPIC))
        }
        BROKER if resource.resource_name.as_str() == NODE_ID.to_string() => {
            let config = &node.config;
            let entries = vec![
                ("auto.create.topics.enable", config.auto_create_topics.to_string()),
                ("message.max.bytes", config.topic_defaults.max_message_bytes.to_string()),
                ("num.partitions", config.default_partitions.to_string()),
                ("socket.request.max.bytes", config.max_request_bytes.to_string()),
            ];
            Ok((entries, FROM_BROKER_FILE))
        }
        _ => Err(ResponseError::InvalidRequest),
    }
}
