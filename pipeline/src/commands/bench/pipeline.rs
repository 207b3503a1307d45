//! `bench pipeline`: what the runtime costs beside a plain librdkafka loop, in one run, on one broker.
//!
//! ```text
//!   records ──▶ bench.acquired ──▶ raw loop, or pass-through stage under the runtime ──▶ bench.accepted
//!               bench.acquired ──▶ stage ──▶ stage ──▶ stage ──▶ stage ──▶ bench.report       (the chain)
//! ```
//!
//! Inference is replaced by stages that pass a study on ([`relay`]); they live on topics of their own and in no
//! catalogue. Throughput is measured on records that lie there already, raw and runtime in turn; a hop from the
//! acknowledgement of one lone input to the arrival of its output at a consumer that waits for it.

mod carrier;
mod clocks;
mod place;
mod relay;
mod table;

use crate::{
    cli::{Bench, Options},
    config::Config,
    exit::{Exit, Failure},
    log,
};

use self::{
    carrier::{Carrier, Carriers},
    clocks::{Studies, hop_times, records_per_second},
    place::Place,
    relay::{Accepted, Acquired, OnBench as _, Report},
    table::{Chain, Hop, Pair, Table},
};
use super::{answer, command_line, machine::Machine};

/// Makes the study UIDs. The same seed, the same records.
const SEED: u64 = 1;
/// Raw and runtime take turns so often; the median counts.
const PAIRS: usize = 3;

/// How much is measured.
struct Size {
    /// Records of a throughput measurement.
    records: u64,
    /// Studies through the chain.
    chain: u64,
    /// Lone records of a hop.
    hops: usize,
}

const QUICK: Size = Size { records: 20_000, chain: 5_000, hops: 300 };
const FULL: Size = Size { records: 200_000, chain: 50_000, hops: 1_000 };

/// Measures, prints the table, and answers "no" when a target is missed.
pub(crate) fn run(arguments: &Bench, options: &Options, config: &Config) -> Result<Exit, Failure> {
    log::start(&config.log)?;
    let size = if arguments.full { FULL } else { QUICK };
    let place = Place::prepare(config)?;
    let measured = measure(&place, &size, config);
    let left = place.leave();
    let mut table = measured?;
    left?;
    table.command = command_line(arguments, options);
    answer(&table, options)
}

fn measure(place: &Place, size: &Size, config: &Config) -> Result<Table, Failure> {
    let carriers = Carriers::new(place, &config.runtime);
    let mut studies = Studies::new(place, SEED)?;
    let start = place.ends(Acquired::NAME)?;
    let record_bytes = studies.fill(size.records)?;
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let rate = |carrier| records_per_second(&carriers, carrier, &start, Accepted::NAME, size.records);
        pairs.push(Pair::new(rate(Carrier::Raw)?, rate(Carrier::Runtime)?));
    }
    let mut hop = |carrier, to| hop_times(&carriers, carrier, to, &mut studies, size.hops);
    let hops =
        Hop { raw: hop(Carrier::Raw, Accepted::NAME)?, runtime: hop(Carrier::Runtime, Accepted::NAME)? };
    let end_to_end = hop(Carrier::Chain, Report::NAME)?;
    let start = place.ends(Acquired::NAME)?;
    studies.fill(size.chain)?;
    let rate = records_per_second(&carriers, Carrier::Chain, &start, Report::NAME, size.chain)?;
    Ok(Table {
        command: String::new(),
        version: env!("CARGO_PKG_VERSION"),
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        machine: Machine::here(),
        broker: place.broker.clone(),
        partitions: place.partitions,
        workers: carriers.workers(),
        in_flight: config.runtime.in_flight,
        seed: SEED,
        records: size.records,
        record_bytes,
        pairs,
        hops,
        chain: Chain { studies: size.chain, hops: 4, studies_per_second: rate, end_to_end },
    })
}
