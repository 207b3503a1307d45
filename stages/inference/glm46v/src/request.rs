//! What callers ask for, and what they get.

use std::time::{Duration, Instant};

use crate::grammar::Grammar;
use crate::processor::Prompt;
use crate::sampler::{RepetitionStop, Sampling, TokenScore};
use crate::scheduler::Priority;

/// A request: what is said and shown, how to answer, and how soon.
#[derive(Debug, Clone)]
pub struct Request {
    /// Messages and thinking.
    pub prompt: Prompt,
    /// What the answer begins with, as if the model had written it; it goes on from there. Not part of
    /// [`Generation::text`]. Empty for an answer from its start.
    pub answer_prefix: String,
    /// How the answer is written.
    pub options: GenerateOptions,
    /// What the answer, prefix included, is held to, if anything.
    pub grammar: Option<Grammar>,
    /// Before or behind other requests.
    pub priority: Priority,
    /// When the answer is of no more use: the request ends with
    /// [`RequestError::DeadlineExceeded`](crate::RequestError::DeadlineExceeded).
    pub deadline: Option<Instant>,
}

impl Request {
    /// A routine request without a grammar or a deadline.
    pub fn new(prompt: Prompt, options: GenerateOptions) -> Self {
        Self {
            prompt,
            answer_prefix: String::new(),
            options,
            grammar: None,
            priority: Priority::Routine,
            deadline: None,
        }
    }
}

/// How an answer is written, when it ends, and what is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenerateOptions {
    /// Tokens after which the answer is cut off; at least 1.
    pub max_new_tokens: usize,
    /// When a repeating answer is cut off.
    pub repetition: RepetitionStop,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Whether the log-probability of each token is kept, and of how many alternatives beside it.
    pub top_logprobs: Option<usize>,
    /// Whether the prompt's ids and the scores of every step are kept.
    pub capture: Capture,
}

impl Default for GenerateOptions {
    /// Greedy, up to 512 tokens, cut off when it repeats itself; only the answer is kept.
    fn default() -> Self {
        Self {
            max_new_tokens: 512,
            repetition: RepetitionStop::DEFAULT,
            sampling: Sampling::Greedy,
            top_logprobs: None,
            capture: Capture::Nothing,
        }
    }
}

/// What to keep of the computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// Only the answer.
    Nothing,
    /// The prompt's ids and, per generated token, the scores it was chosen from: vocabulary × 4 bytes each.
    Logits,
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model wrote an end token, or the grammar's answer is complete.
    Stop,
    /// `max_new_tokens` are written.
    Length,
    /// The answer repeats itself.
    Repetition,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// What follows the answer prefix, without control tokens; with `<think>…</think>` where the model wrote it.
    pub text: String,
    /// Generated ids, the end token included.
    pub token_ids: Vec<u32>,
    /// One for each generated id, where `top_logprobs` asked for them.
    pub scores: Vec<TokenScore>,
    /// Why it ends.
    pub finish_reason: FinishReason,
    /// Tokens of the prompt, vision tokens and answer prefix included.
    pub prompt_tokens: usize,
    /// Tokens of the prompt that stand for pictures.
    pub vision_tokens: usize,
    /// Tokens of the prompt that another request had computed.
    pub cached_tokens: usize,
    /// Where the time went.
    pub timings: Timings,
    /// What [`Capture::Logits`] keeps.
    pub captured: Option<Captured>,
}

impl Generation {
    /// Log-probability of the whole of what was generated: the sum over its tokens, natural logarithm, as the model gave
    /// them before any grammar or temperature. Absent where `top_logprobs` did not ask for scores.
    pub fn log_probability(&self) -> Option<f64> {
        let scored = self.scores.len() == self.token_ids.len();
        scored.then(|| self.scores.iter().map(|score| f64::from(score.logprob)).sum())
    }

    /// Number of generated ids.
    pub fn generated_tokens(&self) -> usize {
        self.token_ids.len()
    }
}

/// Wall time of the phases of one request. While it runs, the engine also works on others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Template, tokenizer, resizing, patches; on the caller's thread.
    pub preprocess: Duration,
    /// Waiting for the engine.
    pub queue: Duration,
    /// The vision tower on its pictures.
    pub vision: Duration,
    /// From its first step to its first token, without vision.
    pub prefill: Duration,
    /// From its first token to its last.
    pub decode: Duration,
}

/// The model's input and scores, for comparisons.
#[derive(Debug, Clone, PartialEq)]
pub struct Captured {
    /// Ids of the prompt, placeholders repeated.
    pub input_ids: Vec<u32>,
    /// Per generated token, the scores of all ids it was chosen from.
    pub step_logits: Vec<Vec<f32>>,
}
