//! Replay runs by API: what `prescreen replay` writes and reads.

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::header,
    response::IntoResponse,
    routing::{get, post},
};
use replay::result::StageResult;
use schemas::{Digest, RunId, StudyUid};
use serde::Deserialize;

use crate::{
    error::Refusal,
    server::Shared,
    site::{BeginReplay, DoneStep, EndReplay, KeepReport, Promote, Promoted, ReplayRun, ReplayState, Site},
};

/// Bytes of a request: a batch of rows, a plan of a hundred thousand studies, a report with its pictures.
const LONGEST: usize = 256 << 20;
/// Rows in one answer.
const MOST_ROWS: u32 = 1_000;
/// Studies asked about at once.
const MOST_STUDIES: usize = 1_000;

/// What everybody may read.
pub(crate) fn reading<S: Site>() -> Router<Shared<S>> {
    Router::new()
        .route("/api/replays", get(all::<S>))
        .route("/api/replays/{run}", get(one::<S>))
        .route("/api/replays/{run}/report", get(report::<S>))
        .route("/api/replays/{run}/plan", get(plan::<S>))
        .route("/api/replays/{run}/steps", get(steps::<S>))
        .route("/api/replays/{run}/results", get(results::<S>))
}

/// What needs the token. Asking for live rows changes nothing, but takes a list as its body.
pub(crate) fn changing<S: Site>() -> Router<Shared<S>> {
    Router::new()
        .route("/api/replays", post(begin::<S>))
        .route("/api/replays/{run}/results", post(keep_results::<S>))
        .route("/api/replays/{run}/end", post(end::<S>))
        .route("/api/replays/{run}/report", post(keep_report::<S>))
        .route("/api/replays/{run}/promote", post(promote::<S>))
        .route("/api/results/live", post(live::<S>))
        .layer(DefaultBodyLimit::max(LONGEST))
}

fn run_id(text: &str) -> Result<RunId, Refusal> {
    RunId::new(text).map_err(Refusal::bad_request)
}

async fn all<S: Site>(State(shared): State<Shared<S>>) -> Result<Json<Vec<ReplayRun>>, Refusal> {
    shared.ask(S::replays).await.map(Json)
}

async fn one<S: Site>(
    State(shared): State<Shared<S>>,
    Path(run): Path<String>,
) -> Result<Json<ReplayRun>, Refusal> {
    let run = run_id(&run)?;
    shared.ask(move |site| site.replay(&run)).await?.map(Json).ok_or_else(|| Refusal::not_found("replay run"))
}

/// As a file: the report brings its own styles, which no page of ours may.
async fn report<S: Site>(
    State(shared): State<Shared<S>>,
    Path(run): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    let run = run_id(&run)?;
    let name = format!("attachment; filename=\"replay-{run}.html\"");
    let html = shared.ask(move |site| site.replay_report(&run)).await?;
    let html = html.ok_or_else(|| Refusal::not_found("replay report"))?;
    Ok((
        [(header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)],
        html,
    ))
}

async fn plan<S: Site>(
    State(shared): State<Shared<S>>,
    Path(run): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    let run = run_id(&run)?;
    let plan = shared.ask(move |site| site.replay_plan(&run)).await?;
    let plan = plan.ok_or_else(|| Refusal::not_found("replay run"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], plan))
}

async fn steps<S: Site>(
    State(shared): State<Shared<S>>,
    Path(run): Path<String>,
) -> Result<Json<Vec<DoneStep>>, Refusal> {
    let run = run_id(&run)?;
    shared.ask(move |site| site.done_steps(&run)).await.map(Json)
}

/// Which rows.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Page {
    /// How many to leave out, the first ones.
    skip: u32,
    /// At most this many; 0 stands for 100.
    limit: u32,
}

async fn results<S: Site>(
    State(shared): State<Shared<S>>,
    Path(run): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<Vec<StageResult>>, Refusal> {
    let run = run_id(&run)?;
    let limit = if page.limit == 0 { 100 } else { page.limit.min(MOST_ROWS) };
    shared.ask(move |site| site.results(&run, page.skip, limit)).await.map(Json)
}

async fn live<S: Site>(
    State(shared): State<Shared<S>>,
    Json(studies): Json<Vec<StudyUid>>,
) -> Result<Json<Vec<StageResult>>, Refusal> {
    if studies.len() > MOST_STUDIES {
        return Err(Refusal::bad_request(format!("ask for at most {MOST_STUDIES} studies at once")));
    }
    shared.ask(move |site| site.live_results(&studies)).await.map(Json)
}

async fn begin<S: Site>(
    State(shared): State<Shared<S>>,
    Json(begin): Json<BeginReplay>,
) -> Result<Json<ReplayRun>, Refusal> {
    shared.ask(move |site| site.begin_replay(&begin)).await.map(Json)
}

async fn keep_results<S: Site>(
    State(shared): State<Shared<S>>,
    Path(run): Path<String>,
    Json(results): Json<Vec<StageResult>>,
) -> Result<Json<()>, Refusal> {
    let run = run_id(&run)?;
    shared.ask(move |site| site.keep_results(&run, &results)).await.map(Json)
}

async fn end<S: Site>(
    State(shared): State<Shared<S>>,
    Path(run): Path<String>,
    Json(end): Json<EndReplay>,
) -> Result<Json<()>, Refusal> {
    let run = run_id(&run)?;
    if end.state == ReplayState::Running {
        return Err(Refusal::bad_request("a run ends as finished or failed"));
    }
    shared.ask(move |site| site.end_replay(&run, &end)).await.map(Json)
}

async fn keep_report<S: Site>(
    State(shared): State<Shared<S>>,
    Path(run): Path<String>,
    Json(report): Json<KeepReport>,
) -> Result<Json<Digest>, Refusal> {
    let run = run_id(&run)?;
    shared.ask(move |site| site.keep_report(&run, &report)).await.map(Json)
}

async fn promote<S: Site>(
    State(shared): State<Shared<S>>,
    Path(run): Path<String>,
    Json(promote): Json<Promote>,
) -> Result<Json<Promoted>, Refusal> {
    let run = run_id(&run)?;
    shared.ask(move |site| site.promote(&run, &promote)).await.map(Json)
}
