//! The one owner of spool and studies: a thread behind a bounded channel.
//!
//! ```text
//!   associations, HTTP, folders ──▶ requests (256) ──▶ owner thread ──▶ journal, objects/
//!     each writes and fsyncs its own                      │  a group of requests shares one fsync
//!     temporary file first                                └──▶ publisher: asks for the next revision, reports it settled
//! ```
//! Invariants:
//! - An answer is given only after the journal line that it rests on is on disk.
//! - A decision never rests on an entry of its own group (`Group::decides_on`), so it rests on durable state alone.

mod owner;
mod recovery;

use std::{io, path::PathBuf, thread, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};
use jiff::Timestamp;
use schemas::{InstanceUid, Revision, StudyAcquired, StudyUid};

use crate::{
    arrival::Arrival,
    assembler::{CompletionTimes, OpenStudy},
    filing::{Candidate, Checked},
    incoming::{Incoming, Sealed},
    journal::{Journal, JournalError},
    metrics::IntakeMetrics,
    refusal::Refusal,
    spool::Spool,
};
use owner::Owner;
use recovery::RecoverError;

/// Requests that may wait for the owner.
const QUEUE: usize = 256;
/// How intake keeps what it receives.
#[derive(Debug, Clone)]
pub struct IntakeConfig {
    /// The spool's own directory.
    pub directory: PathBuf,
    /// Bytes that must stay free on its disk; below, objects are refused (A700).
    pub min_free: u64,
    /// Bytes of one object at most.
    pub max_object: u64,
    /// When a study counts as complete.
    pub completion: CompletionTimes,
    /// How long published studies are remembered for duplicates and late instances.
    pub remember: Duration,
}

/// Why intake cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be used.
    #[error("intake cannot start")]
    Journal(#[from] JournalError),
    /// The spool directory cannot be used.
    #[error("spool directory {directory} cannot be used")]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An object that was acknowledged is gone.
    #[error(
        "spool has lost {count} acknowledged objects; restore objects/ from before, or move the journal away"
    )]
    Lost {
        /// How many.
        count: usize,
    },
}

/// What became of an object that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its study.
    pub study: StudyUid,
    /// Its SOP Instance UID.
    pub instance: InstanceUid,
    /// Whether it was new.
    pub novelty: Novelty,
}

/// New, or known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Novelty {
    /// Stored.
    Stored,
    /// The same object is known already; nothing changed.
    Duplicate,
}

/// A revision for the publisher.
#[derive(Debug)]
pub(crate) struct Unsettled {
    pub(crate) message: StudyAcquired,
    /// Instances whose bytes are still in the spool.
    pub(crate) fresh: Vec<schemas::BlobRef>,
}

/// How a revision ended at the publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Published,
    Refused { code: &'static str },
}

enum Request {
    File { candidate: Box<Candidate>, reply: Sender<Result<Receipt, Refusal>> },
    Quarantine { sealed: Box<Sealed>, code: &'static str },
    Close { study: StudyUid, reply: Sender<Result<Option<Revision>, Refusal>> },
    Open { reply: Sender<Vec<OpenStudy>> },
    Offer { arrivals: Sender<Arrival> },
    Next { reply: Sender<Unsettled> },
    Settle { study: StudyUid, revision: Revision, settled: Settled, reply: Sender<Result<(), Refusal>> },
}

/// The handle. Cheap to clone; intake ends when the last clone is gone.
///
/// Its calls wait for the disk: from async code they go through `spawn_blocking`.
#[derive(Debug, Clone)]
pub struct Intake {
    requests: Sender<Request>,
    pub(crate) spool: Spool,
    pub(crate) metrics: IntakeMetrics,
}

impl Intake {
    /// Opens the spool, takes up where the last process stopped, and starts the owner thread.
    ///
    /// The thread ends, and its handle can be joined, once the last clone of the handle is dropped.
    pub fn start(
        config: IntakeConfig,
        metrics: IntakeMetrics,
        now: Timestamp,
    ) -> Result<(Self, thread::JoinHandle<()>), StartError> {
        let at_directory = |source| StartError::Directory { directory: config.directory.clone(), source };
        std::fs::create_dir_all(&config.directory).map_err(at_directory)?;
        // The lock comes first: a second process must not empty the first one's `incoming/`.
        let recovered = Journal::open(&config.directory)?;
        let spool =
            Spool::open(&config.directory, config.min_free, config.max_object).map_err(at_directory)?;
        if recovered.cut > 0 {
            tracing::warn!(
                bytes = recovered.cut,
                "last journal line was torn and is cut off; nobody was answered on it"
            );
        }
        let mut owner = Owner::new(recovered.journal, spool.clone(), config.completion, metrics.clone());
        owner.recover(recovered.entries).map_err(|error| match error {
            RecoverError::Lost(count) => StartError::Lost { count },
            RecoverError::Io(source) => at_directory(source),
            RecoverError::Journal(error) => error.into(),
        })?;
        spool.forget(config.remember, now).map_err(at_directory)?;
        let (requests, inbox) = bounded(QUEUE);
        let thread = thread::Builder::new().name("intake".to_owned()).spawn(move || owner.run(&inbox));
        Ok((Self { requests, spool, metrics }, thread.map_err(at_directory)?))
    }

    /// Closes an open study now, with rule `forced`. Gives the revision, or `None` if the study is not open.
    pub fn close_study(&self, study: &StudyUid) -> Result<Option<Revision>, Refusal> {
        self.ask(|reply| Request::Close { study: study.clone(), reply })?
    }

    /// Studies still waiting for instances, the one that waits longest first.
    pub fn open_studies(&self) -> Result<Vec<OpenStudy>, Refusal> {
        self.ask(|reply| Request::Open { reply })
    }

    /// A temporary file for an object about to come, if there is room.
    pub(crate) fn begin(&self, header: &[u8]) -> Result<Incoming, Refusal> {
        self.spool.begin(header).inspect_err(|refusal| self.metrics.refused(refusal))
    }

    /// Files a checked object. Blocks until it is durable.
    pub(crate) fn file(&self, checked: Checked, keep_refused: KeepRefused) -> Result<Receipt, Refusal> {
        let answer = self.file_uncounted(checked, keep_refused);
        self.metrics.answered(&answer);
        answer
    }

    fn file_uncounted(&self, checked: Checked, keep_refused: KeepRefused) -> Result<Receipt, Refusal> {
        let candidate = checked.map_err(|(refusal, sealed)| {
            if keep_refused == KeepRefused::InQuarantine
                && refusal.blames_the_object()
                && let Some(sealed) = sealed
                && self.requests.send(Request::Quarantine { sealed, code: refusal.code() }).is_err()
            {
                return Refusal::Stopped;
            }
            refusal
        })?;
        self.ask(|reply| Request::File { candidate: Box::new(candidate), reply })?
    }

    /// Where arrivals are offered from now on.
    pub(crate) fn offer_to(&self, arrivals: Sender<Arrival>) -> Result<(), Refusal> {
        self.requests.send(Request::Offer { arrivals }).map_err(|_| Refusal::Stopped)
    }

    /// Waits for the next revision to publish; the receiver is disconnected when intake stops.
    pub(crate) fn next_unsettled(&self) -> Result<Receiver<Unsettled>, Refusal> {
        let (reply, answer) = bounded(1);
        self.requests.send(Request::Next { reply }).map_err(|_| Refusal::Stopped)?;
        Ok(answer)
    }

    pub(crate) fn settle(&self, message: &StudyAcquired, settled: Settled) -> Result<(), Refusal> {
        let (study, revision) = (message.study.study_uid.clone(), message.study.revision);
        self.ask(|reply| Request::Settle { study, revision, settled, reply })?
    }

    fn ask<T>(&self, request: impl FnOnce(Sender<T>) -> Request) -> Result<T, Refusal> {
        let (reply, answer) = bounded(1);
        self.requests.send(request(reply)).map_err(|_| Refusal::Stopped)?;
        answer.recv().map_err(|_| Refusal::Stopped)
    }
}

/// What becomes of the bytes of an object that does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeepRefused {
    /// The sender is told and keeps it.
    No,
    /// A copy is set aside: whoever brought the file may be gone.
    InQuarantine,
}

/// An error with its causes, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
