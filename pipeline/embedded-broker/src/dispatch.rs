//! From a frame to its answer: header, version, faults, decoding, the right file of [`api`](crate::api), encoding.
//!
//! A request that cannot be answered in its own terms (unknown kind, version not offered, bytes that do not decode) ends
//! the connection, as Kafka does; an ApiVersions request of any version is answered, so that clients can negotiate.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, InitProducerIdRequest, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, VersionRange};

use crate::api::{admin, fetch, groups, metadata, offsets, produce};
use crate::connection::Client;
use crate::declared_lengths;
use crate::faults::Fault;
use crate::node::Node;

/// What is offered: the newest versions without compact encoding, where librdkafka does not need newer ones.
pub(crate) const OFFERED: [(ApiKey, VersionRange); 22] = [
    (ApiKey::Produce, VersionRange { min: 3, max: 8 }),
    (ApiKey::Fetch, VersionRange { min: 4, max: 11 }),
    (ApiKey::ListOffsets, VersionRange { min: 1, max: 5 }),
    (ApiKey::Metadata, VersionRange { min: 0, max: 8 }),
    (ApiKey::OffsetCommit, VersionRange { min: 5, max: 7 }),
    (ApiKey::OffsetFetch, VersionRange { min: 1, max: 5 }),
    (ApiKey::FindCoordinator, VersionRange { min: 0, max: 2 }),
    (ApiKey::JoinGroup, VersionRange { min: 0, max: 5 }),
    (ApiKey::Heartbeat, VersionRange { min: 0, max: 3 }),
    (ApiKey::LeaveGroup, VersionRange { min: 0, max: 3 }),
    (ApiKey::SyncGroup, VersionRange { min: 0, max: 3 }),
    (ApiKey::DescribeGroups, VersionRange { min: 0, max: 4 }),
    (ApiKey::ListGroups, VersionRange { min: 0, max: 2 }),
    (ApiKey::ApiVersions, VersionRange { min: 0, max: 3 }),
    (ApiKey::CreateTopics, VersionRange { min: 2, max: 4 }),
    (ApiKey::DeleteTopics, VersionRange { min: 1, max: 3 }),
    (ApiKey::DeleteRecords, VersionRange { min: 0, max: 1 }),
    (ApiKey::InitProducerId, VersionRange { min: 0, max: 4 }),
    (ApiKey::DescribeConfigs, VersionRange { min: 1, max: 3 }),
    (ApiKey::CreatePartitions, VersionRange { min: 0, max: 1 }),
    (ApiKey::DeleteGroups, VersionRange { min: 0, max: 1 }),
    (ApiKey::DescribeCluster, VersionRange { min: 0, max: 0 }),
];

/// Why a connection is ended instead of answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Hangup {
    #[error("a request of {0} bytes has no header")]
    NoHeader(usize),
    #[error("request kind {key} in version {version} is not offered")]
    NotOffered { key: i16, version: i16 },
    #[error("a request of kind {key} cannot be decoded: {reason}")]
    Malformed { key: i16, reason: String },
    #[error("an answer of kind {key} cannot be encoded: {reason}")]
    Unencodable { key: i16, reason: String },
    #[error("a write that asked for no answer failed: {0}")]
    SilentFailure(String),
    #[error("an injected fault")]
    Injected,
}

/// A request's identity, for its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
}

/// Answers one frame; `None` if it asked for no answer.
pub(crate) async fn answer(node: &Node, client: &Client, frame: Bytes) -> Result<Option<BytesMut>, Hangup> {
    let (request, client_id, body) = open(frame)?;
    if request.api == ApiKey::ApiVersions && !versions(ApiKey::ApiVersions).contains(request.version) {
        let fallback = Request { version: 0, ..request };
        return encode(fallback, &api_versions(kafka_protocol::ResponseError::UnsupportedVersion.code()))
            .map(Some);
    }
    let mut refused = None;
    let mut is_answer_lost = false;
    for fault in node.faults.next(request.api) {
        match fault {
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::Refuse(code) => refused = Some(code),
            Fault::LoseRequest => return Err(Hangup::Injected),
            Fault::LoseResponse => is_answer_lost = true,
        }
    }
    let answer = match request.api {
        ApiKey::Produce => produce::answer(node, request, decode(request, body)?, refused)?,
        ApiKey::Fetch => Some(fetch::answer(node, client, request, decode(request, body)?, refused).await),
        ApiKey::JoinGroup => {
            let asked = decode(request, body)?;
            Some(encode(request, &groups::join(node, client, request, &client_id, asked).await)?)
        }
        ApiKey::SyncGroup => {
            Some(encode(request, &groups::sync(node, client, decode(request, body)?).await)?)
        }
        _ => Some(answer_at_once(node, request, body)?),
    };
    if is_answer_lost { Err(Hangup::Injected) } else { Ok(answer) }
}

fn answer_at_once(node: &Node, request: Request, body: Bytes) -> Result<BytesMut, Hangup> {
    let version = request.version;
    match request.api {
        ApiKey::ListOffsets => encode(request, &offsets::list(node, decode(request, body)?)),
        ApiKey::OffsetCommit => encode(request, &offsets::commit(node, decode(request, body)?)),
        ApiKey::OffsetFetch => encode(request, &offsets::fetch(node, decode(request, body)?)),
        ApiKey::Metadata => encode(request, &metadata::metadata(node, version, decode(request, body)?)),
        ApiKey::DescribeCluster => encode(request, &metadata::cluster(node)),
        ApiKey::FindCoordinator => encode(request, &groups::find_coordinator(node, decode(request, body)?)),
        ApiKey::Heartbeat => encode(request, &groups::heartbeat(node, decode(request, body)?)),
        ApiKey::LeaveGroup => encode(request, &groups::leave(node, version, decode(request, body)?)),
        ApiKey::DescribeGroups => encode(request, &groups::describe(node, decode(request, body)?)),
        ApiKey::ListGroups => encode(request, &groups::list(node)),
        ApiKey::DeleteGroups => encode(request, &groups::delete(node, decode(request, body)?)),
        ApiKey::CreateTopics => encode(request, &admin::create_topics(node, decode(request, body)?)),
        ApiKey::DeleteTopics => encode(request, &admin::delete_topics(node, decode(request, body)?)),
        ApiKey::CreatePartitions => encode(request, &admin::create_partitions(node, decode(request, body)?)),
        ApiKey::DeleteRecords => encode(request, &admin::delete_records(node, decode(request, body)?)),
        ApiKey::DescribeConfigs => encode(request, &admin::describe_configs(node, decode(request, body)?)),
        ApiKey::InitProducerId => {
            let asked: InitProducerIdRequest = decode(request, body)?;
            encode(request, &produce::init_producer_id(node, &asked))
        }
        ApiKey::ApiVersions => {
            let _software: ApiVersionsRequest = decode(request, body)?;
            encode(request, &api_versions(0))
        }
        _ => Err(Hangup::NotOffered { key: request.api as i16, version }),
    }
}

fn versions(api: ApiKey) -> Offer {
    Offer(OFFERED.iter().find(|(offered, _)| *offered == api).map(|(_, versions)| *versions))
}

struct Offer(Option<VersionRange>);

impl Offer {
    fn contains(&self, version: i16) -> bool {
        self.0.is_some_and(|offer| offer.min <= version && version <= offer.max)
    }
}

/// Splits a frame into who asks what, and the request's body.
fn open(frame: Bytes) -> Result<(Request, String, Bytes), Hangup> {
    let bytes = frame.len();
    let mut start = frame.clone();
    let (Ok(key), Ok(version), Ok(correlation_id)) =
        (start.try_get_i16(), start.try_get_i16(), start.try_get_i32())
    else {
        return Err(Hangup::NoHeader(bytes));
    };
    let api = ApiKey::try_from(key).map_err(|()| Hangup::NotOffered { key, version })?;
    let request = Request { api, version, correlation_id };
    if api == ApiKey::ApiVersions && !versions(api).contains(version) {
        return Ok((request, String::new(), Bytes::new()));
    }
    if !versions(api).contains(version) {
        return Err(Hangup::NotOffered { key, version });
    }
    let mut rest = frame;
    let header = RequestHeader::decode(&mut rest, api.request_header_version(version))
        .map_err(|error| Hangup::Malformed { key, reason: error.to_string() })?;
    let client_id = header.client_id.as_deref().unwrap_or_default().to_owned();
    Ok((request, client_id, rest))
}

fn decode<T: Decodable>(request: Request, mut body: Bytes) -> Result<T, Hangup> {
    let malformed = |reason: String| Hangup::Malformed { key: request.api as i16, reason };
    if !declared_lengths::fit(request.api, request.version, &body) {
        return Err(malformed("a declared length exceeds the request".to_owned()));
    }
    T::decode(&mut body, request.version).map_err(|error| malformed(error.to_string()))
}

/// Begins an answer: room for its length, then its header.
pub(crate) fn begin(request: Request, capacity: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(capacity + 16);
    out.put_i32(0);
    out.put_i32(request.correlation_id);
    out
}

/// Ends an answer: fills in its length.
pub(crate) fn finish(mut out: BytesMut) -> BytesMut {
    let length = (out.len() - 4) as i32;
    if let Some(place) = out.first_chunk_mut() {
        *place = length.to_be_bytes();
    }
    out
}

pub(crate) fn encode<T: Encodable + HeaderVersion>(
    request: Request,
    response: &T,
) -> Result<BytesMut, Hangup> {
    let unencodable = |reason: String| Hangup::Unencodable { key: request.api as i16, reason };
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    ResponseHeader::default()
        .with_correlation_id(request.correlation_id)
        .encode(&mut out, T::header_version(request.version))
        .map_err(|error| unencodable(error.to_string()))?;
    response.encode(&mut out, request.version).map_err(|error| unencodable(error.to_string()))?;
    Ok(finish(out))
}

fn api_versions(error_code: i16) -> ApiVersionsResponse {
    let offer = |(api, versions): &(ApiKey, VersionRange)| {
        ApiVersion::default()
            .with_api_key(*api as i16)
            .with_min_version(versions.min)
            .with_max_version(versions.max)
    };
    ApiVersionsResponse::default()
        .with_error_code(error_code)
        .with_api_keys(OFFERED.iter().map(offer).collect())
}
