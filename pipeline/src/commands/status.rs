//! `status`: backlog as time, and studies by state.

use std::{io::Write as _, path::Path};

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
        "{:<14} {:<30} {:>8} {:>10} {:>12} {:>9} {:>6} {:>7}",
        "stage", "topic", "waiting", "oldest", "drained in", "in flight", "busy", "errors"
    )?;
    for stage in &status.stages {
        let seconds =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} s"));
        let eta = if stage.lag_records > 0 && stage.drain_eta_s.is_none() {
            "not draining".to_owned()
        } else {
            seconds(stage.drain_eta_s)
        };
        writeln!(
            out,
            "{:<14} {:<30} {:>8} {:>10} {eta:>12} {:>9} {:>5.0}% {:>7}",
            stage.stage,
            stage.topic,
            stage.lag_records,
            seconds(stage.oldest_age_s),
            stage.in_flight,
            stage.busy_ratio * 100.0,
            stage.errors
        )?;
    }
    Ok(Exit::Done)
}
