//! The thread that beats, and clears away what old beats left behind.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use jiff::{SignedDuration, Timestamp};
use runtime::{Client, trace::Spans};
use schemas::{Class, Envelope, RunId, StudyAcquired, event_id, manifest_digest};
use services::ObjectBlobs;
use stage::BlobError;

use super::phantom::{self, PhantomError};
use crate::{
    exit::Failure,
    outlet::{Outlet, OutletError},
    store::{self, Database, DatabaseError},
};

/// The step's name in events.
pub(super) const STEP: &str = "heartbeat";
/// How long the broker may take to acknowledge a beat.
const ACKNOWLEDGE: Duration = Duration::from_secs(10);
/// How long the rows of a beat are kept: a night's worth, and the day to look at it.
const KEEP_ROWS: SignedDuration = SignedDuration::from_hours(24);
/// How long its blobs are kept, 1.7 MB a beat. No stage takes up a beat that waited for ten minutes, so none misses them.
const KEEP_BLOBS: SignedDuration = SignedDuration::from_hours(2);

/// What the pulse works with.
pub(crate) struct PulseParts {
    /// From one beat to the next.
    pub(crate) every: Duration,
    pub(crate) client: Client,
    pub(crate) spans: Spans,
    pub(crate) blobs: Arc<ObjectBlobs>,
    pub(crate) database: Database,
}

/// The running pulse.
pub(crate) struct Pulse {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Pulse {
    /// Starts the thread. The first beat comes at once.
    pub(crate) fn start(parts: PulseParts) -> std::io::Result<Self> {
        let (stop, stopped) = bounded::<()>(0);
        let every = parts.every;
        let mut heart = Heart {
            outlet: Outlet::new(STEP, parts.client, ACKNOWLEDGE, parts.spans),
            blobs: parts.blobs,
            database: parts.database,
            // Fresh after a restart too: nanoseconds go on faster than beats.
            seed: Timestamp::now().as_nanosecond() as u64,
        };
        let thread = thread::Builder::new().name(STEP.to_owned()).spawn(move || {
            let mut due = Instant::now();
            loop {
                heart.beat();
                // Beats that fell into a long one are not made up for.
                due = (due + every).max(Instant::now());
                let wait = due.saturating_duration_since(Instant::now());
                if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Asks the thread to end after the beat it is at.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        drop(self.stop);
        self.thread
    }
}

/// Why there was no beat.
#[derive(Debug, thiserror::Error)]
enum Missed {
    #[error(transparent)]
    Phantom(#[from] PhantomError),
    #[error(transparent)]
    Publish(#[from] OutletError),
}

/// Why old beats are still there.
#[derive(Debug, thiserror::Error)]
enum Kept {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

struct Heart {
    outlet: Outlet,
    blobs: Arc<ObjectBlobs>,
    database: Database,
    seed: u64,
}

impl Heart {
    fn beat(&mut self) {
        let now = Timestamp::now();
        self.seed = self.seed.wrapping_add(1);
        if let Err(missed) = self.publish(now) {
            let error = Failure::from(missed).chain();
            tracing::warn!(%error, "a heartbeat is missed");
        }
        if let Err(kept) = self.forget(now) {
            let error = Failure::from(kept).chain();
            tracing::warn!(%error, "old heartbeats are kept until the next beat");
        }
    }

    fn publish(&mut self, now: Timestamp) -> Result<(), Missed> {
        let study = phantom::make(self.seed, &*self.blobs, now)?;
        self.outlet.publish(&study, &envelope(&study, now), now)?;
        Ok(())
    }

    /// Blobs first: they are found by their rows.
    fn forget(&self, now: Timestamp) -> Result<(), Kept> {
        let before = |keep| now.checked_sub(keep).unwrap_or(Timestamp::UNIX_EPOCH);
        let blobs = store::expired_heartbeat_blobs(&self.database, before(KEEP_BLOBS))?;
        for blob in &blobs {
            self.blobs.remove(blob)?;
        }
        Ok(store::forget_heartbeats(&self.database, blobs, before(KEEP_ROWS))?)
    }
}

fn envelope(study: &StudyAcquired, now: Timestamp) -> Envelope {
    let run = RunId::heartbeat();
    let (uid, revision) = (study.study.study_uid.as_str(), study.study.revision.to_string());
    let id = event_id(&run, STEP, &[uid, &revision, &manifest_digest(&study.instances).to_string()]);
    Envelope { class: Class::Heartbeat, ..Envelope::of(study, id, run, STEP, now) }
}
