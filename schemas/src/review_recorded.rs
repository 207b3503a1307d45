//! `review.recorded.v1`: what a physician decided, published from the store's outbox after the fact; never the authority.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{EventId, Message, StudyHead, Topic};

/// What the physician did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReviewAction {
    /// Confirmed as it stands.
    Confirm,
    /// Confirmed with changes.
    Correct,
    /// Refused.
    Reject,
    /// Objected to; stays open until answered.
    Object,
}

/// A physician's decision on a report. Names and free text stay in the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ReviewRecorded {
    /// The study.
    pub study: StudyHead,
    /// The review's id in the database.
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub review_id: Uuid,
    /// The report event it is about.
    pub report: EventId,
    /// What was decided.
    pub action: ReviewAction,
    /// The corrected ejection fraction in percent, if one was given.
    #[schemars(range(min = 0, max = 100))]
    pub corrected_ef_percent: Option<u8>,
    /// When (RFC 3339, UTC).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub decided_at: jiff::Timestamp,
}

impl Message for ReviewRecorded {
    const TOPIC: Topic = Topic { name: "review.recorded.v1", major: 1, minor: 0 };

    fn study(&self) -> &StudyHead {
        &self.study
    }
}
