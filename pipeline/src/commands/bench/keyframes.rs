//! `bench keyframes`: end-diastole, end-systole and ejection fraction of phantoms, against their truth, suite by suite.
//!
//! ```text
//!   suite, seed ─▶ phantom loop ─▶ decoded and masked ─▶ keyframes::trace, on two threads at once ─▶ score
//! ```
//! The header tells nothing of R waves or heart rate but in the last rows: what is measured is what the picture shows.
//! Phantoms are far cleaner than patients, and none of this is evidence about patients.

mod clip;
mod score;
mod table;

use phantom::echo::{
    EchoSpec,
    suite::{Suite, wide},
};

use crate::{
    cli::{Bench, Options},
    config::Config,
    exit::{Exit, Failure},
    log,
    system::stage_config,
};

use self::{
    clip::{Clip, Hints},
    score::Tally,
    table::{Asked, Row, Table},
};
use super::{answer, command_line, machine::Machine};

/// Of the first phantom of each suite; the others follow. The same seed, the same phantoms.
const SEED: u64 = 41_000;

/// How many phantoms.
struct Size {
    /// Of each suite.
    suite: u64,
    /// Of the whole range of frame rates, heart rates and ejection fractions.
    wide: u64,
}

const QUICK: Size = Size { suite: 2, wide: 20 };
const FULL: Size = Size { suite: 12, wide: 200 };

/// Measures, prints the table, and answers "no" when a target is missed.
pub(crate) fn run(arguments: &Bench, options: &Options, config: &Config) -> Result<Exit, Failure> {
    log::start(&config.log)?;
    let size = if arguments.full { FULL } else { QUICK };
    let rules = &stage_config::<keyframes::Keyframes>(&mut config.stages.clone())?();
    let mut rows = Vec::new();
    for suite in Suite::ALL {
        let specs = (SEED..SEED + size.suite).map(|seed| suite.spec(seed));
        let asked = if Suite::STRICT.contains(&suite) { Asked::NoMiss } else { Asked::Nothing };
        rows.push(measured((suite.name(), asked), specs, Hints::None, rules)?);
    }
    let seeds = || SEED..SEED + size.wide;
    let whole_range = ("15-80 fps, 45-140/min", Asked::Error);
    rows.push(measured(whole_range, seeds().map(wide), Hints::None, rules)?);
    for (name, hints) in [("the same, R waves told", Hints::All), ("the same, ECG drawn", Hints::Drawn)] {
        rows.push(measured((name, Asked::Error), seeds().take(size.suite as usize).map(wide), hints, rules)?);
    }
    let mut all = Row {
        name: "all asked together",
        asked: Asked::Error,
        tally: Tally::default(),
        together: true,
        differing: 0,
    };
    for row in rows.iter().filter(|row| row.asked != Asked::Nothing) {
        all.tally.join(&row.tally);
        all.differing += row.differing;
    }
    rows.push(all);
    let table =
        Table { command: command_line(arguments, options), seed: SEED, machine: Machine::here(), rows };
    answer(&table, options)
}

fn measured(
    (name, asked): (&'static str, Asked),
    specs: impl Iterator<Item = EchoSpec>,
    hints: Hints,
    rules: &keyframes::Config,
) -> Result<Row, Failure> {
    let mut row = Row { name, asked, tally: Tally::default(), together: false, differing: 0 };
    for spec in specs {
        let clip = Clip::make(&spec, hints)?;
        let read = || keyframes::trace(&clip.instance, &clip.frames, rules);
        let (here, there) = std::thread::scope(|scope| {
            let beside = scope.spawn(read);
            (read(), beside.join())
        });
        let here = here?;
        let same = there.ok().and_then(Result::ok).is_some_and(|there| there == here);
        row.differing += usize::from(!same);
        row.tally.add(&clip.truth, here.as_ref());
    }
    Ok(row)
}
