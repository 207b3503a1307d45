//! What was measured, against what is asked for, as text and as JSON.

use std::fmt;

use serde::Serialize;
use serde_json::json;

use super::{
    super::{Measured, machine::Machine},
    score::{Condition, LEAST_CAUGHT, LEAST_CLEAN_ACCEPTED, MOST_CLEAN_REJECTED, Tally, auc, detected},
};

/// Shares of clean clips wrongly caught at which a check's power is shown.
const OPERATING_POINTS: [f64; 3] = [0.0, 0.02, 0.05];

/// One condition; the first is the clean one.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) condition: Condition,
    pub(super) tally: Tally,
}

/// One run of the bench.
#[derive(Debug)]
pub(super) struct Table {
    /// How to get it again.
    pub(super) command: String,
    pub(super) seed: u64,
    pub(super) machine: Machine,
    pub(super) rows: Vec<Row>,
    /// Whole studies, and how many were taken for their one usable loop.
    pub(super) exams: usize,
    pub(super) exams_accepted: usize,
}

impl Row {
    fn is_clean(&self) -> bool {
        self.condition.codes.is_empty()
    }

    fn holds(&self) -> bool {
        let Tally { accepted, rejected, met, .. } = self.tally;
        if self.is_clean() {
            self.tally.share(rejected) <= MOST_CLEAN_REJECTED
                && self.tally.share(accepted) >= LEAST_CLEAN_ACCEPTED
        } else {
            self.tally.share(met) >= LEAST_CAUGHT
        }
    }
}

/// How well one check tells the clips of one condition from clean ones.
#[derive(Serialize)]
struct Roc<'a> {
    check: &'a str,
    condition: String,
    auc: f64,
    /// Share caught at each of [`OPERATING_POINTS`].
    caught: Vec<Option<f64>>,
}

impl Measured for Table {
    fn targets_hold(&self) -> bool {
        self.rows.iter().all(Row::holds) && self.exams_accepted == self.exams
    }
}

impl Table {
    fn rocs(&self) -> Vec<Roc<'_>> {
        let none = Vec::new();
        let clean = |check: &str| {
            let row = self.rows.iter().find(|row| row.is_clean());
            row.and_then(|row| row.tally.values.get(check)).unwrap_or(&none)
        };
        let of_row = |row: &'_ Row| -> Vec<Roc<'static>> {
            let of_check = |check: &&'static str| {
                let (good, bad) = (clean(check), row.tally.values.get(*check)?);
                Some(Roc {
                    check,
                    condition: row.condition.name(),
                    auc: auc(good, bad)?,
                    caught: OPERATING_POINTS.map(|share| detected(good, bad, share)).to_vec(),
                })
            };
            row.condition.checks.iter().filter_map(of_check).collect()
        };
        self.rows.iter().flat_map(of_row).collect()
    }
}

impl Serialize for Table {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "condition": row.condition.name(),
                    "asked": row.condition.verdict,
                    "clips": row.tally.clips,
                    "accepted": row.tally.share(row.tally.accepted),
                    "rejected": row.tally.share(row.tally.rejected),
                    "as_asked": row.tally.share(row.tally.met),
                    "codes": row.tally.codes,
                    "holds": row.holds(),
                })
            })
            .collect();
        json!({
            "command": self.command,
            "version": env!("CARGO_PKG_VERSION"),
            "build": if cfg!(debug_assertions) { "debug" } else { "release" },
            "machine": self.machine,
            "seed": self.seed,
            "rows": rows,
            "false_positives": OPERATING_POINTS,
            "roc": self.rocs(),
            "exams": { "studies": self.exams, "accepted": self.exams_accepted },
        })
        .serialize(serializer)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        writeln!(f, "{}", self.command)?;
        writeln!(f, "{} {build} build; {}; seed {}\n", env!("CARGO_PKG_VERSION"), self.machine, self.seed)?;
        writeln!(
            f,
            "{:<34} {:>6} {:>9} {:>9} {:>9}  codes",
            "condition", "clips", "accepted", "rejected", "as asked"
        )?;
        for row in &self.rows {
            let percent = |count| 100.0 * row.tally.share(count);
            let mut codes: Vec<_> = row.tally.codes.iter().collect();
            codes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let codes: Vec<String> =
                codes.into_iter().map(|(code, count)| format!("{code} {count}")).collect();
            writeln!(
                f,
                "{:<34} {:>6} {:>7.1} % {:>7.1} % {:>7.1} %  {}{}",
                row.condition.name(),
                row.tally.clips,
                percent(row.tally.accepted),
                percent(row.tally.rejected),
                percent(row.tally.met),
                codes.join(", "),
                if row.holds() { "" } else { "  MISSED" },
            )?;
        }
        writeln!(
            f,
            "\n{:<20} {:<34} {:>7}  caught at 0, 2, 5 % false positives",
            "check", "condition", "AUC"
        )?;
        for roc in self.rocs() {
            let shares = roc.caught.iter().map(|share| share.map_or(f64::NAN, |share| 100.0 * share));
            let shares: Vec<String> = shares.map(|share| format!("{share:>6.1} %")).collect();
            writeln!(f, "{:<20} {:<34} {:>7.4}  {}", roc.check, roc.condition, roc.auc, shares.join(" "))?;
        }
        let word = |holds: bool| if holds { "holds" } else { "MISSED" };
        writeln!(f, "\n{:<6} clean: rejected at most 2 %, accepted without a warning at least 90 %", {
            word(self.rows.iter().filter(|row| row.is_clean()).all(Row::holds))
        })?;
        writeln!(f, "{:<6} every corruption: the verdict asked for, with its code, at least 95 %", {
            word(self.rows.iter().filter(|row| !row.is_clean()).all(Row::holds))
        })?;
        writeln!(
            f,
            "{:<6} studies of 20 instances taken for their one usable loop: {} of {}",
            word(self.exams_accepted == self.exams),
            self.exams_accepted,
            self.exams
        )
    }
}
