//! What the pages and the API show and do, as the console sees it: one trait, implemented by the composition root.
//!
//! The methods block (they ask a database); the console calls them off its asynchronous threads.

use jiff::Timestamp;
use schemas::{BlobRef, Domain, FindingsInferred, InstanceGated, InstanceUid, Priority, Revision, StudyUid};
use serde::{Deserialize, Serialize};

mod replays;
mod watch;

pub use replays::{
    BeginReplay, DoneStep, EndReplay, KeepReport, Promote, Promoted, ReplayRun, ReplayState, ReplayVerdict,
    Replays,
};
pub use watch::{
    DeadLetterFilter, DeadLetterRow, GraphNode, HistoryPoint, Redrive, RedriveRequest, Redriven, TapRequest,
    TappedRecord, Watch,
};

/// How many studies stand where, for the live run. `received` is the sum of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateCounts {
    /// Closed by intake, whatever became of them.
    pub received: i64,
    /// Not terminal and younger than the deadline.
    pub in_progress: i64,
    /// With a report; an abstaining one counts.
    pub reported: i64,
    /// Rejected for a clinical reason.
    pub rejected: i64,
    /// Stuck as a dead letter.
    pub dead_lettered: i64,
    /// Overtaken by a later revision.
    pub superseded: i64,
    /// Not terminal and older than the deadline; must be 0.
    pub unaccounted: i64,
}

/// One consumer's backlog on one topic, both lanes apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageStatus {
    /// The stage or sink, for example `quality_gate`.
    pub stage: String,
    /// The topic it reads.
    pub topic: String,
    /// Records not yet committed.
    pub lag_records: i64,
    /// Age of the oldest of them in seconds; absent without lag.
    pub oldest_age_s: Option<f64>,
    /// Seconds until the backlog is gone at the present rate; absent while not draining.
    pub drain_eta_s: Option<f64>,
    /// What the absence of a time means.
    pub drain: Drain,
    /// Records a second of this topic that the stage finished of late, in all processes.
    pub rate_per_s: f64,
    /// Records being worked on in this process.
    pub in_flight: i64,
    /// Share of the last few seconds spent working, 0 to 1.
    pub busy_ratio: f64,
    /// Share of it spent waiting for room to send.
    pub backpressured_ratio: f64,
    /// Whether an operator has stopped it, or it waits for something it depends on.
    pub paused: Option<Pause>,
    /// Errors since the start of this process.
    pub errors: u64,
}

/// Whether a backlog shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drain {
    /// There is none.
    Empty,
    /// It shrinks.
    Draining,
    /// It does not.
    NotDraining,
    /// Too little was observed.
    Unknown,
}

/// Why a stage takes no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// Somebody paused it.
    Operator,
    /// Broker, database, blobs or model are down.
    Dependency,
}

/// The whole system at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When it was taken.
    pub at: Timestamp,
    /// Studies by state.
    pub studies: StateCounts,
    /// Studies received but not yet announced to Kafka: the spool's depth.
    pub spooled: i64,
    /// Backlog by stage and topic, in the order of the data's way.
    pub stages: Vec<StageStatus>,
}

/// One revision of a study in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyRow {
    /// Study Instance UID.
    pub study_uid: String,
    /// Which closing of the study.
    pub revision: i32,
    /// `in_progress`, `reported`, `rejected`, `dead_lettered` or `superseded`.
    pub state: String,
    /// Stable code behind the state.
    pub reason: Option<String>,
    /// Kind of examination; absent while only a stub is known.
    pub domain: Option<String>,
    /// Whether it is a phantom.
    pub synthetic: Option<bool>,
    /// The lane.
    pub priority: Option<String>,
    /// Number of instances.
    pub instances: Option<i32>,
    /// When intake closed it.
    pub received_at: Option<Timestamp>,
    /// When it reached its terminal state.
    pub terminal_at: Option<Timestamp>,
}

/// Which studies to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StudyFilter {
    /// Only this state.
    pub state: Option<String>,
    /// Only this study.
    pub study_uid: Option<StudyUid>,
    /// Only those received since then.
    pub since: Option<Timestamp>,
    /// At most this many; 0 stands for 100.
    pub limit: u32,
}

/// One step of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineEvent {
    /// Which closing of the study.
    pub revision: i32,
    /// When the event was made.
    pub at: Timestamp,
    /// Base topic.
    pub topic: String,
    /// The step that made it.
    pub source: String,
    /// One line: verdict, code or counts.
    pub summary: String,
    /// How often the store received it.
    pub deliveries: i32,
}

/// A dead record of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineDeadLetter {
    /// Topic it was read from.
    pub topic: String,
    /// Partition it was read from.
    pub partition: i32,
    /// Offset it was read at.
    pub offset: i64,
    /// Who gave up.
    pub stage: String,
    /// Stable cause.
    pub cause: String,
    /// One sentence.
    pub detail: String,
    /// How often it was tried.
    pub attempts: i32,
    /// When it died.
    pub at: Timestamp,
    /// When it went back to its origin, or was found to need it no more.
    pub redriven_at: Option<Timestamp>,
}

/// Everything known of one study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyTimeline {
    /// Its revisions, newest first.
    pub revisions: Vec<StudyRow>,
    /// What happened, in order.
    pub events: Vec<TimelineEvent>,
    /// Where it got stuck.
    pub dead_letters: Vec<TimelineDeadLetter>,
    /// The latest report (`report.issued.v1`), as issued.
    pub report: Option<serde_json::Value>,
    /// The latest rejection, as issued.
    pub rejection: Option<serde_json::Value>,
}

/// Who sends instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// AE title of an allowed peer; `folder` for files.
    pub ae_title: String,
    /// Instances gated on arrival and still remembered.
    pub instances: i64,
    /// When the latest of them was stored.
    pub last_received_at: Timestamp,
}

/// The gate's provisional word on an instance as it arrived, and what has become of its study since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arrival {
    /// The word.
    #[serde(flatten)]
    pub gate: InstanceGated,
    /// When it was given.
    pub gated_at: Timestamp,
    /// State of the study's latest revision; absent while the study is open.
    pub study_state: Option<String>,
    /// Stable code behind that state.
    pub study_reason: Option<String>,
}

/// How an upload wants to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadOptions {
    /// The lane, where the study is new.
    pub priority: Option<Priority>,
    /// Mark it as a phantom whatever its header says.
    #[serde(default)]
    pub synthetic: bool,
    /// The kind of examination of a still image without a DICOM header.
    pub domain: Option<Domain>,
}

/// What became of an uploaded file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Received {
    /// Safe on disk.
    Stored {
        /// Its study.
        study_uid: StudyUid,
        /// Its instance.
        instance_uid: InstanceUid,
    },
    /// The same bytes were here already.
    Duplicate {
        /// Its study.
        study_uid: StudyUid,
        /// Its instance.
        instance_uid: InstanceUid,
    },
    /// Not taken.
    Refused {
        /// Why, for the person who sent it. No header text.
        reason: String,
    },
}

/// A study whose ejection fraction a physician has confirmed: what a calibration is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmedStudy {
    /// What the model said (`findings.inferred.v1`).
    pub findings: FindingsInferred,
    /// The physician's ejection fraction in percent.
    pub truth_ef: f64,
    /// Who made the machine, where known: 1 to 32 letters, digits, '-' or '_'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// A pseudonym of the patient, where known: studies of one patient are judged together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whether the physician gave the number before seeing the model's.
    #[serde(default)]
    pub blinded: bool,
}

/// Why the site could not answer.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The database or another part is down.
    #[error("{part} is not available at the moment")]
    Unavailable {
        /// Which part.
        part: &'static str,
    },
    /// The question makes no sense.
    #[error("{0}")]
    Refused(String),
}

/// The running system.
pub trait Site: Watch + Replays + Send + Sync + 'static {
    /// Somebody asked to change something without a valid token. Counted, never named.
    fn auth_failed(&self) {}

    /// The system at a glance.
    fn status(&self) -> Result<Status, SiteError>;

    /// Lists studies.
    fn studies(&self, filter: &StudyFilter) -> Result<Vec<StudyRow>, SiteError>;

    /// Everything known of one study; nothing if it was never seen.
    fn study(&self, study: &StudyUid) -> Result<Option<StudyTimeline>, SiteError>;

    /// Everybody whose instances were gated on arrival, the latest sender first.
    fn senders(&self) -> Result<Vec<Sender>, SiteError>;

    /// The words on the instances of one sender, newest first.
    fn arrivals(&self, ae_title: &str, limit: u32) -> Result<Vec<Arrival>, SiteError>;

    /// Studies with a confirmed ejection fraction, in the order of the decisions: `limit` of them after the first `skip`.
    fn confirmed_studies(&self, skip: u32, limit: u32) -> Result<Vec<ConfirmedStudy>, SiteError>;

    /// A masked frame (PNG). Only area `frames` is shown.
    fn picture(&self, picture: &BlobRef) -> Result<Option<Vec<u8>>, SiteError>;

    /// The Prometheus page.
    fn metrics(&self) -> String;

    /// Takes one file that lies on local disk, or every entry of a zip, by copying.
    fn receive(&self, file: &std::path::Path, options: &UploadOptions) -> Result<Vec<Received>, SiteError>;

    /// Closes a study now (rule `forced`) and says which revision that made; nothing if nothing was open.
    fn close(&self, study: &StudyUid) -> Result<Option<Revision>, SiteError>;
}
