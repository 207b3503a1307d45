//! What was measured, against what is asked for, as text and as JSON.

use std::fmt;

use serde::Serialize;

use super::{
    super::{Measured, machine::Machine},
    score::{Events, Tally},
};

/// Most distance of a mark to the interval of truth, on average: frames, and milliseconds.
const MOST_ERROR: (f64, f64) = (1.0, 25.0);
/// Most error of the period, as share of the beat, on average.
const MOST_PERIOD_ERROR: f64 = 0.02;
/// Most error of the ejection fraction, in points, on average.
const MOST_EF_ERROR: f64 = 4.0;

/// What must hold for a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    /// It is shown only.
    Nothing,
    /// Interval and period, on average.
    Error,
    /// These, and that no event is missed.
    NoMiss,
}

/// One suite.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) asked: Asked,
    /// Whether it is all suites of which something is asked: the ejection fraction is judged over them, as the shadows of one suite alone may
    /// hide a wall.
    pub(super) together: bool,
    pub(super) tally: Tally,
    /// Clips read otherwise by another thread.
    pub(super) differing: usize,
}

/// One run of the bench.
#[derive(Debug)]
pub(super) struct Table {
    /// How to get it again.
    pub(super) command: String,
    pub(super) seed: u64,
    pub(super) machine: Machine,
    pub(super) rows: Vec<Row>,
}

impl Asked {
    fn mark(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Error => " *",
            Self::NoMiss => " **",
        }
    }
}

impl Row {
    /// What is asked of the suite and does not hold.
    fn broken(&self) -> Vec<&'static str> {
        let Tally { end_diastole, end_systole, period_error, ef_error, .. } = &self.tally;
        let over = |value: Option<f64>, most: f64| value.is_some_and(|value| value > most);
        let far = |events: &Events| {
            over(events.error_frames.mean(), MOST_ERROR.0) || over(events.error_ms.mean(), MOST_ERROR.1)
        };
        [
            (self.differing > 0, "threads differ"),
            (self.asked == Asked::NoMiss && end_diastole.missed + end_systole.missed > 0, "missed"),
            (self.asked != Asked::Nothing && (far(end_diastole) || far(end_systole)), "interval error"),
            (self.asked != Asked::Nothing && over(period_error.mean(), MOST_PERIOD_ERROR), "period error"),
            (self.together && over(ef_error.mean(), MOST_EF_ERROR), "EF error"),
        ]
        .into_iter()
        .filter_map(|(broken, name)| broken.then_some(name))
        .collect()
    }
}

impl Measured for Table {
    fn targets_hold(&self) -> bool {
        self.rows.iter().all(|row| row.broken().is_empty())
    }
}

/// A row as JSON has it.
#[derive(Serialize)]
struct Line<'a> {
    suite: &'a str,
    asked: Asked,
    clips: usize,
    expected: [usize; 2],
    missed: [usize; 2],
    interval_error_ms: [Option<f64>; 2],
    interval_error_frames: [Option<f64>; 2],
    most_interval_error_frames: [Option<f64>; 2],
    offset_ms: [Option<f64>; 2],
    onset_error_ms: Option<f64>,
    period_error: Option<f64>,
    flagged: usize,
    unnoticed: usize,
    ef_error: Option<f64>,
    ef_median_error: Option<f64>,
    beats_measured: usize,
    beats_dropped: usize,
    differing: usize,
    broken: Vec<&'static str>,
}

impl<'a> From<&'a Row> for Line<'a> {
    fn from(row: &'a Row) -> Self {
        let tally = &row.tally;
        let both = [&tally.end_diastole, &tally.end_systole];
        Self {
            suite: row.name,
            asked: row.asked,
            clips: tally.clips,
            expected: both.map(|events| events.expected),
            missed: both.map(|events| events.missed),
            interval_error_ms: both.map(|events| events.error_ms.mean()),
            interval_error_frames: both.map(|events| events.error_frames.mean()),
            most_interval_error_frames: both.map(|events| events.error_frames.most()),
            offset_ms: both.map(|events| events.offset_ms.mean()),
            onset_error_ms: tally.onset_ms.mean(),
            period_error: tally.period_error.mean(),
            flagged: tally.flagged,
            unnoticed: tally.unnoticed,
            ef_error: tally.ef_error.mean(),
            ef_median_error: tally.ef_error.median(),
            beats_measured: tally.beats_measured,
            beats_dropped: tally.beats_dropped,
            differing: row.differing,
            broken: row.broken(),
        }
    }
}

impl Serialize for Table {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lines: Vec<Line<'_>> = self.rows.iter().map(Line::from).collect();
        serde_json::json!({
            "command": self.command,
            "version": env!("CARGO_PKG_VERSION"),
            "machine": self.machine,
            "seed": self.seed,
            "suites": lines,
            "holds": self.targets_hold(),
        })
        .serialize(serializer)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.command)?;
        writeln!(f, "{}; {}; seed {}", env!("CARGO_PKG_VERSION"), self.machine, self.seed)?;
        writeln!(f, "phantoms only: no evidence about patients\n")?;
        writeln!(
            f,
            "{:<24} {:>5} {:>13} {:>13} {:>13} {:>6} {:>7} {:>5} {:>5} {:>11} {:>9}",
            "suite (* asked)",
            "clips",
            "missed ED/ES",
            "error ms",
            "offset ms",
            "onset",
            "period",
            "flag",
            "sure",
            "EF MAE/med",
            "dropped",
        )?;
        let number = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        for row in &self.rows {
            let line = Line::from(row);
            let pair = |values: [Option<f64>; 2], digits| values.map(|value| number(value, digits)).join("/");
            writeln!(
                f,
                "{:<24} {:>5} {:>13} {:>13} {:>13} {:>6} {:>7} {:>5} {:>5} {:>11} {:>9}  {}",
                format!("{}{}", row.name, row.asked.mark()),
                line.clips,
                format!("{}+{} of {}", line.missed[0], line.missed[1], line.expected[0] + line.expected[1]),
                pair(line.interval_error_ms, 1),
                pair(line.offset_ms, 0),
                number(line.onset_error_ms, 0),
                line.period_error.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0)),
                line.flagged,
                line.unnoticed,
                pair([line.ef_error, line.ef_median_error], 1),
                format!("{} of {}", line.beats_dropped, line.beats_measured),
                line.broken.join(", "),
            )?;
        }
        let word = if self.targets_hold() { "holds" } else { "MISSED" };
        writeln!(
            f,
            "\n{word}: ** without a miss; * and ** interval error at most {} frame and {} ms, period at most {} %, EF over \
             all of them at most {} points; threads alike",
            MOST_ERROR.0,
            MOST_ERROR.1,
            MOST_PERIOD_ERROR * 100.0,
            MOST_EF_ERROR,
        )?;
        writeln!(
            f,
            "flag: PHASE_UNRELIABLE; sure: unflagged clips with an event missed or wrong by over a frame; onset: from the \
             R wave to the leading shoulder"
        )
    }
}
