//! `bench trust`: how far the configured model may be believed on fresh phantoms, and whether an untrained one is believed.
//!
//! ```text
//!   group, seed ─▶ phantom loop ─▶ gate ─▶ keyframes ─▶ inference ─▶ findings ─┬─ calibration part ─▶ fit ─▶ set
//!                                                                               └─ the rest ─▶ reporting with the set ─▶ score
//! ```
//! The quick size is too small for a set: it takes the configured one, if there is one. With `--full` the seed is the first 8
//! bytes of the SHA-256 of the commit's id, so that no phantom was seen before the code was written.
//! Phantoms are far cleaner than patients, and none of this is evidence about patients.

mod phantoms;
mod score;
mod table;

use std::{io::Write as _, path::Path, process::Command, sync::Arc};

use calibration::{Alpha, CalibrationSet, Key, Plan, Score};
use console::site::ConfirmedStudy;
use inference::InferenceStage;
use jiff::Timestamp;
use keyframes::Keyframes;
use quality_gate::QualityGate;
use reporting::{CalibrationFile, ReportingStage};
use schemas::Digest;
use stage::{ConfigError, Services, Stage};

use crate::{
    carried_model::Carried,
    cli::{Bench, Options},
    commands::calibrate::{self, eligible, write_whole},
    config::{Config, ModelKind},
    exit::{Exit, Failure},
    log,
    system::{Model, stage_config},
};

use self::{
    phantoms::{Group, Read, Stages},
    score::{Scores, Untrained},
    table::Table,
};
use super::{answer, command_line, machine::Machine, over_threads};

/// Of the quick size.
const QUICK_SEED: u64 = 90_000;

/// How many phantoms.
struct Size {
    /// Apical ones from which a set is made; none: the configured set is taken.
    calibration: u64,
    /// Apical ones on which it is judged.
    test: u64,
    /// Of each other view, its name withheld.
    wrong_view: u64,
    /// Of each corruption.
    corrupted: u64,
    /// Asked of an untrained model.
    untrained: u64,
}

const QUICK: Size = Size { calibration: 0, test: 20, wrong_view: 3, corrupted: 2, untrained: 5 };
/// More than 2,000 and 4,000: gate, keyframes and model decline about 15 % of sound ones.
const FULL: Size = Size { calibration: 2_700, test: 5_300, wrong_view: 120, corrupted: 60, untrained: 200 };

/// Measures, prints the table, and answers "no" when a target is missed.
pub(crate) fn run(arguments: &Bench, options: &Options, config: &Config) -> Result<Exit, Failure> {
    log::start(&config.log)?;
    let (size, seed) = if arguments.full { (FULL, seed_of_commit()?) } else { (QUICK, QUICK_SEED) };
    if arguments.write.is_some() && size.calibration == 0 {
        return Err(Failure::usage("the quick size calibrates on nothing; give --full with --write"));
    }
    let room = tempfile::tempdir()?;
    let model = Model::start(config, room.path())?;
    let services = Services { model: Arc::clone(&model.backend) };
    let read = |group: Group, first: u64, count: u64, services: &Services| {
        over_threads(first..first + count, |index| {
            phantoms::read(group, seed.wrapping_add(index), &mut stages(config, services)?)
        })
    };

    let calibration = read(Group::Apical, 0, size.calibration, &services)?;
    let mut judge = stage_config::<ReportingStage>(&mut config.stages.clone())?();
    if size.calibration > 0 {
        let confirmed: Vec<ConfirmedStudy> = calibration.iter().filter_map(Read::confirmed).collect();
        if let Some(path) = &arguments.write {
            write_whole(path, &lines(&confirmed)?)?;
        }
        let set = set_of(&confirmed, &judge)?;
        judge.calibration_set = Some(CalibrationFile { path: "made here".to_owned(), text: set.to_text() });
    }

    let mut first = size.calibration;
    let mut groups = Vec::new();
    for group in Group::all() {
        let count = match group {
            Group::Apical => size.test,
            Group::WrongView(_) => size.wrong_view,
            Group::Corrupted(_) => size.corrupted,
        };
        // Each group has hearts of its own.
        let phantoms = read(group, first, count, &services)?;
        first += count;
        groups.push((group, phantoms));
    }
    let scores = Scores::of(&groups, &judge)?;
    let untrained = untrained(config, room.path(), &judge, |services| {
        read(Group::Apical, first, size.untrained, services)
    })?;
    let table = Table {
        command: command_line(arguments, options),
        seed,
        full: arguments.full,
        machine: Machine::here(),
        model: services.model.identity().clone(),
        scores,
        untrained,
    };
    answer(&table, options)
}

/// The stages before reporting, as the service has them.
fn stages(config: &Config, services: &Services) -> Result<Stages, Failure> {
    Ok(Stages {
        gate: built::<QualityGate>(config, services)?,
        keyframes: built::<Keyframes>(config, services)?,
        inference: built::<InferenceStage>(config, services)?,
    })
}

fn built<S: Stage>(config: &Config, services: &Services) -> Result<S, Failure> {
    let refused = |error: ConfigError| Failure::usage(format!("stages.{}.{error}", S::NAME));
    S::build(stage_config::<S>(&mut config.stages.clone())?(), services).map_err(refused)
}

/// A set of 90 % intervals by quality and view.
fn set_of(confirmed: &[ConfirmedStudy], judge: &reporting::Config) -> Result<CalibrationSet, Failure> {
    let eligible = eligible(confirmed, judge)?;
    let plan = Plan {
        id: "bench-trust".to_owned(),
        made_at: Timestamp::UNIX_EPOCH,
        model: eligible.source.model,
        fingerprint: eligible.source.fingerprint,
        synthetic: eligible.source.synthetic,
        score: Score::Quantiles,
        alpha: Alpha::new(0.1)?,
        group_by: vec![Key::Quality, Key::View],
    };
    Ok(calibrate::fit(plan, &eligible)?.set)
}

/// The same phantoms read by the checkpoint inside the binary, whose weights are random.
fn untrained(
    config: &Config,
    room: &Path,
    judge: &reporting::Config,
    read: impl FnOnce(&Services) -> Result<Vec<Read>, Failure>,
) -> Result<Untrained, Failure> {
    let mut random = config.clone();
    random.model.kind = ModelKind::Engine;
    Carried::Untrained.name().clone_into(&mut random.model.path);
    let model = Model::start(&random, room)?;
    let services = Services { model: Arc::clone(&model.backend) };
    let phantoms = read(&services)?;
    let believed =
        score::reports(&phantoms, judge)?.into_iter().flatten().filter(|report| report.ef.is_some());
    Ok(Untrained { phantoms: phantoms.len(), believed: believed.count() })
}

/// JSON, one study a line.
fn lines(confirmed: &[ConfirmedStudy]) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    for study in confirmed {
        serde_json::to_writer(&mut text, study)?;
        writeln!(text)?;
    }
    Ok(text)
}

/// The first 8 bytes of the SHA-256 of the checked out commit's id, as a big-endian number.
fn seed_of_commit() -> Result<u64, Failure> {
    let said = Command::new("git").args(["rev-parse", "HEAD"]).output()?;
    let id = String::from_utf8(said.stdout)?;
    if !said.status.success() || id.trim().is_empty() {
        return Err(Failure::usage(
            "bench trust --full takes its seed from the commit; run it in a git checkout",
        ));
    }
    let digest = Digest::of(id.trim().as_bytes());
    Ok(digest.as_bytes().iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte)))
}
