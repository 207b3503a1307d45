//! `instance.gated.v1`: the gate's word on one instance as it arrives, while the patient is still there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Bilingual, BlobRef, GatedInstance, Message, ReceivedFrom, StudyHead, Topic};

/// How far the word can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Spoken on arrival, for the technologist. The study's own verdict follows its completion and alone counts.
    Provisional,
}

/// One stored instance has been looked at. It may be missing: under load the gate skips instances, and the study's own
/// gate sees each of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct InstanceGated {
    /// The study, which is still open. `revision` is the one that will list the instance first; `priority` may still
    /// rise until then; `domain` is the instance's own.
    pub study: StudyHead,
    /// Always `provisional`.
    pub standing: Standing,
    /// Who sent it.
    pub received_from: ReceivedFrom,
    /// When it was stored (RFC 3339, UTC).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub received_at: jiff::Timestamp,
    /// The gate's word, by the same checks as the study's.
    pub instance: GatedInstance,
    /// What the technologist should do about `instance.code`; absent on `accept`.
    pub advice: Option<Bilingual>,
    /// One masked frame as PNG, in area `frames`; absent where no frame can be shown.
    pub picture: Option<BlobRef>,
}

impl Message for InstanceGated {
    const TOPIC: Topic = Topic { name: "instance.gated.v1", major: 1, minor: 0 };

    fn study(&self) -> &StudyHead {
        &self.study
    }
}
