//! Replay runs.

use console::site::{BeginReplay, DoneStep, EndReplay, KeepReport, Promote, Promoted, ReplayRun};
use replay::{plan::Plan, result::StageResult};
use schemas::{Digest, RunId, StudyUid};

use super::{ApiClient, ApiError};

/// Rows asked for at once; a row may hold a hundred kilobytes.
const ROWS: usize = 100;
/// Studies asked about at once.
const STUDIES: usize = 50;

impl ApiClient {
    /// `GET /api/replays/{run}`; nothing if it was never begun.
    pub(crate) fn replay(&self, run: &RunId) -> Result<Option<ReplayRun>, ApiError> {
        match self.get(&format!("/api/replays/{run}")) {
            Ok(run) => Ok(Some(run)),
            Err(ApiError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `GET /api/replays/{run}/plan`
    pub(crate) fn replay_plan(&self, run: &RunId) -> Result<Plan, ApiError> {
        self.get(&format!("/api/replays/{run}/plan"))
    }

    /// `POST /api/replays`
    pub(crate) fn begin_replay(&self, begin: &BeginReplay) -> Result<ReplayRun, ApiError> {
        self.post("/api/replays", begin)
    }

    /// `POST /api/replays/{run}/results`
    pub(crate) fn keep_results(&self, run: &RunId, results: &[StageResult]) -> Result<(), ApiError> {
        self.post(&format!("/api/replays/{run}/results"), results)
    }

    /// `GET /api/replays/{run}/steps`
    pub(crate) fn done_steps(&self, run: &RunId) -> Result<Vec<DoneStep>, ApiError> {
        self.get(&format!("/api/replays/{run}/steps"))
    }

    /// `GET /api/replays/{run}/results`, page by page, each row once.
    pub(crate) fn each_result(&self, run: &RunId, mut each: impl FnMut(StageResult)) -> Result<(), ApiError> {
        let mut skip = 0;
        loop {
            let page: Vec<StageResult> =
                self.get(&format!("/api/replays/{run}/results?skip={skip}&limit={ROWS}"))?;
            skip += page.len();
            let last = page.len() < ROWS;
            page.into_iter().for_each(&mut each);
            if last {
                return Ok(());
            }
        }
    }

    /// `POST /api/results/live`, for all of `studies`.
    pub(crate) fn live_results(&self, studies: &[StudyUid]) -> Result<Vec<StageResult>, ApiError> {
        let mut rows = Vec::new();
        for part in studies.chunks(STUDIES) {
            rows.extend(self.post::<_, Vec<StageResult>>("/api/results/live", part)?);
        }
        Ok(rows)
    }

    /// `POST /api/replays/{run}/end`
    pub(crate) fn end_replay(&self, run: &RunId, end: &EndReplay) -> Result<(), ApiError> {
        self.post(&format!("/api/replays/{run}/end"), end)
    }

    /// `POST /api/replays/{run}/report`
    pub(crate) fn keep_report(&self, run: &RunId, report: &KeepReport) -> Result<Digest, ApiError> {
        self.post(&format!("/api/replays/{run}/report"), report)
    }

    /// `POST /api/replays/{run}/promote`
    pub(crate) fn promote(&self, run: &RunId, promote: &Promote) -> Result<Promoted, ApiError> {
        self.post(&format!("/api/replays/{run}/promote"), promote)
    }
}
