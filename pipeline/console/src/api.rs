//! The API: what the command line and scripts use. Described by `/api/openapi.json`.

pub(crate) mod replays;
pub(crate) mod watch;

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::IntoResponse,
};
use futures_util::StreamExt as _;
use schemas::{Area, BlobRef, Digest, StudyUid};
use tokio::io::AsyncWriteExt as _;

use crate::{
    error::Refusal,
    server::Shared,
    site::{
        Arrival, ConfirmedStudy, Received, Sender, Site, Status, StudyFilter, StudyRow, StudyTimeline,
        UploadOptions,
    },
};

pub(crate) fn study_uid(text: &str) -> Result<StudyUid, Refusal> {
    StudyUid::new(text).map_err(Refusal::bad_request)
}

pub(crate) async fn status<S: Site>(State(shared): State<Shared<S>>) -> Result<Json<Status>, Refusal> {
    shared.ask(S::status).await.map(Json)
}

pub(crate) async fn studies<S: Site>(
    State(shared): State<Shared<S>>,
    Query(filter): Query<StudyFilter>,
) -> Result<Json<Vec<StudyRow>>, Refusal> {
    let filter = StudyFilter { limit: filter.limit.min(10_000), ..filter };
    shared.ask(move |site| site.studies(&filter)).await.map(Json)
}

pub(crate) async fn study<S: Site>(
    State(shared): State<Shared<S>>,
    Path(uid): Path<String>,
) -> Result<Json<StudyTimeline>, Refusal> {
    let uid = study_uid(&uid)?;
    shared.ask(move |site| site.study(&uid)).await?.map(Json).ok_or_else(|| Refusal::not_found("study"))
}

/// The AE title in a path (PS3.5: 16 characters at most).
pub(crate) fn ae_title(text: String) -> Result<String, Refusal> {
    if text.is_empty() || text.chars().count() > 16 {
        return Err(Refusal::bad_request("an AE title has 1 to 16 characters"));
    }
    Ok(text)
}

/// How many arrivals to list.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Latest {
    /// At most this many; 0 stands for 100.
    limit: u32,
}

pub(crate) async fn senders<S: Site>(State(shared): State<Shared<S>>) -> Result<Json<Vec<Sender>>, Refusal> {
    shared.ask(S::senders).await.map(Json)
}

pub(crate) async fn arrivals<S: Site>(
    State(shared): State<Shared<S>>,
    Path(ae): Path<String>,
    Query(latest): Query<Latest>,
) -> Result<Json<Vec<Arrival>>, Refusal> {
    let ae = ae_title(ae)?;
    let limit = if latest.limit == 0 { 100 } else { latest.limit.min(1_000) };
    shared.ask(move |site| site.arrivals(&ae, limit)).await.map(Json)
}

/// Which confirmed studies.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Page {
    /// How many to leave out, the earliest ones.
    skip: u32,
    /// At most this many; 0 stands for 1,000.
    limit: u32,
}

pub(crate) async fn confirmed_studies<S: Site>(
    State(shared): State<Shared<S>>,
    Query(page): Query<Page>,
) -> Result<Json<Vec<ConfirmedStudy>>, Refusal> {
    let limit = if page.limit == 0 { 1_000 } else { page.limit.min(1_000) };
    shared.ask(move |site| site.confirmed_studies(page.skip, limit)).await.map(Json)
}

pub(crate) async fn picture<S: Site>(
    State(shared): State<Shared<S>>,
    Path((digest, bytes)): Path<(String, u64)>,
) -> Result<impl IntoResponse, Refusal> {
    let sha256: Digest = digest.parse().map_err(Refusal::bad_request)?;
    let picture = BlobRef { area: Area::Frames, sha256, bytes };
    let png =
        shared.ask(move |site| site.picture(&picture)).await?.ok_or_else(|| Refusal::not_found("picture"))?;
    // Masked, and named by its content: it may be kept for as long as a page shows it again and again.
    let kept = "private, max-age=3600, immutable";
    Ok(([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, kept)], png))
}

pub(crate) async fn metrics<S: Site>(State(shared): State<Shared<S>>) -> Result<impl IntoResponse, Refusal> {
    shared.ask(|site| Ok(site.metrics())).await.map(exposition)
}

/// Prometheus's text format.
pub(crate) fn exposition(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// Streams the body into a file of its own, then hands it to intake. A broken upload leaves nothing behind.
pub(crate) async fn receive<S: Site>(
    State(shared): State<Shared<S>>,
    Query(options): Query<UploadOptions>,
    body: Body,
) -> Result<Json<Vec<Received>>, Refusal> {
    let failed =
        |what: &str| Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("the upload could not be {what}"));
    let path = shared.uploads.join(format!("{}.upload", uuid::Uuid::new_v4()));
    let upload = Upload(path);
    let mut file =
        tokio::fs::File::create_new(&upload.0).await.map_err(|_| failed("kept: no file can be created"))?;
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Refusal::bad_request("the upload broke off"))?;
        file.write_all(&chunk)
            .await
            .map_err(|_| Refusal(StatusCode::INSUFFICIENT_STORAGE, "the disk is full".to_owned()))?;
    }
    file.flush().await.map_err(|_| failed("written"))?;
    drop(file);
    let path = upload.0.clone();
    shared.ask(move |site| site.receive(&path, &options)).await.map(Json)
}

/// A file on its way in; whatever happens, it does not stay.
struct Upload(std::path::PathBuf);

impl Drop for Upload {
    fn drop(&mut self) {
        // Nothing more can be done about it here; the next start empties the folder.
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) async fn close<S: Site>(
    State(shared): State<Shared<S>>,
    Path(uid): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    let uid = study_uid(&uid)?;
    shared.ask(move |site| site.close(&uid)).await.map(Json)
}

pub(crate) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("../assets/openapi.json"))
}
