//! Chance as a function of place: the same seed and the same coordinates give the same draw, in whatever order and
//! from whichever tile they are asked for. That is what lets any region of a slide be drawn alone.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a draw is for; two purposes at one place are independent.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(crate) enum Purpose {
    Lattice = 1,
    SensorNoise,
    Outline,
    Direction,
    Gland,
    Stroma,
    Artefact,
}

/// The generator of one cell of a grid over the specimen.
pub(crate) fn at(seed: u64, purpose: Purpose, column: i64, row: i64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in
        key.chunks_exact_mut(8).zip([seed, purpose as u64, column.cast_unsigned(), row.cast_unsigned()])
    {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A standard normal number (Box and Muller 1958).
fn normal(rng: &mut impl Rng) -> f32 {
    let radius = libm::sqrtf(-2.0 * libm::logf(1.0 - rng.random::<f32>()));
    radius * libm::cosf(std::f32::consts::TAU * rng.random::<f32>())
}

/// Cells per side; a power of two, so that coordinates wrap by a mask.
const SIDE: usize = 256;
const MASK: i32 = SIDE as i32 - 1;

/// Standard normal numbers on a square lattice that repeats after 256 cells.
pub(crate) struct Lattice {
    cells: Vec<f32>,
}

impl Lattice {
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        let rng = &mut at(seed, purpose, 0, 0);
        Self { cells: (0..SIDE * SIDE).map(|_| normal(rng)).collect() }
    }

    /// The number of one cell.
    #[inline]
    pub(crate) fn cell(&self, column: i32, row: i32) -> f32 {
        self.cells[(row & MASK) as usize * SIDE + (column & MASK) as usize]
    }

    /// Smooth noise of mean 0 and variance 1; (x, y) in cells. The interpolation is normalised, so that the variance
    /// does not depend on the place between cells.
    #[inline]
    pub(crate) fn smooth(&self, x: f32, y: f32) -> f32 {
        let (column, row) = (floor(x), floor(y));
        let ease = |t: f32| t * t * (3.0 - 2.0 * t);
        let (fx, fy) = (ease(x - column as f32), ease(y - row as f32));
        let mix = |row: i32| {
            let (a, b) = (self.cell(column, row), self.cell(column + 1, row));
            a + fx * (b - a)
        };
        let (upper, lower) = (mix(row), mix(row + 1));
        let power = (fx * fx + (1.0 - fx) * (1.0 - fx)) * (fy * fy + (1.0 - fy) * (1.0 - fy));
        (upper + fy * (lower - upper)) / power.sqrt()
    }
}

/// `f32::floor` is a call on the oldest x86-64 that we build for, and this runs ten times a pixel.
#[inline]
fn floor(x: f32) -> i32 {
    let towards_zero = x as i32;
    towards_zero - i32::from(x < towards_zero as f32)
}

/// A sum of octaves of [`Lattice::smooth`], variance 1: fractional Brownian motion cut to the given wavelengths.
pub(crate) struct Fbm<const N: usize> {
    /// (cells per pixel, weight, offset in cells) of each octave.
    octaves: [(f32, f32, f32); N],
}

impl<const N: usize> Fbm<N> {
    /// `octaves`: (wavelength in pixels, weight).
    pub(crate) fn new(octaves: [(f32, f32); N]) -> Self {
        let power: f32 = octaves.iter().map(|(_, weight)| weight * weight).sum();
        let mut offset = 0.0;
        Self {
            octaves: octaves.map(|(wavelength, weight)| {
                offset += 67.31;
                (1.0 / wavelength, weight / power.sqrt(), offset)
            }),
        }
    }

    #[inline]
    pub(crate) fn at(&self, lattice: &Lattice, x: f32, y: f32) -> f32 {
        self.octaves
            .iter()
            .map(|&(frequency, weight, offset)| {
                weight * lattice.smooth(x * frequency + offset, y * frequency - offset)
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smooth_noise_has_mean_zero_and_unit_variance_on_and_between_the_cells() {
        let lattice = Lattice::new(1, Purpose::Lattice);
        for shift in [0.0, 0.25, 0.5] {
            let values: Vec<f32> = (0..SIDE * SIDE)
                .map(|i| lattice.smooth((i % SIDE) as f32 + shift, (i / SIDE) as f32 + shift))
                .collect();
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
            assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{shift}: {mean} {variance}");
        }
    }
}
