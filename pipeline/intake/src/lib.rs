//! How studies come in: DICOM associations, files and folders; the spool that keeps them; when a study is complete.
//!
//! ```text
//!   scp ─────▶ incoming ─▶ filing ─▶ intake ─▶ journal, objects/      publisher ─▶ blobs, study.acquired, identity
//!   folder ──▶ (temp file) (checks)  (owner)  ├▶ assembler ──────────▶ (drains)
//!                                              └▶ arrivals: offered to the arrival gate, or skipped
//! ```
//! Invariants:
//! - Success is answered only for what is on disk and in the journal. Nothing else has to be up for that: no broker, no
//!   database, no blob store.
//! - A kill at any moment loses nothing that was acknowledged, and shows nothing that was not.
//! - Bytes from outside pass the bounded pre-scan before anything else looks at them; UIDs are never part of a path.
//! - The stored data set is byte-identical to the one received.

mod arrival;
mod assembler;
mod dimse;
mod filing;
mod folder;
mod incoming;
mod intake;
mod journal;
mod meta_header;
mod metrics;
mod publisher;
mod refusal;
pub mod scp;
pub mod scu;
mod spool;

pub use arrival::Arrival;
pub use assembler::{CompletionTimes, OpenStudy};
pub use filing::result_series_uid;
pub use folder::{FileOptions, FileReport};
pub use intake::{Intake, IntakeConfig, Novelty, Receipt, StartError};
pub use journal::JournalError;
pub use meta_header::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
pub use metrics::IntakeMetrics;
pub use publisher::{Announce, AnnounceError, Backoff, Publisher, Source};
pub use refusal::Refusal;
