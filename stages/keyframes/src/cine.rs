//! A clip as small planes: enough to see the ventricle beat.

use raster::{Plane, Window};
use schemas::{BlobRef, FrameNumber, ReasonCode};
use stage::{ClipHeader, FrameError, Frames, StageError};

/// Height of a plane in pixels.
const HEIGHT: usize = 128;

/// The frames of a clip, reduced; one plane for each frame, all of one size.
pub(crate) struct Cine {
    pub(crate) planes: Vec<Plane>,
    /// Which frames could be read; the others repeat a neighbour and are never chosen.
    readable: Vec<bool>,
}

/// Why there is no cine.
pub(crate) enum CineError {
    /// No frame can be read; the decoder's code.
    Unreadable(ReasonCode),
    Stage(StageError),
}

impl Cine {
    /// Reads at most `max_frames` frames of the clip.
    pub(crate) fn read(
        header: &ClipHeader,
        blob: &BlobRef,
        frames: &dyn Frames,
        max_frames: u32,
    ) -> Result<Self, CineError> {
        let mut planes: Vec<Option<Plane>> = Vec::new();
        let mut damage = None;
        for index in 0..header.frames.min(max_frames) {
            planes.push(match frames.frame(blob, FrameNumber::from_index(index)) {
                Ok(frame) => {
                    let window = Window::inside(header.visible, frame.image.width, frame.image.height);
                    Some(Plane::luma(&frame.image, window).reduced_to_height(HEIGHT))
                }
                Err(FrameError::Damaged { code, .. }) => {
                    damage.get_or_insert(code);
                    None
                }
                Err(error) => return Err(CineError::Stage(error.into())),
            });
        }
        let Some(first) = planes.iter().flatten().next().cloned() else {
            return Err(CineError::Unreadable(damage.unwrap_or(ReasonCode::known("NO_FRAMES"))));
        };
        let size = (first.width(), first.height());
        let mut last = first;
        let mut readable = Vec::with_capacity(planes.len());
        let filled = planes.into_iter().map(|plane| {
            let plane = plane.filter(|plane| (plane.width(), plane.height()) == size);
            readable.push(plane.is_some());
            if let Some(plane) = plane {
                last = plane;
            }
            last.clone()
        });
        let planes = filled.collect();
        Ok(Self { planes, readable })
    }

    /// The readable frame nearest to `index`, the earlier of two.
    pub(crate) fn nearest_readable(&self, index: usize) -> usize {
        let readable = self.readable.iter().enumerate().filter(|(_, readable)| **readable);
        readable
            .map(|(candidate, _)| candidate)
            .min_by_key(|candidate| candidate.abs_diff(index))
            .unwrap_or(index)
    }

    /// Each pixel's largest value over the clip.
    pub(crate) fn brightest(&self) -> Plane {
        let mut brightest = self.planes.first().cloned().unwrap_or_else(|| Plane::new(0, 0, Vec::new()));
        for plane in &self.planes {
            brightest.raise_to(plane);
        }
        brightest
    }
}
