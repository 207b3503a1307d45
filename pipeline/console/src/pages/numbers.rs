//! The numbers that move, in words: what the pages print at first and what server-sent events put in their place later is
//! the same text from the same place.
//!
//! A page names each place by a key: `data-live` for a text, `data-tone` for a state, `data-bar` for a share of 0 to 1.

use std::collections::BTreeMap;

use serde::Serialize;

use super::span;
use crate::{
    site::{GraphNode, Pause, StageStatus, StateCounts, Status},
    words::Words,
};

/// Above this share of a few seconds a step counts as busy, or as blocked.
const MUCH: f64 = 0.5;

/// Texts, states and shares by key.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Numbers {
    texts: BTreeMap<String, String>,
    tones: BTreeMap<String, &'static str>,
    bars: BTreeMap<String, f64>,
}

/// One step over all its topics and both lanes.
#[derive(Default)]
struct Sum {
    waiting: i64,
    urgent: i64,
    oldest_s: Option<f64>,
    /// The slowest of its topics; absent if one of them does not drain.
    eta_s: Option<f64>,
    stuck: bool,
    rate_per_s: f64,
    in_flight: i64,
    busy: f64,
    blocked: f64,
    errors: u64,
    paused: Option<Pause>,
}

impl Sum {
    /// Nothing if the step has no rows: it reads no topic, or was not measured.
    fn of(step: &str, rows: &[StageStatus]) -> Option<Self> {
        let rows: Vec<&StageStatus> = rows.iter().filter(|row| row.stage == step).collect();
        let first = *rows.first()?;
        // What a step does is the same in each of its rows; what waits for it, and leaves, is each row's own.
        let mut sum = Self {
            eta_s: Some(0.0),
            in_flight: first.in_flight,
            busy: first.busy_ratio,
            blocked: first.backpressured_ratio,
            errors: first.errors,
            paused: first.paused,
            ..Self::default()
        };
        for row in rows {
            sum.waiting += row.lag_records;
            sum.rate_per_s += row.rate_per_s;
            if row.topic.ends_with(".urgent") {
                sum.urgent += row.lag_records;
            }
            sum.oldest_s = sum.oldest_s.into_iter().chain(row.oldest_age_s).reduce(f64::max);
            if row.lag_records > 0 {
                sum.eta_s = sum.eta_s.zip(row.drain_eta_s).map(|(a, b)| a.max(b));
                sum.stuck |= row.drain == crate::site::Drain::NotDraining;
            }
        }
        Some(sum)
    }

    fn tone(&self) -> &'static str {
        match self.paused {
            Some(Pause::Operator) => "paused",
            Some(Pause::Dependency) => "waits",
            None if self.blocked > MUCH => "blocked",
            None if self.stuck => "stuck",
            None if self.busy > MUCH => "busy",
            None if self.in_flight > 0 || self.rate_per_s > 0.0 => "works",
            None => "idle",
        }
    }
}

fn tone_in_words(tone: &str, words: &Words) -> &'static str {
    match tone {
        "paused" => words.is_paused,
        "waits" => words.waits,
        "blocked" => words.is_blocked,
        "stuck" => words.not_draining,
        "busy" => words.is_busy,
        "works" => words.works,
        "idle" => words.idle,
        _ => words.no_numbers,
    }
}

/// Records a second, or a minute where they are few.
fn rate(per_s: f64) -> String {
    match per_s {
        r if r <= 0.0 => "0/s".to_owned(),
        r if r < 1.0 => format!("{:.1}/min", r * 60.0),
        r => format!("{r:.1}/s"),
    }
}

impl Numbers {
    /// The numbers of `status`, for the steps of `graph`.
    pub(crate) fn of(graph: &[GraphNode], status: &Status, words: &Words) -> Self {
        let mut numbers = Self::default();
        numbers.studies(&status.studies);
        numbers.text("spooled", status.spooled);
        numbers.tones.insert("spooled".to_owned(), if status.spooled > 0 { "some" } else { "none" });
        for node in graph {
            numbers.step(&node.name, Sum::of(&node.name, &status.stages).as_ref(), words);
        }
        numbers
    }

    fn studies(&mut self, counts: &StateCounts) {
        let StateCounts { received, in_progress, reported, rejected, dead_lettered, superseded, unaccounted } =
            *counts;
        for (state, count) in [
            ("received", received),
            ("in_progress", in_progress),
            ("reported", reported),
            ("rejected", rejected),
            ("dead_lettered", dead_lettered),
            ("superseded", superseded),
            ("unaccounted", unaccounted),
        ] {
            self.text(&format!("studies.{state}"), count);
        }
        self.tones.insert("studies.unaccounted".to_owned(), if unaccounted > 0 { "alarm" } else { "calm" });
    }

    fn step(&mut self, name: &str, sum: Option<&Sum>, words: &Words) {
        let tone = sum.map_or("none", Sum::tone);
        self.tones.insert(name.to_owned(), tone);
        self.text(&format!("{name}.state"), tone_in_words(tone, words));
        let Some(sum) = sum else { return };
        let eta = match (sum.waiting, sum.eta_s) {
            (0, _) => "–".to_owned(),
            (_, Some(eta)) => span(eta),
            (_, None) if sum.stuck => words.not_draining.to_owned(),
            (_, None) => words.unknown_yet.to_owned(),
        };
        for (number, text) in [
            ("rate", rate(sum.rate_per_s)),
            ("in_flight", sum.in_flight.to_string()),
            ("waiting", sum.waiting.to_string()),
            ("urgent", sum.urgent.to_string()),
            ("oldest", sum.oldest_s.map_or_else(|| "–".to_owned(), span)),
            ("eta", eta),
            ("errors", sum.errors.to_string()),
            ("busy", format!("{:.0} %", sum.busy * 100.0)),
            ("blocked", format!("{:.0} %", sum.blocked * 100.0)),
        ] {
            self.text(&format!("{name}.{number}"), text);
        }
        self.bars.insert(format!("{name}.busy"), sum.busy.clamp(0.0, 1.0));
        self.bars.insert(format!("{name}.blocked"), sum.blocked.clamp(0.0, 1.0));
    }

    fn text(&mut self, key: &str, text: impl ToString) {
        self.texts.insert(key.to_owned(), text.to_string());
    }

    /// The text at `key`; a dash where there is none.
    pub(super) fn at(&self, key: &str) -> &str {
        self.texts.get(key).map_or("–", String::as_str)
    }

    pub(super) fn tone(&self, key: &str) -> &'static str {
        self.tones.get(key).copied().unwrap_or("none")
    }

    pub(super) fn bar(&self, key: &str) -> f64 {
        self.bars.get(key).copied().unwrap_or_default()
    }

    /// Whether anything is known of this step.
    pub(super) fn knows(&self, step: &str) -> bool {
        self.tone(step) != "none"
    }
}
