//! Produce and InitProducerId.

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse, ProducerId,
};

use crate::api::{NO_ERROR, text};
use crate::config::SyncPolicy;
use crate::dispatch::{Hangup, Request, encode};
use crate::locks::hold;
use crate::log::batch::BatchHeader;
use crate::log::partition::{AppendError, Appended};
use crate::node::{Node, now_ms};
use crate::producer_state::SequenceError;
use crate::topics::Topic;

/// What became of one partition's records: (its place in the log, the log's start), or the code and its text.
type Outcome = Result<(Appended, i64), (ResponseError, String)>;

/// Appends what was sent; each partition on its own. `None` if the client asked for no answer (acks=0).
pub(crate) fn answer(
    node: &Node,
    request: Request,
    asked: ProduceRequest,
    refused: Option<ResponseError>,
) -> Result<Option<BytesMut>, Hangup> {
    let refused = refused.or(match asked.acks {
        -1..=1 if asked.transactional_id.is_none() => None,
        -1..=1 => Some(ResponseError::TransactionalIdAuthorizationFailed),
        _ => Some(ResponseError::InvalidRequiredAcks),
    });
    let mut failure = None;
    let mut responses = Vec::with_capacity(asked.topic_data.len());
    for topic_data in asked.topic_data {
        let topic = node.topics.get(&topic_data.name);
        let mut partitions = Vec::with_capacity(topic_data.partition_data.len());
        for data in topic_data.partition_data {
            let outcome = match (refused, &topic) {
                (Some(code), _) => Err((code, code.to_string())),
                (None, Some(topic)) => write(node, topic, data.index, &data.records.unwrap_or_default()),
                (None, None) => Err(unknown_partition(&topic_data.name, data.index)),
            };
            if let Err((code, message)) = &outcome {
                failure.get_or_insert_with(|| format!("{code}: {message}"));
            }
            partitions.push(response(data.index, outcome));
        }
        responses.push(
            TopicProduceResponse::default().with_name(topic_data.name).with_partition_responses(partitions),
        );
    }
    match (asked.acks, failure) {
        (0, Some(failure)) => Err(Hangup::SilentFailure(failure)),
        (0, None) => Ok(None),
        _ => encode(request, &ProduceResponse::default().with_responses(responses)).map(Some),
    }
}

fn write(node: &Node, topic: &Topic, index: i32, records: &Bytes) -> Outcome {
    let header = check(records)?;
    let mut partition = topic.partition(index).ok_or_else(|| unknown_partition(&topic.name, index))?;
    let appended = partition.append(&header, records, now_ms()).map_err(|error| {
        if let AppendError::Storage(error) = &error {
            tracing::error!(topic = %topic.name, partition = index, %error, "cannot append");
        }
        (append_code(&error), error.to_string())
    })?;
    let log_start = partition.log_start();
    if node.config.sync == SyncPolicy::EveryBatch {
        let file = partition.active_file();
        drop(partition);
        let synced = tokio::task::block_in_place(|| file.and_then(|file| file.sync_data()));
        synced.map_err(|error| (ResponseError::KafkaStorageError, error.to_string()))?;
    }
    Ok((appended, log_start))
}

/// One batch per partition, whole and undamaged, as Kafka asks since Produce 3.
fn check(records: &Bytes) -> Result<BatchHeader, (ResponseError, String)> {
    let header =
        BatchHeader::verify(records).map_err(|damage| (ResponseError::CorruptMessage, damage.to_string()))?;
    if header.bytes != records.len() as u64 {
        return Err((ResponseError::InvalidRecord, "more than one batch for a partition".to_owned()));
    }
    if header.is_transactional_or_control() {
        return Err((ResponseError::InvalidTxnState, "this broker has no transactions".to_owned()));
    }
    Ok(header)
}

fn append_code(error: &AppendError) -> ResponseError {
    match error {
        AppendError::TooLarge { .. } => ResponseError::MessageTooLarge,
        AppendError::Sequence(SequenceError::OutOfOrder { .. }) => ResponseError::OutOfOrderSequenceNumber,
        AppendError::Sequence(SequenceError::OldEpoch { .. }) => ResponseError::InvalidProducerEpoch,
        AppendError::Closed => ResponseError::UnknownTopicOrPartition,
        AppendError::Storage(_) => ResponseError::KafkaStorageError,
    }
}

fn unknown_partition(topic: &str, index: i32) -> (ResponseError, String) {
    (ResponseError::UnknownTopicOrPartition, format!("there is no partition {index} of topic {topic}"))
}

fn response(index: i32, outcome: Outcome) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index).with_log_append_time_ms(-1);
    match outcome {
        Ok((appended, log_start)) => response
            .with_error_code(NO_ERROR)
            .with_base_offset(appended.base_offset)
            .with_log_start_offset(log_start),
        Err((code, message)) => response
            .with_error_code(code.code())
            .with_base_offset(-1)
            .with_log_start_offset(-1)
            .with_error_message(Some(text(message))),
    }
}

/// A new id for an idempotent producer. Transactions are refused with the one code that clients take for final.
pub(crate) fn init_producer_id(node: &Node, asked: &InitProducerIdRequest) -> InitProducerIdResponse {
    let response = InitProducerIdResponse::default();
    let refuse = |code: ResponseError| {
        InitProducerIdResponse::default()
            .with_error_code(code.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    if asked.transactional_id.is_some() {
        return refuse(ResponseError::TransactionalIdAuthorizationFailed);
    }
    let allocated = hold(&node.producer_ids).allocate();
    match allocated {
        Ok(id) => response.with_producer_id(ProducerId(id)).with_producer_epoch(0),
        Err(error) => {
            tracing::error!(%error, "cannot allocate a producer id");
            refuse(ResponseError::CoordinatorNotAvailable)
        }
    }
}
