//! A clip as small planes: enough to see the ventricle beat.

use raster::{Plane, Window};
use schemas::{BlobRef, FrameNumber, ReasonCode};
use stage::{ClipHeader, FrameError, Frames, StageError};

/// Height of a plane in pixels.
const HEIGHT: usize = chambers::HEIGHT;

/// The frames of a clip, reduced; one plane for each frame, all of one size.
#[derive(Debug)]
pub(crate) struct Cine {
    pub(crate) planes: Vec<Plane>,
    /// The part of a frame that a plane shows.
    pub(crate) window: Window,
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
        let count = header.frames.min(max_frames);
        let window = Window::inside(header.visible, header.columns, header.rows);
        let mut planes: Vec<Option<Plane>> = Vec::new();
        let mut damage = None;
        for index in 0..count {
            let number = FrameNumber::from_index(index);
            planes.push(match Plane::thumbnail(frames, blob, header, (number, HEIGHT)) {
                Ok(plane) => Some(plane),
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
        Ok(Self { planes, window, readable })
    }

    /// A place in a plane, in pixels of a frame.
    pub(crate) fn on_frame(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let size = self.planes.first().map_or((1, 1), |plane| (plane.width(), plane.height()));
        let scale = |window: usize, plane: usize| window as f64 / plane.max(1) as f64;
        [
            self.window.left as f64 + x * scale(self.window.width, size.0),
            self.window.top as f64 + y * scale(self.window.height, size.1),
        ]
    }

    #[cfg(test)]
    pub(crate) fn of_planes(planes: Vec<Plane>) -> Self {
        let size = planes.first().map_or((0, 0), |plane| (plane.width(), plane.height()));
        let window = Window { left: 0, top: 0, width: size.0, height: size.1 };
        Self { readable: vec![true; planes.len()], window, planes }
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
