//! Which frames of a video the model sees, and the time that is written beside each.
//!
//! Two frames make one temporal group; each group is a picture of its own in the prompt, followed by the time of its
//! first frame. Source: transformers `video_processing_glm46v.py`, `video_processing_glm4v.py` (`sample_frames`),
//! `processing_glm46v.py` (`replace_video_token`).

use image::RgbImage;

use crate::picture_config::{VideoConfig, VideoGeneration};

/// A video: frames of one size, and when they were taken.
#[derive(Debug, Clone)]
pub struct Video {
    /// In order of time.
    pub frames: Vec<RgbImage>,
    /// When.
    pub timing: FrameTiming,
}

impl Video {
    /// Seconds between two frames where the model samples a clip most densely: 3 frames a second for each of the two
    /// frames of a temporal patch.
    pub const STEP_SECONDS: f64 = 1.0 / 6.0;

    /// Frames that somebody chose, for whose order alone matters: times 0, [`Video::STEP_SECONDS`] and so on, as the frames
    /// of a sampled clip would have.
    pub fn of_chosen(frames: Vec<RgbImage>) -> Self {
        let seconds = (0..frames.len()).map(|frame| frame as f64 * Self::STEP_SECONDS).collect();
        Self { frames, timing: FrameTiming::Chosen { seconds } }
    }

    /// Two frames that become one temporal patch: the model sees both at once, under the time of the first, 0 seconds.
    pub fn pair([first, second]: [RgbImage; 2]) -> Self {
        Self::of_chosen(vec![first, second])
    }
}

/// When frames were taken. There is no default rate: a wrong one would give wrong times to the model.
#[derive(Debug, Clone, PartialEq)]
pub enum FrameTiming {
    /// A whole clip at a constant rate, of which the checkpoint's rule takes a sample.
    Clip {
        /// Frames per second.
        fps: f64,
    },
    /// Frames that somebody chose; all of them go to the model.
    Chosen {
        /// The time of each frame in seconds.
        seconds: Vec<f64>,
    },
}

/// Indices of the frames to take of a clip of `frames` at `fps`: an even number, the last one repeated where needed.
/// Empty where the clip is too short for the rule.
pub fn sample_frames(config: &VideoConfig, temporal_patch: usize, frames: usize, fps: f64) -> Vec<usize> {
    let Some(last) = frames.checked_sub(1) else { return Vec::new() };
    let duration = frames as f64 / fps;
    let chosen = match config.generation {
        VideoGeneration::Glm46v => falling_rate(temporal_patch, frames, fps, duration),
        VideoGeneration::Glm41v if duration <= config.max_duration => {
            let count = ((duration * config.fps).floor() as usize).max(1);
            (0..count).map(|i| ((i as f64 * fps / config.fps).ceil() as usize).min(last)).collect()
        }
        VideoGeneration::Glm41v => {
            let count = (config.max_duration * config.fps) as usize;
            if count >= frames {
                (0..frames).collect()
            } else {
                linspace(0.0, duration, count).map(|t| ((t * fps).ceil() as usize).min(last)).collect()
            }
        }
    };
    let mut unique = in_order_without_repeats(chosen);
    if unique.len() % 2 == 1 {
        unique.extend(unique.last().copied());
    }
    unique
}

/// 4.6V: 3 frames a second up to 30 s, 1 up to 300 s, one every two seconds beyond, twice that many frames for the
/// temporal patch, at most 640.
fn falling_rate(temporal_patch: usize, frames: usize, fps: f64, duration: f64) -> Vec<usize> {
    const MOST_FRAMES: usize = 640;
    const LONGEST_SECONDS: f64 = 2400.0;
    let seconds = duration.min(LONGEST_SECONDS);
    let rate = if seconds <= 30.0 {
        3.0
    } else if seconds <= 300.0 {
        1.0
    } else {
        0.5
    };
    let wanted = ((seconds * rate * temporal_patch as f64) as usize).min(MOST_FRAMES);
    let evenly = |first: usize, last: usize| -> Vec<usize> {
        linspace(first as f64, last as f64, wanted).map(|i| i as usize).collect()
    };
    let chosen = if frames < wanted {
        evenly(0, frames - 1)
    } else {
        let spacing = 1.0 / (temporal_patch as f64 * rate);
        let end = duration.trunc();
        let (mut next, mut by_time) = (0.0, Vec::new());
        // `frame * (1 / fps)`, not `frame / fps`: the rounding decides which frame a tie takes.
        let frame_seconds = 1.0 / fps;
        for frame in 0..frames {
            if frame as f64 * frame_seconds >= next {
                next += spacing;
                by_time.push(frame);
                if next >= end {
                    break;
                }
            }
        }
        by_time
    };
    match chosen.len().cmp(&wanted) {
        std::cmp::Ordering::Equal => chosen,
        std::cmp::Ordering::Greater => evenly(0, frames - 1),
        std::cmp::Ordering::Less => match (chosen.first(), chosen.last()) {
            (Some(first), Some(last)) => evenly(*first, *last),
            _ => evenly(0, frames - 1),
        },
    }
}

/// `numpy.linspace`: `count` numbers, both ends included.
fn linspace(start: f64, stop: f64, count: usize) -> impl Iterator<Item = f64> {
    let step = if count > 1 { (stop - start) / (count - 1) as f64 } else { 0.0 };
    (0..count).map(move |i| if i > 0 && i == count - 1 { stop } else { i as f64 * step + start })
}

fn in_order_without_repeats(indices: Vec<usize>) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    indices.into_iter().filter(|index| seen.insert(*index)).collect()
}

/// The text after a frame group.
pub(crate) fn timestamp(generation: VideoGeneration, seconds: f64) -> String {
    match generation {
        VideoGeneration::Glm46v => format!("{seconds:.1} seconds"),
        VideoGeneration::Glm41v => format!("{}", seconds as i64),
    }
}
