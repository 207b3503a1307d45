//! Temporary.
use crate::{cli::Options, config::Config, exit::{Exit, Failure}};
pub(crate) fn run(_full: bool, _options: &Options, _config: &Config) -> Result<Exit, Failure> { Err(Failure::usage("not yet")) }
