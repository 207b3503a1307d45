//! `study.rejected.v1`: a clinical, expected end: why the study cannot be read and what to re-acquire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Bilingual, GatedInstance, InstanceUid, Message, ReasonCode, StudyHead, Topic};

/// One reason, for one instance or for the whole study.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RejectionReason {
    /// Stable code, for example `BLUR`.
    pub code: ReasonCode,
    /// The instance it is about; absent for the study as a whole.
    pub instance_uid: Option<InstanceUid>,
    /// What the technologist should do.
    pub advice: Bilingual,
}

/// What a stage says when it rejects a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Rejection {
    /// At least one reason, the deciding one first.
    pub reasons: Vec<RejectionReason>,
    /// The gate's word on each instance; empty where a later stage rejects.
    pub instances: Vec<GatedInstance>,
}

/// A stage rejected the study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StudyRejected {
    /// The study.
    pub study: StudyHead,
    /// The stage that rejected it.
    pub stage: String,
    /// Why.
    pub rejection: Rejection,
}

impl Message for StudyRejected {
    const TOPIC: Topic = Topic { name: "study.rejected.v1", major: 1, minor: 0 };

    fn study(&self) -> &StudyHead {
        &self.study
    }
}
