//! What a synthetic field or slide is made from.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::corruption::{Corruption, CorruptionKind};
use super::stain::Stain;

/// Side of a pixel of a field and of a slide's finest level, micrometres: a 20× objective.
pub const MICRONS_PER_PIXEL: f64 = 0.5;

/// The piece of tissue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Section {
    /// The dyes' colours.
    pub stain: Stain,
    /// Share of the picture that is stained tissue, 0..=1; lumina count as glass. The truth tells the share drawn.
    pub tissue_share: f64,
    /// Pieces the tissue grows from, 1..=8; large shares grow together.
    pub pieces: usize,
    /// Share of the places for glands that hold one, 0..=1.
    pub gland_share: f64,
    /// Mean share of the places for stromal nuclei that hold one, 0..=1.
    pub cellularity: f64,
}

/// Everything that determines a field of view; equal specifications give equal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FieldSpec {
    /// Seed of all chance.
    pub seed: u64,
    /// Width, 128..=4096 pixels.
    pub columns: u32,
    /// Height, 128..=4096 pixels.
    pub rows: u32,
    /// The tissue.
    pub section: Section,
    /// What is wrong with it, if anything.
    pub corruption: Option<Corruption>,
}

/// How a DICOM slide lists its tiles (PS3.3 C.8.12.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Organisation {
    /// Every tile, row by row, positions implied.
    TiledFull,
    /// Tiles of bare glass left out, each position in the per-frame functional groups.
    TiledSparse,
}

/// Everything that determines a slide.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SlideSpec {
    /// Seed of all chance.
    pub seed: u64,
    /// Width of the finest level, 1024..=65536 pixels.
    pub columns: u32,
    /// Height of the finest level, 1024..=65536 pixels.
    pub rows: u32,
    /// The tissue.
    pub section: Section,
    /// What is wrong with it, if anything.
    pub corruption: Option<Corruption>,
}

/// A value that no picture can be made from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} is {value}; it must lie in {least}..={most}")]
pub struct SpecError {
    /// The field's path inside the specification.
    pub field: &'static str,
    /// Its value.
    pub value: f64,
    /// The least value allowed.
    pub least: f64,
    /// The greatest value allowed.
    pub most: f64,
}

impl FieldSpec {
    /// A plausible field of 512 × 512 pixels drawn from `seed`, nothing wrong: a laboratory's stain, 50-95 % tissue.
    pub fn sample(seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let section = Section {
            stain: Stain::Laboratory,
            tissue_share: rng.random_range(0.50..0.95),
            pieces: rng.random_range(1..=3),
            gland_share: rng.random_range(0.3..1.0),
            cellularity: rng.random_range(0.18..0.45),
        };
        Self { seed, columns: 512, rows: 512, section, corruption: None }
    }

    pub(crate) fn check(&self) -> Result<(), SpecError> {
        inside("columns", self.columns, 128.0, 4096.0)?;
        inside("rows", self.rows, 128.0, 4096.0)?;
        self.section.check()
    }
}

impl SlideSpec {
    /// A plausible slide of 8192 × 6144 pixels (768 tiles) drawn from `seed`, nothing wrong.
    pub fn sample(seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let section = Section {
            stain: Stain::Laboratory,
            tissue_share: rng.random_range(0.25..0.50),
            pieces: rng.random_range(2..=4),
            gland_share: rng.random_range(0.5..0.9),
            cellularity: rng.random_range(0.18..0.40),
        };
        Self { seed, columns: 8192, rows: 6144, section, corruption: None }
    }

    pub(crate) fn check(&self) -> Result<(), SpecError> {
        inside("columns", self.columns, 1024.0, 65536.0)?;
        inside("rows", self.rows, 1024.0, 65536.0)?;
        self.section.check()
    }
}

impl Section {
    fn check(&self) -> Result<(), SpecError> {
        inside("section.tissue_share", self.tissue_share, 0.0, 1.0)?;
        inside("section.pieces", self.pieces as f64, 1.0, 8.0)?;
        inside("section.gland_share", self.gland_share, 0.0, 1.0)?;
        inside("section.cellularity", self.cellularity, 0.0, 1.0)
    }
}

fn inside(field: &'static str, value: impl Into<f64>, least: f64, most: f64) -> Result<(), SpecError> {
    let value = value.into();
    if (least..=most).contains(&value) { Ok(()) } else { Err(SpecError { field, value, least, most }) }
}

/// Is this the corruption of the encoder, which a lossless file cannot carry?
pub(crate) fn needs_jpeg(corruption: Option<Corruption>) -> bool {
    corruption.is_some_and(|corruption| corruption.kind() == CorruptionKind::Jpeg)
}
