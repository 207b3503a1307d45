//! The front page: where studies stand, the pipeline, what came last.

use axum::extract::State;
use maud::{Markup, html};

use super::{Numbers, Page, Renewal, Section, graph, studies::study_table};
use crate::{
    error::Refusal,
    reader::Reader,
    server::Shared,
    site::{Site, StudyFilter},
};

/// Studies in the list.
const LATEST: u32 = 20;

pub(crate) async fn overview<S: Site>(
    State(shared): State<Shared<S>>,
    reader: Reader,
) -> Result<Markup, Refusal> {
    let words = reader.words();
    let (graph, status, latest) = shared
        .ask(|site| {
            let latest = site.studies(&StudyFilter { limit: LATEST, ..StudyFilter::default() })?;
            Ok((site.graph(), site.status()?, latest))
        })
        .await?;
    let numbers = Numbers::of(&graph, &status, words);
    let content = html! {
        (states(&reader, &numbers))
        h2 { a href=(reader.link("/pipeline")) { (words.flow) } }
        @if status.stages.is_empty() { p.note { (words.not_measured) } }
        (graph::flow(&graph, &numbers, words))
        noscript { p.note { (words.no_script) } }
        h2 { (words.latest_studies) }
        section #latest data-renewed-by="studies" { (study_table(&reader, &latest)) }
    };
    let page = Page {
        reader: &reader,
        title: words.overview,
        section: Section::Overview,
        renewal: Renewal::Numbers,
        scripts: &[],
    };
    Ok(page.show(&content))
}

fn states(reader: &Reader, numbers: &Numbers) -> Markup {
    let words = reader.words();
    let tiles = [
        ("received", words.received, "/studies"),
        ("in_progress", words.in_progress, "/studies?state=in_progress"),
        ("reported", words.reported, "/studies?state=reported"),
        ("rejected", words.rejected, "/studies?state=rejected"),
        ("dead_lettered", words.dead_lettered, "/studies?state=dead_lettered"),
        ("superseded", words.superseded, "/studies?state=superseded"),
    ];
    let count = |state: &str| {
        let key = format!("studies.{state}");
        html! { strong data-live=(key) { (numbers.at(&key)) } }
    };
    html! {
        section.tiles {
            @for (state, name, address) in tiles {
                a.tile href=(reader.link(address)) { (count(state)) span { (name) } }
            }
            div.tile data-tone="studies.unaccounted" data-is=(numbers.tone("studies.unaccounted")) {
                (count("unaccounted")) span { (words.unaccounted) }
            }
        }
        p.note.spooled data-tone="spooled" data-is=(numbers.tone("spooled")) {
            b data-live="spooled" { (numbers.at("spooled")) } " " (words.spooled)
        }
    }
}
