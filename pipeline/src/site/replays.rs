//! Replay runs of the running system.

mod promotion;

use console::site::{
    BeginReplay, DoneStep, EndReplay, KeepReport, Promote, Promoted, ReplayRun, Replays, SiteError,
};
use jiff::Timestamp;
use replay::{plan::Plan, result::StageResult};
use schemas::{Digest, RunId, StudyUid};

use super::{LiveSite, database};
use crate::store::{self, ReplayStoreError};

pub(crate) use promotion::Promotions;

fn replay_error(error: ReplayStoreError) -> SiteError {
    match error {
        ReplayStoreError::Database(error) => database(error),
        ReplayStoreError::Refused(why) => SiteError::Refused(why),
    }
}

/// A name for tables and the audit log.
fn check_name(name: &str) -> Result<(), SiteError> {
    if name.trim().is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(SiteError::Refused("whoever acts is named by 1 to 64 printable characters".to_owned()));
    }
    Ok(())
}

impl Replays for LiveSite {
    fn replays(&self) -> Result<Vec<ReplayRun>, SiteError> {
        store::replay_runs(&self.database).map_err(database)
    }

    fn replay(&self, run: &RunId) -> Result<Option<ReplayRun>, SiteError> {
        store::replay_run(&self.database, run).map_err(database)
    }

    fn replay_report(&self, run: &RunId) -> Result<Option<String>, SiteError> {
        store::replay_report(&self.database, run).map_err(database)
    }

    fn replay_plan(&self, run: &RunId) -> Result<Option<String>, SiteError> {
        store::replay_plan(&self.database, run).map_err(database)
    }

    fn begin_replay(&self, begin: &BeginReplay) -> Result<ReplayRun, SiteError> {
        check_name(&begin.started_by)?;
        if ["live", "heartbeat"].contains(&begin.run_id.as_str()) {
            return Err(SiteError::Refused(format!("{} is no name for a replay", begin.run_id)));
        }
        let plan = Plan::read(&begin.plan).map_err(|error| SiteError::Refused(error.to_string()))?;
        if plan.to_text() != begin.plan || plan.inputs.len() as i64 != begin.studies {
            return Err(SiteError::Refused("the plan is not sent in its canonical form".to_owned()));
        }
        store::begin_replay(&self.database, begin, Timestamp::now()).map_err(replay_error)
    }

    fn keep_results(&self, run: &RunId, results: &[StageResult]) -> Result<(), SiteError> {
        let new =
            store::keep_results(&self.database, run, results, Timestamp::now()).map_err(replay_error)?;
        self.metrics.replayed(&new);
        Ok(())
    }

    fn done_steps(&self, run: &RunId) -> Result<Vec<DoneStep>, SiteError> {
        store::done_steps(&self.database, run).map_err(database)
    }

    fn results(&self, run: &RunId, skip: u32, limit: u32) -> Result<Vec<StageResult>, SiteError> {
        store::replay_results(&self.database, run, skip, limit).map_err(database)
    }

    fn live_results(&self, studies: &[StudyUid]) -> Result<Vec<StageResult>, SiteError> {
        store::live_results(&self.database, &RunId::live(), studies).map_err(database)
    }

    fn end_replay(&self, run: &RunId, end: &EndReplay) -> Result<(), SiteError> {
        store::end_replay(&self.database, run, end, Timestamp::now()).map_err(replay_error)
    }

    fn keep_report(&self, run: &RunId, report: &KeepReport) -> Result<Digest, SiteError> {
        store::keep_report(&self.database, run, report, Timestamp::now()).map_err(replay_error)
    }

    fn promote(&self, run: &RunId, promote: &Promote) -> Result<Promoted, SiteError> {
        check_name(&promote.by)?;
        self.promotions.promote(&self.database, run, promote)
    }
}
