//! `study UID`: every step with what it waited for, what answered, and where the study is now and why.

mod whereabouts;

use std::{
    io::{self, Write},
    path::Path,
};

use console::site::{StudyTimeline, TimelineEvent};
use schemas::StudyUid;
use serde::Serialize;

use self::whereabouts::{Whereabouts, whereabouts};
use super::figures::duration;
use crate::{
    api_client::ApiClient,
    cli::Options,
    exit::{Exit, Failure},
};

/// One step of a revision.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Hop {
    #[serde(flatten)]
    event: TimelineEvent,
    /// Seconds since the step before: waiting in a topic, work, and what was tried again. None for the first.
    after_s: Option<f64>,
}

/// Who and what made the latest report.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Versions {
    model: String,
    model_sha256: String,
    dtype: String,
    device: String,
    /// Model, prompt, decoder settings and code.
    inference_fingerprint: String,
    /// The same with template, word lists and calibration.
    run_fingerprint: String,
    calibration: Option<String>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    timeline: &'a StudyTimeline,
    hops: Vec<Hop>,
    versions: Option<Versions>,
    now: Option<Whereabouts>,
}

pub(crate) fn run(uid: &str, options: &Options, data_dir: &Path) -> Result<Exit, Failure> {
    let study = StudyUid::new(uid).map_err(Failure::usage)?;
    let client = ApiClient::connect(options, data_dir)?;
    let mut out = io::stdout().lock();
    let Some(timeline) = client.study(&study)? else {
        if options.json {
            writeln!(out, "null")?;
        } else {
            writeln!(out, "{study} is not known here")?;
        }
        return Ok(Exit::No);
    };
    let now = whereabouts(&timeline, &client.status()?);
    let told = Told { hops: hops(&timeline.events), versions: versions(&timeline), now, timeline: &timeline };
    if options.json {
        serde_json::to_writer(&mut out, &told)?;
        writeln!(out)?;
    } else {
        print(&told, &mut out)?;
    }
    Ok(Exit::Done)
}

/// The events with the time since the one before of the same revision. They come in their order.
fn hops(events: &[TimelineEvent]) -> Vec<Hop> {
    let before = [None].into_iter().chain(events.iter().map(Some));
    let hop = |(event, before): (&TimelineEvent, Option<&TimelineEvent>)| Hop {
        event: event.clone(),
        after_s: before
            .filter(|before| before.revision == event.revision)
            // Two machines' clocks.
            .map(|before| event.at.duration_since(before.at).as_secs_f64().max(0.0)),
    };
    events.iter().zip(before).map(hop).collect()
}

fn versions(timeline: &StudyTimeline) -> Option<Versions> {
    let report = timeline.report.as_ref()?;
    let text = |pointer: &str| report.pointer(pointer).and_then(|value| value.as_str()).map(str::to_owned);
    Some(Versions {
        model: text("/model/name")?,
        model_sha256: text("/model/digest")?,
        dtype: text("/model/dtype")?,
        device: text("/model/device")?,
        inference_fingerprint: text("/inference_fingerprint")?,
        run_fingerprint: text("/run_fingerprint")?,
        calibration: text("/calibration/digest"),
    })
}

fn print(told: &Told<'_>, out: &mut impl Write) -> io::Result<()> {
    if let Some(now) = &told.now {
        writeln!(out, "{}: {}", now.state, now.why)?;
    }
    for row in &told.timeline.revisions {
        let reason = row.reason.as_deref().unwrap_or("-");
        let took = row.received_at.zip(row.terminal_at).map_or_else(String::new, |(from, to)| {
            format!(", {} after it was closed", duration(to.duration_since(from).as_secs_f64().max(0.0)))
        });
        writeln!(
            out,
            "revision {}  {}  {reason}  {} instance(s), {}{took}",
            row.revision,
            row.state,
            row.instances.unwrap_or(0),
            row.priority.as_deref().unwrap_or("lane not known"),
        )?;
    }
    for Hop { event, after_s } in &told.hops {
        let step = event.source.trim_start_matches("/prescreen/");
        let at = event.at.strftime("%Y-%m-%d %H:%M:%S%.3f");
        let after = after_s.map_or_else(String::new, |after| format!("+{}", duration(after)));
        writeln!(
            out,
            "  {at}  r{}  {after:>8}  {step:<14} {:<24} {}  (stored {}x)",
            event.revision, event.topic, event.summary, event.deliveries
        )?;
    }
    for letter in &told.timeline.dead_letters {
        let back = letter.redriven_at.map_or_else(
            || "waits for a redrive".to_owned(),
            |at| format!("went back {}", at.strftime("%Y-%m-%d %H:%M:%S")),
        );
        writeln!(
            out,
            "  {}  dead letter of {} at {}[{}]@{}: {}: {} (tried {}x; {back})",
            letter.at.strftime("%Y-%m-%d %H:%M:%S%.3f"),
            letter.stage,
            letter.topic,
            letter.partition,
            letter.offset,
            letter.cause,
            letter.detail,
            letter.attempts
        )?;
    }
    if let Some(versions) = &told.versions {
        writeln!(
            out,
            "  model {} {} on {}, SHA-256 {}",
            versions.model, versions.dtype, versions.device, versions.model_sha256
        )?;
        writeln!(
            out,
            "  fingerprint of the inference (model, prompt, decoder, code) {}",
            versions.inference_fingerprint
        )?;
        writeln!(out, "  fingerprint of the run {}", versions.run_fingerprint)?;
        if let Some(calibration) = &versions.calibration {
            writeln!(out, "  calibration set {calibration}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: i32, second: i64, topic: &str) -> TimelineEvent {
        TimelineEvent {
            revision,
            at: jiff::Timestamp::from_second(second).expect("a time"),
            topic: topic.to_owned(),
            source: "/prescreen/test".to_owned(),
            summary: String::new(),
            deliveries: 1,
        }
    }

    #[test]
    fn a_hop_says_how_long_after_the_one_before_it_came() {
        let events = [event(1, 10, "a"), event(1, 13, "b"), event(1, 12, "c"), event(2, 90, "a")];
        let after: Vec<Option<f64>> = hops(&events).into_iter().map(|hop| hop.after_s).collect();
        assert_eq!(after, [None, Some(3.0), Some(0.0), None], "clocks differ; a revision begins anew");
    }

    #[test]
    fn versions_are_those_of_the_report() {
        let report =
            include_str!("../../../schemas/topics/report.issued.v1/examples/number_with_doubts.json");
        let timeline = StudyTimeline {
            revisions: Vec::new(),
            events: Vec::new(),
            dead_letters: Vec::new(),
            report: Some(serde_json::from_str(report).expect("an example")),
            rejection: None,
        };
        let versions = versions(&timeline).expect("versions");
        assert_eq!((versions.model.as_str(), versions.dtype.as_str()), ("GLM-4.6V-Flash", "f32"));
        assert_eq!((versions.inference_fingerprint.len(), versions.calibration), (64, None));
    }
}
