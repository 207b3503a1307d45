//! Dead letters: what could not be processed and why, and the way back to where it came from.

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::{Page, Renewal, Script, Section, act, cell, given, second, shortened};
use crate::{
    error::Refusal,
    reader::Reader,
    server::Shared,
    site::{DeadLetterFilter, DeadLetterRow, Site},
};

const SHOWN: u32 = 200;

/// What the form sends; a field left empty says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Search {
    topic: Option<String>,
    cause: Option<String>,
    redriven: Option<String>,
    /// Not read here but by [`Reader`]; the address may carry it.
    lang: Option<String>,
}

impl Search {
    fn filter(&self) -> DeadLetterFilter {
        DeadLetterFilter {
            topic: given(self.topic.as_ref()).map(str::to_owned),
            cause: given(self.cause.as_ref()).map(str::to_owned),
            redriven: given(self.redriven.as_ref()).is_some(),
            limit: SHOWN,
        }
    }
}

pub(crate) async fn dead_letters<S: Site>(
    State(shared): State<Shared<S>>,
    reader: Reader,
    Query(search): Query<Search>,
) -> Result<Markup, Refusal> {
    let words = reader.words();
    let filter = search.filter();
    let asked = filter.clone();
    let (rows, all, graph) = shared
        .ask(move |site| {
            let all = DeadLetterFilter { redriven: true, limit: 1_000, ..DeadLetterFilter::default() };
            Ok((site.dead_letters(&asked)?, site.dead_letters(&all)?, site.graph()))
        })
        .await?;
    let topics = sorted(graph.iter().flat_map(|node| &node.reads).cloned(), filter.topic.as_ref());
    let causes = sorted(all.into_iter().map(|letter| letter.cause), filter.cause.as_ref());
    let waiting = rows.iter().any(|letter| letter.redriven_at.is_none());
    let content = html! {
        h1 { (words.dead_letters) }
        p.note { (words.dead_letters_note) }
        (form(&reader, &filter, &topics, &causes))
        @if waiting {
            button.act type="button" data-act="redrive" data-topic=[filter.topic.as_deref()] data-cause=[filter.cause.as_deref()] hidden {
                (words.send_all_back)
            }
        }
        noscript { p.note { (words.no_script) } }
        (table(&reader, &rows))
        @if rows.len() as u64 >= u64::from(SHOWN) { p.note { (words.shown_at_most) " " (SHOWN) } }
        (act::dialog(words))
    };
    let page = Page {
        reader: &reader,
        title: words.dead_letters,
        section: Section::DeadLetters,
        renewal: Renewal::Never,
        scripts: &[Script::Module("act.js")],
    };
    Ok(page.show(&content))
}

/// Each once, with the one that is chosen whether or not it is among them.
fn sorted(values: impl Iterator<Item = String>, chosen: Option<&String>) -> Vec<String> {
    let mut values: Vec<String> = values.chain(chosen.cloned()).collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn form(reader: &Reader, filter: &DeadLetterFilter, topics: &[String], causes: &[String]) -> Markup {
    let words = reader.words();
    let choice = |name: &str, label: &str, any: &str, values: &[String], chosen: Option<&String>| {
        html! {
            select name=(name) aria-label=(label) {
                option value="" { (any) }
                @for value in values { option value=(value) selected[chosen == Some(value)] { (value) } }
            }
        }
    };
    html! {
        form action="/dead-letters" method="get" role="search" {
            @if let Some(lang) = reader.named() { input type="hidden" name="lang" value=(lang); }
            (choice("topic", words.topic, words.any_topic, topics, filter.topic.as_ref()))
            (choice("cause", words.cause, words.any_cause, causes, filter.cause.as_ref()))
            label.tick { input type="checkbox" name="redriven" value="1" checked[filter.redriven]; (words.also_redriven) }
            button { (words.filter) }
        }
    }
}

fn table(reader: &Reader, rows: &[DeadLetterRow]) -> Markup {
    let words = reader.words();
    html! {
        @if rows.is_empty() { p.note { (words.no_dead_letter) } }
        @else { div.scroll { table.stack {
            thead { tr {
                th { (words.when_utc) } th { (words.step) } th { (words.cause) } th { (words.study) }
                th { (words.position) } th.number { (words.attempts) } th { (words.action) }
            } }
            tbody { @for letter in rows { tr {
                (cell(words.when_utc, Some("when"), second(letter.died_at)))
                (cell(words.step, Some("name"), words.step_name(&letter.stage)))
                (cell(words.cause, Some("lead"), html! { span.badge.dead_lettered { (letter.cause) } p.detail lang="en" { (letter.detail) } }))
                (cell(words.study, Some("mono"), html! {
                    @match &letter.study_uid {
                        Some(uid) => {
                            a href=(reader.link(&format!("/studies/{}", super::escaped(uid)))) { (shortened(uid)) }
                            @if letter.revision.is_some_and(|revision| revision > 1) { " r" (super::optional(letter.revision)) }
                        }
                        None => { "–" }
                    }
                }))
                (cell(words.position, Some("mono"), html! { (letter.dlq_topic) "[" (letter.dlq_partition) "]@" (letter.dlq_offset) }))
                (cell(words.attempts, Some("number"), letter.attempts))
                (cell(words.action, None, html! {
                    @match letter.redriven_at {
                        Some(at) => { span.note { (words.sent_back) " " (second(at)) } }
                        None => {
                            button.act type="button" data-act="redrive" data-dlq-topic=(letter.dlq_topic)
                                data-dlq-partition=(letter.dlq_partition) data-dlq-offset=(letter.dlq_offset) hidden { (words.send_back) }
                        }
                    }
                }))
            } } }
        } } }
    }
}
