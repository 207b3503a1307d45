//! The pages, rendered on the server. They refresh themselves by a meta tag; only the live page of an echo machine has a
//! script, because it hangs on a wall: it says when the console does not answer, and goes on when it does again.

pub(crate) mod acquisition;
mod report;

use axum::{
    extract::{Path, Query, State},
    http::header,
    response::IntoResponse,
};
use maud::{DOCTYPE, Markup, html};

use crate::{
    api::study_uid,
    error::Refusal,
    server::Shared,
    site::{Site, StageStatus, StateCounts, Status, StudyFilter, StudyRow, StudyTimeline},
};

pub(crate) async fn stylesheet() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../assets/console.css"))
}

pub(crate) async fn live_script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../assets/live.js"))
}

/// How a page renews itself.
#[derive(Clone, Copy)]
enum Refresh {
    Every5s,
    /// By the script; without one by the meta tag.
    Live,
    Never,
}

fn page(title: &str, refresh: Refresh, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @match refresh {
                    Refresh::Every5s => { meta http-equiv="refresh" content="5"; }
                    Refresh::Live => {
                        script src="/assets/live.js" defer {}
                        noscript { meta http-equiv="refresh" content="2"; }
                    }
                    Refresh::Never => {}
                }
                title { (title) " · prescreen" }
                link rel="stylesheet" href="/assets/console.css";
            }
            body {
                header {
                    a.brand href="/" { "prescreen" }
                    nav { a href="/" { "Overview 总览" } a href="/acquisition" { "Acquisition 采集" } a href="/studies" { "Studies 检查" } }
                }
                main { (content) }
                footer {
                    "For reference only; a licensed physician decides. Not a medical device. "
                    "仅供参考,须经执业医师复核确认。"
                }
            }
        }
    }
}

pub(crate) async fn overview<S: Site>(State(shared): State<Shared<S>>) -> Result<Markup, Refusal> {
    let (status, latest) = shared
        .ask(|site| Ok((site.status()?, site.studies(&StudyFilter { limit: 20, ..StudyFilter::default() })?)))
        .await?;
    let content = html! {
        (states(&status))
        h2 { "Backlog " small { "积压" } }
        (backlog(&status.stages))
        h2 { "Latest studies " small { "最近检查" } }
        (study_table(&latest))
    };
    Ok(page("Overview", Refresh::Every5s, &content))
}

fn states(status: &Status) -> Markup {
    let StateCounts { received, in_progress, reported, rejected, dead_lettered, superseded, unaccounted } =
        status.studies;
    let tiles = [
        ("Received", "已接收", received, ""),
        ("In progress", "处理中", in_progress, "?state=in_progress"),
        ("Reported", "已出报告", reported, "?state=reported"),
        ("Rejected", "质量不合格", rejected, "?state=rejected"),
        ("Dead-lettered", "处理失败", dead_lettered, "?state=dead_lettered"),
        ("Superseded", "已被取代", superseded, "?state=superseded"),
    ];
    html! {
        section.tiles {
            @for (en, zh, count, query) in tiles {
                a.tile href={ "/studies" (query) } { strong { (count) } span { (en) } small { (zh) } }
            }
            div.tile.alarm[unaccounted > 0].calm[unaccounted == 0] {
                strong { (unaccounted) } span { "Unaccounted" } small { "下落不明" }
            }
        }
        @if status.spooled > 0 {
            p.note { (status.spooled) " studies are safe in the spool and wait for the broker. " "待发布。" }
        }
    }
}

/// One stage over all its topics and both lanes.
struct Backlog<'a> {
    stage: &'a str,
    waiting: i64,
    urgent: i64,
    oldest_s: Option<f64>,
    /// The slowest of its topics; absent if one of them is not draining.
    eta_s: Option<f64>,
    any: &'a StageStatus,
}

impl<'a> Backlog<'a> {
    fn by_stage(rows: &'a [StageStatus]) -> Vec<Self> {
        let mut stages: Vec<Self> = Vec::new();
        for row in rows {
            if stages.last().is_none_or(|last| last.stage != row.stage) {
                let new = Self {
                    stage: &row.stage,
                    waiting: 0,
                    urgent: 0,
                    oldest_s: None,
                    eta_s: Some(0.0),
                    any: row,
                };
                stages.push(new);
            }
            let Some(stage) = stages.last_mut() else { continue };
            stage.waiting += row.lag_records;
            if row.topic.ends_with(".urgent") {
                stage.urgent += row.lag_records;
            }
            stage.oldest_s = stage.oldest_s.into_iter().chain(row.oldest_age_s).reduce(f64::max);
            if row.lag_records > 0 {
                stage.eta_s = stage.eta_s.zip(row.drain_eta_s).map(|(a, b)| a.max(b));
            }
        }
        stages
    }
}

fn backlog(rows: &[StageStatus]) -> Markup {
    html! {
        @if rows.is_empty() { p.note { "Not measured: the broker has not answered. 尚未测量。" } }
        div.scroll { table {
            thead { tr {
                th { "Stage" } th.number { "Waiting" } th.number { "of these urgent" } th.number { "Oldest" }
                th.number { "Drained in" } th.number { "In flight" } th.number { "Busy" } th.number { "Errors" }
            } }
            tbody {
                @for stage in Backlog::by_stage(rows) {
                    tr {
                        td { (stage.stage) }
                        td.number { (stage.waiting) }
                        td.number { (stage.urgent) }
                        td.number { (stage.oldest_s.map_or_else(|| "–".to_owned(), span)) }
                        td.number {
                            @match (stage.waiting, stage.eta_s) {
                                (0, _) => { "–" }
                                (_, Some(eta)) => { (span(eta)) }
                                (_, None) => { span.warn { "not draining" } }
                            }
                        }
                        td.number { (stage.any.in_flight) }
                        td.number { (format!("{:.0} %", stage.any.busy_ratio * 100.0)) }
                        td.number { (stage.any.errors) }
                    }
                }
            }
        } }
    }
}

/// Seconds as people say them.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

pub(crate) async fn studies<S: Site>(
    State(shared): State<Shared<S>>,
    Query(filter): Query<StudyFilter>,
) -> Result<Markup, Refusal> {
    let filter =
        StudyFilter { limit: if filter.limit == 0 { 200 } else { filter.limit.min(1000) }, ..filter };
    let state = filter.state.clone();
    let rows = shared.ask(move |site| site.studies(&filter)).await?;
    let content = html! {
        h1 { "Studies" @if let Some(state) = &state { ": " (state) } }
        form action="/studies" method="get" {
            input name="study_uid" placeholder="Study Instance UID" size="48" required pattern="[0-9.]+";
            button { "Find 查找" }
        }
        (study_table(&rows))
    };
    Ok(page("Studies", Refresh::Every5s, &content))
}

fn study_table(rows: &[StudyRow]) -> Markup {
    html! {
        @if rows.is_empty() { p.note { "No study yet. 暂无检查。" } }
        @else { div.scroll { table {
            thead { tr { th { "Study" } th { "State" } th { "Reason" } th { "Kind" } th.number { "Instances" } th { "Received (UTC)" } th.number { "Took" } } }
            tbody { @for row in rows { tr {
                td.mono { a href={ "/studies/" (row.study_uid) } { (shortened(&row.study_uid)) } @if row.revision > 1 { " r" (row.revision) } }
                td { (state_badge(&row.state)) @if row.synthetic == Some(true) { " " span.badge.phantom { "PHANTOM" } } }
                td { (row.reason.as_deref().unwrap_or("–")) }
                td { (row.domain.as_deref().unwrap_or("–")) @if row.priority.as_deref() == Some("urgent") { " " span.badge.urgent { "urgent" } } }
                td.number { @if let Some(instances) = row.instances { (instances) } @else { "–" } }
                td { @if let Some(at) = row.received_at { (at.strftime("%Y-%m-%d %H:%M:%S")) } @else { "–" } }
                td.number { (took(row)) }
            } } }
        } } }
    }
}

fn took(row: &StudyRow) -> String {
    match (row.received_at, row.terminal_at) {
        (Some(from), Some(to)) => span((to - from).total(jiff::Unit::Second).unwrap_or_default().max(0.0)),
        _ => "–".to_owned(),
    }
}

fn state_badge(state: &str) -> Markup {
    html! { span class={ "badge " (state) } { (state.replace('_', " ")) } }
}

fn shortened(uid: &str) -> String {
    let tail = uid.len().saturating_sub(14);
    if tail < 8 {
        uid.to_owned()
    } else {
        format!("{}…{}", uid.get(..6).unwrap_or_default(), uid.get(tail..).unwrap_or_default())
    }
}

pub(crate) async fn study<S: Site>(
    State(shared): State<Shared<S>>,
    Path(uid): Path<String>,
) -> Result<Markup, Refusal> {
    let study = study_uid(&uid)?;
    let timeline =
        shared.ask(move |site| site.study(&study)).await?.ok_or_else(|| Refusal::not_found("study"))?;
    let open = timeline.revisions.iter().any(|revision| revision.state == "in_progress");
    let content = html! {
        h1 { "Study" }
        p.mono.uid { (uid) }
        (study_table(&timeline.revisions))
        @if let Some(report) = &timeline.report { (report::report(report)) }
        @if let Some(rejection) = &timeline.rejection { (report::rejection(rejection, timeline.revisions.first())) }
        (history(&timeline))
    };
    Ok(page("Study", if open { Refresh::Every5s } else { Refresh::Never }, &content))
}

fn history(timeline: &StudyTimeline) -> Markup {
    html! {
        section.history { (steps(timeline)) (stuck(timeline)) }
    }
}

fn steps(timeline: &StudyTimeline) -> Markup {
    html! {
        h2 { "Timeline " small { "时间线" } }
        div.scroll { table {
            thead { tr { th { "When (UTC)" } th.number { "Rev." } th { "Step" } th { "Topic" } th { "What" } th.number { "Seen" } } }
            tbody { @for event in &timeline.events { tr {
                td { (event.at.strftime("%Y-%m-%d %H:%M:%S%.3f")) } td.number { (event.revision) }
                td { (event.source.trim_start_matches("/prescreen/")) } td.mono { (event.topic) }
                td { (event.summary) } td.number { (event.deliveries) "×" }
            } } }
        } }
    }
}

fn stuck(timeline: &StudyTimeline) -> Markup {
    html! {
        @if !timeline.dead_letters.is_empty() {
            h2 { "Dead letters " small { "处理失败" } }
            div.scroll { table {
                thead { tr { th { "When (UTC)" } th { "Stage" } th { "Where" } th { "Cause" } th { "Detail" } th.number { "Tries" } } }
                tbody { @for letter in &timeline.dead_letters { tr {
                    td { (letter.at.strftime("%Y-%m-%d %H:%M:%S%.3f")) } td { (letter.stage) }
                    td.mono { (letter.topic) "[" (letter.partition) "]@" (letter.offset) }
                    td { (letter.cause) } td { (letter.detail) } td.number { (letter.attempts) }
                } } }
            } }
        }
    }
}
