//! Things that lie on or happen to a specimen: folds, strokes of a marker, bad focus.

use rand::Rng;

use super::anatomy::Region;
use super::chance::{self, Lattice, Purpose};

/// A band along a large circle, as a hand or a wrinkle draws it.
pub(crate) struct Band {
    centre: [f32; 2],
    radius: f32,
    half_width: f32,
    /// Width of the edges, pixels.
    edge: f32,
}

impl Band {
    /// A wrinkle of the section, about 18 µm wide in a field, through `place`.
    pub(crate) fn fold(seed: u64, side: f32, place: [f32; 2]) -> Self {
        Self::through(seed, side, place, (0.012 * side).max(18.0), 4.0)
    }

    /// A stroke of a marker through `place`.
    pub(crate) fn stroke(seed: u64, side: f32, place: [f32; 2]) -> Self {
        Self::through(seed, side, place, (0.03 * side).max(15.0), 2.0)
    }

    fn through(seed: u64, side: f32, place: [f32; 2], half_width: f32, edge: f32) -> Self {
        let rng = &mut chance::at(seed, Purpose::Artefact, 0, 0);
        let angle: f32 = rng.random_range(0.0..std::f32::consts::TAU);
        let radius = side * rng.random_range(1.0..2.5);
        let centre = [place[0] + radius * libm::cosf(angle), place[1] + radius * libm::sinf(angle)];
        Self { centre, radius, half_width, edge }
    }

    /// 1 inside, 0 outside, soft at the edge.
    #[inline]
    pub(crate) fn at(&self, lattice: &Lattice, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.centre[0], y - self.centre[1]);
        let off = ((dx * dx + dy * dy).sqrt() - self.radius).abs();
        if off > 2.0 * self.half_width {
            return 0.0;
        }
        let wave = 8.0 * self.half_width;
        let width = self.half_width * (1.0 + 0.15 * lattice.smooth(x / wave + 41.3, y / wave + 19.9));
        ((width - off) / self.edge + 0.5).clamp(0.0, 1.0)
    }
}

/// Gaussian blur of a region with a rim of `rim` pixels, which it uses up.
pub(crate) fn blur(light: &[[f32; 3]], grown: Region, rim: usize, sigma: f32) -> Vec<[f32; 3]> {
    let raw: Vec<f32> = (0..=2 * rim)
        .map(|tap| {
            let off = (tap as f32 - rim as f32) / sigma;
            libm::expf(-0.5 * off * off)
        })
        .collect();
    let sum: f32 = raw.iter().sum();
    let kernel: Vec<f32> = raw.into_iter().map(|weight| weight / sum).collect();
    let (columns, rows) = (grown.columns - 2 * rim, grown.rows - 2 * rim);
    let mut across = Vec::with_capacity(columns * grown.rows);
    for row in light.chunks_exact(grown.columns) {
        across.extend(row.windows(kernel.len()).map(|window| weigh(&kernel, window.iter())));
    }
    let mut out = Vec::with_capacity(columns * rows);
    for row in 0..rows {
        for column in 0..columns {
            out.push(weigh(&kernel, across[row * columns + column..].iter().step_by(columns)));
        }
    }
    out
}

fn weigh<'a>(kernel: &[f32], pixels: impl Iterator<Item = &'a [f32; 3]>) -> [f32; 3] {
    kernel.iter().zip(pixels).fold([0.0; 3], |mut sum, (weight, pixel)| {
        sum.iter_mut().zip(pixel).for_each(|(sum, level)| *sum += weight * level);
        sum
    })
}
