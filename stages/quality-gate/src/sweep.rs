//! One pass over a clip: each frame is decoded once; a few are kept, reduced statistics of all.

use raster::{Plane, Window};
use schemas::{BlobRef, FrameNumber, NotAnalysable, ReasonCode};
use stage::{ClipHeader, FrameError, Frames, StageError};

use crate::motion::Motion;

/// Distance between the channels of a pixel above which it is coloured, in grey levels.
const COLOURED: u8 = 30;

/// What to look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Frames read at most.
    pub(crate) max_frames: u32,
    /// Frames kept, evenly spaced.
    pub(crate) samples: u32,
    /// Share of damaged frames at which the pass ends: each may cost a decode worker.
    pub(crate) give_up: f64,
}

/// A kept frame, cut to the visible window.
pub(crate) struct Sample {
    pub(crate) luma: Plane,
    /// 255 where the pixel is coloured, else 0; none if no pixel is.
    pub(crate) coloured: Option<Plane>,
}

/// What the pass found.
pub(crate) struct Sweep {
    /// Frames asked for.
    pub(crate) read: u32,
    /// Of these, frames that do not decode, and the code of the first.
    pub(crate) damaged: u32,
    pub(crate) damage: Option<ReasonCode>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) motion: Motion,
}

/// Why there is no sweep.
pub(crate) enum SweepError {
    NotAnalysable(NotAnalysable),
    Stage(StageError),
}

/// Reads the clip once.
pub(crate) fn sweep(
    header: &ClipHeader,
    blob: &BlobRef,
    frames: &dyn Frames,
    plan: Plan,
) -> Result<Sweep, SweepError> {
    let count = header.frames.min(plan.max_frames);
    let mut found =
        Sweep { read: 0, damaged: 0, damage: None, samples: Vec::new(), motion: Motion::default() };
    let mut kept = 0;
    for index in 0..count {
        found.read += 1;
        let frame = match frames.frame(blob, FrameNumber::from_index(index)) {
            Ok(frame) => frame,
            Err(FrameError::NotAnalysable { reason }) => return Err(SweepError::NotAnalysable(reason)),
            Err(FrameError::Damaged { code, .. }) => {
                found.damaged += 1;
                found.damage.get_or_insert(code);
                if f64::from(found.damaged) > plan.give_up * f64::from(count) {
                    break;
                }
                continue;
            }
            Err(error) => return Err(SweepError::Stage(error.into())),
        };
        let window = Window::inside(header.visible, frame.image.width, frame.image.height);
        let luma = Plane::luma(&frame.image, window);
        found.motion.add(&luma);
        // The next sample is due in the middle of its share of the clip, or at the first readable frame after it.
        if kept < plan.samples
            && u64::from(2 * index + 1) * u64::from(plan.samples)
                >= u64::from(2 * kept + 1) * u64::from(count)
        {
            kept += 1;
            let colour = Plane::colourfulness(&frame.image, window);
            let any = colour.samples().iter().any(|distance| *distance > COLOURED);
            let coloured = any.then(|| colour.map(|distance| u8::from(distance > COLOURED) * 255));
            found.samples.push(Sample { luma, coloured });
        }
    }
    Ok(found)
}
