//! The pipeline by step, live, with its last hour; and where a step is paused and resumed.

use axum::extract::State;
use maud::{Markup, html};

use super::{Numbers, Page, Renewal, Script, Section, act, cell, graph};
use crate::{
    error::Refusal,
    reader::Reader,
    server::Shared,
    site::{GraphNode, Site},
    words::Words,
};

pub(crate) async fn pipeline<S: Site>(
    State(shared): State<Shared<S>>,
    reader: Reader,
) -> Result<Markup, Refusal> {
    let words = reader.words();
    let (graph, status) = shared.ask(|site| Ok((site.graph(), site.status()?))).await?;
    let numbers = Numbers::of(&graph, &status, words);
    let content = html! {
        h1 { (words.pipeline) }
        @if status.stages.is_empty() { p.note { (words.not_measured) } }
        (graph::flow(&graph, &numbers, words))
        noscript { p.note { (words.no_script) } }
        (table(&graph, &numbers, words))
        h2 { (words.last_hour) }
        (charts(&graph, words))
        (act::dialog(words))
    };
    let page = Page {
        reader: &reader,
        title: words.pipeline,
        section: Section::Pipeline,
        renewal: Renewal::Numbers,
        scripts: &[
            Script::Classic("uplot/uPlot.iife.min.js"),
            Script::Module("charts.js"),
            Script::Module("act.js"),
        ],
    };
    Ok(page.show(&content))
}

fn table(graph: &[GraphNode], numbers: &Numbers, words: &Words) -> Markup {
    let columns = [
        ("waiting", words.waiting),
        ("urgent", words.urgent),
        ("oldest", words.oldest),
        ("eta", words.drained_in),
        ("rate", words.rate),
        ("in_flight", words.in_flight),
        ("busy", words.busy),
        ("blocked", words.blocked),
        ("errors", words.errors),
    ];
    html! {
        div.scroll { table.stack {
            thead { tr {
                th { (words.step) } th { (words.state) }
                @for (_, name) in columns { th.number { (name) } }
                th { (words.action) }
            } }
            tbody { @for node in graph.iter().filter(|node| numbers.knows(&node.name)) {
                @let name = &node.name;
                tr.step data-tone=(name) data-is=(numbers.tone(name)) {
                    (cell(words.step, Some("lead"), html! { b { (words.step_name(name)) } " " small.mono { (name) } }))
                    (cell(words.state, None, html! { span.state data-live={ (name) ".state" } { (numbers.at(&format!("{name}.state"))) } }))
                    @for (number, label) in columns {
                        @let key = format!("{name}.{number}");
                        (cell(label, Some("number"), html! { span data-live=(key) { (numbers.at(&key)) } }))
                    }
                    (cell(words.action, None, html! {
                        button.pause type="button" data-act="pause" data-step=(name) data-name=(words.step_name(name)) hidden { (words.pause) }
                        button.resume type="button" data-act="resume" data-step=(name) data-name=(words.step_name(name)) hidden { (words.resume) }
                    }))
                }
            } }
        } }
    }
}

/// Places for the charts, with the words that they need; the script draws what `/api/history` gives.
fn charts(graph: &[GraphNode], words: &Words) -> Markup {
    // Pairs, in the order of the data's way.
    let json = |pairs: &[(&str, &str)]| serde_json::json!(pairs).to_string();
    let steps: Vec<(&str, &str)> =
        graph.iter().map(|node| (node.name.as_str(), words.step_name(&node.name))).collect();
    let steps = json(&steps);
    let spans = json(&[("end_to_end_p50_s", words.median), ("end_to_end_p95_s", words.percentile_95)]);
    html! {
        section.charts data-time=(words.time) data-empty=(words.no_history) {
            @for (of, title, unit) in [
                ("lag_records", words.chart_waiting, ""),
                ("oldest_age_s", words.chart_oldest, "s"),
                ("rate_per_s", words.chart_rate, "/s"),
            ] {
                figure.chart data-of=(of) data-series=(steps) data-unit=(unit) { figcaption { (title) } }
            }
            figure.chart data-of="" data-series=(spans) data-unit="s" { figcaption { (words.chart_end_to_end) } }
        }
        link rel="stylesheet" href="/assets/uplot/uPlot.min.css";
    }
}
