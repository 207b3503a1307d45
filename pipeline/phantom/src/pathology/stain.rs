//! The stains: what a concentration of dye does to light (Beer and Lambert), with the matrix that is the truth.

use rand::Rng;
use serde::Serialize;

use super::chance::{self, Purpose};

/// Light through empty glass, grey level (`science`: I0 = 240).
pub(crate) const GLASS: f32 = 240.0;

/// Which colours the two dyes have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stain {
    /// Ruifrok and Johnston 2001, as ImageJ's "H&E", normalised.
    Ruifrok,
    /// The reference of Macenko 2009 in Veta's `normalizeStaining.m`.
    Macenko,
    /// One of the two with each dye turned by up to 3°, as laboratories differ.
    Laboratory,
}

/// Optical density of a unit of each dye in red, green and blue; unit vectors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StainMatrix {
    /// Haematoxylin.
    pub hematoxylin: [f64; 3],
    /// Eosin.
    pub eosin: [f64; 3],
}

/// How far a laboratory's dye may lie from the published one, radians (3°).
const LABORATORY_TURN: f64 = 0.05;

impl StainMatrix {
    pub(crate) fn of(stain: Stain, seed: u64) -> Self {
        let ruifrok = Self { hematoxylin: unit([0.65, 0.70, 0.29]), eosin: unit([0.07, 0.99, 0.11]) };
        let macenko =
            Self { hematoxylin: unit([0.5626, 0.7201, 0.4062]), eosin: unit([0.2159, 0.8012, 0.5581]) };
        match stain {
            Stain::Ruifrok => ruifrok,
            Stain::Macenko => macenko,
            Stain::Laboratory => {
                let rng = &mut chance::at(seed, Purpose::Direction, 0, 0);
                let near = if rng.random() { ruifrok } else { macenko };
                Self { hematoxylin: turned(near.hematoxylin, rng), eosin: turned(near.eosin, rng) }
            }
        }
    }
}

fn unit(v: [f64; 3]) -> [f64; 3] {
    let length = v.iter().map(|c| c * c).sum::<f64>().sqrt();
    v.map(|c| c / length)
}

/// A unit vector near `v`: no channel gains light from a dye, so none goes below 0.01.
fn turned(v: [f64; 3], rng: &mut impl Rng) -> [f64; 3] {
    unit(v.map(|c| (c + rng.random_range(-LABORATORY_TURN..LABORATORY_TURN) / 1.5).max(0.01)))
}

/// Steps of the table per unit of optical density; linear between steps the error stays below 2e-5 grey levels.
const STEPS: f32 = 1024.0;
const MOST_DENSITY: usize = 12;

/// Transmitted light: I = I0 · exp(−W c).
pub(crate) struct Optics {
    matrix: StainMatrix,
    table: Vec<f32>,
}

impl Optics {
    pub(crate) fn new(matrix: StainMatrix) -> Self {
        let entries = MOST_DENSITY * STEPS as usize + 2;
        Self { matrix, table: (0..entries).map(|i| GLASS * libm::expf(-(i as f32) / STEPS)).collect() }
    }

    /// Light in red, green, blue behind these concentrations.
    #[inline]
    pub(crate) fn light(&self, hematoxylin: f32, eosin: f32) -> [f32; 3] {
        std::array::from_fn(|channel| {
            let density = hematoxylin * self.matrix.hematoxylin[channel] as f32
                + eosin * self.matrix.eosin[channel] as f32;
            let place = (density.max(0.0) * STEPS).min((MOST_DENSITY as f32) * STEPS);
            let index = place as usize;
            let (a, b) = (self.table[index], self.table[index + 1]);
            a + (place - index as f32) * (b - a)
        })
    }
}
