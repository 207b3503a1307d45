//! One step of the pipeline.

use std::time::Duration;

use schemas::{Message, Rejection};
use serde::de::DeserializeOwned;

use crate::{ConfigError, Ctx, MemoKey, Services, StageError};

/// One step of the pipeline: a function from an input message to an outcome.
pub trait Stage: Sized + Send + 'static {
    /// Metric label, consumer-group suffix and configuration table, in snake case.
    const NAME: &'static str;

    /// The stage's table in the configuration. Strict: it denies unknown fields.
    type Config: DeserializeOwned;

    /// What it reads.
    type In: Message;

    /// What it writes.
    type Out: Message;

    /// Makes one instance. Called once for each worker, and again after a panic; the services are shared and stay.
    fn build(config: Self::Config, services: &Services) -> Result<Self, ConfigError>;

    /// Does the step for one input.
    fn process(&mut self, input: &Self::In, ctx: &mut Ctx<'_>) -> Result<Outcome<Self::Out>, StageError>;

    /// Does several inputs where that is cheaper than one by one. One result for each input, in input order.
    fn process_batch(
        &mut self,
        inputs: &[Self::In],
        ctx: &mut Ctx<'_>,
    ) -> Vec<Result<Outcome<Self::Out>, StageError>> {
        inputs.iter().map(|input| self.process(input, ctx)).collect()
    }

    /// How many inputs may be done together.
    fn batch_limits(&self) -> BatchLimits {
        BatchLimits::ONE
    }

    /// What `input` counts against [`BatchLimits::cost`].
    fn cost(&self, _input: &Self::In) -> u32 {
        1
    }

    /// The key under which the outcome for `input` may be remembered; none if it is cheap to do again.
    fn memo_key(&self, _input: &Self::In) -> Option<MemoKey> {
        None
    }
}

/// What a stage answers when it did its work.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T> {
    /// The result, for the next topic.
    Emit(T),
    /// The study cannot be read, for reasons a technologist can act on.
    Reject(Rejection),
}

/// How many inputs are done together. Whichever limit is met first closes the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Inputs.
    pub items: usize,
    /// Sum of [`Stage::cost`]. A single input above it still goes, alone.
    pub cost: u32,
    /// How long the first input may wait for company.
    pub linger: Duration,
}

impl BatchLimits {
    /// No batching.
    pub const ONE: Self = Self { items: 1, cost: u32::MAX, linger: Duration::ZERO };
}

/// Walks the catalogue of stages. Typed: whoever implements it is generic over the stage.
pub trait Visitor {
    /// Called once for each stage, in the order of the data's way.
    fn stage<S: Stage>(&mut self);
}
