//! Colour Doppler: velocities of the blood in a box of the sector, coded as hue.
//!
//! Red flows towards the probe, blue away from it, brighter is faster; what is faster than the Nyquist velocity wraps.

use super::beam::{BEAMS, SAMPLES};
use super::overlay::{Rgb, Screen};
use super::scan::{FAN_RADIUS_PX, PROBE_X, PROBE_Y, ScanConverter, WIDTH};

/// The fastest velocity without aliasing, cm/s.
pub(crate) const NYQUIST_CM_S: f64 = 61.6;
/// What is slower is taken for tissue, cm/s.
const WALL_FILTER_CM_S: f64 = 7.0;
const BOX_LINE: Rgb = [210, 210, 210];
/// The scale beside the sector: left, top, width, height.
const SCALE: [usize; 4] = [WIDTH - 30, 60, 12, 120];

/// The box, in samples and beams, both inclusive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColourBox {
    pub(crate) samples: (usize, usize),
    pub(crate) beams: (usize, usize),
}

impl ColourBox {
    /// Over the valves of an apical view.
    pub(crate) const VALVES: Self = Self {
        samples: (SAMPLES * 32 / 100, SAMPLES * 82 / 100),
        beams: (BEAMS * 22 / 100, BEAMS * 74 / 100),
    };

    pub(crate) fn contains(self, sample: usize, beam: usize) -> bool {
        (self.samples.0..=self.samples.1).contains(&sample) && (self.beams.0..=self.beams.1).contains(&beam)
    }

    fn edge(self, sample: usize, beam: usize) -> bool {
        self.contains(sample, beam)
            && (sample == self.samples.0
                || sample == self.samples.1
                || beam == self.beams.0
                || beam == self.beams.1)
    }

    /// Left, top, right, bottom on the screen, inclusive.
    pub(crate) fn bounds(self, half_angle_rad: f64) -> [usize; 4] {
        let pixels = |sample: usize| sample as f64 / SAMPLES as f64 * FAN_RADIUS_PX as f64;
        let angle = |beam: usize| (beam as f64 / BEAMS as f64 * 2.0 - 1.0) * half_angle_rad;
        let (near, far) = (pixels(self.samples.0), pixels(self.samples.1 + 1));
        let (left, right) = (angle(self.beams.0), angle(self.beams.1 + 1));
        let widest = far.max(near);
        let lowest =
            libm::cos(left).max(libm::cos(right)).max(if left < 0.0 && right > 0.0 { 1.0 } else { 0.0 });
        [
            (PROBE_X as f64 + widest * libm::sin(left)).floor().max(0.0) as usize,
            (PROBE_Y as f64 + near * libm::cos(left).min(libm::cos(right))).floor() as usize,
            ((PROBE_X as f64 + widest * libm::sin(right)).ceil() as usize).min(WIDTH - 1),
            ((PROBE_Y as f64 + far * lowest).ceil() as usize).min(PROBE_Y + FAN_RADIUS_PX),
        ]
    }
}

/// The colour of a velocity towards the probe; none where the wall filter hides it.
pub(crate) fn hue(velocity_cm_s: f64) -> Option<Rgb> {
    if velocity_cm_s.abs() < WALL_FILTER_CM_S {
        return None;
    }
    let turns = velocity_cm_s / (2.0 * NYQUIST_CM_S) + 0.5;
    let wrapped = 2.0 * (turns - turns.floor()) - 1.0;
    let speed = wrapped.abs();
    let (strong, mixed) = ((110.0 + 145.0 * speed) as u8, (210.0 * speed * speed) as u8);
    Some(if wrapped > 0.0 { [strong, mixed, 0] } else { [0, mixed, strong] })
}

/// Paints the colours of the polar grid over the grey picture, and the box around them.
pub(crate) fn paint(converter: &ScanConverter, flow: &[Option<Rgb>], window: ColourBox, screen: &mut Screen) {
    for (at, sample, beam) in converter.nearest() {
        if window.edge(sample, beam) {
            screen.set_colour(at, BOX_LINE);
        } else if let Some(colour) = flow[sample * BEAMS + beam] {
            screen.set_colour(at, colour);
        }
    }
}

/// The scale of velocities beside the sector.
pub(crate) fn scale(screen: &mut Screen) {
    let [left, top, width, height] = SCALE;
    for row in 0..height {
        let share = 1.0 - 2.0 * (row as f64 + 0.5) / height as f64;
        let colour = hue(0.999 * share * NYQUIST_CM_S).unwrap_or([0; 3]);
        (0..width).for_each(|column| screen.set_colour((top + row) * WIDTH + left + column, colour));
    }
}
