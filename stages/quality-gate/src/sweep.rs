//! One pass over a clip: a thumbnail of each frame, and a few frames whole.

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
    for index in 0..count {
        found.read += 1;
        // The next sample is due in the middle of its share of the clip, or at the first readable frame after it.
        let due = (found.samples.len() as u64) < u64::from(plan.samples)
            && u64::from(2 * index + 1) * u64::from(plan.samples)
                >= (2 * found.samples.len() as u64 + 1) * u64::from(count);
        match look(header, blob, frames, index, due) {
            Ok((thumbnail, sample)) => {
                found.thumbnails.push(thumbnail);
                found.samples.extend(sample);
            }
            Err(FrameError::NotAnalysable { reason }) => return Err(SweepError::NotAnalysable(reason)),
            Err(FrameError::Damaged { code, .. }) => {
                found.damaged += 1;
                found.damage.get_or_insert(code);
                if f64::from(found.damaged) > plan.give_up * f64::from(count) {
                    break;
                }
            }
            Err(error) => return Err(SweepError::Stage(error.into())),
        }
    }
    Ok(found)
}

/// The thumbnail of the frame at `index`, and the frame itself if it is `due`.
fn look(
    header: &ClipHeader,
    blob: &BlobRef,
    frames: &dyn Frames,
    index: u32,
    due: bool,
) -> Result<(Plane, Option<Sample>), FrameError> {
    let number = FrameNumber::from_index(index);
    let sample = if due {
        let image = frames.frame(blob, number)?.image;
        let window = Window::inside(header.visible, image.width, image.height);
        Some(Sample { luma: Plane::luma(&image, window), coloured: coloured(&image, window) })
    } else {
        None
    };
    Ok((Plane::thumbnail(frames, blob, header, (number, THUMBNAIL))?, sample))
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
