//! Intake's announcements made real: Kafka for the study, Postgres for the identity.

use std::sync::Arc;

use intake::{Announce, AnnounceError};
use jiff::Timestamp;
use pixels::Identity;
use runtime::{Client, topics, trace::Spans};
use schemas::{
    Area, Cause, DeadLetter, DeadLetterPayload, Envelope, EventId, Message as _, RunId, StudyAcquired,
    StudyUid, encode,
};
use stage::Blobs;

use crate::{
    outlet::{Outlet, OutletError},
    store::{Database, IdentityRow, identity_upsert},
};

/// How long a broker may take to acknowledge before the publisher waits and tries again.
const ACKNOWLEDGE: std::time::Duration = std::time::Duration::from_secs(10);
/// The longest manifest that travels inside a dead letter; a longer one lies in area `quarantine`.
const MAX_EMBEDDED: usize = 512 << 10;
/// Who gave up, in a dead letter.
const INTAKE: &str = "intake";

/// Announces on the live run.
pub(crate) struct LiveAnnounce {
    outlet: Outlet,
    /// The last event the broker has acknowledged. The identity comes after it, and while the database is down that step
    /// is tried again and again: the event need not be sent each time.
    acknowledged: Option<EventId>,
    database: Database,
    /// Where the manifest of a dead letter goes that is too long for one.
    blobs: Arc<dyn Blobs>,
}

impl LiveAnnounce {
    pub(crate) fn new(client: Client, database: Database, blobs: Arc<dyn Blobs>, spans: Spans) -> Self {
        let outlet = Outlet::new(INTAKE, client, ACKNOWLEDGE, spans);
        Self { outlet, acknowledged: None, database, blobs }
    }
}

fn unpublished(error: OutletError) -> AnnounceError {
    if error.is_too_large() {
        AnnounceError::Refused(error.into())
    } else {
        AnnounceError::Unavailable(error.into())
    }
}

impl Announce for LiveAnnounce {
    fn acquired(&mut self, message: &StudyAcquired, id: EventId) -> Result<(), AnnounceError> {
        if self.acknowledged == Some(id) {
            return Ok(());
        }
        let envelope = Envelope::of(message, id, RunId::live(), INTAKE, Timestamp::now());
        // What the study waited for since it was closed belongs to this step.
        let began = message.completion.closed_at.min(envelope.time);
        self.outlet.publish(message, &envelope, began).map_err(unpublished)?;
        self.acknowledged = Some(id);
        Ok(())
    }

    fn refused(
        &mut self,
        message: &StudyAcquired,
        id: EventId,
        cause: Cause,
        detail: &str,
    ) -> Result<(), AnnounceError> {
        let manifest = encode(message);
        let (payload, place) = if manifest.len() <= MAX_EMBEDDED {
            (manifest, DeadLetterPayload::Embedded)
        } else {
            let stored = self.blobs.put(Area::Quarantine, &manifest);
            let reference = stored.map_err(|error| AnnounceError::Unavailable(error.into()))?;
            let reference =
                serde_json::to_vec(&reference).map_err(|error| AnnounceError::Refused(error.into()))?;
            (reference, DeadLetterPayload::Quarantined)
        };
        let now = Timestamp::now();
        let letter = DeadLetter {
            cause,
            detail: detail.to_owned(),
            stage: INTAKE.to_owned(),
            topic: topics::lane(&StudyAcquired::TOPIC, message.study().priority),
            // It has never been on the topic: a place that no record has, the same at each attempt. A redrive puts it there.
            partition: -1,
            offset: (id.0.as_u128() >> 65) as i64,
            attempts: 1,
            time: now,
            payload: place,
        };
        let headers = Envelope::of(message, id, RunId::live(), INTAKE, now).to_headers();
        let headers = headers.into_iter().chain(letter.to_headers()).collect();
        let key = message.study().study_uid.as_str().as_bytes();
        let topic = StudyAcquired::TOPIC.dead_letters();
        self.outlet.publish_record(&topic, key, &headers, &payload).map(drop).map_err(unpublished)
    }

    fn identity(&mut self, study: &StudyUid, identity: &Identity) -> Result<(), AnnounceError> {
        let row = IdentityRow::of(study, identity);
        identity_upsert(&self.database, row, Timestamp::now()).map_err(|error| {
            if error.blames_data() {
                AnnounceError::Refused(error.into())
            } else {
                AnnounceError::Unavailable(error.into())
            }
        })
    }
}
