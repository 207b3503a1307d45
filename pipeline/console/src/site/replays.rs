//! Replay runs: what engineers' tools write and read, and what the pages show of it.

use jiff::Timestamp;
use replay::result::{Arm, StageResult};
use schemas::{Digest, RunId, StudyUid};
use serde::{Deserialize, Serialize};

use super::SiteError;

/// Where a replay run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// Under way, or killed and to be resumed.
    Running,
    /// Every study of every arm is done.
    Finished,
    /// Given up; its rows stay.
    Failed,
}

/// What a comparison came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayVerdict {
    /// Equivalent within the margins.
    Pass,
    /// Worse in at least one measure.
    Regression,
    /// Too few pairs, or noise above a margin.
    Inconclusive,
}

/// One replay run in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayRun {
    /// Its run id.
    pub run_id: RunId,
    /// Where it stands.
    pub state: ReplayState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Hash of its plan.
    pub plan_sha256: Digest,
    /// Inputs of the plan.
    pub studies: i64,
    /// Rows done so far, over all arms.
    pub rows: i64,
    /// Rows at most: a study that is rejected on its way has fewer.
    pub expected: i64,
    /// Who began it, as the token's holder called himself.
    pub started_by: String,
    /// Why it failed.
    pub failure: Option<String>,
    /// The latest comparison.
    pub verdict: Option<ReplayVerdict>,
    /// Hash of the latest report.
    pub report_sha256: Option<Digest>,
    /// When its candidate was made current.
    pub promoted_at: Option<Timestamp>,
}

/// Begins a run, or takes one up again that has the same plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeginReplay {
    /// Its run id; `live` and `heartbeat` are refused.
    pub run_id: RunId,
    /// The plan, byte for byte.
    pub plan: String,
    /// Inputs of the plan.
    pub studies: i64,
    /// Rows at most: inputs, times arms, times stages.
    pub expected: i64,
    /// Who begins it.
    pub started_by: String,
}

/// Ends a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndReplay {
    /// How.
    pub state: ReplayState,
    /// Why it failed.
    pub failure: Option<String>,
}

/// A finished step: what a resumed run need not do again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneStep {
    /// Which arm.
    pub arm: Arm,
    /// Which study.
    pub study_uid: StudyUid,
    /// Which closing of it.
    pub revision: u32,
    /// Which stage.
    pub stage: String,
}

/// A comparison to be kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepReport {
    /// What it came to.
    pub verdict: ReplayVerdict,
    /// The page, self-contained.
    pub html: String,
    /// The same as JSON, byte for byte; its SHA-256 is the report's.
    pub json: String,
}

/// Makes the candidate of a run current.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// Who.
    pub by: String,
    /// Why although the comparison is no pass; required for that, refused else.
    pub forced: Option<String>,
    /// The report that was read; another than the latest is refused.
    pub report_sha256: Digest,
}

/// What a promotion did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promoted {
    /// Row of the audit log.
    pub audit_id: i64,
    /// The candidate's configuration as written.
    pub config: String,
}

/// Replay runs of the running system.
pub trait Replays {
    /// Every run, newest first.
    fn replays(&self) -> Result<Vec<ReplayRun>, SiteError>;
    /// One run.
    fn replay(&self, run: &RunId) -> Result<Option<ReplayRun>, SiteError>;
    /// The page of the latest comparison.
    fn replay_report(&self, run: &RunId) -> Result<Option<String>, SiteError>;
    /// The plan of a run, as it was begun.
    fn replay_plan(&self, run: &RunId) -> Result<Option<String>, SiteError>;
    /// Begins a run, or takes it up again; another plan under the same id is refused.
    fn begin_replay(&self, begin: &BeginReplay) -> Result<ReplayRun, SiteError>;
    /// Keeps rows; the first write of a row wins.
    fn keep_results(&self, run: &RunId, results: &[StageResult]) -> Result<(), SiteError>;
    /// What is done already.
    fn done_steps(&self, run: &RunId) -> Result<Vec<DoneStep>, SiteError>;
    /// Rows of a run in the order of (arm, study, revision, stage): `limit` after the first `skip`.
    fn results(&self, run: &RunId, skip: u32, limit: u32) -> Result<Vec<StageResult>, SiteError>;
    /// What the live system made of these studies, as rows of [`Arm::Live`].
    fn live_results(&self, studies: &[StudyUid]) -> Result<Vec<StageResult>, SiteError>;
    /// Ends a run.
    fn end_replay(&self, run: &RunId, end: &EndReplay) -> Result<(), SiteError>;
    /// Keeps the latest comparison of a run.
    fn keep_report(&self, run: &RunId, report: &KeepReport) -> Result<Digest, SiteError>;
    /// Makes the candidate current.
    fn promote(&self, run: &RunId, promote: &Promote) -> Result<Promoted, SiteError>;
}
