//! Instances offered to whoever looks at them while their study is still open.
//!
//! ```text
//!   owner ─ journal on disk ─▶ 0000 to the sender ─▶ try_send ─(n)─▶ the arrival gate, outside this crate
//!                                                       └ full: skipped and counted
//! ```
//! Invariants:
//! - An offer comes after the answer to the sender, never waits, and is never made again: what is skipped costs a
//!   provisional word and nothing else, because the study's own gate sees every instance.
//! - Only what may be a picture of a heart is offered: a slide is no cine, and its patient is not there.

use std::{io, path::PathBuf};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use jiff::Timestamp;
use schemas::{AcquiredInstance, Domain, InstanceUid, NotAnalysable, ReceivedFrom, StudyHead};
use stage::{BlobError, Blobs};

use crate::{
    assembler::{Assembler, Received},
    intake::Intake,
    metrics::IntakeMetrics,
    refusal::Refusal,
    spool::Spool,
};

/// An instance that has just become durable.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its study, with the revision that will list the instance first and the instance's own domain.
    pub study: StudyHead,
    /// The instance as the study's manifest will list it.
    pub instance: AcquiredInstance,
    /// Who sent it.
    pub from: ReceivedFrom,
    /// When it was stored.
    pub at: Timestamp,
    object: PathBuf,
}

impl Arrival {
    /// Puts its bytes into the blob store, where the publisher would put them later: whoever comes second finds the
    /// same bytes. An object that is not in the spool any more has been put by the publisher.
    ///
    /// # Errors
    /// [`BlobError::Mismatch`] where the spool's disk gives other bytes than were received.
    pub fn put(&self, blobs: &dyn Blobs) -> Result<(), BlobError> {
        let expected = &self.instance.blob;
        match self.object.try_exists() {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(source) => return Err(unavailable(expected.key(), source)),
        }
        let stored = match blobs.put_file(expected.area, &self.object) {
            // The publisher was quicker between the two looks.
            Err(_) if matches!(self.object.try_exists(), Ok(false)) => return Ok(()),
            stored => stored?,
        };
        if stored == *expected { Ok(()) } else { Err(BlobError::Mismatch { key: expected.key() }) }
    }
}

fn unavailable(key: String, source: io::Error) -> BlobError {
    BlobError::Unavailable { key, source: Box::new(source) }
}

impl Intake {
    /// From now on every echo instance that becomes durable is offered to the receiver, which holds at most `room` of
    /// them. A later call takes the place of an earlier one.
    ///
    /// # Errors
    /// [`Refusal::Stopped`].
    pub fn arrivals(&self, room: usize) -> Result<Receiver<Arrival>, Refusal> {
        let (offers, arrivals) = bounded(room);
        self.offer_to(offers)?;
        Ok(arrivals)
    }
}

/// The owner's side of the channel.
#[derive(Default)]
pub(crate) struct Offers(Option<Sender<Arrival>>);

impl Offers {
    pub(crate) fn to(arrivals: Sender<Arrival>) -> Self {
        Self(Some(arrivals))
    }

    /// Whether `received` is worth remembering for an offer.
    pub(crate) fn wants(&self, received: &Received) -> Option<Due> {
        let Received { instance, study, from, at, .. } = received;
        let may_be_a_cine = instance.domain == Domain::Echo
            && matches!(instance.not_analysable, None | Some(NotAnalysable::TransferSyntax));
        (self.0.is_some() && may_be_a_cine).then(|| Due {
            study: study.clone(),
            instance: instance.uid.clone(),
            from: from.clone(),
            at: *at,
        })
    }

    /// Offers what is known of `due` by now.
    pub(crate) fn make(&mut self, due: Due, assembler: &Assembler, spool: &Spool, metrics: &IntakeMetrics) {
        let Some(arrivals) = &self.0 else { return };
        let study = assembler.study(&due.study);
        let Some((study, instance)) = study.and_then(|study| study.listed(&due.instance)) else { return };
        let object = spool.object(&instance.blob.sha256);
        match arrivals.try_send(Arrival { study, instance, from: due.from, at: due.at, object }) {
            Ok(()) => metrics.arrival("offered"),
            Err(TrySendError::Full(_)) => metrics.arrival("skipped"),
            Err(TrySendError::Disconnected(_)) => {
                tracing::error!(
                    "nobody gates arrivals any more; studies go on without a provisional verdict"
                );
                self.0 = None;
            }
        }
    }
}

/// An instance whose entry is durable and whose sender has been answered.
pub(crate) struct Due {
    study: schemas::StudyUid,
    instance: InstanceUid,
    from: ReceivedFrom,
    at: Timestamp,
}
