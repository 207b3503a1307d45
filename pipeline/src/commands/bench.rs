//! `bench`: measured, side by side, in one run.

mod engine;
mod eyes;
mod gate;
mod keyframes;
pub(crate) mod machine;
mod pipeline;
mod python;
mod trust;

use std::{fmt, io::Write as _, num::NonZeroUsize, ops::Range, process::Command, thread};

use clap::ValueEnum as _;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::{
    cli::{Bench, BenchName, Options},
    config::Config,
    exit::{Exit, Failure},
};

pub(crate) fn run(arguments: &Bench, options: &Options, config: &Config) -> Result<Exit, Failure> {
    let beside_python = matches!(arguments.name, BenchName::Engine | BenchName::Eyes);
    if arguments.python.is_some() && !beside_python {
        return Err(Failure::usage("only bench engine and eyes run beside a Python; leave --python away"));
    }
    if arguments.write.is_some() && arguments.name != BenchName::Trust {
        return Err(Failure::usage("only bench trust has studies to write; leave --write away"));
    }
    match arguments.name {
        BenchName::Engine => engine::run(arguments, options, config),
        BenchName::Eyes => eyes::run(arguments, options, config),
        BenchName::Gate => gate::run(arguments, options, config),
        BenchName::Keyframes => keyframes::run(arguments, options, config),
        BenchName::Pipeline => pipeline::run(arguments, options, config),
        BenchName::Trust => trust::run(arguments, options, config),
    }
}

/// What a bench measured, beside what was asked of it.
trait Measured: fmt::Display + Serialize {
    /// Whether every target holds.
    fn targets_hold(&self) -> bool;
}

/// Prints the table; the answer is "no" when a target is missed.
fn answer(table: &impl Measured, options: &Options) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, table)?;
        writeln!(out)?;
    } else {
        write!(out, "{table}")?;
    }
    Ok(if table.targets_hold() { Exit::Done } else { Exit::No })
}

/// The command line that gives the same table again.
fn command_line(arguments: &Bench, options: &Options) -> String {
    let mut words = vec!["prescreen bench".to_owned()];
    words.extend(arguments.name.to_possible_value().map(|name| name.get_name().to_owned()));
    words.extend(arguments.full.then(|| "--full".to_owned()));
    words.extend(arguments.python.iter().map(|program| format!("--python {}", program.display())));
    words.extend(arguments.write.iter().map(|file| format!("--write {}", file.display())));
    words.extend(options.config.iter().map(|file| format!("--config {}", file.display())));
    words.extend(options.set.iter().map(|assignment| format!("--set '{assignment}'")));
    words.join(" ")
}

/// Of this process, all threads.
fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The commit of the checkout that this is run in.
fn commit() -> Option<String> {
    let said = Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output().ok()?;
    let commit = String::from_utf8(said.stdout).ok()?;
    (said.status.success() && !commit.trim().is_empty()).then(|| commit.trim().to_owned())
}

/// Of an odd number of values the middle one; of none no number.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// `measure` of every seed, in their order, on as many threads as there are cores.
fn over_threads<T: Send>(
    seeds: Range<u64>,
    measure: impl Fn(u64) -> Result<T, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get) as u64;
    let parts = thread::scope(|scope| {
        let measure = &measure;
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                let mine = seeds.clone().skip(first as usize).step_by(threads as usize);
                scope.spawn(move || {
                    mine.map(|seed| Ok((seed, measure(seed)?))).collect::<Result<Vec<_>, Failure>>()
                })
            })
            .collect();
        workers.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut all = Vec::new();
    for part in parts {
        all.extend(part.map_err(|_| "a thread of the bench panicked")??);
    }
    all.sort_by_key(|(seed, _)| *seed);
    Ok(all.into_iter().map(|(_, measured)| measured).collect())
}
