//! One stage run by hand: no topic, no group, no memo, no dead letter; the same opening of records, the same guard
//! against panics and the same reaction to errors as a run over Kafka.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use jiff::Timestamp;
use schemas::{Cause, Message, Rejection, decode, encode};
use stage::{Blobs, ConfigError, Ctx, Frames, Outcome, Services, Stage};

use crate::{
    dead_letter::Death,
    event::Failure,
    record::Record,
    retry::RetryPolicy,
    stage_work::{MakeConfig, open},
    worker::failure,
};

/// What a stage is given.
#[derive(Debug, Clone, Copy)]
pub enum Given<'a> {
    /// A record as it lies on a topic: its envelope is checked against its message.
    Record(&'a Record),
    /// A message that the stage before has just emitted, as JSON of this build's version.
    Message {
        /// The JSON.
        payload: &'a [u8],
        /// When its cause was made.
        time: Timestamp,
    },
}

/// What a stage made of one input.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The next message, as JSON.
    Emitted(Vec<u8>),
    /// A clinical rejection.
    Rejected(Rejection),
    /// Over Kafka this would be a dead letter.
    Dead {
        /// Why.
        cause: Cause,
        /// One sentence, no text of the payload.
        detail: String,
    },
}

/// Why there is no answer although the input is not to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Something the stage depends on is down. It may be asked again.
    #[error("{stage} waits for something it depends on: {detail}")]
    Dependency {
        /// Which stage.
        stage: &'static str,
        /// What is down.
        detail: String,
    },
    /// The stage cannot go on.
    #[error("{stage} cannot go on: {detail}")]
    Fatal {
        /// Which stage.
        stage: &'static str,
        /// Why.
        detail: String,
    },
}

/// A stage and its outside world.
pub struct OfflineStage<S: Stage> {
    stage: S,
    parts: OfflineParts<S>,
}

/// What an [`OfflineStage`] is made of.
pub struct OfflineParts<S: Stage> {
    /// Its configuration.
    pub config: MakeConfig<S::Config>,
    /// Handles it shares with others.
    pub services: Services,
    /// Content-addressed bytes.
    pub blobs: Arc<dyn Blobs>,
    /// Masked pictures.
    pub frames: Arc<dyn Frames>,
    /// How an input that fails for reasons of its own is tried again.
    pub retry: RetryPolicy,
}

impl<S: Stage> OfflineStage<S> {
    /// Makes the stage.
    pub fn build(parts: OfflineParts<S>) -> Result<Self, ConfigError> {
        let stage = S::build((parts.config)(), &parts.services)?;
        Ok(Self { stage, parts })
    }

    /// Does one input. Deterministic as the stage is.
    pub fn answer(&mut self, given: Given<'_>) -> Result<Answer, Trouble> {
        let (input, time) = match Self::opened(given) {
            Ok(opened) => opened,
            Err(death) => return Ok(dead(death)),
        };
        let (mut tries, mut panics) = (0, 0);
        loop {
            tries += 1;
            let Self { stage, parts } = &mut *self;
            // The stage is made anew after a panic, so that nothing half changed is used again.
            let result = catch_unwind(AssertUnwindSafe(|| {
                let span = tracing::debug_span!("process", stage = S::NAME);
                let _entered = span.clone().entered();
                let mut ctx = Ctx::new(parts.blobs.as_ref(), parts.frames.as_ref(), time, span);
                stage.process(&input, &mut ctx)
            }));
            let Ok(result) = result else {
                panics += 1;
                self.stage = S::build((self.parts.config)(), &self.parts.services)
                    .map_err(|error| fatal::<S>(error.to_string()))?;
                if panics < 2 {
                    continue;
                }
                let detail = "it made the stage panic, alone and twice".to_owned();
                return Ok(Answer::Dead { cause: Cause::Panic, detail });
            };
            let failed = match result {
                Ok(Outcome::Emit(message)) => return Ok(Answer::Emitted(encode(&message))),
                Ok(Outcome::Reject(rejection)) => return Ok(Answer::Rejected(rejection)),
                Err(error) => failure(error),
            };
            match failed {
                Failure::Dead(death) => return Ok(dead(death)),
                Failure::Record(detail) if tries >= self.parts.retry.record_budget => {
                    return Ok(Answer::Dead { cause: Cause::RetriesExhausted, detail });
                }
                Failure::Record(_) => thread::sleep(self.parts.retry.backoff(tries, u64::MAX)),
                Failure::Dependency(detail) => return Err(Trouble::Dependency { stage: S::NAME, detail }),
                Failure::Fatal(source) => return Err(fatal::<S>(source.to_string())),
                Failure::Broker(source) => return Err(fatal::<S>(source.to_string())),
                Failure::Aborted => return Err(fatal::<S>("it was aborted".to_owned())),
            }
        }
    }

    fn opened(given: Given<'_>) -> Result<(S::In, Timestamp), Death> {
        match given {
            Given::Record(record) => open::<S::In>(record).map(|opened| (opened.input, opened.envelope.time)),
            Given::Message { payload, time } => decode(payload, S::In::TOPIC.major, S::In::TOPIC.minor)
                .map(|input| (input, time))
                .map_err(|error| Death::invalid(&error.into())),
        }
    }
}

fn dead(Death { cause, detail, .. }: Death) -> Answer {
    Answer::Dead { cause, detail }
}

fn fatal<S: Stage>(detail: String) -> Trouble {
    Trouble::Fatal { stage: S::NAME, detail }
}
