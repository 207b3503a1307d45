//! `replay plan`: from a question to a file that always means the same.

use std::{collections::BTreeSet, fs, io::Write as _, path::Path};

use replay::{
    plan::{Collector, Found, Lost, PartitionRange, Place, Plan, Source, TopicRange, VERSION},
    result::Arm,
};
use runtime::{
    Record,
    bounded::{self, BoundedReader},
};
use schemas::{Envelope, Priority, StudyUid, Topic};
use serde_json::json;
use services::ObjectBlobs;
use stage::{BlobError, Blobs as _};

use super::{
    broker, chain_from,
    input::{InputError, quarantined},
    say,
    workshop::{Workshop, share_a_model},
};
use crate::{
    cli::{Options, ReplayPlan},
    config::{Config, promoted},
    exit::{Exit, Failure},
    system::check_stages,
    whole_file,
};

/// Bytes of a list of studies at most: about a million UIDs.
const LONGEST_LIST: u64 = 64 << 20;

pub(super) fn run(arguments: &ReplayPlan, options: &Options, config: &Config) -> Result<Exit, Failure> {
    let chain = chain_from(&arguments.start_stage)?;
    let Some(first) = chain.first() else { return Err(Failure::usage("there is no stage to begin with")) };
    let topics = topics(&first.input, arguments.dlq.as_deref())?;
    let (overlay, table) = promoted::judged_file(&arguments.candidate).map_err(Failure::usage)?;
    let candidate = config.with(table).map_err(Failure::usage)?;
    check_stages(&candidate)?;
    let studies = arguments.studies.as_deref().map(studies).transpose()?;

    let reader = BoundedReader::connect(&broker(config)?)?;
    let workshop = Workshop::open(config)?;
    let mut collector = Collector::new(studies.clone());
    let (mut ranges, mut lost) = (Vec::new(), Vec::new());
    for (topic, lane) in &topics {
        let resolved = reader.resolve(topic, *lane, &arguments.from, &arguments.to);
        let (range, gone) = resolved.map_err(wrong_bounds)?;
        lost.extend(gone.into_iter().map(records_lost));
        reader.read::<InputError>(&range, |record| collect(&mut collector, &workshop.blobs, &record))?;
        ranges.push(planned(range));
    }
    let (inputs, excluded, lost_inputs) = collector.finish();
    lost.extend(lost_inputs);

    say("asking the models what they are");
    let model = workshop.load(config)?;
    let baseline = workshop.arm(Arm::Baseline, config, first.name, &model)?.pins;
    let pins = |model| workshop.arm(Arm::Candidate, &candidate, first.name, model).map(|arm| arm.pins);
    let candidate = if share_a_model(config, &candidate) {
        pins(&model)?
    } else {
        drop(model);
        pins(&workshop.load(&candidate)?)?
    };
    let plan = Plan {
        version: VERSION,
        source: if arguments.dlq.is_some() { Source::DeadLetters } else { Source::Topic },
        stages: chain.iter().map(|entry| entry.name.to_owned()).collect(),
        topics: ranges,
        studies,
        inputs,
        lost,
        excluded,
        baseline,
        candidate,
        overlay,
    };
    whole_file::write(&arguments.out, plan.to_text().as_bytes())
        .map_err(|error| Failure::from(format!("cannot write {}: {error}", arguments.out.display())))?;
    print(&plan, arguments, options)?;
    Ok(if plan.lost.is_empty() { Exit::Done } else { Exit::No })
}

/// Both lanes of `input`, or its dead letters.
fn topics(input: &Topic, dlq: Option<&str>) -> Result<Vec<(String, Priority)>, Failure> {
    let letters = input.dead_letters();
    match dlq {
        None => Ok(vec![(input.urgent(), Priority::Urgent), (input.name.to_owned(), Priority::Routine)]),
        Some(named) if named == letters || named == input.name => Ok(vec![(letters, Priority::Routine)]),
        Some(named) => Err(Failure::usage(format!(
            "--dlq {named}: the start stage reads {}, whose dead letters are on {letters}; name that, or start at another stage",
            input.name
        ))),
    }
}

fn studies(path: &Path) -> Result<BTreeSet<StudyUid>, Failure> {
    let unreadable = |error: std::io::Error| Failure::usage(format!("--studies {}: {error}", path.display()));
    if fs::metadata(path).map_err(unreadable)?.len() > LONGEST_LIST {
        return Err(Failure::usage(format!(
            "--studies {} has more than {LONGEST_LIST} bytes",
            path.display()
        )));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let lines =
        (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let wrong =
        |number: i32, error| Failure::usage(format!("--studies {}, line {number}: {error}", path.display()));
    lines.map(|(number, line)| StudyUid::new(line).map_err(|error| wrong(number, error))).collect()
}

/// A bound that the topic does not have is the asker's mistake; a broker that does not answer is not.
fn wrong_bounds(error: bounded::BoundedError) -> Failure {
    use bounded::BoundedError as Error;
    match error {
        Error::NoPartition { .. } | Error::BeyondEnd { .. } | Error::Reversed { .. } => Failure::usage(error),
        _ => error.into(),
    }
}

fn records_lost(lost: bounded::LostRecords) -> Lost {
    let bounded::LostRecords { topic, partition, from, to } = lost;
    Lost::Records { topic, partition, from, to }
}

fn planned(range: bounded::TopicRange) -> TopicRange {
    let partitions = range.partitions.into_iter().map(|range| {
        let bounded::PartitionRange { partition, start, end } = range;
        PartitionRange { partition, start, end }
    });
    TopicRange { topic: range.topic, partitions: partitions.collect() }
}

/// Takes a record into the plan, leaves it out, or names what is lost of it.
fn collect(collector: &mut Collector, blobs: &ObjectBlobs, record: &Record) -> Result<(), InputError> {
    let envelope = Envelope::from_headers(record.headers.iter()).ok();
    let is_letter = record.headers.iter().any(|(name, _)| name == "dl_payload");
    // A letter that does not say where its bytes are is as good as one without an envelope.
    let (envelope, quarantined) = match is_letter.then(|| quarantined(record)) {
        None => (envelope, None),
        Some(Ok(quarantined)) => (envelope, quarantined),
        Some(Err(_)) => (None, None),
    };
    if !collector.wants(envelope.as_ref()) {
        return Ok(());
    }
    let Some(envelope) = envelope else { return Ok(()) };
    let place = Place { topic: record.topic.to_string(), partition: record.partition, offset: record.offset };
    let failed = |blob: String| {
        let place = place.clone();
        move |source| InputError::Blob { place, blob, source }
    };
    let fetched = match &quarantined {
        None => None,
        Some(blob) => match blobs.get(blob) {
            Ok(bytes) => Some(bytes),
            Err(BlobError::NotFound { .. } | BlobError::Mismatch { .. }) => {
                collector.lose(place, &envelope, blob.clone());
                return Ok(());
            }
            Err(source) => return Err(failed(blob.key())(source)),
        },
    };
    let payload = fetched.as_deref().unwrap_or(&record.payload);
    let found = Found { payload, quarantined: quarantined.as_ref() };
    collector.take(place.clone(), &envelope, found, |blob| blobs.holds(blob).map_err(failed(blob.key())))
}

fn print(plan: &Plan, arguments: &ReplayPlan, options: &Options) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if options.json {
        let summary = json!({
            "plan": arguments.out,
            "sha256": plan.sha256(),
            "inputs": plan.inputs.len(),
            "excluded": plan.excluded,
            "lost": plan.lost,
        });
        writeln!(out, "{summary:#}")?;
        return Ok(());
    }
    let excluded = &plan.excluded;
    writeln!(
        out,
        "{} inputs for {}, in {}",
        plan.inputs.len(),
        plan.stages.join(", "),
        arguments.out.display()
    )?;
    writeln!(out, "sha-256 {}", plan.sha256())?;
    for topic in &plan.topics {
        for range in topic.partitions.iter().filter(|range| range.start < range.end) {
            writeln!(
                out,
                "  {}[{}] offsets {} to {}",
                topic.topic,
                range.partition,
                range.start,
                range.end - 1
            )?;
        }
    }
    writeln!(
        out,
        "left out: {} heartbeats, {} of other runs, {} not asked for, {} repeated, {} unreadable",
        excluded.heartbeat,
        excluded.other_runs,
        excluded.not_asked_for,
        excluded.repeated,
        excluded.unreadable
    )?;
    for lost in &plan.lost {
        writeln!(out, "lost: {lost}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use schemas::{Message as _, StudyAcquired};

    use super::*;

    #[test]
    fn both_lanes_are_read_or_the_dead_letters_of_the_same_topic() {
        let names = |dlq| {
            topics(&StudyAcquired::TOPIC, dlq)
                .map(|topics| topics.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        assert_eq!(names(None).expect("topics"), ["study.acquired.v1.urgent", "study.acquired.v1"]);
        for named in ["study.acquired.v1", "study.acquired.v1.dlq"] {
            assert_eq!(names(Some(named)).expect("topics"), ["study.acquired.v1.dlq"]);
        }
        let refused = names(Some("study.accepted.v1.dlq")).expect_err("another topic");
        assert!(refused.chain().contains("study.acquired.v1.dlq"), "{}", refused.chain());
    }

    #[test]
    fn a_list_of_studies_is_read_line_by_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("studies");
        fs::write(&path, "# two of them\n2.25.1\n\n  2.25.2 \n").expect("written");
        assert_eq!(studies(&path).expect("studies").len(), 2);
        fs::write(&path, "2.25.1\nnone\n").expect("written");
        assert!(studies(&path).expect_err("no uid").chain().contains("line 2"));
    }
}
