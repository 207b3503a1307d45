//! When each frame was acquired.
//!
//! Order of trust (PS3.3 C.7.6.5): what Frame Increment Pointer names (Frame Time Vector or Frame Time), then either of
//! them unnamed, then a duration, then Cine Rate, then the display hint. A value that cannot be true is passed over with a
//! warning; two sources that differ by more than 10 % are a warning too.

use dicom_dictionary_std::tags;
use schemas::{ReasonCode, TimingSource};
use serde::{Deserialize, Serialize};

use super::warning;
use crate::prescan::Attributes;

/// Longest time between two frames that is still a cine, in ms.
const MAX_FRAME_MS: f64 = 60_000.0;
/// Sources may differ by this factor before it is worth a warning.
const TOLERANCE: f64 = 1.10;

/// The times of the frames, with their source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FrameTiming {
    /// Frame Time (0018,1063): ms between frames.
    FrameTime {
        /// Milliseconds.
        ms: f64,
    },
    /// Frame Time Vector (0018,1065), summed up: ms of each frame from the first.
    FrameTimeVector {
        /// Milliseconds, one per frame, never falling.
        times_ms: Vec<f64>,
    },
    /// Actual Frame Duration (0018,1242), or Effective Duration (0018,0072) over the frames.
    Duration {
        /// Milliseconds per frame.
        ms: f64,
    },
    /// Cine Rate (0018,0040).
    CineRate {
        /// Frames per second.
        fps: f64,
    },
    /// Recommended Display Frame Rate (0008,2144): for playback, not a measurement.
    RecommendedDisplayFrameRate {
        /// Frames per second.
        fps: f64,
    },
    /// Nothing usable: no claim about time may be made.
    Unknown,
}

impl FrameTiming {
    /// Where the times come from, in the words of the messages.
    pub fn source(&self) -> TimingSource {
        match self {
            Self::FrameTime { .. } => TimingSource::FrameTime,
            Self::FrameTimeVector { .. } => TimingSource::FrameTimeVector,
            Self::Duration { .. } => TimingSource::Duration,
            Self::CineRate { .. } => TimingSource::CineRate,
            Self::RecommendedDisplayFrameRate { .. } => TimingSource::RecommendedDisplayFrameRate,
            Self::Unknown => TimingSource::Unknown,
        }
    }

    /// Mean frames per second.
    pub fn fps(&self) -> Option<f64> {
        match self {
            Self::FrameTime { ms } | Self::Duration { ms } => Some(1000.0 / ms),
            Self::FrameTimeVector { times_ms } => {
                let steps = times_ms.len().checked_sub(1).filter(|steps| *steps > 0)?;
                let span = times_ms.last()? - times_ms.first()?;
                Some(1000.0 * steps as f64 / span)
            }
            Self::CineRate { fps } | Self::RecommendedDisplayFrameRate { fps } => Some(*fps),
            Self::Unknown => None,
        }
    }

    /// Milliseconds of the frame at `index` (from 0) after the first.
    pub fn time_ms(&self, index: u32) -> Option<f64> {
        match self {
            Self::FrameTimeVector { times_ms } => times_ms.get(index as usize).copied(),
            _ => Some(f64::from(index) * 1000.0 / self.fps()?),
        }
    }

    /// Milliseconds of each of `frames` frames; empty where timing is unknown.
    pub fn times_ms(&self, frames: u32) -> Vec<f64> {
        (0..frames).map_while(|index| self.time_ms(index)).collect()
    }
}

/// Reads the timing of a clip of `frames` frames. A single image has none.
pub(super) fn read(attributes: &Attributes, frames: u32, warnings: &mut Vec<ReasonCode>) -> FrameTiming {
    if frames < 2 {
        return FrameTiming::Unknown;
    }
    let vector = vector(attributes, frames, warnings);
    let frame_time = positive(attributes.number(tags::FRAME_TIME), MAX_FRAME_MS, warnings)
        .map(|ms| FrameTiming::FrameTime { ms });
    let points_to_vector = attributes
        .get(tags::FRAME_INCREMENT_POINTER)
        .is_some_and(|value| value.pointers().contains(&tags::FRAME_TIME_VECTOR));
    let by_pointer = if points_to_vector { [vector, frame_time] } else { [frame_time, vector] };

    let actual = positive(attributes.number(tags::ACTUAL_FRAME_DURATION), MAX_FRAME_MS, warnings);
    // Effective Duration is in seconds.
    let effective = positive(attributes.number(tags::EFFECTIVE_DURATION), 86_400.0, warnings)
        .map(|seconds| seconds * 1000.0 / f64::from(frames));
    let rate = |tag, warnings: &mut Vec<ReasonCode>| positive(attributes.number(tag), 10_000.0, warnings);
    let cine = rate(tags::CINE_RATE, warnings).map(|fps| FrameTiming::CineRate { fps });
    let display = rate(tags::RECOMMENDED_DISPLAY_FRAME_RATE, warnings)
        .map(|fps| FrameTiming::RecommendedDisplayFrameRate { fps });

    let duration = actual.or(effective).map(|ms| FrameTiming::Duration { ms });
    let known: Vec<_> = by_pointer.into_iter().chain([duration, cine, display]).flatten().collect();
    let rates: Vec<_> = known.iter().filter_map(FrameTiming::fps).collect();
    let (slow, fast) =
        rates.iter().fold((f64::MAX, 0.0_f64), |(lo, hi), rate| (lo.min(*rate), hi.max(*rate)));
    if fast > slow * TOLERANCE {
        warnings.push(warning::TIMING_CONFLICT);
    }
    known.into_iter().next().unwrap_or(FrameTiming::Unknown)
}

/// A number that is there, finite, above zero and below `limit`; otherwise a warning if it is there at all.
fn positive(number: Option<f64>, limit: f64, warnings: &mut Vec<ReasonCode>) -> Option<f64> {
    let number = number?;
    if number.is_finite() && number > 0.0 && number <= limit {
        return Some(number);
    }
    warnings.push(warning::TIMING_INVALID);
    None
}

/// Frame Time Vector holds increments (ms), the first one 0, one per frame.
fn vector(attributes: &Attributes, frames: u32, warnings: &mut Vec<ReasonCode>) -> Option<FrameTiming> {
    let increments = attributes.get(tags::FRAME_TIME_VECTOR)?.numbers().unwrap_or_default();
    let mut times_ms = Vec::with_capacity(increments.len());
    let mut now = 0.0;
    for (index, increment) in increments.iter().enumerate() {
        now += if index == 0 { 0.0 } else { *increment };
        times_ms.push(now);
    }
    let possible = increments.iter().all(|ms| (0.0..=MAX_FRAME_MS).contains(ms));
    if increments.len() != frames as usize || !possible || now <= 0.0 {
        warnings.push(warning::TIMING_INVALID);
        return None;
    }
    Some(FrameTiming::FrameTimeVector { times_ms })
}
