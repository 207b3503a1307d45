//! A stage's whole outside world.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{Blobs, Frames, ModelBackend, NoModel};

/// Handles that the composition root makes once. Building a stage again never builds them again.
#[derive(Clone)]
pub struct Services {
    /// The model.
    pub model: Arc<dyn ModelBackend>,
}

impl Services {
    /// For stages that ask no model.
    pub fn without_model() -> Self {
        Self { model: Arc::new(NoModel::default()) }
    }
}

/// What a stage may see while it works on one record or batch.
pub struct Ctx<'a> {
    blobs: &'a dyn Blobs,
    frames: &'a dyn Frames,
    record_time: Timestamp,
    span: tracing::Span,
}

impl<'a> Ctx<'a> {
    /// A context for a record made at `record_time`.
    pub fn new(
        blobs: &'a dyn Blobs,
        frames: &'a dyn Frames,
        record_time: Timestamp,
        span: tracing::Span,
    ) -> Self {
        Self { blobs, frames, record_time, span }
    }

    /// Content-addressed bytes.
    pub fn blobs(&self) -> &'a dyn Blobs {
        self.blobs
    }

    /// Masked pictures.
    pub fn frames(&self) -> &'a dyn Frames {
        self.frames
    }

    /// When the input record was made: the only time a stage may know, so that a replay agrees.
    pub fn record_time(&self) -> Timestamp {
        self.record_time
    }

    /// The span of this piece of work.
    pub fn span(&self) -> &tracing::Span {
        &self.span
    }
}
