//! Fetch: reads, and waits for what is not there yet.
//!
//! ```text
//!   look ──enough, an error, or time is up──▶ write the answer
//!    ▲ └─not enough──▶ ask the partitions to wake us, look again ──▶ wait
//!    └──────────────────── an append, a deletion, the deadline ◀──────┘
//! ```
//! This is the one answer encoded here and not by `kafka-protocol`: records are read from the page cache straight into
//! the output buffer, without a copy in between.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::api::NO_ERROR;
use crate::connection::Client;
use crate::dispatch::{Request, begin, finish};
use crate::log::partition::{OffsetError, Partition, ReadLimit, Slice};
use crate::node::Node;
use crate::topics::Topic;

/// What there is for one partition of the request.
struct Found {
    index: i32,
    state: Result<Readable, ResponseError>,
}

struct Readable {
    high_watermark: i64,
    log_start: i64,
    slice: Option<Slice>,
}

/// What there is for the whole request, in its order.
struct Look {
    topics: Vec<(String, Vec<Found>)>,
    bytes: usize,
    has_error: bool,
}

pub(crate) async fn answer(
    node: &Node,
    client: &Client,
    request: Request,
    asked: FetchRequest,
    refused: Option<ResponseError>,
) -> BytesMut {
    // Sessions (KIP-227) are not offered: every answer says session 0, so no client asks with another.
    let refused = refused.or((asked.session_id != 0).then_some(ResponseError::FetchSessionIdNotFound));
    if let Some(code) = refused {
        return refuse(request, &asked, code);
    }
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(asked.max_wait_ms).unwrap_or(0));
    let least = usize::try_from(asked.min_bytes).unwrap_or(0);
    let is_enough = |look: &Look| look.bytes >= least || look.has_error || look.topics.is_empty();
    let mut found = look(node, &asked, None);
    while !is_enough(&found) && Instant::now() < deadline {
        let waiter = Arc::new(Notify::new());
        found = look(node, &asked, Some(&waiter));
        if is_enough(&found) {
            break;
        }
        tokio::select! {
            _ = timeout_at(deadline, waiter.notified()) => {}
            () = client.gone() => break,
        }
        found = look(node, &asked, None);
    }
    write(request, &found)
}

fn refuse(request: Request, asked: &FetchRequest, code: ResponseError) -> BytesMut {
    let refuse = |partition: &FetchPartition| Found { index: partition.partition, state: Err(code) };
    let topics = asked
        .topics
        .iter()
        .map(|topic| (topic.topic.to_string(), topic.partitions.iter().map(refuse).collect()))
        .collect();
    write(request, &Look { topics, bytes: 0, has_error: true })
}

/// Finds, within the limits of the request and of the broker, where the answer's records are; reads none.
fn look(node: &Node, asked: &FetchRequest, waiter: Option<&Arc<Notify>>) -> Look {
    let limit = asked.max_bytes.clamp(0, i32::try_from(node.config.max_fetch_bytes).unwrap_or(i32::MAX));
    let limit = usize::try_from(limit).unwrap_or(0);
    let mut look = Look { topics: Vec::with_capacity(asked.topics.len()), bytes: 0, has_error: false };
    for wanted in &asked.topics {
        let topic = node.topics.get(&wanted.topic);
        let mut partitions = Vec::with_capacity(wanted.partitions.len());
        for partition in &wanted.partitions {
            let own_limit = usize::try_from(partition.partition_max_bytes).unwrap_or(0);
            let limit = ReadLimit {
                max_bytes: own_limit.min(limit.saturating_sub(look.bytes)),
                first_batch_always: look.bytes == 0,
            };
            let state = look_at(topic.as_deref(), partition, limit, waiter);
            match &state {
                Ok(readable) => look.bytes += readable.slice.as_ref().map_or(0, |slice| slice.bytes),
                Err(_) => look.has_error = true,
            }
            partitions.push(Found { index: partition.partition, state });
        }
        look.topics.push((wanted.topic.to_string(), partitions));
    }
    look
}

fn look_at(
    topic: Option<&Topic>,
    wanted: &FetchPartition,
    limit: ReadLimit,
    waiter: Option<&Arc<Notify>>,
) -> Result<Readable, ResponseError> {
    let mut partition = topic
        .and_then(|topic| topic.partition(wanted.partition))
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    if let Some(waiter) = waiter {
        partition.wake_on_append(waiter);
    }
    let slice = partition.slice(wanted.fetch_offset, limit).map_err(|error| offset_code(&error))?;
    let partition: &Partition = &partition;
    Ok(Readable { high_watermark: partition.end(), log_start: partition.log_start(), slice })
}

pub(super) fn offset_code(error: &OffsetError) -> ResponseError {
    match error {
        OffsetError::OutOfRange => ResponseError::OffsetOutOfRange,
        OffsetError::Closed => ResponseError::UnknownTopicOrPartition,
        OffsetError::Storage(error) => {
            tracing::error!(%error, "cannot read a log");
            ResponseError::KafkaStorageError
        }
    }
}

/// Fetch response 4 to 11 (Kafka protocol guide).
fn write(request: Request, look: &Look) -> BytesMut {
    let mut out = begin(request, look.bytes + 64 * (1 + look.topics.len()));
    out.put_i32(0); // throttle time
    if request.version >= 7 {
        out.put_i16(NO_ERROR);
        out.put_i32(0); // no session
    }
    out.put_i32(look.topics.len() as i32);
    for (topic, partitions) in &look.topics {
        out.put_i16(topic.len() as i16);
        out.put_slice(topic.as_bytes());
        out.put_i32(partitions.len() as i32);
        for found in partitions {
            write_partition(&mut out, request.version, found);
        }
    }
    finish(out)
}

fn write_partition(out: &mut BytesMut, version: i16, found: &Found) {
    let start = out.len();
    let refused = |out: &mut BytesMut, code: ResponseError| {
        write_partition_header(out, version, (found.index, code.code(), -1, -1));
        out.put_i32(0);
    };
    match &found.state {
        Err(code) => refused(out, *code),
        Ok(readable) => {
            let header = (found.index, NO_ERROR, readable.high_watermark, readable.log_start);
            write_partition_header(out, version, header);
            if let Err(error) = write_records(out, readable.slice.as_ref()) {
                tracing::error!(%error, "cannot read a log");
                out.truncate(start);
                refused(out, ResponseError::KafkaStorageError);
            }
        }
    }
}

/// (partition, error code, high watermark, log start) and what follows up to the records.
fn write_partition_header(out: &mut BytesMut, version: i16, header: (i32, i16, i64, i64)) {
    let (index, error_code, high_watermark, log_start) = header;
    out.put_i32(index);
    out.put_i16(error_code);
    out.put_i64(high_watermark);
    out.put_i64(high_watermark); // last stable offset: there are no transactions
    if version >= 5 {
        out.put_i64(log_start);
    }
    out.put_i32(-1); // aborted transactions: null
    if version >= 11 {
        out.put_i32(-1); // no preferred read replica
    }
}

fn write_records(out: &mut BytesMut, slice: Option<&Slice>) -> io::Result<()> {
    let Some(slice) = slice else {
        out.put_i32(0);
        return Ok(());
    };
    out.put_i32(slice.bytes as i32);
    let start = out.len();
    out.resize(start + slice.bytes, 0);
    let place = out.get_mut(start..).unwrap_or_default();
    slice.file.read_exact_at(place, slice.position)
}
