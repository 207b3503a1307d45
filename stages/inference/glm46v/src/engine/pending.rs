//! Requests on their way, as their callers hold them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::job::{Answer, Written};
use crate::error::RequestError;
use crate::processor::Processor;
use crate::request::{Capture, Captured, Generation, Timings};
use crate::sampler::TokenScore;

/// Set when dropped: the engine looks at it before each step.
#[derive(Default)]
pub(super) struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Cancels a request when dropped, from wherever it is; of no effect once the request has ended.
pub struct Canceller {
    _given_up: GivenUp,
}

/// A request on its way. Dropping it cancels the request.
pub struct Pending {
    answer: Receiver<Result<Written, RequestError>>,
    tokens: Option<Receiver<TokenScore>>,
    given_up: GivenUp,
    processor: Arc<Processor>,
    preprocess: Duration,
}

impl Pending {
    pub(super) fn new(
        answer: Receiver<Result<Written, RequestError>>,
        tokens: Option<Receiver<TokenScore>>,
        given_up: GivenUp,
        processor: Arc<Processor>,
        preprocess: Duration,
    ) -> Self {
        Self { answer, tokens, given_up, processor, preprocess }
    }

    /// For whoever must be able to give the request up while another thread waits for it.
    pub fn canceller(&self) -> Canceller {
        Canceller { _given_up: GivenUp(self.given_up.flag()) }
    }

    /// The next token, when it is generated; `None` when there is no further one, or for a request that does not stream.
    pub fn next_token(&mut self) -> Option<TokenScore> {
        self.tokens.as_ref()?.recv().ok()
    }

    /// Waits for the whole answer.
    pub fn wait(self) -> Result<Generation, RequestError> {
        let written = self.answer.recv().map_err(|_| RequestError::EngineGone)??;
        let Written { answer, prepared, options, finish_reason, vision_tokens, cached_tokens, timings } =
            written;
        let Answer { ids, scores, step_logits } = answer;
        Ok(Generation {
            text: self.processor.text(&ids)?,
            scores,
            finish_reason,
            prompt_tokens: prepared.input_ids.len(),
            vision_tokens,
            cached_tokens,
            timings: Timings { preprocess: self.preprocess, ..timings },
            captured: (options.capture == Capture::Logits)
                .then_some(Captured { input_ids: prepared.input_ids, step_logits }),
            token_ids: ids,
        })
    }
}

/// Continuations on their way to be scored. Dropping it cancels the request.
pub struct PendingScores {
    scores: Receiver<Result<Vec<f64>, RequestError>>,
    given_up: GivenUp,
}

impl PendingScores {
    pub(super) fn new(scores: Receiver<Result<Vec<f64>, RequestError>>, given_up: GivenUp) -> Self {
        Self { scores, given_up }
    }

    /// For whoever must be able to give the request up while another thread waits for it.
    pub fn canceller(&self) -> Canceller {
        Canceller { _given_up: GivenUp(self.given_up.flag()) }
    }

    /// Waits for the scores, one for each continuation, in their order.
    pub fn wait(self) -> Result<Vec<f64>, RequestError> {
        self.scores.recv().map_err(|_| RequestError::EngineGone)?
    }
}
