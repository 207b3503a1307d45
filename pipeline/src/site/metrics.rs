//! What the console's and the API's callers did.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use replay::result::{Ended, StageResult};

/// What is counted about callers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SiteMetrics {
    pub(super) auth_failures: IntCounter,
    replay_items: IntCounterVec,
}

impl SiteMetrics {
    /// Declares the families on `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            auth_failures: IntCounter::new(
                "prescreen_auth_failures_total",
                "Requests to change something without a valid token.",
            )?,
            replay_items: IntCounterVec::new(
                Opts::new(
                    "prescreen_replay_items_total",
                    "Steps that replays have stored here, by what they came to.",
                ),
                &["outcome"],
            )?,
        };
        registry.register(Box::new(metrics.auth_failures.clone()))?;
        registry.register(Box::new(metrics.replay_items.clone()))?;
        for ended in [Ended::Emitted, Ended::Rejected, Ended::Failed] {
            let _ = metrics.replay_items.with_label_values(&[outcome(ended)]);
        }
        Ok(metrics)
    }

    /// A replay stored `results`.
    pub(super) fn replayed(&self, results: &[StageResult]) {
        for result in results {
            self.replay_items.with_label_values(&[outcome(result.ended)]).inc();
        }
    }
}

fn outcome(ended: Ended) -> &'static str {
    match ended {
        Ended::Emitted => "emitted",
        Ended::Rejected => "rejected",
        Ended::Failed => "failed",
    }
}
