//! `bench`: measured, side by side, in one run.

mod eyes;
mod gate;
mod keyframes;
mod pipeline;

use crate::{
    cli::{Bench, BenchName, Options},
    config::Config,
    exit::{Exit, Failure},
};

pub(crate) fn run(arguments: &Bench, options: &Options, config: &Config) -> Result<Exit, Failure> {
    if arguments.python.is_some() && arguments.name != BenchName::Eyes {
        return Err(Failure::usage("only bench eyes runs beside a Python; leave --python away"));
    }
    match arguments.name {
        BenchName::Eyes => eyes::run(arguments, options, config),
        BenchName::Gate => gate::run(arguments.full, options, config),
        BenchName::Keyframes => keyframes::run(arguments.full, options, config),
        BenchName::Pipeline => pipeline::run(arguments.full, options, config),
    }
}
