//! The operator's view by API: graph, history, live status, samples of topics, dead letters, pauses.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{FromRequestParts, Path, Query, State},
    http::{StatusCode, request::Parts},
    response::{
        IntoResponse,
        sse::{Event, Sse},
    },
    routing::{get, post},
};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::{
    error::Refusal,
    live::Picture,
    pages::Numbers,
    reader::Reader,
    server::Shared,
    site::{
        DeadLetterFilter, DeadLetterRow, GraphNode, HistoryPoint, RedriveRequest, Redriven, Site, TapRequest,
        TappedRecord,
    },
};

/// Dead letters in one answer.
const MOST_DEAD_LETTERS: u32 = 10_000;
/// Records in one sample.
const MOST_TAPPED: u32 = 1_000;
/// A sample waits at most this long for new records; a thread of ours waits with it.
const LONGEST_TAP_MS: u64 = 30_000;
/// Samples being taken at once.
const TAPS: usize = 4;

/// What everybody may read.
pub(crate) fn reading<S: Site>() -> Router<Shared<S>> {
    Router::new()
        .route("/api/graph", get(graph::<S>))
        .route("/api/history", get(history::<S>))
        .route("/api/live", get(live::<S>))
        .route("/api/dead-letters", get(dead_letters::<S>))
        .route("/api/tap", get(tap::<S>))
        .layer(Extension(Taps(Arc::new(Semaphore::new(TAPS)))))
}

/// What needs the token.
pub(crate) fn changing<S: Site>() -> Router<Shared<S>> {
    Router::new()
        .route("/api/dead-letters/redrive", post(redrive::<S>))
        .route("/api/stages/{stage}/pause", post(pause::<S>))
        .route("/api/stages/{stage}/resume", post(resume::<S>))
}

/// Who acts, for the audit log: the token's holder as `x-prescreen-actor` calls him, or `api`.
pub(crate) struct Actor(pub(crate) String);

impl Actor {
    const HEADER: &str = "x-prescreen-actor";

    /// 1 to 64 characters, none of them a control character.
    fn named(name: &str) -> Result<Self, Refusal> {
        if name.trim().is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
            return Err(Refusal::bad_request("x-prescreen-actor is not 1 to 64 printable characters"));
        }
        Ok(Self(name.to_owned()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let Some(header) = parts.headers.get(Self::HEADER) else { return Ok(Self("api".to_owned())) };
        Self::named(std::str::from_utf8(header.as_bytes()).unwrap_or_default())
    }
}

async fn graph<S: Site>(State(shared): State<Shared<S>>) -> Result<Json<Vec<GraphNode>>, Refusal> {
    shared.ask(|site| Ok(site.graph())).await.map(Json)
}

/// Which part of the history.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Since {
    /// Only points after this one.
    since: Option<Timestamp>,
}

async fn history<S: Site>(
    State(shared): State<Shared<S>>,
    Query(Since { since }): Query<Since>,
) -> Result<Json<Vec<HistoryPoint>>, Refusal> {
    let mut points = shared.ask(S::history).await?;
    points.retain(|point| since.is_none_or(|since| point.at > since));
    Ok(Json(points))
}

/// `status` is the status as `/api/status` gives it, `shown` the same in words, as the pages print it; `down` says why
/// there is none.
async fn live<S: Site>(
    State(shared): State<Shared<S>>,
    reader: Reader,
) -> Result<impl IntoResponse, Refusal> {
    let graph = shared.ask(|site| Ok(site.graph())).await?;
    let words = reader.words();
    let tell = move |picture: &Picture| match picture {
        Ok(status) => {
            vec![event("status", status.as_ref()), event("shown", &Numbers::of(&graph, status, words))]
        }
        Err(why) => vec![event("down", why)],
    };
    Ok(Sse::new(shared.live.listen(shared.site.clone(), tell).await?))
}

fn event(name: &str, data: &impl serde::Serialize) -> Event {
    // None of ours fails to serialise: they are structs of numbers and texts with text keys.
    Event::default()
        .event(name)
        .json_data(data)
        .unwrap_or_else(|_| Event::default().event("down").data("null"))
}

async fn dead_letters<S: Site>(
    State(shared): State<Shared<S>>,
    Query(filter): Query<DeadLetterFilter>,
) -> Result<Json<Vec<DeadLetterRow>>, Refusal> {
    let filter = DeadLetterFilter { limit: filter.limit.min(MOST_DEAD_LETTERS), ..filter };
    shared.ask(move |site| site.dead_letters(&filter)).await.map(Json)
}

/// A [`RedriveRequest`] as it comes in: who asks may stand in the header instead.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RedriveBody {
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    cause: Option<String>,
    #[serde(default)]
    one: Option<(String, i32, i64)>,
    dry_run: bool,
    #[serde(default)]
    by: Option<String>,
}

async fn redrive<S: Site>(
    State(shared): State<Shared<S>>,
    Actor(actor): Actor,
    Json(body): Json<RedriveBody>,
) -> Result<Json<Redriven>, Refusal> {
    let by = body.by.map_or(Ok(actor), |by| Actor::named(&by).map(|named| named.0))?;
    let RedriveBody { topic, cause, one, dry_run, .. } = body;
    let request = RedriveRequest { topic, cause, one, dry_run, by };
    shared.ask(move |site| site.redrive(&request)).await.map(Json)
}

/// The places for those who take samples.
#[derive(Clone)]
struct Taps(Arc<Semaphore>);

/// A [`TapRequest`] as a query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TapQuery {
    topic: String,
    #[serde(default)]
    count: u32,
    #[serde(default)]
    wait_ms: u64,
    #[serde(default)]
    rate_per_s: u32,
}

async fn tap<S: Site>(
    State(shared): State<Shared<S>>,
    Extension(Taps(taps)): Extension<Taps>,
    Query(query): Query<TapQuery>,
) -> Result<Json<Vec<TappedRecord>>, Refusal> {
    let _place = taps.try_acquire_owned().map_err(|_| {
        Refusal(StatusCode::TOO_MANY_REQUESTS, format!("{TAPS} samples are being taken already; try again"))
    })?;
    let count = if query.count == 0 { 10 } else { query.count.min(MOST_TAPPED) };
    let wait_ms = query.wait_ms.min(LONGEST_TAP_MS);
    let request = TapRequest { topic: query.topic, count, wait_ms, rate_per_s: query.rate_per_s };
    shared.ask(move |site| site.tap(&request)).await.map(Json)
}

async fn pause<S: Site>(
    shared: State<Shared<S>>,
    actor: Actor,
    stage: Path<String>,
) -> Result<Json<()>, Refusal> {
    set_paused(shared, actor, stage, true).await
}

async fn resume<S: Site>(
    shared: State<Shared<S>>,
    actor: Actor,
    stage: Path<String>,
) -> Result<Json<()>, Refusal> {
    set_paused(shared, actor, stage, false).await
}

async fn set_paused<S: Site>(
    State(shared): State<Shared<S>>,
    Actor(by): Actor,
    Path(stage): Path<String>,
    paused: bool,
) -> Result<Json<()>, Refusal> {
    shared
        .ask(move |site| {
            if !site.graph().iter().any(|node| node.name == stage) {
                return Ok(None);
            }
            site.set_paused(&stage, paused, &by).map(Some)
        })
        .await?
        .map(Json)
        .ok_or_else(|| Refusal::not_found("stage"))
}
