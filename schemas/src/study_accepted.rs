//! `study.accepted.v1`: at least one instance is fit to be read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    BlobRef, Check, InstanceUid, Message, ReasonCode, SeriesUid, StudyHead, Timing, Topic, Verdict, View,
};

/// The gate's word on one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct GatedInstance {
    /// Series Instance UID.
    pub series_uid: SeriesUid,
    /// SOP Instance UID.
    pub instance_uid: InstanceUid,
    /// The bytes as received.
    pub blob: BlobRef,
    /// Number of frames.
    pub frames: u32,
    /// Whether the gate's purpose applies at all; colour, Doppler, stills and documents are not failures.
    pub applicable: bool,
    /// The verdict; meaningless where not applicable (then `reject`, with the code that says why).
    pub verdict: Verdict,
    /// The code that decided, if the verdict is not `accept`.
    pub code: Option<ReasonCode>,
    /// The view, where the header names one.
    pub view: Option<View>,
    /// How the frames lie in time; absent where the header could not be read.
    pub timing: Option<Timing>,
    /// Every check with value, threshold and verdict.
    pub checks: Vec<Check>,
}

/// At least one instance of the study is fit to be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StudyAccepted {
    /// The study.
    pub study: StudyHead,
    /// `accept`, or `caution` if every fit instance carries a warning.
    pub verdict: Verdict,
    /// Every instance, fit or not.
    pub instances: Vec<GatedInstance>,
}

impl Message for StudyAccepted {
    const TOPIC: Topic = Topic { name: "study.accepted.v1", major: 1, minor: 0 };

    fn study(&self) -> &StudyHead {
        &self.study
    }
}
