//! What was measured, against what is asked for, as text and as JSON.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::super::{Measured, machine::Machine};

/// Least share of the plain loop's records per second that the runtime carries.
const LEAST_RATIO: f64 = 0.30;
/// Most milliseconds that the runtime adds to a hop, in 95 of 100.
const MOST_OVERHEAD_MS: f64 = 50.0;

/// Times, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Percentiles {
    records: usize,
    p50_ms: f64,
    p95_ms: f64,
    max_ms: f64,
}

impl Percentiles {
    /// Of `times`, by nearest rank; nothing of nothing.
    pub(super) fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let rank = |percent: usize| {
            let time = times.get((times.len() * percent).div_ceil(100).saturating_sub(1))?;
            Some(time.as_secs_f64() * 1e3)
        };
        Some(Self { records: times.len(), p50_ms: rank(50)?, p95_ms: rank(95)?, max_ms: rank(100)? })
    }
}

/// Raw and runtime, one after the other.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Pair {
    /// Records per second of the plain loop.
    raw: f64,
    /// Records per second of the stage.
    runtime: f64,
    /// Runtime over raw.
    ratio: f64,
}

impl Pair {
    /// Of two rates in records per second.
    pub(super) fn new(raw: f64, runtime: f64) -> Self {
        Self { raw, runtime, ratio: runtime / raw }
    }
}

/// Times of one hop.
#[derive(Debug, Serialize)]
pub(super) struct Hop {
    /// Carried by the plain loop.
    pub(super) raw: Percentiles,
    /// Carried by a stage.
    pub(super) runtime: Percentiles,
}

impl Hop {
    /// What the runtime adds: difference of the medians and of the 95th percentiles, in milliseconds.
    fn overhead(&self) -> (f64, f64) {
        (self.runtime.p50_ms - self.raw.p50_ms, self.runtime.p95_ms - self.raw.p95_ms)
    }
}

/// Several stages in a row.
#[derive(Debug, Serialize)]
pub(super) struct Chain {
    /// Studies of the throughput measurement.
    pub(super) studies: u64,
    /// Stages.
    pub(super) hops: u32,
    /// Studies per second.
    pub(super) studies_per_second: f64,
    /// Times of lone studies through all hops.
    pub(super) end_to_end: Percentiles,
}

/// One run of the bench.
#[derive(Debug)]
pub(super) struct Table {
    /// How to get it again.
    pub(super) command: String,
    /// Of this program.
    pub(super) version: &'static str,
    /// `debug` or `release`.
    pub(super) build: &'static str,
    /// Where it ran.
    pub(super) machine: Machine,
    /// Which broker.
    pub(super) broker: String,
    /// Of each topic.
    pub(super) partitions: u32,
    /// Threads of a stage.
    pub(super) workers: usize,
    /// Records of a stage between fetch and commit.
    pub(super) in_flight: usize,
    /// Of the study UIDs.
    pub(super) seed: u64,
    /// Of a throughput measurement.
    pub(super) records: u64,
    /// Key, headers and value of an input.
    pub(super) record_bytes: u64,
    /// Throughput.
    pub(super) pairs: Vec<Pair>,
    /// Times of one hop.
    pub(super) hops: Hop,
    /// Several hops.
    pub(super) chain: Chain,
}

/// A number that was promised.
#[derive(Debug, Serialize)]
struct Target {
    name: &'static str,
    measured: f64,
    asked: f64,
    holds: bool,
}

impl Measured for Table {
    fn targets_hold(&self) -> bool {
        self.targets().iter().all(|target| target.holds)
    }
}

impl Table {
    fn targets(&self) -> [Target; 2] {
        let ratio = self.median().ratio;
        let (_, p95) = self.hops.overhead();
        [
            Target {
                name: "runtime / raw records per second, at least",
                measured: ratio,
                asked: LEAST_RATIO,
                holds: ratio >= LEAST_RATIO,
            },
            Target {
                name: "hop overhead p95 in ms, at most",
                measured: p95,
                asked: MOST_OVERHEAD_MS,
                holds: p95 <= MOST_OVERHEAD_MS,
            },
        ]
    }

    /// The medians over the pairs, each column for itself.
    fn median(&self) -> Pair {
        let of = |column: fn(&Pair) -> f64| {
            let mut values: Vec<f64> = self.pairs.iter().map(column).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Pair { raw: of(|pair| pair.raw), runtime: of(|pair| pair.runtime), ratio: of(|pair| pair.ratio) }
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (p50, p95) = self.hops.overhead();
        let mut table = serializer.serialize_struct("Table", 17)?;
        table.serialize_field("command", &self.command)?;
        table.serialize_field("version", &self.version)?;
        table.serialize_field("build", &self.build)?;
        table.serialize_field("machine", &self.machine)?;
        table.serialize_field("broker", &self.broker)?;
        table.serialize_field("partitions", &self.partitions)?;
        table.serialize_field("workers", &self.workers)?;
        table.serialize_field("in_flight", &self.in_flight)?;
        table.serialize_field("seed", &self.seed)?;
        table.serialize_field("records", &self.records)?;
        table.serialize_field("record_bytes", &self.record_bytes)?;
        table.serialize_field("pairs", &self.pairs)?;
        table.serialize_field("median", &self.median())?;
        table.serialize_field("hops", &self.hops)?;
        table.serialize_field("overhead_ms", &serde_json::json!({ "p50": p50, "p95": p95 }))?;
        table.serialize_field("chain", &self.chain)?;
        table.serialize_field("targets", &self.targets())?;
        table.end()
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.1} {:>10.1} {:>10.1}", self.p50_ms, self.p95_ms, self.max_ms)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.command)?;
        writeln!(f, "{} {} build; {}", self.version, self.build, self.machine)?;
        writeln!(
            f,
            "{} broker, {} partitions; {} worker(s), {} in flight; seed {}, {} records of {} bytes",
            self.broker,
            self.partitions,
            self.workers,
            self.in_flight,
            self.seed,
            self.records,
            self.record_bytes,
        )?;
        writeln!(f, "\n{:<24} {:>10} {:>10} {:>10}", "records/s", "raw", "runtime", "ratio")?;
        let rows = self.pairs.iter().enumerate().map(|(n, pair)| (format!("pair {}", n + 1), *pair));
        for (name, pair) in rows.chain([("median".to_owned(), self.median())]) {
            let percent = pair.ratio * 100.0;
            writeln!(f, "{name:<24} {:>10.0} {:>10.0} {percent:>8.0} %", pair.raw, pair.runtime)?;
        }
        let (p50, p95) = self.hops.overhead();
        writeln!(f, "\n{:<24} {:>10} {:>10} {:>10}", "lone record, ms", "p50", "p95", "max")?;
        writeln!(f, "{:<24} {}", "one hop, raw", self.hops.raw)?;
        writeln!(f, "{:<24} {}", "one hop, runtime", self.hops.runtime)?;
        writeln!(f, "{:<24} {p50:>10.1} {p95:>10.1}", "overhead of a hop")?;
        writeln!(f, "{:<24} {}", format!("{} hops, runtime", self.chain.hops), self.chain.end_to_end)?;
        writeln!(
            f,
            "\n{} hops at once: {:.0} studies/s over {} studies\n",
            self.chain.hops, self.chain.studies_per_second, self.chain.studies
        )?;
        for target in self.targets() {
            let word = if target.holds { "holds" } else { "MISSED" };
            writeln!(f, "{word:<6} {} {:.2}: {:.2}", target.name, target.asked, target.measured)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        let of = Percentiles::of(times).expect("a hundred times");
        assert_eq!((of.p50_ms, of.p95_ms, of.max_ms), (50.0, 95.0, 100.0));
        let one = Percentiles::of(vec![Duration::from_millis(7)]).expect("one time");
        assert_eq!((one.p50_ms, one.p95_ms, one.max_ms), (7.0, 7.0, 7.0));
        assert!(Percentiles::of(Vec::new()).is_none());
    }
}
