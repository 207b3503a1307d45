//! What flows through prescreen: message types, identifiers and the envelope they travel in. No behaviour.
//!
//! One file per message; one folder per topic under `topics/` with its closed JSON Schema, examples and
//! counter-examples. `tests/contract.rs` holds type, schema and examples together.
//!
//! Invariants:
//! - A message carries identifiers and [`BlobRef`]s, never pixels and never a name, patient id, birth date,
//!   accession number or free text of a DICOM header.
//! - The Kafka key of every message is its study UID, so one study stays in order.
//! - Inside a major version a message only grows by optional fields. A reader refuses an unknown field of a minor
//!   version it knows, and skips it in a newer one ([`decode`]).

mod blob;
mod check;
mod control;
mod dead_letter;
mod envelope;
mod findings_inferred;
mod id;
mod instance_gated;
mod keyframes_extracted;
mod message;
mod report_issued;
mod review_recorded;
mod study;
mod study_accepted;
mod study_acquired;
mod study_rejected;
mod trace;

pub use blob::{Area, BlobRef, Digest, DigestError};
pub use check::{Bilingual, Check, CheckVerdict, ReasonCode, ReasonCodeError, Verdict};
pub use control::{CONTROL_TOPIC, StageControl};
pub use dead_letter::{Cause, DeadLetter, DeadLetterError, DeadLetterPayload};
pub use envelope::{Class, Envelope, EnvelopeError, Header, event_id};
pub use findings_inferred::{
    Abstention, Answer, AskedAbout, EfDistribution, EfSample, Evidence, Finding, FindingsInferred,
    FinishReason, GenerationStats, Inference, ModelIdentity, Quality,
};
pub use id::{EventId, InstanceUid, Revision, RunId, RunIdError, SeriesUid, StudyUid, Uid, UidError};
pub use instance_gated::{InstanceGated, Standing};
pub use keyframes_extracted::{
    Clip, FrameNumber, Geometry, Keyframe, KeyframeKind, KeyframeSource, KeyframesExtracted,
};
pub use message::{DecodeError, Message, MessageVisitor, Topic, decode, encode, json_schema};
pub use report_issued::{
    CalibrationUsed, Certainty, CodeSystem, Coding, EfEstimate, Reference, ReportIssued, ReportStatus, Tag,
};
pub use review_recorded::{ReviewAction, ReviewRecorded};
pub use study::{Domain, Priority, StudyHead, Timing, TimingSource, View};
pub use study_accepted::{GatedInstance, StudyAccepted};
pub use study_acquired::{
    AcquiredInstance, Completion, CompletionRule, NotAnalysable, Protocol, ReceivedFrom, StudyAcquired,
    manifest_digest,
};
pub use study_rejected::{Rejection, RejectionReason, StudyRejected};
pub use trace::{SpanId, TraceContext, TraceId};

/// Shows `visitor` every message, one line each.
pub fn visit(visitor: &mut impl MessageVisitor) {
    visitor.message::<StudyAcquired>();
    visitor.message::<StudyAccepted>();
    visitor.message::<StudyRejected>();
    visitor.message::<KeyframesExtracted>();
    visitor.message::<FindingsInferred>();
    visitor.message::<ReportIssued>();
    visitor.message::<InstanceGated>();
    visitor.message::<ReviewRecorded>();
}

/// The SQL migrations of the result store, forward only: `V<number>__<what>.sql`, embedded by the binary.
pub const TABLES_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tables");
