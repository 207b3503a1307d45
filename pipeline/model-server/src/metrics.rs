//! What the server counts. Names as the pipeline's own inference metrics; each says what it corresponds to in vLLM.

use std::time::Duration;

use axum::http::StatusCode;
use glm46v::{EngineLoad, FinishReason, Generation};
use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Seconds, as vLLM's buckets of request latency.
const SECONDS: [f64; 16] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0];

/// The server's metrics, in a registry of their own.
#[derive(Clone)]
pub struct ServerMetrics {
    registry: Registry,
    phases: HistogramVec,
    finished: IntCounterVec,
    refused: IntCounterVec,
    state: IntGaugeVec,
    totals: IntGaugeVec,
}

impl ServerMetrics {
    /// All at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let phases = HistogramVec::new(
            HistogramOpts::new(
                "prescreen_inference_phase_seconds",
                "Time of a request in each phase: preprocess, queue (vllm:request_queue_time_seconds), vision, prefill \
                 (vllm:request_prefill_time_seconds), decode (vllm:request_decode_time_seconds), total \
                 (vllm:e2e_request_latency_seconds).",
            )
            .buckets(SECONDS.to_vec()),
            &["phase"],
        )?;
        let finished = IntCounterVec::new(
            Opts::new(
                "prescreen_inference_finished_total",
                "Answers by why they end (vllm:request_success_total).",
            ),
            &["reason"],
        )?;
        let refused = IntCounterVec::new(
            Opts::new("prescreen_inference_refused_total", "Requests refused, by HTTP status."),
            &["status"],
        )?;
        let state = IntGaugeVec::new(
            Opts::new(
                "prescreen_inference_state",
                "Now: requests running (vllm:num_requests_running) and waiting (vllm:num_requests_waiting), blocks of \
                 the key-value store and those used (vllm:kv_cache_usage_perc).",
            ),
            &["of"],
        )?;
        let totals = IntGaugeVec::new(
            Opts::new(
                "prescreen_inference_since_start",
                "Since the engine started: steps, rows, prompt and cached tokens (vllm:prefix_cache_hits), generated \
                 tokens (vllm:generation_tokens_total), scored continuations, preemptions (vllm:num_preemptions_total), pictures looked at.",
            ),
            &["of"],
        )?;
        registry.register(Box::new(phases.clone()))?;
        registry.register(Box::new(finished.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(state.clone()))?;
        registry.register(Box::new(totals.clone()))?;
        Ok(Self { registry, phases, finished, refused, state, totals })
    }

    pub(crate) fn finished(&self, answer: &Generation, total: Duration) {
        let timings = answer.timings;
        for (phase, time) in [
            ("preprocess", timings.preprocess),
            ("queue", timings.queue),
            ("vision", timings.vision),
            ("prefill", timings.prefill),
            ("decode", timings.decode),
            ("total", total),
        ] {
            self.phases.with_label_values(&[phase]).observe(time.as_secs_f64());
        }
        let reason = match answer.finish_reason {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::Repetition => "repetition",
        };
        self.finished.with_label_values(&[reason]).inc();
    }

    pub(crate) fn refused(&self, status: StatusCode) {
        self.refused.with_label_values(&[status.as_str()]).inc();
    }

    pub(crate) fn page(&self, load: EngineLoad) -> Result<String, prometheus::Error> {
        for (of, value) in [
            ("running", load.running),
            ("waiting", load.waiting),
            ("kv_blocks_used", load.kv_blocks_used),
            ("kv_blocks", load.kv_blocks),
        ] {
            self.state.with_label_values(&[of]).set(value.cast_signed());
        }
        for (of, value) in [
            ("steps", load.steps),
            ("rows", load.rows),
            ("prompt_tokens", load.prompt_tokens),
            ("cached_tokens", load.cached_tokens),
            ("generated_tokens", load.generated_tokens),
            ("scored_continuations", load.scored_continuations),
            ("preemptions", load.preemptions),
            ("pictures", load.pictures),
            ("cached_pictures", load.cached_pictures),
        ] {
            self.totals.with_label_values(&[of]).set(value.cast_signed());
        }
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        String::from_utf8(page).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}
