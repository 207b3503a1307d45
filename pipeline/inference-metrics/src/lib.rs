//! What is counted about the model, by the same names wherever it runs: in the pipeline's process, behind
//! `serve-model`, or on somebody else's server.
//!
//! ```text
//!   EngineMetrics   the engine of this process     Requests + phases of each answer + its load, read at each scrape
//!   RemoteMetrics   a server elsewhere             Requests + the tokens that it says it used
//!   gpu::register   the card of the engine         memory, load, power (feature `nvml`)
//! ```
//! Invariants:
//! - Every label is one of a closed list of this crate.
//! - Nothing here waits: a scrape reads numbers that the engine's thread leaves lying.
//! - A family is declared only where it can have a value: no `kv_blocks` without a store in this process, no `gpu` without
//!   a card.

mod engine;
#[cfg(feature = "nvml")]
pub mod gpu;
mod load;
mod pulled;
mod remote;

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

pub use engine::{EngineMetrics, Gaps};
pub use remote::RemoteMetrics;

/// Seconds of a whole request: vLLM's buckets of request latency from 0.3 on, and finer ones below for small models.
pub(crate) const REQUEST: [f64; 20] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0,
    480.0, 1920.0,
];

/// What is asked of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// An answer.
    Generate,
    /// The probabilities of continuations.
    Score,
}

impl Call {
    const ALL: [Self; 2] = [Self::Generate, Self::Score];

    fn label(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Score => "score",
        }
    }
}

/// Why a request was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No place is free; the model works.
    Full,
    /// The request cannot be answered by any model; this one works.
    Refused,
    /// The model cannot be asked for the moment.
    Unavailable,
    /// The engine has ended, computes no numbers, or another model answers.
    Broken,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Full, Self::Refused, Self::Unavailable, Self::Broken];

    fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Broken => "broken",
        }
    }

    /// Whether the model is none the worse for it.
    fn is_up(self) -> bool {
        matches!(self, Self::Full | Self::Refused)
    }
}

/// What every way of asking counts.
#[derive(Clone)]
pub(crate) struct Requests {
    seconds: HistogramVec,
    errors: IntCounterVec,
    finished: IntCounterVec,
    up: IntGauge,
}

impl Requests {
    /// Declares the families; `backend` is up until a request says otherwise: it was reached to be set up.
    pub(crate) fn register(registry: &Registry, backend: &str) -> Result<Self, prometheus::Error> {
        let up = IntGaugeVec::new(
            Opts::new(
                "prescreen_inference_backend_up",
                "1 while the model can be asked, by the last request; 0 after one that it failed.",
            ),
            &["backend"],
        )?;
        let requests = Self {
            seconds: declared(
                registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "prescreen_inference_request_seconds",
                        "Seconds of an answered request as its caller sees it (vllm:e2e_request_latency_seconds).",
                    )
                    .buckets(REQUEST.to_vec()),
                    &["call"],
                )?,
            )?,
            errors: counters(
                registry,
                "prescreen_inference_errors_total",
                "Requests that were not answered, by kind.",
                "kind",
            )?,
            finished: counters(
                registry,
                "prescreen_inference_finished_total",
                "Answers, by what ended them (vllm:request_success_total).",
                "reason",
            )?,
            up: declared(registry, up)?.with_label_values(&[backend]),
        };
        for call in Call::ALL {
            let _ = requests.seconds.with_label_values(&[call.label()]);
        }
        for fault in Fault::ALL {
            let _ = requests.errors.with_label_values(&[fault.label()]);
        }
        requests.up.set(1);
        Ok(requests)
    }

    pub(crate) fn answered(&self, call: Call, took: Duration) {
        self.seconds.with_label_values(&[call.label()]).observe(took.as_secs_f64());
        self.up.set(1);
    }

    pub(crate) fn failed(&self, fault: Fault) {
        self.errors.with_label_values(&[fault.label()]).inc();
        self.up.set(i64::from(fault.is_up()));
    }

    /// A series that begins at its first event has lost that event to every rate.
    pub(crate) fn declare_finished(&self, reason: &'static str) {
        let _ = self.finished.with_label_values(&[reason]);
    }

    /// `reason` is of a closed list of the caller.
    pub(crate) fn finished(&self, reason: &'static str) {
        self.finished.with_label_values(&[reason]).inc();
    }
}

/// `family`, declared on `registry`.
fn declared<C: Collector + Clone + 'static>(registry: &Registry, family: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<IntCounterVec, prometheus::Error> {
    declared(registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    declared(registry, IntCounter::new(name, help)?)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
) -> Result<Histogram, prometheus::Error> {
    declared(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
}
