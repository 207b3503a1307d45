//! `replay promote`: makes the candidate of a judged run current.

use std::io::Write as _;

use console::site::Promote;

use crate::{
    api_client::{ApiClient, ApiError},
    cli::{Options, ReplayPromote},
    config::Config,
    exit::{Exit, Failure},
};

pub(super) fn run(arguments: &ReplayPromote, options: &Options, config: &Config) -> Result<Exit, Failure> {
    let api = ApiClient::connect(options, &config.data_dir)?;
    let run = api.replay(&arguments.run)?;
    let run = run
        .ok_or_else(|| Failure::usage(format!("run {} is not known to the running system", arguments.run)))?;
    let Some(report_sha256) = run.report_sha256 else {
        return Err(Failure::usage(format!(
            "run {0} was not compared yet; `prescreen replay diff {0}` first",
            run.run_id
        )));
    };
    let promote = Promote { by: arguments.by.clone(), forced: arguments.force.clone(), report_sha256 };
    let mut out = std::io::stdout().lock();
    match api.promote(&arguments.run, &promote) {
        Ok(promoted) if options.json => writeln!(out, "{}", serde_json::to_string_pretty(&promoted)?)?,
        Ok(promoted) => {
            write!(out, "{}", promoted.config)?;
            writeln!(
                out,
                "\npromoted (audit row {}); the next start of the system uses it",
                promoted.audit_id
            )?;
        }
        Err(ApiError::Refused { status: 422, message, .. }) => {
            return Err(Failure { exit: Exit::No, error: message.into() });
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Exit::Done)
}
