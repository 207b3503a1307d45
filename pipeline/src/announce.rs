//! Intake's announcements made real: Kafka for the study, Postgres for the identity.

use intake::{Announce, AnnounceError};
use jiff::Timestamp;
use pixels::Identity;
use runtime::{Client, PublishError, Publisher};
use schemas::{Envelope, EventId, Message as _, RunId, StudyAcquired, StudyUid};

use crate::store::{Database, IdentityRow, identity_upsert};

/// How long a broker may take to acknowledge before the publisher waits and tries again.
const ACKNOWLEDGE: std::time::Duration = std::time::Duration::from_secs(10);

/// Announces on the live run.
pub(crate) struct LiveAnnounce {
    client: Client,
    publisher: Option<Publisher>,
    /// The last event the broker has acknowledged. The identity comes after it, and while the database is down that step
    /// is tried again and again: the event need not be sent each time.
    acknowledged: Option<EventId>,
    database: Database,
}

impl LiveAnnounce {
    pub(crate) fn new(client: Client, database: Database) -> Self {
        Self { client, publisher: None, acknowledged: None, database }
    }
}

impl Announce for LiveAnnounce {
    fn acquired(&mut self, message: &StudyAcquired, id: EventId) -> Result<(), AnnounceError> {
        if self.acknowledged == Some(id) {
            return Ok(());
        }
        let publisher = match self.publisher.take() {
            Some(publisher) => publisher,
            None => Publisher::connect(&self.client, ACKNOWLEDGE)
                .map_err(|error| AnnounceError::Unavailable(error.into()))?,
        };
        let envelope = Envelope::of(message, id, RunId::live(), "intake", Timestamp::now());
        match publisher.publish(message, &envelope, message.study().priority) {
            Ok(_) => {
                self.publisher = Some(publisher);
                self.acknowledged = Some(id);
                Ok(())
            }
            Err(error @ PublishError::TooLarge { .. }) => {
                self.publisher = Some(publisher);
                Err(AnnounceError::Refused(error.into()))
            }
            Err(error @ PublishError::Unavailable { .. }) => {
                self.publisher = Some(publisher);
                Err(AnnounceError::Unavailable(error.into()))
            }
            // The next attempt connects again.
            Err(error @ PublishError::Broken { .. }) => Err(AnnounceError::Unavailable(error.into())),
        }
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
