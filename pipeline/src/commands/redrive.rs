//! `redrive`: dead letters back to where they came from.

use std::{io::Write as _, path::Path};

use console::site::{Redrive as Outcome, RedriveRequest};

use crate::{
    api_client::ApiClient,
    cli::{Options, Redrive},
    exit::{Exit, Failure},
    system::topics,
};

/// `account` is who asks where the arguments do not say.
pub(crate) fn run(
    arguments: &Redrive,
    account: &str,
    options: &Options,
    data_dir: &Path,
) -> Result<Exit, Failure> {
    let request = RedriveRequest {
        topic: arguments.topic.as_deref().map(base_topic).transpose()?,
        cause: arguments.reason.map(|cause| cause.to_string()),
        one: None,
        dry_run: arguments.dry_run,
        by: arguments.by.by.clone().unwrap_or_else(|| account.to_owned()),
    };
    let redriven = ApiClient::connect(options, data_dir)?.redrive(&request)?;
    let count = |what| redriven.letters.iter().filter(|(_, outcome)| *outcome == what).count();
    let (lost, no_origin) = (count(Outcome::Lost), count(Outcome::NoOrigin));
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut out, &redriven)?;
        writeln!(out)?;
    } else {
        for (row, outcome) in &redriven.letters {
            writeln!(
                out,
                "{:<10} {}[{}]@{}  of {}, {} in {}, study {}",
                said(*outcome, arguments.dry_run),
                row.dlq_topic,
                row.dlq_partition,
                row.dlq_offset,
                row.topic,
                row.cause,
                row.stage,
                row.study_uid.as_deref().unwrap_or("not named"),
            )?;
        }
        let sent = if arguments.dry_run { "would be sent" } else { "sent" };
        writeln!(
            out,
            "{} {sent}, {} duplicate (ended otherwise or sent before), {lost} lost (retention, or quarantine), {no_origin} without origin",
            count(Outcome::Sent),
            count(Outcome::Duplicate)
        )?;
        if let Some(id) = redriven.audit_id {
            writeln!(out, "audit row {id}")?;
        }
    }
    // What cannot go back is for a person to look at.
    Ok(if lost + no_origin > 0 { Exit::No } else { Exit::Done })
}

fn said(outcome: Outcome, dry_run: bool) -> &'static str {
    match outcome {
        Outcome::Sent if dry_run => "would send",
        Outcome::Sent => "sent",
        Outcome::Duplicate => "duplicate",
        Outcome::Lost => "lost",
        Outcome::NoOrigin => "no origin",
    }
}

/// The base topic that `text` names, its lane or its dead letters.
fn base_topic(text: &str) -> Result<String, Failure> {
    let base = text.strip_suffix(".urgent").or_else(|| text.strip_suffix(".dlq")).unwrap_or(text);
    let topics = topics();
    if topics.iter().any(|topic| topic.name == base) {
        return Ok(base.to_owned());
    }
    let names: Vec<&str> = topics.iter().map(|topic| topic.name).collect();
    Err(Failure::usage(format!("--topic {text:?} is no topic; the topics are {}", names.join(", "))))
}
