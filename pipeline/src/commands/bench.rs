//! `bench`: measured, side by side, in one run.

mod pipeline;

use crate::{
    cli::{Bench, BenchName, Options},
    config::Config,
    exit::{Exit, Failure},
};

pub(crate) fn run(arguments: &Bench, options: &Options, config: &Config) -> Result<Exit, Failure> {
    match arguments.name {
        BenchName::Pipeline => pipeline::run(arguments.full, options, config),
    }
}
