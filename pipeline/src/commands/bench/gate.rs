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

use jiff::Timestamp;
use phantom::echo::EchoSpec;
use quality_gate::QualityGate;
use schemas::{GatedInstance, Verdict};
use stage::{Ctx, Outcome, Services, Stage as _, testing::MemoryBlobs};

use crate::{
    cli::{Bench, Options},
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
use super::{answer, command_line, machine::Machine, over_threads};

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
pub(crate) fn run(arguments: &Bench, options: &Options, config: &Config) -> Result<Exit, Failure> {
    log::start(&config.log)?;
    let size = if arguments.full { FULL } else { QUICK };
    let mut rows = vec![measured(CLEAN, size.clean, config)?];
    for condition in SPOILT {
        rows.push(measured(condition, size.spoilt, config)?);
    }
    let exams = over_threads(SEED..SEED + size.exams, |seed| whole_exam(seed, config))?;
    let table = Table {
        command: command_line(arguments, options),
        seed: SEED,
        machine: Machine::here(),
        rows,
        exams: exams.len(),
        exams_accepted: exams.into_iter().filter(|accepted| *accepted).count(),
    };
    answer(&table, options)
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
    let services = Services::without_model();
    let mut gate = QualityGate::build(stage_config::<QualityGate>(&mut tables)?(), &services)?;
    let exam = Exam::make(spec)?;
    let blobs = MemoryBlobs::default();
    let mut ctx = Ctx::new(&blobs, &exam.files, Timestamp::UNIX_EPOCH, tracing::Span::none());
    Ok(match gate.process(&exam.study, &mut ctx)? {
        Outcome::Emit(accepted) => (accepted.verdict, accepted.instances),
        Outcome::Reject(rejection) => (Verdict::Reject, rejection.instances),
    })
}
