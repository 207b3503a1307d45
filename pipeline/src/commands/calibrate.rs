//! `calibrate`: from studies with a confirmed ejection fraction to a calibration set, its table and its plots.
//!
//! ```text
//!   reviewed: the running system's API ─┐
//!   FILE: JSON lines ───────────────────┴▶ studies ─▶ those that reports would give a number ─▶ fit ─▶ SET, table, plots
//! ```
//! Exit code 0: written. 1: the model or the studies allow no promise. 2: too few studies. Nothing is written then.

mod plots;
pub(crate) mod ranking;
mod studies;
mod table;

use std::{fs, io::Write as _, path::Path};

use calibration::{Alpha, CalibrationSet, Fitted, Plan, fit::FitError};
use jiff::Timestamp;
use reporting::ReportingStage;

use crate::{
    cli::{Calibrate, Options},
    config::Config,
    exit::{Exit, Failure},
    system::stage_config,
    whole_file,
};

pub(crate) use studies::{Eligible, eligible};
use table::Table;

/// What `--from` says for the running system.
const REVIEWED: &str = "reviewed";

pub(crate) fn run(arguments: &Calibrate, options: &Options, config: &Config) -> Result<Exit, Failure> {
    let alpha = Alpha::new(arguments.alpha).map_err(Failure::usage)?;
    let stem = arguments.out.file_stem().and_then(|stem| stem.to_str());
    let id = arguments.id.as_deref().or(stem).ok_or_else(|| Failure::usage("--out names no file"))?;
    let confirmed = if arguments.from.as_os_str() == REVIEWED {
        studies::reviewed(options, &config.data_dir)?
    } else {
        studies::of_file(&arguments.from)?
    };
    let judge = stage_config::<ReportingStage>(&mut config.stages.clone())?();
    let eligible = eligible(&confirmed, &judge).map_err(Failure::usage)?;
    let plan = Plan {
        id: id.to_owned(),
        made_at: Timestamp::now(),
        model: eligible.source.model,
        fingerprint: eligible.source.fingerprint,
        synthetic: eligible.source.synthetic,
        score: arguments.score.into(),
        alpha,
        group_by: arguments.group_by.clone(),
    };
    let fitted = fit(plan, &eligible)?;
    let table = Table::new(&fitted, &eligible);
    write(arguments, &fitted, &eligible, &table)?;
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, &table)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{table}\nwritten to {}", arguments.out.display())?;
    }
    Ok(Exit::Done)
}

/// The set of `eligible` studies, or the exit code that their refusal asks for.
pub(crate) fn fit(plan: Plan, eligible: &Eligible) -> Result<Fitted, Failure> {
    calibration::fit(plan, &eligible.cases).map_err(|error| {
        let exit = match error {
            FitError::TooFew { .. } => Exit::Inconclusive,
            FitError::NoBetterThanMean { .. } | FitError::NotExchangeable { .. } => Exit::No,
            FitError::Impossible { .. } | FitError::Set(_) => Exit::Usage,
        };
        let left_out = eligible.left_out();
        let text =
            if left_out.is_empty() { error.to_string() } else { format!("{error}; left out: {left_out}") };
        Failure { exit, error: text.into() }
    })
}

/// The set last: where it is, everything beside it is.
fn write(arguments: &Calibrate, fitted: &Fitted, eligible: &Eligible, table: &Table) -> Result<(), Failure> {
    for (name, svg) in plots::all(fitted, &eligible.cases, &eligible.rankings())? {
        write_whole(&arguments.out.with_extension(format!("{name}.svg")), svg.as_bytes())?;
    }
    write_whole(&arguments.out.with_extension("txt"), table.to_string().as_bytes())?;
    write_whole(&arguments.out, fitted.set.to_text().as_bytes())?;
    // What was written is read as the service will read it.
    let text = fs::read_to_string(&arguments.out)?;
    CalibrationSet::read(&text).map_err(|error| Failure::from(format!("the file just written {error}")))?;
    Ok(())
}

/// Writes what `--out` or `--write` named.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    whole_file::write(path, bytes)
        .map_err(|error| Failure::from(format!("cannot write {}: {error}", path.display())))
}
