//! What the server counts: the engine's families as the pipeline has them, and refusals.

use axum::http::StatusCode;
use glm46v::EngineHandle;
use inference_metrics::EngineMetrics;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry, TextEncoder};

/// The server's metrics.
#[derive(Clone)]
pub(crate) struct ServerMetrics {
    registry: Registry,
    pub(crate) engine: EngineMetrics,
    refused: IntCounterVec,
    auth_failures: IntCounter,
}

impl ServerMetrics {
    /// Declares all on `registry`.
    pub(crate) fn new(registry: Registry, engine: EngineHandle) -> Result<Self, prometheus::Error> {
        let refused =
            Opts::new("prescreen_inference_refused_total", "Requests not answered, by HTTP status.");
        let refused = IntCounterVec::new(refused, &["status"])?;
        let auth_failures =
            IntCounter::new("prescreen_auth_failures_total", "Requests without a valid key.")?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(auth_failures.clone()))?;
        let engine = EngineMetrics::register(&registry, engine)?;
        Ok(Self { registry, engine, refused, auth_failures })
    }

    pub(crate) fn refused(&self, status: StatusCode) {
        self.refused.with_label_values(&[status.as_str()]).inc();
    }

    pub(crate) fn wrong_key(&self) {
        self.auth_failures.inc();
    }

    pub(crate) fn page(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
