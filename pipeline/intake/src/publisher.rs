//! Drains the spool: what was acknowledged to a sender reaches the rest of the system, however long that takes.
//!
//! ```text
//!   closed revision ─▶ blobs put ─▶ study.acquired acknowledged ─▶ identity upserted ─▶ journal mark ─▶ objects removed
//!                        └ Unavailable: wait longer each time, try for ever  ┘
//!                        └ Refused: a dead letter of study.acquired, then the revision's objects go to quarantine, loudly,
//!                          and the next one has its turn
//! ```
//! Every step may be done twice after a crash: blobs are put by content, the event has the same id, identity is upserted.

use std::{
    fs::{self, File},
    io,
    sync::Arc,
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, select};
use pixels::{Identity, prescan_file};
use schemas::{BlobRef, Cause, EventId, RunId, StudyAcquired, StudyUid, event_id, manifest_digest};
use stage::{BlobError, Blobs};

use crate::{
    intake::{Intake, Settled, Unsettled, chain},
    refusal::Refusal,
};

/// A boxed cause.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why an announcement failed. The variant decides what the publisher does.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// Broker or database do not answer: tried again, for ever.
    #[error("broker or database is not available at the moment")]
    Unavailable(#[source] Source),
    /// This announcement can never work.
    #[error("announcement is refused")]
    Refused(#[source] Source),
}

/// Where acquired studies are announced: the broker and the identity table.
pub trait Announce: Send {
    /// Publishes `study.acquired` on the lane of its priority. `Ok` means acknowledged by the broker (`acks=all`).
    fn acquired(&mut self, message: &StudyAcquired, id: EventId) -> Result<(), AnnounceError>;

    /// Publishes a revision that can never be acquired as a dead letter of `study.acquired`, so that its study ends
    /// somewhere. `Ok` means acknowledged by the broker.
    fn refused(
        &mut self,
        message: &StudyAcquired,
        id: EventId,
        cause: Cause,
        detail: &str,
    ) -> Result<(), AnnounceError>;

    /// Inserts or updates who the study is about. `Ok` means committed.
    fn identity(&mut self, study: &StudyUid, identity: &Identity) -> Result<(), AnnounceError>;
}

/// Waiting times between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
}

/// The publisher's parts.
pub struct Publisher<A> {
    /// Where revisions come from.
    pub intake: Intake,
    /// Where they are announced.
    pub announce: A,
    /// Where their bytes go.
    pub blobs: Arc<dyn Blobs>,
    /// The run that their events belong to.
    pub run: RunId,
    /// Waiting times between attempts.
    pub backoff: Backoff,
}

enum Step {
    Retry {
        step: &'static str,
        source: Source,
    },
    /// `cause` is absent where the study has been announced already and goes its way.
    Refuse {
        code: &'static str,
        cause: Option<Cause>,
        source: Source,
    },
}

impl Step {
    /// The study goes its way, whatever becomes of this step.
    fn after_the_announcement(self) -> Self {
        match self {
            Self::Refuse { code, source, .. } => Self::Refuse { code, cause: None, source },
            retry @ Self::Retry { .. } => retry,
        }
    }
}

enum Ended {
    Settled,
    Stopped,
}

impl<A: Announce + 'static> Publisher<A> {
    /// Starts the publisher's thread. It ends when `stop` is disconnected or gets a message, between two attempts; what
    /// it did not finish is done again by the next start.
    pub fn start(self, stop: Receiver<()>) -> io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("intake-publisher".to_owned()).spawn(move || self.run(&stop))
    }

    fn run(mut self, stop: &Receiver<()>) {
        loop {
            let Ok(next) = self.intake.next_unsettled() else { return };
            let unsettled = select! {
                recv(next) -> unsettled => match unsettled {
                    Ok(unsettled) => unsettled,
                    Err(_) => return,
                },
                recv(stop) -> _ => return,
            };
            match self.publish(&unsettled, stop) {
                Ended::Settled => {}
                Ended::Stopped => return,
            }
        }
    }

    fn publish(&mut self, unsettled: &Unsettled, stop: &Receiver<()>) -> Ended {
        let mut wait = self.backoff.first;
        loop {
            let outcome = match self.attempt(unsettled) {
                Ok(()) => Ok(Settled::Published),
                Err(Step::Refuse { code, cause, source }) => {
                    self.intake.metrics.publish_failed("refused");
                    tracing::error!(
                        code,
                        error = %chain(source.as_ref()),
                        "revision cannot be published; its objects go to quarantine"
                    );
                    self.bury(unsettled, cause, source.as_ref()).map(|()| Settled::Refused { code })
                }
                Err(Step::Retry { step, source }) => Err((step, source)),
            };
            let settled = outcome.and_then(|settled| {
                self.intake
                    .settle(&unsettled.message, settled)
                    .map_err(|error| ("journal", Source::from(error)))
            });
            let Err((step, source)) = settled else { return Ended::Settled };
            self.intake.metrics.publish_failed(step);
            tracing::warn!(step, error = %chain(source.as_ref()), ?wait, "publishing failed; trying again");
            match stop.recv_timeout(wait) {
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                _ => return Ended::Stopped,
            }
            wait = wait.saturating_mul(2).min(self.backoff.longest);
        }
    }

    fn attempt(&mut self, unsettled: &Unsettled) -> Result<(), Step> {
        let Unsettled { message, fresh } = unsettled;
        for blob in fresh {
            self.put(blob)?;
        }
        let announced = self.announce.acquired(message, self.event_id(message));
        announced.map_err(|error| announce_step("broker", Some(Cause::Invalid), error))?;
        if let Some(identity) = self.identity(unsettled).map_err(Step::after_the_announcement)? {
            self.announce
                .identity(&message.study.study_uid, &identity)
                .map_err(|error| announce_step("identity", None, error))?;
        }
        Ok(())
    }

    fn event_id(&self, message: &StudyAcquired) -> EventId {
        let study = &message.study;
        let manifest = manifest_digest(&message.instances).to_string();
        event_id(&self.run, "intake", &[study.study_uid.as_str(), &study.revision.to_string(), &manifest])
    }

    /// Gives a revision that will never be announced its dead letter.
    fn bury(
        &mut self,
        unsettled: &Unsettled,
        cause: Option<Cause>,
        source: &(dyn std::error::Error + 'static),
    ) -> Result<(), (&'static str, Source)> {
        let Some(cause) = cause else { return Ok(()) };
        let message = &unsettled.message;
        match self.announce.refused(message, self.event_id(message), cause, &chain(source)) {
            Ok(()) => Ok(()),
            Err(error @ AnnounceError::Unavailable(_)) => Err(("dead letter", error.into())),
            Err(error @ AnnounceError::Refused(_)) => {
                tracing::error!(error = %chain(&error), "not even a dead letter can be published; only quarantine tells");
                Ok(())
            }
        }
    }

    fn put(&self, blob: &BlobRef) -> Result<(), Step> {
        let path = self.intake.spool.object(&blob.sha256);
        // A missing object is the spool's trouble, and no outage of the blob store.
        fs::metadata(&path).map_err(spool_step)?;
        let stored = self.blobs.put_file(blob.area, &path).map_err(|error| match error {
            BlobError::Unavailable { .. } => Step::Retry { step: "blobs", source: error.into() },
            BlobError::NotFound { .. } | BlobError::Mismatch { .. } => {
                let cause = Some(Cause::ObjectMismatch);
                Step::Refuse { code: "BLOB_REFUSED", cause, source: error.into() }
            }
        })?;
        if stored != *blob {
            let source = "object in the spool is not what was received; its disk is damaged".into();
            let cause = Some(Cause::ObjectMismatch);
            return Err(Step::Refuse { code: "OBJECT_DAMAGED", cause, source });
        }
        Ok(())
    }

    /// Who the study is about, by the first of the revision's new instances that says so. A still picture says nothing.
    fn identity(&self, unsettled: &Unsettled) -> Result<Option<Identity>, Step> {
        let is_dicom = |blob: &&BlobRef| {
            let mut instances = unsettled.message.instances.iter();
            instances.any(|instance| instance.blob == **blob && instance.transfer_syntax_uid.is_some())
        };
        for blob in unsettled.fresh.iter().filter(is_dicom) {
            let file = File::open(self.intake.spool.object(&blob.sha256)).map_err(spool_step)?;
            let identity =
                prescan_file(file).map_err(|error| Step::Retry { step: "spool", source: error.into() })?;
            let identity = identity.identity;
            if !(identity.patient_name.is_empty() && identity.patient_id.is_empty()) {
                return Ok(Some(identity));
            }
        }
        Ok(None)
    }
}

fn announce_step(step: &'static str, cause: Option<Cause>, error: AnnounceError) -> Step {
    match error {
        AnnounceError::Unavailable(_) => Step::Retry { step, source: error.into() },
        AnnounceError::Refused(_) => Step::Refuse { code: "ANNOUNCE_REFUSED", cause, source: error.into() },
    }
}

fn spool_step(source: io::Error) -> Step {
    if source.kind() == io::ErrorKind::NotFound {
        let cause = Some(Cause::ObjectMissing);
        return Step::Refuse { code: "OBJECT_MISSING", cause, source: source.into() };
    }
    Step::Retry { step: "spool", source: Refusal::Spool { action: "read an object", source }.into() }
}
