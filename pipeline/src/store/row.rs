//! From a record to what will be stored of it. Everything that a record alone can do wrong is found here, before any SQL.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use runtime::Record;
use schemas::{
    BlobRef, Class, DeadLetter, Digest, Envelope, FindingsInferred, GatedInstance, Inference, InstanceGated,
    KeyframesExtracted, Message, ReportIssued, RunId, StudyAccepted, StudyAcquired, StudyRejected, Verdict,
    decode,
};

use super::heartbeats;
use crate::word::word;

/// A record that the store cannot keep. Its text never repeats the payload.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unstorable {
    #[error("headers are no envelope")]
    Envelope(#[from] schemas::EnvelopeError),
    #[error("revision {0} is beyond what the store can count")]
    Revision(u32),
    #[error("payload cannot be read")]
    Payload(#[from] schemas::DecodeError),
    #[error("envelope and payload name different studies or revisions")]
    Contradiction,
    #[error("a heartbeat outside run heartbeat, or another record in it")]
    Heartbeat,
    #[error("event time {0} is outside the years 2000 to 2100")]
    Time(Timestamp),
    #[error("database refuses the record's data (SQLSTATE {0})")]
    Data(String),
    #[error("dead letter is malformed")]
    DeadLetter(#[from] schemas::DeadLetterError),
}

/// A record as it will be stored.
#[derive(Debug)]
pub(super) enum Row {
    /// Something that happened to a study.
    Event { event: Event, effect: Effect },
    /// A provisional word on one instance: no study knows of it.
    Gated { subject: Subject, gate: Box<InstanceGated>, digest: Digest },
    /// A dead record, with its study if its headers name one.
    Dead { letter: DeadLetter, subject: Option<Subject>, place: Place },
}

/// Where a record lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Place {
    pub(super) fn of(record: &Record) -> Self {
        Self { topic: record.topic.to_string(), partition: record.partition, offset: record.offset }
    }
}

/// What a record is about.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) envelope: Envelope,
    revision: i32,
}

impl Subject {
    fn of(record: &Record) -> Result<Self, Unstorable> {
        let envelope = Envelope::from_headers(record.headers.iter())?;
        let revision = envelope.revision.0;
        let revision = i32::try_from(revision).map_err(|_| Unstorable::Revision(revision))?;
        // Lists and counts go by the run: nothing may pass for a study by its run and for a heartbeat by its class.
        if (envelope.class == Class::Heartbeat) != (envelope.run == RunId::heartbeat()) {
            return Err(Unstorable::Heartbeat);
        }
        Ok(Self { envelope, revision })
    }

    /// Run, study and revision.
    pub(super) fn key(&self) -> (&str, &str, i32) {
        (self.envelope.run.as_str(), self.envelope.subject.as_str(), self.revision)
    }
}

/// One entry of the timeline.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) subject: Subject,
    /// Base topic, whatever lane it came on.
    pub(super) topic: String,
    pub(super) month: Date,
    pub(super) summary: String,
    pub(super) digest: Digest,
    /// Of a heartbeat: what it names, to be removed with it.
    pub(super) blobs: Vec<BlobRef>,
}

/// What an event changes beside the timeline.
#[derive(Debug)]
pub(super) enum Effect {
    Received(Box<StudyAcquired>),
    Accepted(Vec<GatedInstance>),
    /// Keyframes of each clip.
    Extracted(Vec<usize>),
    Nothing,
    Inferred(Box<FindingsInferred>),
    Reported(Box<ReportIssued>),
    Rejected(Box<StudyRejected>),
}

impl Row {
    pub(super) fn read(record: &Record) -> Result<Self, Unstorable> {
        if record.topic.ends_with(".dlq") {
            let letter = DeadLetter::from_headers(record.headers.iter())?;
            return Ok(Self::Dead { letter, subject: Subject::of(record).ok(), place: Place::of(record) });
        }
        let subject = Subject::of(record)?;
        if is_provisional(&record.topic) {
            let gate = Box::new(read(record, &subject.envelope)?);
            return Ok(Self::Gated { subject, gate, digest: Digest::of(&record.payload) });
        }
        let base = record.topic.strip_suffix(".urgent").unwrap_or(&*record.topic);
        let (summary, effect) = effect(base, record, &subject.envelope)?;
        let day = subject.envelope.time.to_zoned(TimeZone::UTC).date();
        if !(2000..=2100).contains(&day.year()) {
            return Err(Unstorable::Time(subject.envelope.time));
        }
        let blobs = match subject.envelope.class {
            Class::Heartbeat => heartbeats::blobs_of(&record.payload),
            Class::Clinical => Vec::new(),
        };
        let event = Event {
            subject,
            blobs,
            topic: base.to_owned(),
            month: day.first_of_month(),
            summary,
            digest: Digest::of(&record.payload),
        };
        Ok(Self::Event { event, effect })
    }

    /// Whether a person's study is behind it: no heartbeat, and no run other than the live one.
    pub(super) fn is_clinical(&self) -> bool {
        let subject = match self {
            Self::Event { event, .. } => Some(&event.subject),
            Self::Gated { subject, .. } => Some(subject),
            Self::Dead { subject, .. } => subject.as_ref(),
        };
        // A dead record that names no study is a fault of ours until shown otherwise.
        subject.is_none_or(|subject| subject.envelope.is_clinical())
    }

    /// The envelope of a heartbeat that went on from a step.
    pub(super) fn heartbeat(&self) -> Option<&Envelope> {
        let Self::Event { event, .. } = self else { return None };
        Some(&event.subject.envelope).filter(|envelope| envelope.class == Class::Heartbeat)
    }

    pub(super) fn month(&self) -> Option<Date> {
        match self {
            Self::Event { event, .. } => Some(event.month),
            Self::Gated { .. } | Self::Dead { .. } => None,
        }
    }
}

/// Whether what lies on `topic`, whatever its lane, decides nothing about a study.
pub(super) fn is_provisional(topic: &str) -> bool {
    topic.strip_suffix(".urgent").unwrap_or(topic) == InstanceGated::TOPIC.name
}

/// One line about the record for the timeline, and what it changes.
fn effect(topic: &str, record: &Record, envelope: &Envelope) -> Result<(String, Effect), Unstorable> {
    Ok(if topic == StudyAcquired::TOPIC.name {
        let message: StudyAcquired = read(record, envelope)?;
        (format!("received {} instance(s)", message.instances.len()), Effect::Received(Box::new(message)))
    } else if topic == StudyAccepted::TOPIC.name {
        let message: StudyAccepted = read(record, envelope)?;
        let fit = message.instances.iter().filter(|one| one.applicable && one.verdict != Verdict::Reject);
        (
            format!("{} of {} instance(s) fit", fit.count(), message.instances.len()),
            Effect::Accepted(message.instances),
        )
    } else if topic == KeyframesExtracted::TOPIC.name {
        let message: KeyframesExtracted = read(record, envelope)?;
        let keyframes: Vec<usize> = message.clips.iter().map(|clip| clip.keyframes.len()).collect();
        let summary =
            format!("{} keyframe(s) of {} clip(s)", keyframes.iter().sum::<usize>(), keyframes.len());
        (summary, Effect::Extracted(keyframes))
    } else if topic == FindingsInferred::TOPIC.name {
        let message: FindingsInferred = read(record, envelope)?;
        let summary = match &message.inference {
            Inference::Answer(_) => "model answered".to_owned(),
            Inference::Abstained(abstention) => format!("abstained: {}", abstention.code),
        };
        (summary, Effect::Inferred(Box::new(message)))
    } else if topic == ReportIssued::TOPIC.name {
        let message: ReportIssued = read(record, envelope)?;
        (word(message.certainty), Effect::Reported(Box::new(message)))
    } else if topic == StudyRejected::TOPIC.name {
        let message: StudyRejected = read(record, envelope)?;
        let summary = format!("rejected by {}: {}", message.stage, deciding_code(&message));
        (summary, Effect::Rejected(Box::new(message)))
    } else {
        // A topic that only a newer stage knows: its event belongs into the timeline all the same.
        ("done".to_owned(), Effect::Nothing)
    })
}

fn read<M: Message>(record: &Record, envelope: &Envelope) -> Result<M, Unstorable> {
    let message: M = decode(&record.payload, envelope.major, envelope.minor)?;
    let study = message.study();
    if study.study_uid != envelope.subject || study.revision != envelope.revision {
        return Err(Unstorable::Contradiction);
    }
    Ok(message)
}

/// The code of the first reason, which decides.
pub(super) fn deciding_code(rejected: &StudyRejected) -> String {
    rejected.rejection.reasons.first().map_or_else(|| "UNKNOWN".to_owned(), |reason| reason.code.to_string())
}
