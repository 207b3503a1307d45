//! `study UID`: where it is, and why.

use std::{io::Write as _, path::Path};

use schemas::StudyUid;

use crate::{
    api_client::ApiClient,
    cli::Options,
    exit::{Exit, Failure},
};

pub(crate) fn run(uid: &str, options: &Options, data_dir: &Path) -> Result<Exit, Failure> {
    let study = StudyUid::new(uid).map_err(Failure::usage)?;
    let timeline = ApiClient::connect(options, data_dir)?.study(&study)?;
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut out, &timeline)?;
        writeln!(out)?;
        return Ok(if timeline.is_some() { Exit::Done } else { Exit::No });
    }
    let Some(timeline) = timeline else {
        writeln!(out, "{study} is not known here")?;
        return Ok(Exit::No);
    };
    for row in &timeline.revisions {
        let reason = row.reason.as_deref().unwrap_or("-");
        writeln!(
            out,
            "revision {}  {}  {reason}  {} instance(s)",
            row.revision,
            row.state,
            row.instances.unwrap_or(0)
        )?;
    }
    for event in &timeline.events {
        let step = event.source.trim_start_matches("/prescreen/");
        let at = event.at.strftime("%Y-%m-%d %H:%M:%S%.3f");
        writeln!(
            out,
            "  {at}  r{}  {step:<14} {:<24} {}  ({}x)",
            event.revision, event.topic, event.summary, event.deliveries
        )?;
    }
    for letter in &timeline.dead_letters {
        writeln!(
            out,
            "  dead letter of {} at {}[{}]@{}: {}: {} (tried {}x)",
            letter.stage,
            letter.topic,
            letter.partition,
            letter.offset,
            letter.cause,
            letter.detail,
            letter.attempts
        )?;
    }
    Ok(Exit::Done)
}
