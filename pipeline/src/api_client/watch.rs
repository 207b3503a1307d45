//! What operators ask the running system.

use console::site::{RedriveRequest, Redriven, TapRequest, TappedRecord};

use super::{ApiClient, ApiError};

/// Who acts, for the audit log.
const ACTOR: &str = "x-prescreen-actor";

impl ApiClient {
    /// `GET /api/tap`
    pub(crate) fn tap(&self, request: &TapRequest) -> Result<Vec<TappedRecord>, ApiError> {
        let url = format!("{}/api/tap", self.url);
        let call = self
            .agent
            .get(&url)
            .header("authorization", self.bearer())
            .query("topic", &request.topic)
            .query("count", request.count.to_string())
            .query("wait_ms", request.wait_ms.to_string())
            .query("rate_per_s", request.rate_per_s.to_string());
        Self::read(&url, call.call())
    }

    /// `POST /api/dead-letters/redrive`
    pub(crate) fn redrive(&self, request: &RedriveRequest) -> Result<Redriven, ApiError> {
        let url = format!("{}/api/dead-letters/redrive", self.url);
        let call = self.agent.post(&url).header("authorization", self.bearer());
        Self::read(&url, call.send_json(request))
    }

    /// `POST /api/stages/{stage}/pause`, or `resume`
    pub(crate) fn set_paused(&self, stage: &str, paused: bool, by: &str) -> Result<(), ApiError> {
        let url = format!("{}/api/stages/{stage}/{}", self.url, if paused { "pause" } else { "resume" });
        let call = self.agent.post(&url).header("authorization", self.bearer()).header(ACTOR, by);
        Self::read(&url, call.send_empty())
    }
}
