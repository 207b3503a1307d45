//! Respiration: the whole heart wanders under the probe within a breath.

use rand::Rng;

/// Length of a breath, ms.
const BREATH_MS: std::ops::Range<f64> = 3500.0..5000.0;

/// A sinusoidal way along one direction of the plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Respiration {
    amplitude_mm: f64,
    /// (lateral, depth), of length 1.
    direction: (f64, f64),
    radians_per_ms: f64,
    middle_ms: f64,
}

impl Respiration {
    /// `swing_mm` from end to end; the middle of the clip is passed at full speed, so that a short clip shows as much of
    /// the way as it can.
    pub(crate) fn new(swing_mm: f64, duration_ms: f64, rng: &mut impl Rng) -> Self {
        let angle = rng.random_range(0.5_f64..1.1);
        let (sin, cos) = libm::sincos(if rng.random() { angle } else { -angle });
        Self {
            amplitude_mm: swing_mm / 2.0,
            direction: (sin, cos),
            radians_per_ms: std::f64::consts::TAU / rng.random_range(BREATH_MS),
            middle_ms: duration_ms / 2.0,
        }
    }

    /// (lateral, depth) of the heart away from its place, mm.
    pub(crate) fn shift_mm(self, t_ms: f64) -> (f64, f64) {
        let way = self.amplitude_mm * libm::sin(self.radians_per_ms * (t_ms - self.middle_ms));
        (way * self.direction.0, way * self.direction.1)
    }
}
