//! `pause STAGE`, `resume STAGE`: in every process, until somebody lets it go on; audited.

use std::{io::Write as _, path::Path};

use crate::{
    api_client::ApiClient,
    cli::{Options, PauseStage},
    exit::{Exit, Failure},
    system::entries,
};

/// What is asked for.
pub(crate) struct Asked<'a> {
    pub(crate) arguments: &'a PauseStage,
    pub(crate) paused: bool,
    /// Who asks where the arguments do not say.
    pub(crate) account: &'a str,
}

pub(crate) fn run(asked: &Asked<'_>, options: &Options, data_dir: &Path) -> Result<Exit, Failure> {
    let Asked { arguments, paused, account } = *asked;
    // As a role or as a metric label names it.
    let stage = arguments.stage.replace('-', "_");
    let names: Vec<&str> = entries().into_iter().map(|entry| entry.name).collect();
    if !names.contains(&stage.as_str()) {
        return Err(Failure::usage(format!(
            "{:?} cannot be paused; these can: {}",
            arguments.stage,
            names.join(", ")
        )));
    }
    let by = arguments.by.by.as_deref().unwrap_or(account);
    ApiClient::connect(options, data_dir)?.set_paused(&stage, paused, by)?;
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{}", serde_json::json!({ "stage": stage, "paused": paused }))?;
    } else if paused {
        writeln!(out, "{stage} is paused: it finishes what it has begun and takes nothing new")?;
    } else {
        writeln!(out, "{stage} goes on")?;
    }
    Ok(Exit::Done)
}
