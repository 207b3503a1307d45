//! ListOffsets, OffsetCommit, OffsetFetch.

use std::time::Instant;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};

use crate::api::{code, text};
use crate::group::coordinator::Coordinator;
use crate::group::member::Caller;
use crate::group::offsets::{Committed, Place, StoredOffset};
use crate::locks::hold;
use crate::node::Node;
use crate::topics::Topic;

/// Timestamps with a meaning of their own in ListOffsets.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// "None": no such offset, no such time.
const NONE: i64 = -1;

pub(crate) fn list(node: &Node, asked: ListOffsetsRequest) -> ListOffsetsResponse {
    let mut topics = Vec::with_capacity(asked.topics.len());
    for wanted in asked.topics {
        let topic = node.topics.get(&wanted.name);
        let find = |partition: i32, timestamp: i64| {
            let found = topic.as_deref().ok_or(ResponseError::UnknownTopicOrPartition);
            let found = found.and_then(|topic| find_offset(topic, partition, timestamp));
            let response = ListOffsetsPartitionResponse::default()
                .with_partition_index(partition)
                .with_error_code(code(&found));
            let (offset, at) = found.unwrap_or((NONE, NONE));
            response.with_offset(offset).with_timestamp(at).with_leader_epoch(0)
        };
        let partitions = wanted.partitions.iter().map(|p| find(p.partition_index, p.timestamp)).collect();
        topics.push(ListOffsetsTopicResponse::default().with_name(wanted.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// (offset, timestamp); a time later than every record has neither.
fn find_offset(topic: &Topic, index: i32, timestamp: i64) -> Result<(i64, i64), ResponseError> {
    let partition = topic.partition(index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    match timestamp {
        LATEST => Ok((partition.end(), NONE)),
        EARLIEST => Ok((partition.log_start(), NONE)),
        0.. => match partition.offset_for_time(timestamp) {
            Ok(found) => Ok(found.unwrap_or((NONE, NONE))),
            Err(error) => {
                tracing::error!(topic = %topic.name, partition = index, %error, "cannot read a log");
                Err(ResponseError::KafkaStorageError)
            }
        },
        _ => Err(ResponseError::UnsupportedVersion),
    }
}

/// A partition, and whether an offset may be kept for it.
type Checked = (i32, Result<(), ResponseError>);

/// Commits what can be committed; a partition that is unknown, or whose note is too long, is refused on its own.
pub(crate) fn commit(node: &Node, asked: OffsetCommitRequest) -> OffsetCommitResponse {
    let mut accepted = Vec::new();
    let mut topics: Vec<(TopicName, Vec<Checked>)> = Vec::new();
    for wanted in asked.topics {
        let known = node.topics.get(&wanted.name).map_or(0, |topic| topic.partition_count());
        let mut partitions = Vec::with_capacity(wanted.partitions.len());
        for offset in wanted.partitions {
            let metadata = offset.committed_metadata.as_deref().unwrap_or_default();
            let checked = if !(0..known).contains(&offset.partition_index) {
                Err(ResponseError::UnknownTopicOrPartition)
            } else if Coordinator::is_note_too_long(metadata) {
                Err(ResponseError::OffsetMetadataTooLarge)
            } else {
                accepted.push(StoredOffset {
                    topic: wanted.name.to_string(),
                    partition: offset.partition_index,
                    committed: Committed {
                        offset: offset.committed_offset,
                        leader_epoch: offset.committed_leader_epoch,
                        metadata: metadata.to_owned(),
                    },
                });
                Ok(())
            };
            partitions.push((offset.partition_index, checked));
        }
        topics.push((wanted.name, partitions));
    }
    let caller = Caller {
        member_id: &asked.member_id,
        instance_id: asked.group_instance_id.as_deref(),
        generation: asked.generation_id_or_member_epoch,
    };
    let committed = hold(&node.groups).commit(Instant::now(), &asked.group_id, caller, accepted);
    let answer = |(index, checked): Checked| {
        OffsetCommitResponsePartition::default()
            .with_partition_index(index)
            .with_error_code(code(&checked.and(committed)))
    };
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(answer).collect();
            OffsetCommitResponseTopic::default().with_name(name).with_partitions(partitions)
        })
        .collect();
    OffsetCommitResponse::default().with_topics(topics)
}

/// A partition without a committed offset is answered with -1 and no error, whether it exists or not.
pub(crate) fn fetch(node: &Node, asked: OffsetFetchRequest) -> OffsetFetchResponse {
    let groups = hold(&node.groups);
    let answer = |index: i32, committed: Option<&Committed>| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_committed_offset(committed.map_or(NONE, |committed| committed.offset))
            .with_committed_leader_epoch(committed.map_or(-1, |committed| committed.leader_epoch))
            .with_metadata(Some(text(committed.map_or("", |committed| &committed.metadata))))
    };
    let mut topics: Vec<OffsetFetchResponseTopic> = Vec::new();
    if let Some(wanted) = asked.topics {
        for topic in wanted {
            let committed =
                |index: &i32| groups.committed(&asked.group_id, &(topic.name.to_string(), *index));
            let partitions =
                topic.partition_indexes.iter().map(|index| answer(*index, committed(index))).collect();
            topics
                .push(OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions));
        }
    } else {
        // In order of topic, so partitions of one topic come one behind the other.
        for (place, committed) in groups.all_committed(&asked.group_id) {
            let (topic, index): &Place = place;
            if topics.last().is_none_or(|last| last.name.as_str() != topic.as_str()) {
                topics.push(OffsetFetchResponseTopic::default().with_name(TopicName(text(topic.as_str()))));
            }
            if let Some(last) = topics.last_mut() {
                last.partitions.push(answer(*index, Some(committed)));
            }
        }
    }
    OffsetFetchResponse::default().with_topics(topics)
}
