//! What callers hand to the engine's thread, and what comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use super::places::Place;
use crate::continuations::Tree;
use crate::error::RequestError;
use crate::prepared::Prepared;
use crate::request::{Capture, FinishReason, GenerateOptions, Timings};
use crate::sampler::{Sampler, TokenScore};
use crate::scheduler::Priority;

/// To the thread.
pub(crate) enum Message {
    /// Requests that the scheduler is to meet together.
    Arrivals(Vec<Job>),
    /// Only wakes it: the flag beside the channel says that it is to stop.
    Stop,
}

/// A prepared request.
pub(crate) struct Job {
    pub(crate) prepared: Prepared,
    pub(crate) task: Task,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Instant>,
    pub(crate) queued_at: Instant,
    pub(crate) cancelled: Arc<AtomicBool>,
    /// Held until the request is gone.
    pub(crate) place: Place,
}

/// What is to be made of a prompt.
pub(crate) enum Task {
    /// An answer, token by token.
    Write(Box<Writing>),
    /// How likely given continuations are.
    Score(Scoring),
}

/// An answer under way.
pub(crate) struct Writing {
    pub(crate) options: GenerateOptions,
    pub(crate) sampler: Sampler,
    /// Where each token goes as it comes.
    pub(crate) stream: Option<SyncSender<TokenScore>>,
    pub(crate) reply: SyncSender<Result<Written, RequestError>>,
    pub(crate) so_far: Answer,
}

/// What the model has written of an answer.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) ids: Vec<u32>,
    pub(crate) scores: Vec<TokenScore>,
    pub(crate) step_logits: Vec<Vec<f32>>,
}

/// Continuations to score.
pub(crate) struct Scoring {
    /// All continuations, in as many trees as the store has room for at once.
    pub(crate) trees: Vec<Tree>,
    pub(crate) continuations: usize,
    /// Blocks that the branches of a tree lie in.
    pub(crate) spare_blocks: usize,
    pub(crate) reply: SyncSender<Result<Vec<f64>, RequestError>>,
}

/// A finished answer.
pub(crate) struct Written {
    pub(crate) answer: Answer,
    pub(crate) prepared: Prepared,
    pub(crate) options: GenerateOptions,
    pub(crate) finish_reason: FinishReason,
    pub(crate) vision_tokens: usize,
    pub(crate) cached_tokens: usize,
    pub(crate) timings: Timings,
}

impl Job {
    /// Tokens that may follow the prompt in the store, and blocks for branches.
    pub(crate) fn room(&self) -> (usize, usize) {
        match &self.task {
            Task::Write(writing) => (writing.options.max_new_tokens, 0),
            Task::Score(scoring) => (0, scoring.spare_blocks),
        }
    }

    /// What the model has written so far.
    pub(crate) fn written(&self) -> &[u32] {
        match &self.task {
            Task::Write(writing) => &writing.so_far.ids,
            Task::Score(_) => &[],
        }
    }

    /// An error if nobody waits for it any more, or its time is over.
    pub(crate) fn still_wanted(&self) -> Result<(), RequestError> {
        if self.cancelled.load(Ordering::Acquire) {
            Err(RequestError::Cancelled)
        } else if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            Err(RequestError::DeadlineExceeded)
        } else {
            Ok(())
        }
    }

    /// Ends with an error. A caller that has gone away needs no answer.
    pub(crate) fn fail(self, error: RequestError) {
        let Self { task, place, .. } = self;
        // Free before the caller hears of it, who may ask again at once.
        drop(place);
        match task {
            Task::Write(writing) => drop(writing.reply.send(Err(error))),
            Task::Score(scoring) => drop(scoring.reply.send(Err(error))),
        }
    }
}

impl Writing {
    /// Notes the token that was chosen from `logits`.
    pub(crate) fn push(&mut self, id: u32, logits: Vec<f32>) {
        self.so_far.ids.push(id);
        let top = self.options.top_logprobs;
        if top.is_some() || self.stream.is_some() {
            let score = TokenScore::of(&logits, id, top.unwrap_or(0));
            if let Some(stream) = &self.stream {
                // A reader that has gone away cancels the whole request.
                let _ = stream.try_send(score.clone());
            }
            if top.is_some() {
                self.so_far.scores.push(score);
            }
        }
        if self.options.capture == Capture::Logits {
            self.so_far.step_logits.push(logits);
        }
    }

    /// Whether the answer ends with its last token, unless the grammar has ended it.
    pub(crate) fn ends(&self, eos: &[u32]) -> Option<FinishReason> {
        let ids = &self.so_far.ids;
        if ids.last().is_some_and(|last| eos.contains(last)) {
            Some(FinishReason::Stop)
        } else if self.options.repetition.is_looping(ids) {
            Some(FinishReason::Repetition)
        } else if ids.len() >= self.options.max_new_tokens {
            Some(FinishReason::Length)
        } else {
            None
        }
    }
}

/// When a request got where.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) first_step: Option<Instant>,
    pub(crate) first_token: Option<Instant>,
    pub(crate) vision: Duration,
    pub(crate) cached_tokens: usize,
}

impl Progress {
    pub(crate) fn timings(&self, queued_at: Instant) -> Timings {
        let (first_step, first_token) =
            (self.first_step.unwrap_or(queued_at), self.first_token.unwrap_or(queued_at));
        Timings {
            preprocess: Duration::ZERO,
            queue: first_step - queued_at,
            vision: self.vision,
            prefill: first_token.saturating_duration_since(first_step).saturating_sub(self.vision),
            decode: first_token.elapsed(),
        }
    }
}
