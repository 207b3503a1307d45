//! `phantom`: synthetic studies and their truth, for testing a system and never for judging patients.

use std::io::Write as _;

use phantom::echo::{Batch, Corruption, write_studies};

use crate::{
    cli::{Options, Phantom},
    exit::{Exit, Failure},
};

pub(crate) fn run(kind: &Phantom, options: &Options) -> Result<Exit, Failure> {
    let Phantom::Echo(arguments) = kind;
    let corruption: Option<Corruption> =
        arguments.corrupt.as_deref().map(str::parse).transpose().map_err(Failure::usage)?;
    let batch = Batch { count: arguments.count as usize, seed: arguments.seed, corruption };
    let truths = write_studies(&arguments.out, batch)?;
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut out, &truths)?;
        writeln!(out)?;
    } else {
        for truth in &truths.studies {
            writeln!(
                out,
                "{}  EF {:.1} %  {:.0} beats/min",
                truth.study_uid, truth.ef_percent, truth.heart_rate
            )?;
        }
        writeln!(out, "{} studies and truth.json in {}", truths.studies.len(), arguments.out.display())?;
    }
    Ok(Exit::Done)
}
