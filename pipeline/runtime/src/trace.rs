//! What became of each record at each step, as spans of the study's trace (W3C Trace Context, OpenTelemetry).
//!
//! ```text
//!   intake ──span──▶ record ──parent──▶ stage ──span──▶ record ──parent──▶ next stage …      one trace for each revision
//!                                         └──link──▶ batch span ──links──▶ every record answered with it
//!   workers, publishers ─ try_send (whoever exports says how many may wait; full: dropped, counted) ─▶ exporter
//! ```
//! - A step's span has the id that its output's `traceparent` carries, so the next step is its child.
//! - Work never waits for a span: there is room for it, or it is dropped and counted.
//! - No span names a study: it carries the keyed hash that logs carry.
//!
//! The semantic conventions for messaging are still in development: every name stands in [`attribute`].

use std::{fmt, sync::Arc};

use crossbeam_channel::{Sender, TrySendError};
use jiff::Timestamp;
use prometheus::IntCounter;
use schemas::{Class, Envelope, EventId, Priority, SpanId, TraceContext, TraceId, event_id};

use crate::{
    event::{Failure, Job, Verdict},
    log_key::LogKey,
    metrics::Finished,
};

/// Names of attributes: OpenTelemetry's for messaging where there is one.
pub mod attribute {
    /// Always `kafka`.
    pub const SYSTEM: &str = "messaging.system";
    /// `send` or `process`.
    pub const OPERATION: &str = "messaging.operation.type";
    /// The topic that was read or, by whoever begins a trace, written.
    pub const TOPIC: &str = "messaging.destination.name";
    /// Its partition.
    pub const PARTITION: &str = "messaging.destination.partition.id";
    /// The record's offset there.
    pub const OFFSET: &str = "messaging.kafka.offset";
    /// Records answered together.
    pub const BATCH: &str = "messaging.batch.message_count";
    /// The step.
    pub const STAGE: &str = "prescreen.stage";
    /// How often the record was taken up by this process.
    pub const ATTEMPT: &str = "prescreen.attempt";
    /// What became of it.
    pub const OUTCOME: &str = "prescreen.outcome";
    /// Run id.
    pub const RUN: &str = "prescreen.run";
    /// Revision of the study.
    pub const REVISION: &str = "prescreen.revision";
    /// `clinical` or `heartbeat`.
    pub const CLASS: &str = "prescreen.class";
    /// `urgent` or `routine`.
    pub const LANE: &str = "prescreen.lane";
    /// The keyed hash of the study UID that logs carry.
    pub const STUDY: &str = "prescreen.study.uid_hash";
}

/// What a span is to the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// It made a record.
    Producer,
    /// It took one, and made none.
    Consumer,
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// A finished span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The span that made what this one took; none for the first of a trace.
    pub parent: Option<SpanId>,
    /// The trace's `tracestate`, if there is one.
    pub state: Option<String>,
    /// What it is to the record.
    pub kind: SpanKind,
    /// Step and operation.
    pub name: String,
    /// When the work began.
    pub start: Timestamp,
    /// When its output was handed over, or when it was given up.
    pub end: Timestamp,
    /// Names are those of [`attribute`].
    pub attributes: Vec<(&'static str, Value)>,
    /// Spans it has to do with that are not its parent.
    pub links: Vec<(TraceId, SpanId)>,
    /// Whether it failed.
    pub failed: bool,
}

/// Where finished spans go. Cheap to clone; the default is nowhere.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<Collected>>);

struct Collected {
    queue: Sender<Span>,
    dropped: IntCounter,
    log_key: LogKey,
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Spans(on)" } else { "Spans(off)" })
    }
}

/// How the work on one record began, for its span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    at: Timestamp,
    /// The span of the batch it was answered in.
    batch: Option<(TraceId, SpanId)>,
}

impl Spans {
    /// Nowhere.
    pub fn off() -> Self {
        Self(None)
    }

    /// Into `queue`; what it has no room for is counted by `dropped`. Studies are named by their hash with `log_key`.
    pub fn into_queue(queue: Sender<Span>, dropped: IntCounter, log_key: LogKey) -> Self {
        Self(Some(Arc::new(Collected { queue, dropped, log_key })))
    }

    fn finish(&self, span: Span) {
        let Some(collected) = &self.0 else { return };
        match collected.queue.try_send(span) {
            Ok(()) => {}
            // Nobody exports any more: the process is ending.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => collected.dropped.inc(),
        }
    }

    fn study(&self, envelope: &Envelope) -> Value {
        let hash = |collected: &Arc<Collected>| collected.log_key.hash(envelope.subject.as_str().as_bytes());
        self.0.as_ref().map(hash).unwrap_or_default().into()
    }

    /// Tells of a record that was published and not made of another one: the first of its trace.
    pub fn published(&self, step: &str, topic: &str, envelope: &Envelope, start: Timestamp) {
        let Some(trace) = envelope.trace.as_ref().filter(|trace| self.0.is_some() && trace.sampled) else {
            return;
        };
        let mut attributes = of_record(step, envelope, self.study(envelope));
        attributes.extend([(attribute::OPERATION, "send".into()), (attribute::TOPIC, topic.into())]);
        self.finish(Span {
            trace_id: trace.trace_id,
            span_id: trace.span_id,
            parent: None,
            state: None,
            kind: SpanKind::Producer,
            name: format!("{step} send"),
            start,
            end: Timestamp::now(),
            attributes,
            links: Vec::new(),
            failed: false,
        });
    }

    /// Called before work on a record or batch.
    pub(crate) fn begin(&self) -> Option<Begun> {
        self.0.as_ref().map(|_| Begun { at: Timestamp::now(), batch: None })
    }

    /// Called when a batch has been answered: tells of it, and links the spans of its records to it.
    pub(crate) fn answered(&self, step: &str, jobs: &[Job], begun: Option<Begun>) -> Option<Begun> {
        let begun = begun?;
        let hops: Vec<Hop> = jobs.iter().filter_map(|job| Hop::of(step, job)).collect();
        let (true, Some(first)) = (jobs.len() > 1, hops.first()) else { return Some(begun) };
        let events: Vec<String> = hops.iter().map(|hop| hop.output.to_string()).collect();
        let parts: Vec<&str> = ["batch"].into_iter().chain(events.iter().map(String::as_str)).collect();
        let batch = (TraceId::of(&parts), SpanId::of_attempt(first.output, 0));
        self.finish(Span {
            trace_id: batch.0,
            span_id: batch.1,
            parent: None,
            state: None,
            kind: SpanKind::Consumer,
            name: format!("{step} batch"),
            start: begun.at,
            end: Timestamp::now(),
            attributes: vec![
                (attribute::SYSTEM, "kafka".into()),
                (attribute::OPERATION, "process".into()),
                (attribute::STAGE, step.into()),
                (attribute::BATCH, (jobs.len() as i64).into()),
            ],
            links: hops.iter().filter_map(Hop::input_span).collect(),
            failed: false,
        });
        Some(Begun { batch: Some(batch), ..begun })
    }

    /// Called when it is known what became of a record.
    pub(crate) fn concluded(&self, step: &str, job: &Job, begun: Option<Begun>, verdict: &Verdict) {
        let (Some(begun), Some(ending)) = (begun, Ending::of(verdict)) else { return };
        let Some(hop) = Hop::of(step, job) else { return };
        let trace = hop.envelope.trace_of(hop.output);
        if !trace.sampled {
            return;
        }
        let mut attributes = of_record(step, &hop.envelope, self.study(&hop.envelope));
        attributes.extend([
            (attribute::OPERATION, "process".into()),
            (attribute::TOPIC, Value::from(&*job.record.topic)),
            (attribute::PARTITION, job.record.partition.to_string().into()),
            (attribute::OFFSET, job.record.offset.into()),
            (attribute::LANE, if job.lane == Priority::Urgent { "urgent" } else { "routine" }.into()),
            (attribute::ATTEMPT, i64::from(job.attempt).into()),
            (attribute::OUTCOME, ending.outcome.into()),
        ]);
        self.finish(Span {
            trace_id: trace.trace_id,
            span_id: if ending.made { trace.span_id } else { SpanId::of_attempt(hop.output, job.attempt) },
            parent: hop.input_span().map(|(_, span)| span),
            state: trace.tracestate().map(str::to_owned),
            kind: if ending.made { SpanKind::Producer } else { SpanKind::Consumer },
            name: format!("{step} process"),
            start: begun.at,
            end: Timestamp::now(),
            attributes,
            links: begun.batch.into_iter().collect(),
            failed: ending.failed,
        });
    }
}

fn of_record(step: &str, envelope: &Envelope, study: Value) -> Vec<(&'static str, Value)> {
    let class = if envelope.class == Class::Heartbeat { "heartbeat" } else { "clinical" };
    vec![
        (attribute::SYSTEM, "kafka".into()),
        (attribute::STAGE, step.into()),
        (attribute::RUN, envelope.run.as_str().into()),
        (attribute::REVISION, i64::from(envelope.revision.0).into()),
        (attribute::CLASS, class.into()),
        (attribute::STUDY, study),
    ]
}

/// One record at one step.
struct Hop {
    envelope: Envelope,
    /// The event that the step makes of it, if it makes one.
    output: EventId,
}

impl Hop {
    /// `None` for a record without an envelope: it belongs to no trace.
    fn of(step: &str, job: &Job) -> Option<Self> {
        let envelope = Envelope::from_headers(job.record.headers.iter()).ok()?;
        let output = event_id(&envelope.run, step, &[&envelope.id.to_string()]);
        Some(Self { envelope, output })
    }

    fn input_span(&self) -> Option<(TraceId, SpanId)> {
        self.envelope.trace.as_ref().map(|TraceContext { trace_id, span_id, .. }| (*trace_id, *span_id))
    }
}

/// What a verdict is in a span.
struct Ending {
    outcome: &'static str,
    /// The event of the step was made.
    made: bool,
    failed: bool,
}

impl Ending {
    /// `None` where nothing was done.
    fn of(verdict: &Verdict) -> Option<Self> {
        let failed = |outcome| Self { outcome, made: false, failed: true };
        Some(match verdict {
            Verdict::Untouched => return None,
            Verdict::Sent(finished) | Verdict::Done(finished) => Self {
                outcome: finished.as_str(),
                made: matches!(finished, Finished::Emitted | Finished::Rejected),
                failed: matches!(finished, Finished::DeadLettered | Finished::Discarded),
            },
            Verdict::Failed(Failure::Dead(death)) => failed(death.cause.as_str()),
            Verdict::Failed(Failure::Record(_)) => failed("failed"),
            Verdict::Failed(Failure::Dependency(_)) => failed("dependency_down"),
            Verdict::Failed(Failure::Fatal(_) | Failure::Broker(_)) => failed("fatal"),
            Verdict::Failed(Failure::Aborted) => failed("aborted"),
        })
    }
}
