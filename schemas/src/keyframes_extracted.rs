//! `keyframes.extracted.v1`: the frames that carry the finding, masked, in the blob store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BlobRef, InstanceUid, Message, ReasonCode, SeriesUid, StudyHead, Timing, Topic, Verdict, View};

/// A frame's number as DICOM counts: from 1. The one place that converts to code's counting from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FrameNumber(#[schemars(range(min = 1))] pub u32);

impl FrameNumber {
    /// The number of the frame at `index`, counted from 0.
    pub fn from_index(index: u32) -> Self {
        Self(index.saturating_add(1))
    }

    /// The index counted from 0.
    pub fn index(self) -> u32 {
        self.0.saturating_sub(1)
    }
}

/// What a keyframe shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum KeyframeKind {
    /// End-diastole: the ventricle is fullest.
    ED,
    /// End-systole: the ventricle is emptiest.
    ES,
    /// A tile of a slide or field of view.
    #[serde(rename = "tile")]
    Tile,
}

/// How a keyframe was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyframeSource {
    /// R Wave Time Vector (0018,6060).
    RWave,
    /// R waves read off the electrocardiogram drawn in the picture.
    EcgStrip,
    /// The ventricular blood-area curve.
    AreaCurve,
    /// The largest and smallest blood area of the clip, because no cycle could be trusted.
    Extremes,
    /// The score of a tile: tissue, nuclei, focus, artefacts.
    TileScore,
    /// The whole image stands for itself.
    WholeImage,
}

/// One chosen frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Keyframe {
    /// What it shows.
    pub kind: KeyframeKind,
    /// Which frame of the instance, counted from 1.
    pub frame: FrameNumber,
    /// Milliseconds from the first frame; absent where timing is unknown.
    pub time_ms: Option<f64>,
    /// Which beat of the clip, counted from 1.
    pub beat: u32,
    /// 0 to 1.
    pub confidence: f64,
    /// How it was found.
    pub source: KeyframeSource,
    /// Left, top, width, height in pixels of the frame; absent for the whole frame.
    pub bbox: Option<[u32; 4]>,
    /// The masked picture, PNG, in area `frames`.
    pub image: BlobRef,
    /// The same tile with its stains brought to the reference, PNG, in area `frames`; absent for echo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalised: Option<BlobRef>,
}

/// A measurement from contours alone, independent of the model. Ratios only; volumes read low and are not given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Geometry {
    /// Ejection fraction in percent.
    pub ef_percent: f64,
    /// How, for example `single-plane discs`.
    pub method: String,
    /// Doubts about it.
    pub flags: Vec<ReasonCode>,
}

/// What was taken from one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Clip {
    /// Series Instance UID.
    pub series_uid: SeriesUid,
    /// SOP Instance UID.
    pub instance_uid: InstanceUid,
    /// The view, where known.
    pub view: Option<View>,
    /// How the frames lie in time.
    pub timing: Timing,
    /// The chosen frames, in order of frame number.
    pub keyframes: Vec<Keyframe>,
    /// The independent measurement, where the contours allow one.
    pub geometry: Option<Geometry>,
    /// Doubts about this clip, for example `PHASE_UNRELIABLE`.
    pub flags: Vec<ReasonCode>,
}

/// The frames that carry the finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct KeyframesExtracted {
    /// The study.
    pub study: StudyHead,
    /// The gate's verdict, carried along.
    pub verdict: Verdict,
    /// The gate's warnings, carried into the report.
    pub cautions: Vec<ReasonCode>,
    /// One entry for each instance that was read.
    pub clips: Vec<Clip>,
}

impl Message for KeyframesExtracted {
    const TOPIC: Topic = Topic { name: "keyframes.extracted.v1", major: 1, minor: 1 };

    fn study(&self) -> &StudyHead {
        &self.study
    }
}
