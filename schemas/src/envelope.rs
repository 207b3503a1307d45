//! CloudEvents 1.0 in Kafka's binary mode: attributes as `ce_*` headers, and ours beside them.
//!
//! One typed struct writes and reads every header, so that no name is typed twice.

use jiff::Timestamp;
use sha2::Digest as _;
use uuid::Uuid;

use crate::{EventId, Message, Revision, RunId, StudyHead, StudyUid, TraceContext, UidError};

/// Namespace of every derived event id (a fixed random UUID).
const NAMESPACE: Uuid = Uuid::from_u128(0x5f1b_6a0e_9a5d_4b7c_8f6e_2d1c_70a4_e3b9);

/// The id of the event that `step` makes in `run` out of `cause`. The same cause gives the same id (UUIDv5, RFC 9562).
pub fn event_id(run: &RunId, step: &str, cause: &[&str]) -> EventId {
    // Parts are length-prefixed by hashing, so that no two lists of parts read the same.
    let mut name = sha2::Sha256::new();
    for part in [run.as_str(), step].iter().chain(cause) {
        name.update((part.len() as u64).to_be_bytes());
        name.update(part.as_bytes());
    }
    EventId(Uuid::new_v5(&NAMESPACE, &name.finalize()))
}

/// Whether a record counts clinically.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A study of a patient, or of a demo standing for one.
    Clinical,
    /// The synthetic heartbeat: excluded from clinical counters, review and delivery.
    Heartbeat,
}

impl Class {
    fn as_str(self) -> &'static str {
        match self {
            Self::Clinical => "clinical",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// One Kafka header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Name.
    pub key: String,
    /// Value; all of ours are UTF-8.
    pub value: Vec<u8>,
}

/// Why headers are no envelope. Values from outside are not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// A required header is absent.
    #[error("record has no header {0}")]
    Missing(&'static str),
    /// A header is not what it should be.
    #[error("header {header} is not {expected}")]
    Malformed {
        /// Which header.
        header: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The subject is no study UID.
    #[error("header ce_subject is no study uid")]
    Subject(#[source] UidError),
}

/// The envelope of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `ce_id`.
    pub id: EventId,
    /// `ce_type`: the base topic's name, whatever lane or dead-letter topic the record is on.
    pub event_type: String,
    /// `ce_source`: the step that made it, for example `/prescreen/quality-gate`.
    pub source: String,
    /// `ce_time`: when it was made. A redelivery may differ here and nowhere else.
    pub time: Timestamp,
    /// `ce_subject`.
    pub subject: StudyUid,
    /// Major version, from `ce_dataschema`.
    pub major: u16,
    /// Minor version, from `ce_dataschema`.
    pub minor: u16,
    /// `traceparent` and `tracestate` (W3C Trace Context), if the record is traced.
    pub trace: Option<TraceContext>,
    /// `prescreen_run`.
    pub run: RunId,
    /// `prescreen_revision`.
    pub revision: Revision,
    /// `prescreen_class`.
    pub class: Class,
}

impl Envelope {
    /// The envelope of `message`, made by `step` at `time` with id `id`. It begins the trace of its study; what is made of
    /// another record goes on with that one's ([`Self::trace_of`]).
    pub fn of<M: Message>(message: &M, id: EventId, run: RunId, step: &str, time: Timestamp) -> Self {
        let StudyHead { study_uid, revision, .. } = message.study();
        Self {
            id,
            event_type: M::TOPIC.name.to_owned(),
            source: format!("/prescreen/{step}"),
            time,
            subject: study_uid.clone(),
            major: M::TOPIC.major,
            minor: M::TOPIC.minor,
            trace: Some(TraceContext::root(&run, study_uid, *revision, id)),
            run,
            revision: *revision,
            class: Class::Clinical,
        }
    }

    /// The trace context of the event `id` that is made of this record.
    pub fn trace_of(&self, id: EventId) -> TraceContext {
        match &self.trace {
            Some(trace) => trace.child(id),
            None => TraceContext::root(&self.run, &self.subject, self.revision, id),
        }
    }

    /// Whether this is about a patient and counts as such: no heartbeat and no replay. Whoever reviews, delivers, counts or
    /// calibrates asks this first.
    pub fn is_clinical(&self) -> bool {
        self.class == Class::Clinical && self.run == RunId::live()
    }

    /// All headers, in a fixed order.
    pub fn to_headers(&self) -> Vec<Header> {
        let base = self.event_type.rsplit_once(".v").map_or(self.event_type.as_str(), |(base, _)| base);
        let mut headers = vec![
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", self.id.to_string()),
            ("ce_type", self.event_type.clone()),
            ("ce_source", self.source.clone()),
            ("ce_time", self.time.to_string()),
            ("ce_subject", self.subject.to_string()),
            ("ce_dataschema", format!("urn:prescreen:{base}:{}.{}", self.major, self.minor)),
            ("content-type", "application/json".to_owned()),
            ("prescreen_run", self.run.to_string()),
            ("prescreen_revision", self.revision.to_string()),
            ("prescreen_class", self.class.as_str().to_owned()),
        ];
        if let Some(trace) = &self.trace {
            headers.push(("traceparent", trace.traceparent()));
            headers.extend(trace.tracestate().map(|state| ("tracestate", state.to_owned())));
        }
        headers
            .into_iter()
            .map(|(key, value)| Header { key: key.to_owned(), value: value.into_bytes() })
            .collect()
    }

    /// Reads the envelope back from headers in any order; foreign headers are skipped, the last of a name counts.
    pub fn from_headers<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, EnvelopeError> {
        let mut fields = Fields::default();
        for (key, value) in headers {
            fields.put(key, value);
        }
        fields.envelope()
    }
}

const NAMES: [&str; 12] = [
    "ce_specversion",
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_time",
    "ce_subject",
    "ce_dataschema",
    "prescreen_run",
    "prescreen_revision",
    "prescreen_class",
    "traceparent",
    "tracestate",
];

/// Our headers of one record, by their place in [`NAMES`].
#[derive(Default)]
struct Fields<'a>([Option<&'a [u8]>; NAMES.len()]);

impl<'a> Fields<'a> {
    fn put(&mut self, key: &str, value: &'a [u8]) {
        for (name, field) in NAMES.iter().zip(&mut self.0) {
            if *name == key {
                *field = Some(value);
            }
        }
    }

    fn get(&self, name: &'static str) -> Option<&'a [u8]> {
        NAMES.iter().zip(&self.0).find(|(known, _)| **known == name).and_then(|(_, value)| *value)
    }

    fn required(&self, name: &'static str) -> Result<&'a str, EnvelopeError> {
        let value = self.get(name).ok_or(EnvelopeError::Missing(name))?;
        std::str::from_utf8(value).map_err(|_| EnvelopeError::Malformed { header: name, expected: "UTF-8" })
    }

    /// Whatever is wrong with the trace's headers, the record is as good as without them.
    fn trace(&self) -> Option<TraceContext> {
        TraceContext::read(self.get("traceparent")?, self.get("tracestate"))
    }

    fn envelope(&self) -> Result<Envelope, EnvelopeError> {
        let malformed = |header, expected| EnvelopeError::Malformed { header, expected };
        if self.required("ce_specversion")? != "1.0" {
            return Err(malformed("ce_specversion", "1.0"));
        }
        let version = self.required("ce_dataschema")?.rsplit_once(':').map(|(_, version)| version);
        let (major, minor) = version
            .and_then(|version| version.split_once('.'))
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
            .ok_or(malformed("ce_dataschema", "urn:prescreen:<topic>:<major>.<minor>"))?;
        let id = Uuid::parse_str(self.required("ce_id")?).map_err(|_| malformed("ce_id", "a UUID"))?;
        let revision = self.required("prescreen_revision")?.parse().ok().filter(|revision| *revision >= 1);
        Ok(Envelope {
            id: EventId(id),
            event_type: self.required("ce_type")?.to_owned(),
            source: self.required("ce_source")?.to_owned(),
            time: self.required("ce_time")?.parse().map_err(|_| malformed("ce_time", "an RFC 3339 time"))?,
            subject: StudyUid::new(self.required("ce_subject")?).map_err(EnvelopeError::Subject)?,
            major,
            minor,
            trace: self.trace(),
            run: RunId::new(self.required("prescreen_run")?)
                .map_err(|_| malformed("prescreen_run", "a run id"))?,
            revision: Revision(revision.ok_or(malformed("prescreen_revision", "a number from 1"))?),
            class: match self.required("prescreen_class")? {
                "clinical" => Class::Clinical,
                "heartbeat" => Class::Heartbeat,
                _ => return Err(malformed("prescreen_class", "clinical or heartbeat")),
            },
        })
    }
}
