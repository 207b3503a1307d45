//! Bringing a picture to a reference staining.
//!
//! A pixel's densities are unmixed, scaled so that the strongest stains meet the reference's, and mixed again by its
//! colours: one 3 by 3 matrix M from densities to densities, then `240·exp(−M·d)`.
//!
//! [`exact`] does that in `f64`. [`Normaliser`] does it in whole numbers: a density is a count of 1/2048, each level of
//! each channel has its three parts of the sum in a table, and the exponential is a table too. It stays within one grey
//! level of [`exact`] (`tests/plans.rs`) and gives the same bytes on every machine.

use crate::{
    density::{GLASS, densities, mean_density},
    macenko::{Degenerate, Estimate, Macenko},
    staining::{Reference, Staining},
};

/// How a computed level becomes a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// As numpy's `astype(uint8)`: towards zero.
    Truncate,
    /// As MATLAB's `uint8()`: to the nearest.
    Nearest,
}

/// Less than this share of tissue, and a picture passes unchanged.
const LEAST_TISSUE: f64 = 0.05;
/// Mean optical density from which a pixel may be tissue.
const TISSUE: f64 = 0.08;

/// How a picture, or all tiles of a slide, come to a reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plan {
    /// From their own stains.
    Own(Estimate),
    /// As if they were stained as the reference: their own stains cannot be told.
    Reference(Degenerate),
    /// Not at all: there is hardly any tissue, and what there is must not be made to look like more.
    Unchanged {
        /// Share of pixels that may be tissue.
        tissue: f64,
    },
}

impl Plan {
    /// For these pixels: a picture, or a [`crate::sample`] of a slide's tiles.
    pub fn of(pixels: &[[u8; 3]]) -> Self {
        let tissue = pixels.iter().filter(|pixel| mean_density(**pixel) >= TISSUE).count() as f64
            / pixels.len().max(1) as f64;
        if tissue < LEAST_TISSUE {
            return Self::Unchanged { tissue };
        }
        let checked = Macenko::ROBUST.estimate(pixels).and_then(|found| found.checked().map(|_| found));
        checked.map_or_else(Self::Reference, Self::Own)
    }

    /// What to flag: `STAIN_FALLBACK`, `BLANK`.
    pub fn flag(&self) -> Option<schemas::ReasonCode> {
        match self {
            Self::Own(_) => None,
            Self::Reference(_) => Some(schemas::ReasonCode::known("STAIN_FALLBACK")),
            Self::Unchanged { .. } => Some(schemas::ReasonCode::known("BLANK")),
        }
    }

    /// The staining that is taken to be the picture's; `None` where it stays unchanged.
    pub fn staining(&self, reference: &Reference) -> Option<Staining> {
        match self {
            Self::Own(estimate) => Some(estimate.staining),
            Self::Reference(_) => Some(reference.staining),
            Self::Unchanged { .. } => None,
        }
    }

    /// What does it.
    pub fn normaliser(&self, reference: &Reference) -> Normaliser {
        Normaliser { tables: self.staining(reference).map(|from| Tables::new(&from, &reference.staining)) }
    }
}

/// Scaled concentrations, then densities: rows of the matrix from densities to densities.
fn matrix(from: &Staining, to: &Staining) -> [[f64; 3]; 3] {
    let [h, e] = from.stains.unmixing();
    let (by_h, by_e) = (to.strongest[0] / from.strongest[0], to.strongest[1] / from.strongest[1]);
    let (into_h, into_e) = (to.stains.haematoxylin, to.stains.eosin);
    [0, 1, 2]
        .map(|row| [0, 1, 2].map(|column| into_h[row] * by_h * h[column] + into_e[row] * by_e * e[column]))
}

/// Brings `rgb` from one staining to another in the order of operations that the reference implementations follow.
pub fn exact(rgb: &[u8], from: &Staining, to: &Staining, rounding: Rounding) -> Vec<u8> {
    let unmixing = from.stains.unmixing();
    let scale = [0, 1].map(|k| from.strongest[k] / to.strongest[k]);
    let (h, e) = (to.stains.haematoxylin, to.stains.eosin);
    let (pixels, _) = rgb.as_chunks::<3>();
    let normalised = pixels.iter().flat_map(|pixel| {
        let od = crate::density::density(*pixel);
        let [ch, ce] = [0, 1].map(|k| crate::staining::dot(unmixing[k], od) / scale[k]);
        [0, 1, 2].map(|k| {
            let level = (GLASS * (-(h[k] * ch + e[k] * ce)).exp()).min(255.0);
            match rounding {
                Rounding::Truncate => level as u8,
                Rounding::Nearest => level.round() as u8,
            }
        })
    });
    normalised.collect()
}

/// Brings pictures to the reference, fast.
#[derive(Debug, Clone)]
pub struct Normaliser {
    /// None where pictures stay as they are.
    tables: Option<Tables>,
}

impl Normaliser {
    /// The picture at the reference; a byte that completes no pixel is kept as it is.
    pub fn apply(&self, rgb: &[u8]) -> Vec<u8> {
        let mut out = rgb.to_vec();
        if let Some(tables) = &self.tables {
            let (pixels, _) = out.as_chunks_mut::<3>();
            for pixel in pixels {
                *pixel = tables.pixel(*pixel);
            }
        }
        out
    }
}

/// Parts in one unit of density.
const PARTS: f64 = 2048.0;
/// Density of the brightest level, 255: the exponential's table begins there.
const BRIGHTEST: f64 = -0.060_624_621_816_434_84;
/// Entries of the exponential's table: up to density 5.6, where 240·exp(−d) is below one level.
const LEVELS: usize = 11_600;

#[derive(Debug, Clone)]
struct Tables {
    /// For each channel and level its parts of the three sums; a fourth lane makes each entry 16 bytes.
    parts: Box<[[[i32; 4]; 256]; 3]>,
    /// The level of each density, from [`BRIGHTEST`] in steps of 1/2048.
    levels: Box<[u8; LEVELS]>,
}

impl Tables {
    fn new(from: &Staining, to: &Staining) -> Self {
        let matrix = matrix(from, to);
        // Far beyond any plausible staining, and three of them still fit.
        let bound = f64::from(i32::MAX / 4);
        let mut parts = Box::new([[[0; 4]; 256]; 3]);
        for (column, channel) in parts.iter_mut().enumerate() {
            for (entry, density) in channel.iter_mut().zip(densities()) {
                for (part, row) in entry.iter_mut().zip(&matrix) {
                    *part = (row[column] * density * PARTS).round().clamp(-bound, bound) as i32;
                }
                if column == 0 {
                    // The offset into the table of levels, once for each sum.
                    for part in entry {
                        *part -= (BRIGHTEST * PARTS).round() as i32;
                    }
                }
            }
        }
        let mut levels = Box::new([0; LEVELS]);
        for (index, level) in levels.iter_mut().enumerate() {
            *level = (GLASS * (-(BRIGHTEST + index as f64 / PARTS)).exp()).round() as u8;
        }
        Self { parts, levels }
    }

    #[inline]
    fn pixel(&self, [r, g, b]: [u8; 3]) -> [u8; 3] {
        let [red, green, blue] = &*self.parts;
        let (r, g, b) = (red[usize::from(r)], green[usize::from(g)], blue[usize::from(b)]);
        let sum = [0, 1, 2, 3].map(|k| (r[k] + g[k] + b[k]).clamp(0, LEVELS as i32 - 1));
        [0, 1, 2].map(|k| self.levels[sum[k] as usize])
    }
}
