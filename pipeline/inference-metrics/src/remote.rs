//! A model that a server elsewhere runs, which has metrics of its own: here is only what its caller sees.

use std::time::Duration;

use prometheus::{IntCounter, Registry};

use crate::{Call, Fault, Requests, counter, counters};

/// What was asked of a server elsewhere. Cheap to clone.
#[derive(Clone)]
pub struct RemoteMetrics {
    requests: Requests,
    prompt_tokens: IntCounter,
    generated_tokens: IntCounter,
}

impl RemoteMetrics {
    /// Declares the families.
    ///
    /// # Errors
    /// If one is declared already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let prompt_tokens = counters(
            registry,
            "prescreen_inference_prompt_tokens_total",
            "Tokens of prompts, as the server counts them; it alone knows which of them it had cached.",
            "kind",
        )?;
        let metrics = Self {
            requests: Requests::register(registry, "openai")?,
            prompt_tokens: prompt_tokens.with_label_values(&["remote"]),
            generated_tokens: counter(
                registry,
                "prescreen_inference_generated_tokens_total",
                "Tokens generated, as the server counts them.",
            )?,
        };
        for reason in ["stop", "length"] {
            metrics.requests.declare_finished(reason);
        }
        Ok(metrics)
    }

    /// The server answered one request and says how many tokens it took.
    pub fn answered(&self, call: Call, took: Duration, prompt_tokens: u32, generated_tokens: u32) {
        self.requests.answered(call, took);
        self.prompt_tokens.inc_by(prompt_tokens.into());
        self.generated_tokens.inc_by(generated_tokens.into());
    }

    /// An answer ended by itself, or at the token cap.
    pub fn finished(&self, whole: bool) {
        self.requests.finished(if whole { "stop" } else { "length" });
    }

    /// A request was not answered.
    pub fn failed(&self, fault: Fault) {
        self.requests.failed(fault);
    }
}
