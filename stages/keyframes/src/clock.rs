//! Frames to milliseconds and back, between frames too.

use stage::ClipHeader;

/// When the frames of a clip were taken.
#[derive(Debug, Clone)]
pub(crate) struct Clock<'a> {
    /// Frames a second, where known.
    pub(crate) fps: Option<f64>,
    /// Milliseconds of each frame, ascending; empty where unknown.
    times_ms: &'a [f64],
}

impl<'a> Clock<'a> {
    /// Of the first `frames` frames of a clip.
    pub(crate) fn new(header: &'a ClipHeader, frames: usize) -> Self {
        let fps = header.timing.fps.filter(|fps| fps.is_finite() && *fps > 0.0);
        let times_ms =
            header.frame_times_ms.get(..frames.min(header.frame_times_ms.len())).unwrap_or_default();
        Self { fps, times_ms }
    }

    /// The time of a place between frames, counted from 0; none where timing is unknown.
    pub(crate) fn ms(&self, frame: f64) -> Option<f64> {
        let before = (frame.max(0.0) as usize).min(self.times_ms.len().checked_sub(1)?);
        let from = self.times_ms.get(before)?;
        let to = self.times_ms.get(before + 1).unwrap_or(from);
        Some(from + (to - from) * (frame - before as f64).clamp(0.0, 1.0))
    }

    /// The place of a time between frames; none outside the clip.
    pub(crate) fn frame(&self, ms: f64) -> Option<f64> {
        let after = self.times_ms.partition_point(|time| *time < ms);
        let to = self.times_ms.get(after)?;
        match after.checked_sub(1).and_then(|before| self.times_ms.get(before)) {
            Some(from) => Some(after as f64 - (to - ms) / (to - from)),
            None => (*to == ms).then_some(0.0),
        }
    }

    /// Seconds as frames, where timing is known.
    pub(crate) fn frames_in(&self, seconds: f64) -> Option<f64> {
        self.fps.map(|fps| seconds * fps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_between_uneven_frames_have_a_time_and_back() {
        let mut header = raster::testing::Loop { frames: 4, ..Default::default() }.header();
        header.frame_times_ms = vec![0.0, 10.0, 30.0, 40.0];
        let clock = Clock::new(&header, 4);
        for (frame, ms) in [(0.0, 0.0), (0.5, 5.0), (1.25, 15.0), (3.0, 40.0)] {
            assert_eq!(clock.ms(frame), Some(ms));
            assert_eq!(clock.frame(ms), Some(frame));
        }
        assert_eq!((clock.frame(-1.0), clock.frame(40.1)), (None, None));
        assert_eq!(Clock::new(&header, 2).frame(20.0), None, "beyond the frames looked at");
        header.frame_times_ms.clear();
        assert_eq!(Clock::new(&header, 4).ms(1.0), None);
    }
}
