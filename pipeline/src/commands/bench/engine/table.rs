//! What was measured on both sides, against what is asked for, as text and as JSON.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::{
    super::{Measured, machine::Machine, median},
    ours::Ids,
    overlap::Overlap,
};

/// What a row's numbers are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    /// Processor seconds, shown in milliseconds: ours beside transformers.
    ProcessorMs,
    /// Wall seconds: at once beside one at a time.
    WallSeconds,
}

/// One work, done in two ways.
#[derive(Debug)]
pub(super) struct Row {
    name: &'static str,
    /// What the times are of.
    of: String,
    unit: Unit,
    /// Asked of the ratio; none where it is only shown.
    asked: Option<f64>,
    ours: Vec<f64>,
    beside: Vec<f64>,
}

impl Row {
    /// Before its first run.
    pub(super) fn new(name: &'static str, of: &str, unit: Unit, asked: Option<f64>) -> Self {
        Self { name, of: of.to_owned(), unit, asked, ours: Vec::new(), beside: Vec::new() }
    }

    /// A run, in seconds.
    pub(super) fn add(&mut self, ours: f64, beside: f64) {
        self.ours.push(ours);
        self.beside.push(beside);
    }

    fn ratio(&self) -> f64 {
        median(&self.beside) / median(&self.ours)
    }

    fn holds(&self) -> bool {
        self.asked.is_none_or(|asked| self.ratio() >= asked)
    }
}

/// How far both sides say the same.
#[derive(Debug, Default, Serialize)]
pub(super) struct Agreement {
    /// The prompt's ids are the same.
    input_ids: bool,
    /// Ids of the greedy answer that are the same, from its beginning.
    same: usize,
    /// Ids of the answer.
    of: usize,
}

impl Agreement {
    /// Of the first question.
    pub(super) fn of(ours: &Ids, input_ids: &[Vec<u32>], answers: &[Vec<u32>]) -> Self {
        let theirs = answers.first().map_or(&[][..], Vec::as_slice);
        let same = ours.answer.iter().zip(theirs).take_while(|(a, b)| a == b).count();
        Self {
            input_ids: input_ids.first() == Some(&ours.input),
            same,
            of: theirs.len().max(ours.answer.len()),
        }
    }

    fn holds(&self) -> bool {
        self.input_ids && self.of > 0 && self.same == self.of
    }
}

/// One run of the bench.
#[derive(Debug)]
pub(super) struct Table {
    /// How to get it again.
    pub(super) command: String,
    /// Of the checkout it was run in; none outside of one.
    pub(super) commit: Option<String>,
    pub(super) date: Timestamp,
    pub(super) machine: Machine,
    /// Processes that wanted a core, at the beginning and at the end.
    pub(super) load: [Option<f64>; 2],
    /// Versions on the other side.
    pub(super) packages: BTreeMap<String, String>,
    pub(super) parameters: u64,
    /// Of a prompt.
    pub(super) tokens: usize,
    pub(super) runs: usize,
    pub(super) rows: Vec<Row>,
    pub(super) agreement: Agreement,
    pub(super) overlap: Overlap,
}

impl Measured for Table {
    fn targets_hold(&self) -> bool {
        self.rows.iter().all(Row::holds) && self.agreement.holds() && self.overlap.holds()
    }
}

fn build() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

impl Serialize for Table {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = |row: &Row| {
            json!({
                "work": row.name,
                "of": row.of,
                "unit": match row.unit {
                    Unit::ProcessorMs => "processor seconds, beside transformers",
                    Unit::WallSeconds => "wall seconds, beside one at a time",
                },
                "seconds": row.ours,
                "beside": row.beside,
                "ratio": row.ratio(),
                "asked": row.asked,
                "holds": row.holds(),
            })
        };
        json!({
            "command": self.command,
            "version": env!("CARGO_PKG_VERSION"),
            "commit": self.commit,
            "date": self.date,
            "build": build(),
            "machine": self.machine,
            "load": self.load,
            "packages": self.packages,
            "parameters": self.parameters,
            "prompt_tokens": self.tokens,
            "runs": self.runs,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "answers": self.agreement,
            "answers_agree": self.agreement.holds(),
            "overlap": self.overlap,
            "overlap_share": self.overlap.share(),
        })
        .serialize(serializer)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = self.commit.as_deref().unwrap_or("unknown");
        writeln!(f, "{}", self.command)?;
        writeln!(f, "{} {} build, commit {commit}, {}", env!("CARGO_PKG_VERSION"), build(), self.date)?;
        let load = self.load.map(|load| load.map_or("unknown".to_owned(), |load| format!("{load:.1}")));
        writeln!(f, "{}; load {} to {}", self.machine, load[0], load[1])?;
        let packages: Vec<String> =
            self.packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
        writeln!(f, "beside: {}, float32", packages.join(", "))?;
        writeln!(
            f,
            "{:.0} million parameters; median of {} runs; one thread on each side\n",
            self.parameters as f64 / 1e6,
            self.runs
        )?;
        writeln!(
            f,
            "{:<26} {:<34} {:>9} {:>9} {:>6} {:>6}",
            "processor ms", "of", "ours", "theirs", "ratio", "asked"
        )?;
        let of = |unit: fn(&Unit) -> bool| self.rows.iter().filter(move |row| unit(&row.unit));
        for row in of(|unit| matches!(unit, Unit::ProcessorMs)) {
            row.write(f, 1e3)?;
        }
        writeln!(
            f,
            "\n{:<26} {:<34} {:>9} {:>9} {:>6} {:>6}",
            "wall s", "of", "at once", "one by one", "ratio", "asked"
        )?;
        for row in of(|unit| matches!(unit, Unit::WallSeconds)) {
            row.write(f, 1.0)?;
        }
        let Overlap { prepare_seconds, model_seconds, wall_seconds, .. } = &self.overlap;
        writeln!(
            f,
            "\npreprocessing {prepare_seconds:.2} s and model {model_seconds:.2} s within {wall_seconds:.2} s"
        )?;
        let word = |holds: bool| if holds { "holds" } else { "MISSED" };
        writeln!(f)?;
        for row in &self.rows {
            if let Some(asked) = row.asked {
                writeln!(
                    f,
                    "{:<6} {}, {}: at least {asked:.1} times: {:.2}",
                    word(row.holds()),
                    row.name,
                    row.of,
                    row.ratio()
                )?;
            }
        }
        writeln!(
            f,
            "{:<6} preprocessing beside the model's work on another: at least {:.0} %: {:.0} %",
            word(self.overlap.holds()),
            100.0 * Overlap::LEAST,
            100.0 * self.overlap.share()
        )?;
        let Agreement { same, of, .. } = &self.agreement;
        writeln!(
            f,
            "{:<6} both sides read and write the same ids: {same} of {of} written",
            word(self.agreement.holds())
        )
    }
}

impl Row {
    fn write(&self, f: &mut fmt::Formatter<'_>, scale: f64) -> fmt::Result {
        let (ours, beside) = (scale * median(&self.ours), scale * median(&self.beside));
        let asked = self.asked.map_or(String::new(), |asked| format!("{asked:.1}"));
        writeln!(
            f,
            "{:<26} {:<34} {ours:>9.2} {beside:>9.2} {:>6.2} {asked:>6}",
            self.name,
            self.of,
            self.ratio()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_compared_with_what_is_asked() {
        let mut row = Row::new("work", "part", Unit::ProcessorMs, Some(1.5));
        for (ours, theirs) in [(1.0, 1.6), (9.0, 1.5), (1.0, 20.0)] {
            row.add(ours, theirs);
        }
        assert_eq!(row.ratio(), 1.6);
        assert!(row.holds());
        row.asked = Some(1.7);
        assert!(!row.holds());
    }

    #[test]
    fn sides_that_read_or_write_other_ids_do_not_agree() {
        let ours = || Ids { input: vec![1, 2], answer: vec![3, 4] };
        assert!(Agreement::of(&ours(), &[vec![1, 2]], &[vec![3, 4]]).holds());
        assert!(!Agreement::of(&ours(), &[vec![1, 9]], &[vec![3, 4]]).holds());
        assert!(!Agreement::of(&ours(), &[vec![1, 2]], &[vec![3, 9]]).holds());
        assert!(!Agreement::of(&ours(), &[vec![1, 2]], &[vec![3, 4, 5]]).holds());
        assert!(!Agreement::default().holds());
    }
}
