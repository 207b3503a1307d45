//! The pipeline as a drawing made on the server: a box for each step with its numbers, an arrow for each topic.
//!
//! ```text
//!   intake ─▶ stage ─▶ … ─▶ store        an arrow to the next step carries its topic's name
//!     └────────┴───── rail ──▶┘          steps that write for one further down share a rail to it
//! ```
//!
//! Two drawings of the same: across for a desk, down for a phone; the stylesheet shows one. Colours come by class.

use maud::{Markup, html};

use super::Numbers;
use crate::{site::GraphNode, words::Words};

/// Which way the data flows in the drawing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Across,
    Down,
}

/// Measures of a drawing, in its own units.
struct Form {
    class: &'static str,
    /// Of a box.
    width: f64,
    height: f64,
    /// Between two boxes.
    gap: f64,
    /// Where the first box begins along the way's other axis.
    margin: f64,
    /// Columns of numbers in a box.
    columns: usize,
}

const PADDING: f64 = 12.0;
const LINE: f64 = 20.0;
/// From a box's upper edge to the first line of numbers.
const HEAD: f64 = 66.0;
/// Between a box and the rail.
const RAIL: f64 = 22.0;

impl Way {
    fn form(self) -> Form {
        match self {
            Self::Across => Form {
                class: "flow across",
                width: 178.0,
                height: 196.0,
                gap: 34.0,
                margin: 26.0,
                columns: 1,
            },
            Self::Down => {
                Form { class: "flow down", width: 316.0, height: 136.0, gap: 44.0, margin: 0.0, columns: 2 }
            }
        }
    }
}

/// Both drawings, and what the bars in their boxes are.
pub(super) fn flow(graph: &[GraphNode], numbers: &Numbers, words: &Words) -> Markup {
    html! {
        @for way in [Way::Across, Way::Down] { (drawing(graph, numbers, words, way)) }
        p.legend { span.swatch.busy {} " " (words.busy) span.swatch.blocked {} " " (words.blocked) span.share { (words.share) } }
    }
}

fn drawing(graph: &[GraphNode], numbers: &Numbers, words: &Words, way: Way) -> Markup {
    let form = way.form();
    let count = graph.len() as f64;
    let along = |index: usize| match way {
        Way::Across => index as f64 * (form.width + form.gap),
        Way::Down => index as f64 * (form.height + form.gap),
    };
    let (width, height) = match way {
        Way::Across => {
            (count * (form.width + form.gap) - form.gap + 2.0, form.margin + form.height + RAIL + 20.0)
        }
        Way::Down => (form.width + RAIL + 6.0, count * (form.height + form.gap) - form.gap + 2.0),
    };
    html! {
        svg class=(form.class) viewBox=(format!("-1 -1 {width} {height}")) role="img" aria-label=(words.flow_drawing) {
            @for (index, node) in graph.iter().enumerate() {
                @let at = along(index);
                @if let Some(next) = graph.get(index + 1) { (arrow(graph, node, next, at, &form, way)) }
                @let (x, y) = if way == Way::Across { (at, form.margin) } else { (form.margin, at) };
                g.node data-tone=(node.name) data-is=(numbers.tone(&node.name)) transform=(format!("translate({x} {y})")) {
                    (step(node, numbers, words, &form))
                }
            }
            (rails(graph, &along, words, &form, way))
        }
    }
}

/// A step's box with what it does now.
fn step(node: &GraphNode, numbers: &Numbers, words: &Words, form: &Form) -> Markup {
    let name = &node.name;
    let is_source = node.reads.is_empty();
    let column =
        (form.width - 2.0 * PADDING - (form.columns - 1) as f64 * 2.0 * PADDING) / form.columns as f64;
    let lines: &[(&str, String)] = &if is_source {
        vec![(words.in_spool, "spooled".to_owned())]
    } else {
        vec![
            (words.rate, format!("{name}.rate")),
            (words.waiting, format!("{name}.waiting")),
            (words.in_flight, format!("{name}.in_flight")),
            (words.oldest, format!("{name}.oldest")),
            (words.errors, format!("{name}.errors")),
            (words.drained_in, format!("{name}.eta")),
        ]
    };
    html! {
        rect.box width=(form.width) height=(form.height) rx="8" {}
        text.name x=(PADDING) y="24" { (words.step_name(name)) }
        @if !is_source {
            circle.light cx=(PADDING + 5.0) cy="41" r="5" {}
            text.state x=(PADDING + 16.0) y="45" data-live={ (name) ".state" } { (numbers.at(&format!("{name}.state"))) }
        }
        @for (index, (label, key)) in lines.iter().enumerate() {
            @let x = PADDING + (index % form.columns) as f64 * (column + 2.0 * PADDING);
            @let y = HEAD + (index / form.columns) as f64 * LINE;
            text.label x=(x) y=(y) { (label) }
            text.number x=(x + column) y=(y) data-live=(key) { (numbers.at(key)) }
        }
        @if !is_source {
            (bar(&format!("{name}.busy"), "busy", words.busy, form.height - 16.0, numbers, form))
            (bar(&format!("{name}.blocked"), "blocked", words.blocked, form.height - 9.0, numbers, form))
        }
    }
}

/// A share of the last few seconds, as long as the box is wide where it is all of them.
fn bar(key: &str, class: &str, title: &str, y: f64, numbers: &Numbers, form: &Form) -> Markup {
    let full = form.width - 2.0 * PADDING;
    html! {
        g class={ "bar " (class) } {
            title { (title) }
            rect.all x=(PADDING) y=(y) width=(full) height="4" rx="2" {}
            rect.part x=(PADDING) y=(y) width=(format!("{:.1}", full * numbers.bar(key))) height="4" rx="2" data-bar=(key) data-full=(full) {}
        }
    }
}

/// Topics that `from` writes and `to` reads.
fn between<'a>(from: &'a GraphNode, to: &GraphNode) -> Vec<&'a String> {
    from.writes.iter().filter(|topic| to.reads.contains(topic)).collect()
}

fn arrow(graph: &[GraphNode], from: &GraphNode, to: &GraphNode, at: f64, form: &Form, way: Way) -> Markup {
    let topics = between(from, to);
    // The topic that is most of this arrow's own; rejections come from many.
    let writers = |topic: &String| graph.iter().filter(|node| node.writes.contains(topic)).count();
    let readers = |topic: &String| graph.iter().filter(|node| node.reads.contains(topic)).count();
    let Some(topic) = topics.into_iter().min_by_key(|topic| (writers(topic), usize::MAX - readers(topic)))
    else {
        return html! {};
    };
    let tip = 7.0;
    html! {
        @match way {
            Way::Across => {
                @let (x, y) = (at + form.width, form.margin + form.height / 2.0);
                path.arrow d=(format!("M{x} {y}h{}", form.gap - tip)) {}
                path.tip d=(format!("M{} {}l-{tip} -5v10z", x + form.gap, y)) {}
                text.topic x=(x + form.gap / 2.0) y="14" text-anchor="middle" { (topic) }
            }
            Way::Down => {
                @let (x, y) = (form.width / 2.0, at + form.height);
                path.arrow d=(format!("M{x} {y}v{}", form.gap - tip)) {}
                path.tip d=(format!("M{x} {}l-5 -{tip}h10z", y + form.gap)) {}
                text.topic x=(x + 12.0) y=(y + form.gap / 2.0 + 3.0) { (topic) }
            }
        }
    }
}

/// The rails to steps that read from more than the one before them.
fn rails(graph: &[GraphNode], along: &impl Fn(usize) -> f64, words: &Words, form: &Form, way: Way) -> Markup {
    html! {
        @for (target, to) in graph.iter().enumerate() {
            @let from: Vec<usize> = graph.iter().enumerate()
                .filter(|(index, node)| index + 1 < target && !between(node, to).is_empty())
                .map(|(index, _)| index).collect();
            @if let Some(first) = from.first() {
                @match way {
                    Way::Across => {
                        @let (floor, rail) = (form.margin + form.height, form.margin + form.height + RAIL);
                        @let middle = |index: usize| along(index) + form.width / 2.0;
                        @for index in &from { path.rail d=(format!("M{} {floor}V{rail}", middle(*index))) {} }
                        path.rail d=(format!("M{} {rail}H{}V{}", middle(*first), middle(target), floor + 7.0)) {}
                        path.tip d=(format!("M{} {floor}l-5 7h10z", middle(target))) {}
                        text.topic x=(middle(*first) + 10.0) y=(rail + 12.0) { (words.everything_else) }
                    }
                    Way::Down => {
                        @let (wall, rail) = (form.width, form.width + RAIL);
                        @let middle = |index: usize| along(index) + form.height / 2.0;
                        @for index in &from { path.rail d=(format!("M{wall} {}H{rail}", middle(*index))) {} }
                        path.rail d=(format!("M{rail} {}V{}H{}", middle(*first), middle(target), wall + 7.0)) {}
                        path.tip d=(format!("M{wall} {}l7 -5v10z", middle(target))) {}
                    }
                }
            }
        }
    }
}
