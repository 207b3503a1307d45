//! The search for studies, and the table of studies wherever one is shown.

use axum::extract::{Query, State};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use super::{Page, Renewal, Section, cell, given, optional, second, seconds_between, shortened, span};
use crate::{
    api::study_uid,
    error::Refusal,
    reader::Reader,
    server::Shared,
    site::{Site, StudyFilter, StudyRow},
    words::Words,
};

const SHOWN: u32 = 200;
const STATES: [&str; 5] = ["in_progress", "reported", "rejected", "dead_lettered", "superseded"];
/// Periods that a search offers, in hours.
const PERIODS: [(&str, i64); 4] = [("1h", 1), ("24h", 24), ("7d", 7 * 24), ("30d", 30 * 24)];

/// What the form sends; a field left empty says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Search {
    study_uid: Option<String>,
    state: Option<String>,
    since: Option<String>,
    /// Not read here but by [`Reader`]; the address may carry it.
    lang: Option<String>,
}

impl Search {
    fn filter(&self, now: Timestamp) -> Result<StudyFilter, Refusal> {
        let state = given(self.state.as_ref());
        if state.is_some_and(|state| !STATES.contains(&state)) {
            return Err(Refusal::bad_request("the state is none that a study can be in"));
        }
        let since = given(self.since.as_ref()).map(|period| {
            let known = PERIODS.iter().find(|(name, _)| *name == period);
            let hours = known.ok_or_else(|| Refusal::bad_request("since is one of 1h, 24h, 7d, 30d"))?.1;
            Ok::<_, Refusal>(now.saturating_sub(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MIN))
        });
        Ok(StudyFilter {
            state: state.map(str::to_owned),
            study_uid: given(self.study_uid.as_ref()).map(study_uid).transpose()?,
            since: since.transpose()?,
            limit: SHOWN,
        })
    }
}

pub(crate) async fn studies<S: Site>(
    State(shared): State<Shared<S>>,
    reader: Reader,
    Query(search): Query<Search>,
) -> Result<Markup, Refusal> {
    let words = reader.words();
    let filter = search.filter(Timestamp::now())?;
    let rows = shared.ask(move |site| site.studies(&filter)).await?;
    let content = html! {
        h1 { (words.studies) }
        (form(&reader, &search))
        (study_table(&reader, &rows))
        @if rows.len() as u64 >= u64::from(SHOWN) { p.note { (words.shown_at_most) " " (SHOWN) } }
    };
    let page = Page {
        reader: &reader,
        title: words.studies,
        section: Section::Studies,
        renewal: Renewal::Never,
        scripts: &[],
    };
    Ok(page.show(&content))
}

fn form(reader: &Reader, search: &Search) -> Markup {
    let words = reader.words();
    let periods = [words.last_1h, words.last_24h, words.last_7d, words.last_30d];
    let chosen = |field: &Option<String>, value: &str| given(field.as_ref()) == Some(value);
    html! {
        form action="/studies" method="get" role="search" {
            @if let Some(lang) = reader.named() { input type="hidden" name="lang" value=(lang); }
            input name="study_uid" value=(given(search.study_uid.as_ref()).unwrap_or_default()) placeholder="Study Instance UID"
                aria-label="Study Instance UID" size="44" maxlength="64" pattern=" *[0-9.]+ *";
            select name="state" aria-label=(words.state) {
                option value="" { (words.any_state) }
                @for state in STATES {
                    option value=(state) selected[chosen(&search.state, state)] { (words.study_state(state)) }
                }
            }
            select name="since" aria-label=(words.since) {
                option value="" { (words.any_time) }
                @for ((period, _), name) in PERIODS.iter().zip(periods) {
                    option value=(period) selected[chosen(&search.since, period)] { (name) }
                }
            }
            button { (words.find) }
        }
    }
}

pub(super) fn study_table(reader: &Reader, rows: &[StudyRow]) -> Markup {
    let words = reader.words();
    html! {
        @if rows.is_empty() { p.note { (words.no_study) } }
        @else { div.scroll { table.stack {
            thead { tr {
                th { (words.study) } th { (words.state) } th { (words.reason) } th { (words.kind) }
                th.number { (words.instances) } th { (words.received_utc) } th.number { (words.took) }
            } }
            tbody { @for row in rows { tr {
                (cell(words.study, Some("mono lead"), html! {
                    a href=(reader.link(&format!("/studies/{}", row.study_uid))) { (shortened(&row.study_uid)) }
                    @if row.revision > 1 { " r" (row.revision) }
                }))
                (cell(words.state, None, html! {
                    (state_badge(&row.state, words))
                    @if row.synthetic == Some(true) { " " span.badge.phantom { "PHANTOM" } }
                }))
                (cell(words.reason, None, optional(row.reason.as_deref())))
                (cell(words.kind, None, html! {
                    (optional(row.domain.as_deref()))
                    @if row.priority.as_deref() == Some("urgent") { " " span.badge.urgent { (words.urgent) } }
                }))
                (cell(words.instances, Some("number"), optional(row.instances)))
                (cell(words.received_utc, None, optional(row.received_at.map(second))))
                (cell(words.took, Some("number"), took(row)))
            } } }
        } } }
    }
}

fn took(row: &StudyRow) -> String {
    let ends = row.received_at.zip(row.terminal_at);
    optional(ends.map(|(from, to)| span(seconds_between(from, to))))
}

pub(super) fn state_badge(state: &str, words: &Words) -> Markup {
    html! { span class={ "badge " (state) } { (words.study_state(state)) } }
}
