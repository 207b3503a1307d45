//! What an operator watches and mends: the pipeline as a graph, its last hour, samples of records, dead letters, pauses.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SiteError;

/// A step of the pipeline in the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphNode {
    /// `intake`, a stage of the catalogue, or `store`.
    pub name: String,
    /// Base topics it reads.
    pub reads: Vec<String>,
    /// Base topics it writes.
    pub writes: Vec<String>,
}

/// A few seconds of the system's life.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryPoint {
    /// When.
    pub at: Timestamp,
    /// Records not committed, by stage, both lanes together.
    pub lag_records: BTreeMap<String, i64>,
    /// Age of the oldest of them in seconds; a stage without backlog has 0.
    pub oldest_age_s: BTreeMap<String, f64>,
    /// Records a second that each stage finished.
    pub rate_per_s: BTreeMap<String, f64>,
    /// Median seconds from closing to terminal state of the studies that ended since the point before, if any did.
    pub end_to_end_p50_s: Option<f64>,
    /// 95th percentile of the same.
    pub end_to_end_p95_s: Option<f64>,
}

/// Which dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetterFilter {
    /// Only those read from this base topic.
    pub topic: Option<String>,
    /// Only this cause.
    pub cause: Option<String>,
    /// Also those that went back already.
    pub redriven: bool,
    /// At most this many; 0 stands for 100.
    pub limit: u32,
}

/// A dead record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetterRow {
    /// Its dead-letter topic.
    pub dlq_topic: String,
    /// Partition there.
    pub dlq_partition: i32,
    /// Offset there.
    pub dlq_offset: i64,
    /// Topic it was read from.
    pub topic: String,
    /// Its study; absent where the bytes name none.
    pub study_uid: Option<String>,
    /// Which closing of it.
    pub revision: Option<i32>,
    /// Who gave up.
    pub stage: String,
    /// Stable cause.
    pub cause: String,
    /// One sentence, no header text.
    pub detail: String,
    /// How often it was tried.
    pub attempts: i32,
    /// When it died.
    pub died_at: Timestamp,
    /// When it went back to its origin, or was found to need it no more.
    pub redriven_at: Option<Timestamp>,
}

/// Which dead letters go back to where they came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedriveRequest {
    /// Only those of this base topic.
    pub topic: Option<String>,
    /// Only this cause.
    pub cause: Option<String>,
    /// Only this one: dead-letter topic, partition, offset.
    pub one: Option<(String, i32, i64)>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Who asks, for the audit log.
    pub by: String,
}

/// What became of one dead letter that was to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redrive {
    /// It is on its origin topic again, or would be.
    Sent,
    /// Its study has come to another end since, or the same record went back already.
    Duplicate,
    /// Nothing is left of it: retention, or its bytes in quarantine.
    Lost,
    /// Bytes that never were on a topic, or of a topic that is not ours.
    NoOrigin,
}

/// What a redrive did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Redriven {
    /// Each with what became of it.
    pub letters: Vec<(DeadLetterRow, Redrive)>,
    /// Row of the audit log; none where it was a dry run or nothing was sent.
    pub audit_id: Option<i64>,
}

/// A sample of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TapRequest {
    /// Topic, with its lane or dead-letter suffix.
    pub topic: String,
    /// At most this many records.
    pub count: u32,
    /// Wait for new records for so many milliseconds; 0 shows the latest ones.
    pub wait_ms: u64,
    /// Of those that come, at most this many a second; 0: any number.
    #[serde(default)]
    pub rate_per_s: u32,
}

/// A record as an operator may see it: UIDs are hashed, everything else is data of the pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TappedRecord {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// When the broker took it.
    pub at: Option<Timestamp>,
    /// Headers, masked.
    pub headers: BTreeMap<String, String>,
    /// The message, masked; absent where it is no JSON.
    pub message: Option<serde_json::Value>,
    /// Bytes of the message.
    pub bytes: u64,
}

/// The operator's view.
pub trait Watch {
    /// The pipeline, in the order of the data's way.
    fn graph(&self) -> Vec<GraphNode>;
    /// The last hour, oldest first.
    fn history(&self) -> Result<Vec<HistoryPoint>, SiteError>;
    /// Lists dead letters, newest first.
    fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterRow>, SiteError>;
    /// Sends dead letters back to their origin.
    fn redrive(&self, request: &RedriveRequest) -> Result<Redriven, SiteError>;
    /// A sample of a topic.
    fn tap(&self, request: &TapRequest) -> Result<Vec<TappedRecord>, SiteError>;
    /// Stops a stage in every process from taking new records, or lets it go on; audited.
    fn set_paused(&self, stage: &str, paused: bool, by: &str) -> Result<(), SiteError>;
}
