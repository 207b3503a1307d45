//! The engine of this process.

use std::time::{Duration, Instant};

use glm46v::{EngineHandle, FinishReason, Generation, Pending, RequestError};
use prometheus::{Histogram, Registry};

use crate::{Call, Fault, REQUEST, Requests, histogram, load::Load};

/// Seconds to a first token: vLLM's buckets.
const FIRST_TOKEN: [f64; 20] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    160.0, 640.0,
];
/// Seconds from token to token: vLLM's buckets from 0.01 on, and finer ones below for small models.
const BETWEEN_TOKENS: [f64; 20] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
    5.0, 10.0, 40.0,
];

/// What the engine of this process did. Cheap to clone.
#[derive(Clone)]
pub struct EngineMetrics {
    requests: Requests,
    queue: Histogram,
    preprocess: Histogram,
    vision: Histogram,
    prefill: Histogram,
    decode: Histogram,
    first_token: Histogram,
    between_tokens: Histogram,
}

impl EngineMetrics {
    /// Declares the families, and reads the load of `engine` at each scrape.
    ///
    /// # Errors
    /// If one is declared already.
    pub fn register(registry: &Registry, engine: EngineHandle) -> Result<Self, prometheus::Error> {
        registry.register(Box::new(Load::of(engine)?))?;
        let phase = |name: &str, help: &str| {
            histogram(registry, &format!("prescreen_inference_{name}_seconds"), help, &REQUEST)
        };
        let metrics = Self {
            requests: Requests::register(registry, "engine")?,
            queue: phase(
                "queue",
                "Seconds an answer waited for the engine (vllm:request_queue_time_seconds).",
            )?,
            preprocess: phase(
                "preprocess",
                "Seconds of template, tokenizer, resizing and patches for an answer.",
            )?,
            vision: phase("vision_encode", "Seconds of the vision tower on the pictures of an answer.")?,
            prefill: phase(
                "prefill",
                "Seconds from an answer's first step to its first token, vision apart (vllm:request_prefill_time_seconds).",
            )?,
            decode: phase(
                "decode",
                "Seconds from an answer's first token to its last (vllm:request_decode_time_seconds).",
            )?,
            first_token: histogram(
                registry,
                "prescreen_inference_time_to_first_token_seconds",
                "Seconds from asking to the first token (vllm:time_to_first_token_seconds).",
                &FIRST_TOKEN,
            )?,
            between_tokens: histogram(
                registry,
                "prescreen_inference_inter_token_latency_seconds",
                "Seconds from one token to the next as the caller sees them (vllm:inter_token_latency_seconds).",
                &BETWEEN_TOKENS,
            )?,
        };
        for reason in [FinishReason::Stop, FinishReason::Length, FinishReason::Repetition] {
            metrics.requests.declare_finished(label(reason));
        }
        Ok(metrics)
    }

    /// Waits for an answer that streams, and notes when its tokens come. `asked_at` is when it was asked for.
    pub fn answer(&self, mut pending: Pending, asked_at: Instant) -> Result<Generation, RequestError> {
        let mut gaps = self.gaps();
        while pending.next_token().is_some() {
            gaps.token();
        }
        let answer = pending.wait()?;
        self.generated(&answer, asked_at.elapsed());
        Ok(answer)
    }

    /// For whoever takes the tokens of an answer one by one.
    pub fn gaps(&self) -> Gaps<'_> {
        Gaps { between_tokens: &self.between_tokens, last: None }
    }

    /// An answer came `took` after it was asked for.
    pub fn generated(&self, answer: &Generation, took: Duration) {
        let timings = answer.timings;
        for (phase, time) in [
            (&self.queue, timings.queue),
            (&self.preprocess, timings.preprocess),
            (&self.vision, timings.vision),
            (&self.prefill, timings.prefill),
            (&self.decode, timings.decode),
            (&self.first_token, timings.preprocess + timings.queue + timings.vision + timings.prefill),
        ] {
            phase.observe(time.as_secs_f64());
        }
        self.requests.finished(label(answer.finish_reason));
        self.requests.answered(Call::Generate, took);
    }

    /// Continuations were scored.
    pub fn scored(&self, took: Duration) {
        self.requests.answered(Call::Score, took);
    }

    /// A request was not answered.
    pub fn failed(&self, error: &RequestError) {
        self.requests.failed(match error {
            RequestError::QueueFull { .. } => Fault::Full,
            RequestError::EngineGone
            | RequestError::LogitsNotFinite { .. }
            | RequestError::Compute { .. } => Fault::Broken,
            _ => Fault::Refused,
        });
    }
}

fn label(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Repetition => "repetition",
    }
}

/// When the tokens of one answer come.
pub struct Gaps<'a> {
    between_tokens: &'a Histogram,
    last: Option<Instant>,
}

impl Gaps<'_> {
    /// A token is here.
    pub fn token(&mut self) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.between_tokens.observe((now - last).as_secs_f64());
        }
    }
}
