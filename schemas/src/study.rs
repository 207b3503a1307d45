//! What every message says of its study, and the clinical words the messages share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Revision, StudyUid};

/// The kind of examination, which decides the gate, the keyframes and the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// Echocardiography cine loops.
    Echo,
    /// H&E pathology images.
    Pathology,
    /// Neither could be told from the instances.
    Unknown,
}

/// The lane a study travels in. Fixed at revision 1 and inherited by later revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before routine studies, four to one.
    Urgent,
    /// Everything else.
    Routine,
}

/// What each message repeats of its study, so that no stage needs a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StudyHead {
    /// Study Instance UID; also the Kafka key.
    pub study_uid: StudyUid,
    /// Which closing of the study this is.
    pub revision: Revision,
    /// The lane.
    pub priority: Priority,
    /// The kind of examination.
    pub domain: Domain,
    /// A phantom: marked by private creator `PRESCREEN PHANTOM`, or ingested with `--synthetic`.
    pub synthetic: bool,
}

/// Echocardiographic view (CID 12226) as far as it is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum View {
    /// Apical four chamber.
    A4C,
    /// Apical two chamber.
    A2C,
    /// Parasternal long axis.
    PLAX,
    /// Parasternal short axis.
    PSAX,
    /// Subcostal.
    #[serde(rename = "SUBCOSTAL")]
    Subcostal,
    /// Named by the device or the model, but none of the above.
    #[serde(rename = "OTHER")]
    Other,
}

/// Where the time of a frame comes from, in the order of trust (DICOM PS3.3 C.7.6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TimingSource {
    /// Frame Time (0018,1063) by Frame Increment Pointer.
    FrameTime,
    /// Frame Time Vector (0018,1065) by Frame Increment Pointer.
    FrameTimeVector,
    /// Actual Frame Duration (0018,1242) or Effective Duration (0018,0072) over the frames.
    Duration,
    /// Cine Rate (0018,0040).
    CineRate,
    /// Recommended Display Frame Rate (0008,2144): a playback hint.
    RecommendedDisplayFrameRate,
    /// None of them: no claim about time may be made.
    Unknown,
}

/// How the frames of a clip lie in time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Timing {
    /// Where the times come from.
    pub source: TimingSource,
    /// Mean frames per second; absent where timing is unknown.
    pub fps: Option<f64>,
}
