//! Optical density: what a pixel lost of the light (Beer and Lambert), additive over stains.

use std::sync::LazyLock;

/// Level of empty glass, Io of Macenko 2009 as usually implemented (`normalizeStaining.m`, Veta 2013).
pub const GLASS: f64 = 240.0;

static DENSITIES: LazyLock<[f64; 256]> = LazyLock::new(|| {
    let mut densities = [0.0; 256];
    for (density, level) in densities.iter_mut().zip(0_u8..=255) {
        *density = -((f64::from(level) + 1.0) / GLASS).ln();
    }
    densities
});

/// The density of every level: `−ln((level + 1) / 240)`. Levels above 239 are brighter than glass, hence negative.
pub(crate) fn densities() -> &'static [f64; 256] {
    &DENSITIES
}

/// Density of each channel.
pub fn density([r, g, b]: [u8; 3]) -> [f64; 3] {
    let of = densities();
    [of[usize::from(r)], of[usize::from(g)], of[usize::from(b)]]
}

/// Mean density of the channels.
pub fn mean_density(pixel: [u8; 3]) -> f64 {
    let [r, g, b] = density(pixel);
    (r + g + b) / 3.0
}
