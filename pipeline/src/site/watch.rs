//! The operator's view of the running system.

use std::sync::PoisonError;

use console::site::{
    DeadLetterFilter, DeadLetterRow, GraphNode, HistoryPoint, RedriveRequest, Redriven, SiteError,
    TapRequest, TappedRecord, Watch,
};

use super::{LiveSite, database};
use crate::{
    control::{Ask, ControlError, set_paused},
    exit::Failure,
    graph,
    redrive::{RedriveError, Redriver},
    store,
    tap::{TapError, tap},
};

/// What the caller is told of a part that does not answer; the log has the causes.
fn unavailable(part: &'static str, error: impl Into<Failure>) -> SiteError {
    tracing::warn!(error = error.into().chain(), part, "an operator's request failed");
    SiteError::Unavailable { part }
}

impl Watch for LiveSite {
    fn graph(&self) -> Vec<GraphNode> {
        graph::nodes()
    }

    fn history(&self) -> Result<Vec<HistoryPoint>, SiteError> {
        Ok(self.backlog.history())
    }

    fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterRow>, SiteError> {
        store::dead_letters(&self.database, filter).map_err(database)
    }

    fn redrive(&self, request: &RedriveRequest) -> Result<Redriven, SiteError> {
        let _alone = self.redriving.lock().unwrap_or_else(PoisonError::into_inner);
        let redriver = Redriver { client: &self.client, database: &self.database, blobs: &self.blobs };
        redriver.run(request).map_err(|error| {
            let part = match &error {
                RedriveError::Database(_) => "database",
                RedriveError::Read(_) | RedriveError::Client(_) | RedriveError::Publish(_) => "broker",
                RedriveError::Blobs(_) => "blob store",
            };
            unavailable(part, error)
        })
    }

    fn tap(&self, request: &TapRequest) -> Result<Vec<TappedRecord>, SiteError> {
        tap(&self.client, &self.log_key, request).map_err(|error| match error {
            TapError::Unknown { .. } => SiteError::Refused(error.to_string()),
            TapError::Topic(_) => unavailable("broker", error),
        })
    }

    fn set_paused(&self, stage: &str, paused: bool, by: &str) -> Result<(), SiteError> {
        let ask = Ask { stage, paused, by };
        set_paused(&self.client, &self.database, &self.switches, &ask).map_err(|error| match error {
            ControlError::NotPausable { .. } => SiteError::Refused(error.to_string()),
            ControlError::Database(_) => unavailable("database", error),
            _ => unavailable("broker", error),
        })
    }
}
