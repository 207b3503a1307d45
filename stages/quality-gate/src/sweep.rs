//! One pass over a clip: each frame is decoded once; a few are kept whole, a thumbnail of each.

use raster::{Plane, Window};
use schemas::{BlobRef, FrameNumber, NotAnalysable, ReasonCode};
use stage::{ClipHeader, FrameError, Frames, Image, StageError};

/// Distance between the channels of a pixel above which it is coloured, in grey levels.
const COLOURED: u8 = 30;
/// Height of a thumbnail in pixels: what the chambers are looked for in.
const THUMBNAIL: usize = chambers::HEIGHT;

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
    /// Every readable frame, cut to the visible window and reduced to [`THUMBNAIL`] rows: 22 kB each.
    pub(crate) thumbnails: Vec<Plane>,
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
    let mut found = Sweep { read: 0, damaged: 0, damage: None, samples: Vec::new(), thumbnails: Vec::new() };
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
        // The next sample is due in the middle of its share of the clip, or at the first readable frame after it.
        let due = kept < plan.samples
            && u64::from(2 * index + 1) * u64::from(plan.samples)
                >= u64::from(2 * kept + 1) * u64::from(count);
        if due {
            kept += 1;
            let luma = Plane::luma(&frame.image, window);
            found.thumbnails.push(luma.reduced_to_height(THUMBNAIL));
            found.samples.push(Sample { coloured: coloured(&frame.image, window), luma });
        } else {
            found.thumbnails.push(Plane::luma_reduced_to_height(&frame.image, window, THUMBNAIL));
        }
    }
    Ok(found)
}

fn coloured(image: &Image, window: Window) -> Option<Plane> {
    let mut any = 0;
    let plane = Plane::of_pixels(image, window, |[r, g, b]| {
        let lit = u8::from(r.max(g).max(b) - r.min(g).min(b) > COLOURED) * 255;
        any |= lit;
        lit
    });
    (any != 0).then_some(plane)
}
