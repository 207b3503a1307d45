//! Replay runs: the list, one run, and the report of its latest comparison.

use axum::{
    extract::{Path, State},
    http::{HeaderValue, header},
    response::IntoResponse,
};
use jiff::Timestamp;
use maud::{Markup, html};
use schemas::RunId;

use super::{Page, Renewal, Section, cell, optional, second, seconds_between, span};
use crate::{
    error::Refusal,
    reader::Reader,
    server::Shared,
    site::{ReplayRun, ReplayState, ReplayVerdict, Site},
    words::Words,
};

/// The report is one file with its styles and pictures in itself; it may run nothing and load nothing.
const REPORT_POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

pub(crate) async fn replays<S: Site>(
    State(shared): State<Shared<S>>,
    reader: Reader,
) -> Result<Markup, Refusal> {
    let words = reader.words();
    let runs = shared.ask(S::replays).await?;
    let content = html! {
        h1 { (words.replays) }
        p.note { (words.replays_note) }
        @if runs.is_empty() { p.note { (words.no_replay) } } @else { (table(&reader, &runs)) }
    };
    let open = runs.iter().any(|run| run.state == ReplayState::Running);
    Ok(page(&reader, words.replays, open, &content))
}

fn page(reader: &Reader, title: &str, open: bool, content: &Markup) -> Markup {
    let renewal = if open { Renewal::Every5s } else { Renewal::Never };
    Page { reader, title, section: Section::Replays, renewal, scripts: &[] }.show(content)
}

fn table(reader: &Reader, runs: &[ReplayRun]) -> Markup {
    let words = reader.words();
    html! {
        div.scroll { table.stack {
            thead { tr {
                th { (words.run) } th { (words.state) } th { (words.verdict) } th { (words.progress) }
                th.number { (words.studies) } th { (words.started_utc) } th.number { (words.took) } th { (words.started_by) } th { (words.promoted_utc) }
            } }
            tbody { @for run in runs { tr {
                (cell(words.run, Some("mono lead"), html! { a href=(reader.link(&format!("/replays/{}", run.run_id))) { (run.run_id) } }))
                (cell(words.state, None, state_badge(run.state, words)))
                (cell(words.verdict, None, verdict_badge(run.verdict, words)))
                (cell(words.progress, None, progress(run, words)))
                (cell(words.studies, Some("number"), run.studies))
                (cell(words.started_utc, None, second(run.started_at)))
                (cell(words.took, Some("number"), took(run)))
                (cell(words.started_by, None, &run.started_by))
                (cell(words.promoted_utc, None, optional(run.promoted_at.map(second))))
            } } }
        } }
    }
}

fn took(run: &ReplayRun) -> String {
    optional(run.finished_at.map(|at: Timestamp| span(seconds_between(run.started_at, at))))
}

fn state_badge(state: ReplayState, words: &Words) -> Markup {
    let (class, name) = match state {
        ReplayState::Running => ("in_progress", words.running),
        ReplayState::Finished => ("reported", words.finished),
        ReplayState::Failed => ("dead_lettered", words.run_failed),
    };
    html! { span class={ "badge " (class) } { (name) } }
}

fn verdict_badge(verdict: Option<ReplayVerdict>, words: &Words) -> Markup {
    let (class, name) = match verdict {
        Some(ReplayVerdict::Pass) => ("reported", words.pass),
        Some(ReplayVerdict::Regression) => ("dead_lettered", words.regression),
        Some(ReplayVerdict::Inconclusive) => ("caution", words.inconclusive),
        None => return html! { "–" },
    };
    html! { span class={ "badge " (class) } { (name) } }
}

/// Of a run that is done the rows are all there are: a study that was rejected on its way has fewer.
fn progress(run: &ReplayRun, words: &Words) -> Markup {
    let most = if run.state == ReplayState::Finished { run.rows } else { run.expected };
    html! {
        progress value=(run.rows) max=(most.max(1)) aria-label=(words.progress) {}
        " " span.note { (run.rows) "/" (most) }
    }
}

/// The run id of a path. `live` and `heartbeat` are no replays, so that they are not found.
fn run_id(text: &str) -> Result<RunId, Refusal> {
    RunId::new(text).map_err(|_| Refusal::bad_request("a run id is 1 to 64 of a-z, 0-9, '-', '_'"))
}

pub(crate) async fn replay<S: Site>(
    State(shared): State<Shared<S>>,
    reader: Reader,
    Path(run): Path<String>,
) -> Result<Markup, Refusal> {
    let words = reader.words();
    let id = run_id(&run)?;
    let run =
        shared.ask(move |site| site.replay(&id)).await?.ok_or_else(|| Refusal::not_found("replay run"))?;
    let content = html! {
        p { a href=(reader.link("/replays")) { "← " (words.all_replays) } }
        h1.mono { (run.run_id) " " (state_badge(run.state, words)) " " (verdict_badge(run.verdict, words)) }
        dl.facts-of-run {
            dt { (words.progress) } dd { (progress(&run, words)) " " (words.rows) }
            dt { (words.studies) } dd { (run.studies) }
            dt { (words.started_utc) } dd { (second(run.started_at)) }
            dt { (words.finished_utc) } dd { (optional(run.finished_at.map(second))) }
            dt { (words.took) } dd { (took(&run)) }
            dt { (words.started_by) } dd { (run.started_by) }
            dt { (words.plan) } dd.mono { (run.plan_sha256) }
            @if let Some(failure) = &run.failure { dt { (words.failure) } dd.warn lang="en" { (failure) } }
            dt { (words.promoted_utc) }
            dd { @match run.promoted_at { Some(at) => { (second(at)) } None => { (words.not_promoted) } } }
            dt { (words.report) }
            dd {
                @match run.report_sha256 {
                    Some(hash) => {
                        a.open href={ "/replays/" (run.run_id) "/report" } { (words.open_report) }
                        " " span.mono.note { (hash) }
                    }
                    None => { span.note { (words.no_report) } }
                }
            }
        }
    };
    Ok(page(&reader, run.run_id.as_str(), run.state == ReplayState::Running, &content))
}

/// The stored file, byte for byte, under a policy of its own.
pub(crate) async fn report<S: Site>(
    State(shared): State<Shared<S>>,
    Path(run): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    let id = run_id(&run)?;
    let file =
        shared.ask(move |site| site.replay_report(&id)).await?.ok_or_else(|| Refusal::not_found("report"))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(REPORT_POLICY)),
    ];
    Ok((headers, file))
}
