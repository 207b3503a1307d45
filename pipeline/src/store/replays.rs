//! Replay runs: their rows, and what the live system made of the same studies.

use console::site::{BeginReplay, DoneStep, EndReplay, KeepReport, ReplayRun};
use jiff::Timestamp;
use postgres::{Row, Transaction, types::Json};
use replay::{
    plan::canonical_sha256,
    result::{Arm, Ended, StageResult},
};
use schemas::{Digest, EventId, FindingsInferred, Message, ReportIssued, Revision, RunId, StudyUid};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Database, DatabaseError, Role,
    audit::{self, Entry},
};
use crate::{system::entries, word::word};

/// Why a question about replays has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayStoreError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What was asked makes no sense for the run as it is.
    #[error("{0}")]
    Refused(String),
}

/// What a transaction came to: an answer, or a refusal that changed nothing.
type Answer<T> = Result<Result<T, String>, DatabaseError>;

fn answer<T>(answer: Answer<T>) -> Result<T, ReplayStoreError> {
    answer?.map_err(ReplayStoreError::Refused)
}

/// A row that PostgreSQL has put together as JSON.
fn read<T: DeserializeOwned>(row: &Row) -> Result<T, postgres::Error> {
    row.try_get::<_, Json<T>>(0).map(|Json(value)| value)
}

const RUN: &str = "SELECT json_build_object('run_id', run_id, 'state', state, 'started_at', started_at, 'finished_at',
    finished_at, 'plan_sha256', plan_sha256, 'studies', studies, 'rows', (SELECT count(*) FROM prescreen.replay_results
    WHERE replay_results.run_id = replay_runs.run_id), 'expected', expected, 'started_by', started_by, 'failure', failure,
    'verdict', verdict, 'report_sha256', report_sha256, 'promoted_at', promoted_at) FROM prescreen.replay_runs";

fn run_in(sql: &mut Transaction<'_>, run: &str) -> Result<Option<ReplayRun>, postgres::Error> {
    sql.query_opt(&format!("{RUN} WHERE run_id = $1"), &[&run])?.as_ref().map(read).transpose()
}

/// Every run, newest first.
pub(crate) fn replay_runs(database: &Database) -> Result<Vec<ReplayRun>, DatabaseError> {
    database.read(Role::App, move |sql| {
        let rows = sql.query(&format!("{RUN} ORDER BY started_at DESC, run_id LIMIT 1000"), &[])?;
        rows.iter().map(read).collect()
    })
}

/// One run.
pub(crate) fn replay_run(database: &Database, run: &RunId) -> Result<Option<ReplayRun>, DatabaseError> {
    let run = run.as_str().to_owned();
    database.read(Role::App, move |sql| run_in(sql, &run))
}

/// The page of a run's latest comparison.
pub(crate) fn replay_report(database: &Database, run: &RunId) -> Result<Option<String>, DatabaseError> {
    let run = run.as_str().to_owned();
    database.read(Role::App, move |sql| {
        let row =
            sql.query_opt("SELECT report_html FROM prescreen.replay_runs WHERE run_id = $1", &[&run])?;
        Ok(row.and_then(|row| row.get(0)))
    })
}

/// The plan of a run, as it was begun.
pub(crate) fn replay_plan(database: &Database, run: &RunId) -> Result<Option<String>, DatabaseError> {
    let run = run.as_str().to_owned();
    database.read(Role::App, move |sql| {
        let row = sql.query_opt("SELECT plan FROM prescreen.replay_runs WHERE run_id = $1", &[&run])?;
        Ok(row.map(|row| row.get(0)))
    })
}

/// Begins a run, or takes it up again: one that had failed runs again, one that is finished stays so.
pub(crate) fn begin_replay(
    database: &Database,
    begin: &BeginReplay,
    now: Timestamp,
) -> Result<ReplayRun, ReplayStoreError> {
    let begin = begin.clone();
    let sha256 = Digest::of(begin.plan.as_bytes());
    answer(database.write(Role::App, move |sql| {
        let run = begin.run_id.as_str();
        sql.execute(
            "INSERT INTO prescreen.replay_runs (run_id, plan, plan_sha256, state, studies, expected, started_by, started_at)
             VALUES ($1, $2, $3, 'running', $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            &[&run, &begin.plan, &sha256.to_string(), &begin.studies, &begin.expected, &begin.started_by, &now],
        )?;
        let Some(found) = run_in(sql, run)? else { return Ok(Err(format!("run {run} could not be begun"))) };
        if found.plan_sha256 != sha256 {
            return Ok(Err(format!(
                "run {run} was begun with another plan ({}); take another --run-id",
                found.plan_sha256
            )));
        }
        if found.expected != begin.expected {
            return Ok(Err(format!(
                "run {run} was begun with another choice of arms; repeat it as it was begun, or take another --run-id"
            )));
        }
        sql.execute(
            "UPDATE prescreen.replay_runs SET state = 'running', finished_at = NULL, failure = NULL
             WHERE run_id = $1 AND state = 'failed'",
            &[&run],
        )?;
        Ok(run_in(sql, run)?.ok_or_else(|| format!("run {run} is gone")))
    }))
}

/// Keeps rows of a running run, the first write of each, and returns those that were new.
pub(crate) fn keep_results(
    database: &Database,
    run: &RunId,
    results: &[StageResult],
    now: Timestamp,
) -> Result<Vec<StageResult>, ReplayStoreError> {
    if let Some(live) = results.iter().find(|row| row.arm == Arm::Live) {
        return Err(ReplayStoreError::Refused(format!("a replay writes no rows of the {} arm", live.arm)));
    }
    let wrong = results.iter().find(|row| canonical_sha256(&row.output) != row.output_sha256);
    if let Some(row) = wrong {
        let text = format!("the row of stage {} does not have the hash it is sent with", row.stage);
        return Err(ReplayStoreError::Refused(text));
    }
    let (run, results) = (run.as_str().to_owned(), results.to_vec());
    answer(database.write(Role::App, move |sql| {
        // Held against an end that comes at the same moment.
        let state = sql.query_opt("SELECT state FROM prescreen.replay_runs WHERE run_id = $1 FOR SHARE", &[&run])?;
        match state.map(|row| row.get::<_, String>(0)).as_deref() {
            Some("running") => {}
            Some(state) => return Ok(Err(format!("run {run} is {state}; it takes no more rows"))),
            None => return Ok(Err(format!("run {run} was never begun"))),
        }
        let insert = sql.prepare(
            "INSERT INTO prescreen.replay_results (run_id, arm, study_uid, revision, stage, input_event, ended, output,
                output_sha256, seconds, model, memo_hits, stored_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING",
        )?;
        let mut new = Vec::new();
        for row in results {
            let written = sql.execute(
                &insert,
                &[
                    &run, &row.arm.as_str(), &row.study_uid.as_str(), &(row.revision.0 as i32), &row.stage,
                    &row.input_event.0, &word(row.ended), &Json(&row.output), &row.output_sha256.to_string(),
                    &row.seconds, &row.model.as_ref().map(Json), &(row.memo_hits as i64), &now,
                ],
            )?;
            if written == 1 {
                new.push(row);
            }
        }
        Ok(Ok(new))
    }))
}

/// What is done already.
pub(crate) fn done_steps(database: &Database, run: &RunId) -> Result<Vec<DoneStep>, DatabaseError> {
    let run = run.as_str().to_owned();
    database.read(Role::App, move |sql| {
        let rows = sql.query(
            "SELECT json_build_object('arm', arm, 'study_uid', study_uid, 'revision', revision, 'stage', stage)
             FROM prescreen.replay_results WHERE run_id = $1 ORDER BY arm, study_uid, revision, stage",
            &[&run],
        )?;
        rows.iter().map(read).collect()
    })
}

/// `limit` rows of a run after the first `skip`.
pub(crate) fn replay_results(
    database: &Database,
    run: &RunId,
    skip: u32,
    limit: u32,
) -> Result<Vec<StageResult>, DatabaseError> {
    let run = run.as_str().to_owned();
    database.read(Role::App, move |sql| {
        let rows = sql.query(
            "SELECT json_build_object('arm', arm, 'study_uid', study_uid, 'revision', revision, 'stage', stage,
                'input_event', input_event, 'ended', ended, 'output', output, 'output_sha256', output_sha256,
                'seconds', seconds, 'model', model, 'memo_hits', memo_hits)
             FROM prescreen.replay_results WHERE run_id = $1 ORDER BY arm, study_uid, revision, stage OFFSET $2 LIMIT $3",
            &[&run, &i64::from(skip), &i64::from(limit)],
        )?;
        rows.iter().map(read).collect()
    })
}

/// Ends a run that is running.
pub(crate) fn end_replay(
    database: &Database,
    run: &RunId,
    end: &EndReplay,
    now: Timestamp,
) -> Result<(), ReplayStoreError> {
    let (run, end) = (run.as_str().to_owned(), end.clone());
    answer(database.write(Role::App, move |sql| {
        let ended = sql.execute(
            "UPDATE prescreen.replay_runs SET state = $2, failure = $3, finished_at = $4
             WHERE run_id = $1 AND state = 'running'",
            &[&run, &word(end.state), &end.failure, &now],
        )?;
        Ok(if ended == 1 { Ok(()) } else { Err(format!("run {run} is not running")) })
    }))
}

/// Keeps the latest comparison of a finished run. A promotion stands only for the report it was made with.
pub(crate) fn keep_report(
    database: &Database,
    run: &RunId,
    report: &KeepReport,
    now: Timestamp,
) -> Result<Digest, ReplayStoreError> {
    let (run, report) = (run.as_str().to_owned(), report.clone());
    let sha256 = Digest::of(report.json.as_bytes());
    answer(database.write(Role::App, move |sql| {
        let kept = sql.execute(
            "UPDATE prescreen.replay_runs SET verdict = $2, report_sha256 = $3, report_html = $4, report_json = $5,
                reported_at = $6 WHERE run_id = $1 AND state = 'finished'",
            &[&run, &word(report.verdict), &sha256.to_string(), &report.html, &report.json, &now],
        )?;
        Ok(if kept == 1 { Ok(sha256) } else { Err(format!("run {run} is not finished; there is nothing to judge yet")) })
    }))
}

/// What a promotion leaves behind.
#[derive(Debug, Clone)]
pub(crate) struct Promotion {
    /// Who.
    pub(crate) by: String,
    /// Why although the comparison is no pass.
    pub(crate) forced: Option<String>,
    /// The report that was judged by.
    pub(crate) report_sha256: Digest,
    /// SHA-256 of the configuration file written.
    pub(crate) config_sha256: Digest,
}

/// Notes that the candidate of `run` is current, with a row of the audit log, and returns that row. Refused where the report
/// has changed since it was read.
pub(crate) fn promoted(
    database: &Database,
    run: &ReplayRun,
    promotion: &Promotion,
    now: Timestamp,
) -> Result<i64, ReplayStoreError> {
    let (run, promotion) = (run.clone(), promotion.clone());
    answer(database.write(Role::App, move |sql| {
        let noted = sql.execute(
            "UPDATE prescreen.replay_runs SET promoted_at = $3 WHERE run_id = $1 AND report_sha256 = $2",
            &[&run.run_id.as_str(), &promotion.report_sha256.to_string(), &now],
        )?;
        if noted == 0 {
            return Ok(Err(format!("run {} has another report by now; read that one first", run.run_id)));
        }
        let entry = Entry {
            actor: &promotion.by,
            action: "replay.promote",
            subject: run.run_id.as_str(),
            detail: json!({
                "report_sha256": promotion.report_sha256,
                "verdict": run.verdict,
                "forced": promotion.forced,
                "plan_sha256": run.plan_sha256,
                "config_sha256": promotion.config_sha256,
            }),
            at: now,
        };
        audit::append(sql, &entry).map(Ok)
    }))
}

/// What the live system made of `studies`. It keeps the messages of the last two steps, every rejection and every dead letter;
/// of a study that went on, the steps before have no row.
pub(crate) fn live_results(
    database: &Database,
    run: &RunId,
    studies: &[StudyUid],
) -> Result<Vec<StageResult>, DatabaseError> {
    let run = run.as_str().to_owned();
    let studies: Vec<String> = studies.iter().map(ToString::to_string).collect();
    database.read(Role::App, move |sql| {
        let mut live = LiveRows { run, studies, rows: Vec::new() };
        live.emitted::<FindingsInferred>(sql, "inferences", "findings")?;
        live.emitted::<ReportIssued>(sql, "reports", "report")?;
        live.rejected(sql)?;
        live.dead(sql)?;
        // What went on counts before what died: a letter may be of an earlier try.
        live.rows
            .sort_by(|a, b| (&a.study_uid, a.revision, &a.stage).cmp(&(&b.study_uid, b.revision, &b.stage)));
        live.rows
            .dedup_by(|a, b| (&a.study_uid, a.revision, &a.stage) == (&b.study_uid, b.revision, &b.stage));
        Ok(live.rows)
    })
}

/// The event that a step of a study and revision was made from, told by the topic that the step reads.
const CAUSE: &str =
    "(SELECT event_id FROM prescreen.study_events AS events WHERE events.run_id = results.run_id
    AND events.study_uid = results.study_uid AND events.revision = results.revision AND events.topic = $3
    ORDER BY happened_at, event_id LIMIT 1)";

struct LiveRows {
    run: String,
    studies: Vec<String>,
    rows: Vec<StageResult>,
}

impl LiveRows {
    /// Messages of type `M`, which `table` keeps whole in `column`.
    fn emitted<M: Message>(
        &mut self,
        sql: &mut Transaction<'_>,
        table: &str,
        column: &str,
    ) -> Result<(), postgres::Error> {
        let Some(step) = entries().into_iter().find(|entry| entry.output == M::TOPIC) else { return Ok(()) };
        let rows = sql.query(
            &format!(
                "SELECT study_uid, revision, {column}, {CAUSE} FROM prescreen.{table} AS results
                 WHERE run_id = $1 AND study_uid = ANY($2)"
            ),
            &[&self.run, &self.studies, &step.input.name],
        )?;
        for row in &rows {
            // Read as its type and written again: numbers come out as the stage wrote them.
            let Json(message): Json<M> = row.try_get(2)?;
            let output = serde_json::to_value(message).unwrap_or_default();
            self.push(row, step.name, row.get(3), Ended::Emitted, output);
        }
        Ok(())
    }

    fn rejected(&mut self, sql: &mut Transaction<'_>) -> Result<(), postgres::Error> {
        for step in entries() {
            let rows = sql.query(
                &format!(
                    "SELECT study_uid, revision, rejection, {CAUSE} FROM prescreen.rejections AS results
                     WHERE run_id = $1 AND study_uid = ANY($2) AND stage = $4"
                ),
                &[&self.run, &self.studies, &step.input.name, &step.name],
            )?;
            for row in &rows {
                let Json(rejection): Json<schemas::Rejection> = row.try_get(2)?;
                let output = serde_json::to_value(rejection).unwrap_or_default();
                self.push(row, step.name, row.get(3), Ended::Rejected, output);
            }
        }
        Ok(())
    }

    /// Dead letters that have not gone back.
    fn dead(&mut self, sql: &mut Transaction<'_>) -> Result<(), postgres::Error> {
        for step in entries() {
            let rows = sql.query(
                &format!(
                    "SELECT study_uid, revision, json_build_object('cause', cause, 'detail', detail), {CAUSE}
                     FROM prescreen.dead_letters AS results WHERE run_id = $1 AND study_uid = ANY($2) AND stage = $4
                        AND redriven_at IS NULL AND revision IS NOT NULL ORDER BY died_at DESC"
                ),
                &[&self.run, &self.studies, &step.input.name, &step.name],
            )?;
            for row in &rows {
                let Json(output): Json<Value> = row.try_get(2)?;
                self.push(row, step.name, row.get(3), Ended::Failed, output);
            }
        }
        Ok(())
    }

    /// A row whose cause is no longer in the timeline is left out: nobody could say what it was made from.
    fn push(&mut self, row: &Row, stage: &str, cause: Option<Uuid>, ended: Ended, output: Value) {
        let (study, revision): (String, i32) = (row.get(0), row.get(1));
        let (Some(cause), Ok(study_uid)) = (cause, StudyUid::new(&study)) else { return };
        self.rows.push(StageResult {
            arm: Arm::Live,
            study_uid,
            revision: Revision(revision as u32),
            stage: stage.to_owned(),
            input_event: EventId(cause),
            ended,
            output_sha256: canonical_sha256(&output),
            output,
            seconds: None,
            model: None,
            memo_hits: 0,
        });
    }
}
