//! Making a candidate current: its overlay becomes a layer of the configuration, with a row of the audit log.
//!
//! ```text
//!   report is a pass, or forced with a reason ─▶ with it, what would be in effect is what was judged ─▶ audit row ─▶ current.toml
//! ```
//!
//! Invariants:
//! - Nothing is current without an audit row. A row whose file could not be written is followed by another one, when the
//!   promotion is tried again.
//! - What is promoted is what was judged: the plan's candidate, key by key, under this system's own files and variables.
//! - Nothing changes in a running process: the next start reads the file.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use console::site::{Promote, Promoted, ReplayRun, ReplayState, ReplayVerdict, SiteError};
use jiff::Timestamp;
use replay::plan::Plan;
use schemas::{Digest, RunId};
use toml::Table;

use super::{database, replay_error};
use crate::{
    config::{Config, promoted},
    store::{self, Database, Promotion},
    whole_file,
};

/// Longest reason, in characters.
const LONGEST_REASON: usize = 1_000;
/// Keys named at most in one refusal.
const NAMED_KEYS: usize = 5;

/// The running system's configuration and where a promotion is written.
pub(crate) struct Promotions {
    config: Config,
    data_dir: PathBuf,
    /// Held from reading the present file to writing the next one. No state of its own: the file is the state.
    one_at_a_time: Mutex<()>,
}

fn refused(text: impl ToString) -> SiteError {
    SiteError::Refused(text.to_string())
}

impl Promotions {
    /// For the system that runs with `config` in `data_dir`.
    pub(crate) fn new(config: Config, data_dir: PathBuf) -> Self {
        Self { config, data_dir, one_at_a_time: Mutex::new(()) }
    }

    /// Makes the candidate of `run` current.
    pub(super) fn promote(
        &self,
        sql: &Database,
        run: &RunId,
        promote: &Promote,
    ) -> Result<Promoted, SiteError> {
        let _alone = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let found = store::replay_run(sql, run).map_err(database)?;
        let found = found.ok_or_else(|| refused(format!("run {run} is not known here")))?;
        may_be_promoted(&found, promote)?;
        let plan = store::replay_plan(sql, run).map_err(database)?.unwrap_or_default();
        let plan = Plan::read(&plan).map_err(refused)?;
        let config = self.text(run, &plan, promote)?;
        let promotion = Promotion {
            by: promote.by.clone(),
            forced: promote.forced.clone(),
            report_sha256: promote.report_sha256,
            config_sha256: Digest::of(config.as_bytes()),
        };
        let audit_id = store::promoted(sql, &found, &promotion, Timestamp::now()).map_err(replay_error)?;
        whole_file::write(&promoted::path(&self.data_dir), config.as_bytes()).map_err(|error| {
            tracing::error!(%error, "a promotion is in the audit log and could not be written");
            SiteError::Unavailable { part: "data directory" }
        })?;
        tracing::info!(run = %run, audit_id, "candidate promoted; the next start uses it");
        Ok(Promoted { audit_id, config })
    }

    /// The file that makes the plan's candidate current: what is current now with the candidate's overlay on it.
    fn text(&self, run: &RunId, plan: &Plan, promote: &Promote) -> Result<String, SiteError> {
        let path = promoted::path(&self.data_dir);
        let now = match promoted::judged_file(&path) {
            Ok((_, table)) => table,
            Err(_) if !path.exists() => Table::new(),
            Err(error) => return Err(refused(error)),
        };
        let overlay = promoted::judged_text(&path, &plan.overlay).map_err(refused)?;
        let next = promoted::merged(now, overlay);
        let effective = self.config.if_promoted(next.clone()).map_err(refused)?.judged();
        let judged: Table = plan.candidate.config.parse().map_err(refused)?;
        let differing = promoted::differences(&effective, &judged);
        if !differing.is_empty() {
            let more = differing.len().saturating_sub(NAMED_KEYS);
            let named: Vec<String> = differing.into_iter().take(NAMED_KEYS).collect();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            return Err(refused(format!(
                "with it this system would not run what was judged; it differs in {}{more}: a file of --config, a variable \
                 or --set of the running system says otherwise, or the configuration has changed since the plan",
                named.join(", ")
            )));
        }
        let tables = toml::to_string(&next).map_err(refused)?;
        Ok(format!(
            "# Written by `prescreen replay promote {run}`; report {}.\n\
             # Read at every start, after the built-in defaults and before --config. Remove it to go back to those.\n\n{tables}",
            promote.report_sha256
        ))
    }
}

/// Whether the latest comparison, or a reason to go against it, allows the promotion.
fn may_be_promoted(run: &ReplayRun, promote: &Promote) -> Result<(), SiteError> {
    let name = &run.run_id;
    if run.state != ReplayState::Finished {
        return Err(refused(format!("run {name} is not finished")));
    }
    let (Some(verdict), Some(report)) = (run.verdict, run.report_sha256) else {
        return Err(refused(format!(
            "run {name} was not compared yet; `prescreen replay diff {name}` first"
        )));
    };
    if report != promote.report_sha256 {
        return Err(refused(format!("run {name} has another report by now; read that one first")));
    }
    match (verdict, promote.forced.as_deref().map(str::trim)) {
        (ReplayVerdict::Pass, Some(_)) => {
            Err(refused(format!("the comparison of run {name} is a pass; there is nothing to force")))
        }
        (ReplayVerdict::Regression, None) => Err(refused(format!(
            "the comparison of run {name} is a regression; --force REASON promotes it all the same"
        ))),
        (ReplayVerdict::Inconclusive, None) => Err(refused(format!(
            "the comparison of run {name} is inconclusive; --force REASON promotes it all the same"
        ))),
        (_, Some("")) => Err(refused("the reason is empty; it is what an inspector will read")),
        (_, Some(reason))
            if reason.chars().count() > LONGEST_REASON || reason.chars().any(char::is_control) =>
        {
            Err(refused(format!("the reason is not one line of at most {LONGEST_REASON} characters")))
        }
        (ReplayVerdict::Pass, None) | (_, Some(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(verdict: Option<ReplayVerdict>) -> ReplayRun {
        ReplayRun {
            run_id: RunId::new("r").expect("a run id"),
            state: ReplayState::Finished,
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: None,
            plan_sha256: Digest::of(b"plan"),
            studies: 1,
            rows: 4,
            expected: 4,
            started_by: "test".to_owned(),
            failure: None,
            verdict,
            report_sha256: verdict.map(|_| Digest::of(b"report")),
            promoted_at: None,
        }
    }

    fn asked(forced: Option<&str>) -> Promote {
        let forced = forced.map(str::to_owned);
        Promote { by: "test".to_owned(), forced, report_sha256: Digest::of(b"report") }
    }

    #[test]
    fn only_a_pass_is_promoted_unless_a_reason_is_given() {
        let pass = run(Some(ReplayVerdict::Pass));
        assert!(may_be_promoted(&pass, &asked(None)).is_ok());
        assert!(may_be_promoted(&pass, &asked(Some("why not"))).is_err(), "nothing to force");
        for verdict in [ReplayVerdict::Regression, ReplayVerdict::Inconclusive] {
            let run = run(Some(verdict));
            assert!(may_be_promoted(&run, &asked(None)).is_err());
            assert!(may_be_promoted(&run, &asked(Some(" "))).is_err());
            assert!(may_be_promoted(&run, &asked(Some("two\nlines"))).is_err());
            assert!(may_be_promoted(&run, &asked(Some("the camera was replaced"))).is_ok());
        }
        assert!(may_be_promoted(&run(None), &asked(Some("now"))).is_err(), "never compared");
        let other = Promote { report_sha256: Digest::of(b"another"), ..asked(None) };
        assert!(may_be_promoted(&pass, &other).is_err(), "another report was read");
        let failed = ReplayRun { state: ReplayState::Failed, ..pass };
        assert!(may_be_promoted(&failed, &asked(None)).is_err());
    }
}
