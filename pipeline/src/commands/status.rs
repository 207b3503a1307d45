//! `status`: backlog as time, and studies by state.

use std::{io::Write as _, path::Path};

use super::figures::{drained_in, duration_or_dash, state};
use crate::{
    api_client::ApiClient,
    cli::Options,
    exit::{Exit, Failure},
};

pub(crate) fn run(options: &Options, data_dir: &Path) -> Result<Exit, Failure> {
    let status = ApiClient::connect(options, data_dir)?.status()?;
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut out, &status)?;
        writeln!(out)?;
        return Ok(Exit::Done);
    }
    let studies = &status.studies;
    writeln!(
        out,
        "studies: {} received, {} in progress, {} reported, {} rejected, {} dead-lettered, {} superseded, {} unaccounted; {} spooled",
        studies.received,
        studies.in_progress,
        studies.reported,
        studies.rejected,
        studies.dead_lettered,
        studies.superseded,
        studies.unaccounted,
        status.spooled
    )?;
    writeln!(
        out,
        "{:<14} {:<30} {:<7} {:>7} {:>8} {:>8} {:>14} {:>9} {:>5} {:>8} {:>7}",
        "stage",
        "topic",
        "state",
        "rate/s",
        "waiting",
        "oldest",
        "drained in",
        "in flight",
        "busy",
        "blocked",
        "errors"
    )?;
    for row in &status.stages {
        writeln!(
            out,
            "{:<14} {:<30} {:<7} {:>7.2} {:>8} {:>8} {:>14} {:>9} {:>4.0}% {:>7.0}% {:>7}",
            row.stage,
            row.topic,
            state(row.paused),
            row.rate_per_s,
            row.lag_records,
            duration_or_dash(row.oldest_age_s),
            drained_in(row.drain, row.drain_eta_s),
            row.in_flight,
            row.busy_ratio * 100.0,
            row.backpressured_ratio * 100.0,
            row.errors
        )?;
    }
    Ok(Exit::Done)
}
