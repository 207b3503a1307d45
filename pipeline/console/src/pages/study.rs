//! One study: its report or rejection, and its way through the pipeline with every hop, wait and attempt.

use axum::extract::{Path, State};
use jiff::Timestamp;
use maud::{Markup, html};

use super::{Page, Renewal, Section, cell, report, second, seconds_between, span, studies::study_table};
use crate::{
    api::study_uid,
    error::Refusal,
    reader::Reader,
    server::Shared,
    site::{Site, StudyTimeline, TimelineDeadLetter, TimelineEvent},
    words::Words,
};

pub(crate) async fn study<S: Site>(
    State(shared): State<Shared<S>>,
    reader: Reader,
    Path(uid): Path<String>,
) -> Result<Markup, Refusal> {
    let words = reader.words();
    let study = study_uid(&uid)?;
    let timeline =
        shared.ask(move |site| site.study(&study)).await?.ok_or_else(|| Refusal::not_found("study"))?;
    let open = timeline.revisions.iter().any(|revision| revision.state == "in_progress");
    let content = html! {
        h1 { (words.study) }
        p.mono.uid { (uid) }
        (study_table(&reader, &timeline.revisions))
        @if let Some(report) = &timeline.report { (report::report(report, reader.language)) }
        @if let Some(rejection) = &timeline.rejection {
            (report::rejection(rejection, timeline.revisions.first(), reader.language))
        }
        section.history {
            h2 { (words.timeline) }
            (hops(&timeline, words))
        }
    };
    let page = Page {
        reader: &reader,
        title: words.study,
        section: Section::Studies,
        renewal: if open { Renewal::Every5s } else { Renewal::Never },
        scripts: &[],
    };
    Ok(page.show(&content))
}

/// One thing that happened to a study.
enum Hop<'a> {
    Event(&'a TimelineEvent),
    /// Of the revision it befell, as far as its time tells.
    GivenUp(&'a TimelineDeadLetter),
}

impl Hop<'_> {
    fn at(&self) -> Timestamp {
        match self {
            Self::Event(event) => event.at,
            Self::GivenUp(letter) => letter.at,
        }
    }
}

/// Events and dead letters together, by revision in the order they happened. A dead letter names no revision: it belongs
/// to the newest one that had begun.
fn by_revision(timeline: &StudyTimeline) -> Vec<(i32, Vec<Hop<'_>>)> {
    let mut revisions: Vec<(i32, Vec<Hop<'_>>)> = Vec::new();
    for event in &timeline.events {
        match revisions.iter_mut().find(|(revision, _)| *revision == event.revision) {
            Some((_, hops)) => hops.push(Hop::Event(event)),
            None => revisions.push((event.revision, vec![Hop::Event(event)])),
        }
    }
    revisions.sort_by_key(|(revision, _)| *revision);
    for letter in &timeline.dead_letters {
        let begun = |hops: &[Hop<'_>]| hops.iter().any(|hop| hop.at() <= letter.at);
        let place = revisions.iter().rposition(|(_, hops)| begun(hops)).unwrap_or_default();
        match revisions.get_mut(place) {
            Some((_, hops)) => hops.push(Hop::GivenUp(letter)),
            None => revisions.push((1, vec![Hop::GivenUp(letter)])),
        }
    }
    for (_, hops) in &mut revisions {
        hops.sort_by_key(Hop::at);
    }
    revisions
}

fn hops(timeline: &StudyTimeline, words: &Words) -> Markup {
    let revisions = by_revision(timeline);
    html! {
        @if revisions.is_empty() { p.note { (words.no_event) } }
        @else { div.scroll { table.stack.hops {
            thead { tr {
                th { (words.when_utc) } th.number { (words.revision) } th { (words.step) } th { (words.topic) }
                th { (words.what) } th.number { (words.waited) } th.wait {} th.number { (words.deliveries) }
            } }
            tbody { @for (revision, hops) in &revisions {
                @let begun = hops.first().map_or(Timestamp::UNIX_EPOCH, Hop::at);
                @let whole = hops.last().map_or(0.0, |last| seconds_between(begun, last.at()));
                @for (index, hop) in hops.iter().enumerate() {
                    @let before = index.checked_sub(1).and_then(|index| hops.get(index)).map(Hop::at);
                    tr.given-up[matches!(hop, Hop::GivenUp(_))] {
                        (cell(words.when_utc, Some("when"), hop.at().strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()))
                        (cell(words.revision, Some("number"), revision))
                        (told(hop, words))
                        (cell(words.waited, Some("number"), before.map_or_else(|| "–".to_owned(), |before| span(seconds_between(before, hop.at())))))
                        (cell("", Some("wait"), wait(before.map(|before| seconds_between(begun, before)), seconds_between(begun, hop.at()), whole)))
                        (cell(words.deliveries, Some("number"), match hop {
                            Hop::Event(event) => format!("{}×", event.deliveries),
                            Hop::GivenUp(_) => "–".to_owned(),
                        }))
                    }
                }
            } }
        } } }
    }
}

/// Who did what.
fn told(hop: &Hop<'_>, words: &Words) -> Markup {
    match hop {
        Hop::Event(event) => {
            let step = event.source.trim_start_matches("/prescreen/");
            html! {
                (cell(words.step, Some("name lead"), words.step_name(step)))
                (cell(words.topic, Some("mono"), &event.topic))
                (cell(words.what, None, &event.summary))
            }
        }
        Hop::GivenUp(letter) => html! {
            (cell(words.step, Some("name lead"), html! { (words.step_name(&letter.stage)) " " span.badge.dead_lettered { (words.gave_up) } }))
            (cell(words.topic, Some("mono"), html! { (letter.topic) "[" (letter.partition) "]@" (letter.offset) }))
            (cell(words.what, None, html! {
                span.badge { (letter.cause) } " " (letter.detail) " · " (words.attempts) " " (letter.attempts)
                @if let Some(at) = letter.redriven_at { " · " (words.sent_back) " " (second(at)) }
            }))
        },
    }
}

/// From the hop before to this one, on the scale of the whole revision.
fn wait(from: Option<f64>, to: f64, whole: f64) -> Markup {
    let at = |seconds: f64| if whole > 0.0 { 100.0 * seconds / whole } else { 0.0 };
    let from = from.map_or(at(to), at);
    html! {
        svg.wait viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
            rect.whole y="4" width="100" height="2" {}
            rect.span x=(format!("{from:.2}")) y="1" width=(format!("{:.2}", (at(to) - from).max(0.8))) height="8" {}
        }
    }
}
