//! Publishing single events from outside the stages: connected when first needed, again after it broke, and traced.

use std::time::Duration;

use jiff::Timestamp;
use runtime::{Acknowledged, Client, ClientError, Headers, PublishError, Publisher, topics, trace::Spans};
use schemas::{Envelope, Message};

/// Why an event is not known to have arrived.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutletError {
    /// No producer can be made.
    #[error("no publisher can be made")]
    Client(#[from] ClientError),
    /// The broker did not take it.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl OutletError {
    /// Whether it can never be published.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self, Self::Publish(PublishError::TooLarge { .. }))
    }
}

/// The way out of one step.
pub(crate) struct Outlet {
    step: &'static str,
    client: Client,
    /// How long the broker may take to acknowledge.
    patience: Duration,
    spans: Spans,
    publisher: Option<Publisher>,
}

impl Outlet {
    pub(crate) fn new(step: &'static str, client: Client, patience: Duration, spans: Spans) -> Self {
        Self { step, client, patience, spans, publisher: None }
    }

    /// Publishes `message` on its study's lane. `began` is when the step began it.
    pub(crate) fn publish<M: Message>(
        &mut self,
        message: &M,
        envelope: &Envelope,
        began: Timestamp,
    ) -> Result<Acknowledged, OutletError> {
        let lane = message.study().priority;
        let acknowledged = self.with(|publisher| publisher.publish(message, envelope, lane))?;
        self.spans.published(self.step, &topics::lane(&M::TOPIC, lane), envelope, began);
        Ok(acknowledged)
    }

    /// Publishes a record as it is.
    pub(crate) fn publish_record(
        &mut self,
        topic: &str,
        key: &[u8],
        headers: &Headers,
        payload: &[u8],
    ) -> Result<Acknowledged, OutletError> {
        self.with(|publisher| publisher.publish_record(topic, Some(key), headers, payload))
    }

    fn with(
        &mut self,
        publish: impl FnOnce(&Publisher) -> Result<Acknowledged, PublishError>,
    ) -> Result<Acknowledged, OutletError> {
        let publisher = match self.publisher.take() {
            Some(publisher) => publisher,
            None => Publisher::connect(&self.client, self.patience)?,
        };
        let published = publish(&publisher);
        // One that is broken is not kept: the next attempt connects again.
        if !matches!(published, Err(PublishError::Broken { .. })) {
            self.publisher = Some(publisher);
        }
        Ok(published?)
    }
}
