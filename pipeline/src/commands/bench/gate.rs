//! `bench gate`: what the gate says of phantoms, clean and spoilt in every way it must notice, and how well each check
//! tells them apart.
//!
//! ```text
//!   condition, seed ─▶ phantom loop ─▶ decoded and masked ─▶ QualityGate ─▶ verdict, codes, values ─▶ score
//! ```
//! The same seeds are the same hearts in every condition. Phantoms are far cleaner than patients, and none of this is
//! evidence about patients.

pub(super) mod exam;
mod score;
mod table;

use std::{io::Write as _, num::NonZeroUsize, sync::Arc, thread};

use jiff::Timestamp;
use phantom::echo::EchoSpec;
use quality_gate::QualityGate;
use schemas::{GatedInstance, Verdict};
use stage::{Ctx, Outcome, Services, Stage as _, testing::MemoryBlobs};

use crate::{
    cli::Options,
    commands::inspect::NoModel,
    config::Config,
    exit::{Exit, Failure},
    log,
    system::stage_config,
};

use self::{
    exam::Exam,
    score::{CLEAN, Condition, SPOILT, Tally},
    table::{Row, Table},
};
use super::pipeline::machine::Machine;

/// Of the first phantom of each condition; the others follow. The same seed, the same phantoms.
const SEED: u64 = 50_000;
/// Instances of a study in which one loop is usable.
const EXAM: usize = 20;

/// How many phantoms.
struct Size {
    /// With nothing wrong.
    clean: u64,
    /// Of each corruption.
    spoilt: u64,
    /// Whole studies.
    exams: u64,
}

const QUICK: Size = Size { clean: 60, spoilt: 12, exams: 2 };
const FULL: Size = Size { clean: 1_000, spoilt: 200, exams: 20 };

/// Measures, prints the table, and answers "no" when a target is missed.
pub(crate) fn run(full: bool, options: &Options, config: &Config) -> Result<Exit, Failure> {
    log::start(&config.log)?;
    let size = if full { FULL } else { QUICK };
    let mut rows = vec![measured(CLEAN, size.clean, config)?];
    for condition in SPOILT {
        rows.push(measured(condition, size.spoilt, config)?);
    }
    let exams = over_threads(SEED..SEED + size.exams, |seed| whole_exam(seed, config))?;
    let table = Table {
        command: command(full, options),
        seed: SEED,
        machine: Machine::here(),
        rows,
        exams: exams.len(),
        exams_accepted: exams.into_iter().filter(|accepted| *accepted).count(),
    };
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, &table)?;
        writeln!(out)?;
    } else {
        write!(out, "{table}")?;
    }
    Ok(if table.targets_hold() { Exit::Done } else { Exit::No })
}

fn measured(condition: Condition, count: u64, config: &Config) -> Result<Row, Failure> {
    let gated = over_threads(SEED..SEED + count, |seed| Ok(gate(&condition.spec(seed)?, config)?.1))?;
    let mut tally = Tally::default();
    gated.iter().flatten().for_each(|instance| tally.add(&condition, instance));
    Ok(Row { condition, tally })
}

/// Whether a study of [`EXAM`] instances with one usable loop is taken, and for that one.
fn whole_exam(seed: u64, config: &Config) -> Result<bool, Failure> {
    let (verdict, instances) = gate(&EchoSpec::sample(seed).with_exam(EXAM), config)?;
    Ok(verdict != Verdict::Reject && score::accepted_for_a4c(&instances))
}

/// The gate's word on the study that `spec` describes, and on each instance.
fn gate(spec: &EchoSpec, config: &Config) -> Result<(Verdict, Vec<GatedInstance>), Failure> {
    let mut tables = config.stages.clone();
    let services = Services { model: Arc::new(NoModel) };
    let mut gate = QualityGate::build(stage_config::<QualityGate>(&mut tables)?(), &services)?;
    let exam = Exam::make(spec)?;
    let blobs = MemoryBlobs::default();
    let mut ctx = Ctx::new(&blobs, &exam.files, Timestamp::UNIX_EPOCH, tracing::Span::none());
    Ok(match gate.process(&exam.study, &mut ctx)? {
        Outcome::Emit(accepted) => (accepted.verdict, accepted.instances),
        Outcome::Reject(rejection) => (Verdict::Reject, rejection.instances),
    })
}

/// `measure` of every seed, in their order, on as many threads as there are cores.
fn over_threads<T: Send>(
    seeds: std::ops::Range<u64>,
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

/// The command line that gives this table again.
fn command(full: bool, options: &Options) -> String {
    let mut words = vec!["prescreen bench gate".to_owned()];
    words.extend(full.then(|| "--full".to_owned()));
    words.extend(options.config.iter().map(|file| format!("--config {}", file.display())));
    words.extend(options.set.iter().map(|assignment| format!("--set '{assignment}'")));
    words.join(" ")
}
