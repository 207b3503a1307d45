//! A specimen under the microscope: concentrations of dye at every place, and the light a camera records.
//!
//! ```text
//!  anatomy ─▶ concentrations (Layers) ─▶ light: I0·exp(−W c) ─▶ camera noise ─▶ focus ─▶ marker ink ─▶ 8 bits
//! ```
//! Every step is a function of absolute coordinates (the focus reads a rim around its region), so a region drawn alone
//! equals the same region of the whole.

use super::anatomy::{Anatomy, Nucleus, Region};
use super::artefact::{Band, blur};
use super::chance::{Fbm, Lattice, Purpose};
use super::corruption::{Corruption, Effects};
use super::spec::Section;
use super::stain::{Optics, StainMatrix};

/// Concentrations and masks of a region, row by row.
pub(crate) struct Layers {
    pub(crate) hematoxylin: Vec<f32>,
    pub(crate) eosin: Vec<f32>,
    /// Stained tissue covers more than half of the pixel.
    pub(crate) tissue: Vec<bool>,
    /// The pixel lies in a nucleus.
    pub(crate) nuclei: Vec<bool>,
    /// Nuclei with their centre in the region.
    pub(crate) nuclei_count: usize,
}

impl Layers {
    /// Pixels of tissue that lie in `inside`, a part of these layers' `region`.
    pub(crate) fn tissue_in(&self, region: Region, inside: Region) -> usize {
        let (left, top) = ((inside.left - region.left) as usize, (inside.top - region.top) as usize);
        let rows = self.tissue.chunks_exact(region.columns).skip(top).take(inside.rows);
        rows.map(|row| row.iter().skip(left).take(inside.columns).filter(|tissue| **tissue).count()).sum()
    }
}

/// A region's picture with what is true of it.
pub(crate) struct View {
    /// 8-bit RGB, row by row.
    pub(crate) rgb: Vec<u8>,
    pub(crate) layers: Layers,
}

/// Haematoxylin everywhere in tissue, and in the cytoplasm of glands.
const STROMA_HEMATOXYLIN: f32 = 0.06;
const CYTOPLASM_HEMATOXYLIN: f32 = 0.18;
/// Eosin: mean and standard deviation in stroma and in cytoplasm.
const STROMA_EOSIN: [f32; 2] = [0.55, 0.22];
const CYTOPLASM_EOSIN: [f32; 2] = [0.40, 0.12];
/// Below this, stained tissue could not be told from glass by anybody.
const LEAST_EOSIN: f32 = 0.15;
/// Fibres are this much longer and thinner than isotropic texture.
const FIBRE: [f32; 2] = [0.5, 1.5];
/// Eosin left inside a nucleus.
const NUCLEUS_EOSIN: f32 = 0.5;
const CHROMATIN_TEXTURE: f32 = 0.25;
/// Width over which a nucleus ends, pixels.
const NUCLEUS_EDGE: f32 = 2.8;

pub(crate) struct Specimen {
    pub(crate) matrix: StainMatrix,
    anatomy: Anatomy,
    optics: Optics,
    camera: Lattice,
    eosin_texture: Fbm<4>,
    chromatin: Fbm<2>,
    effects: Effects,
    fold: Option<Band>,
    pen: Option<Band>,
}

impl Specimen {
    pub(crate) fn new(
        seed: u64,
        extent: [u32; 2],
        margin: f32,
        section: Section,
        corruption: Option<Corruption>,
    ) -> Self {
        let effects = Effects::of(corruption);
        let section =
            Section { tissue_share: effects.tissue_share.unwrap_or(section.tissue_share), ..section };
        let matrix = StainMatrix::of(section.stain, seed);
        let anatomy = Anatomy::new(seed, extent, margin, section);
        let side = extent[0].min(extent[1]) as f32;
        Self {
            matrix,
            optics: Optics::new(matrix),
            camera: Lattice::new(seed, Purpose::SensorNoise),
            // Weights that fall with the wavelength, as a 20× objective passes them.
            eosin_texture: Fbm::new([(2.0, 0.15), (6.0, 0.25), (18.0, 0.65), (50.0, 0.9)]),
            chromatin: Fbm::new([(3.0, 0.6), (6.0, 0.8)]),
            fold: effects.fold_layers.map(|_| Band::fold(seed, side, anatomy.heart())),
            pen: effects.pen.map(|_| Band::stroke(seed, side, anatomy.heart())),
            effects,
            anatomy,
        }
    }

    /// Quality of lossy compression that the corruption asks for.
    pub(crate) fn jpeg_quality(&self) -> Option<u8> {
        self.effects.jpeg_quality
    }

    /// What is true of a region.
    pub(crate) fn layers(&self, region: Region) -> Layers {
        let size = region.columns * region.rows;
        let mut layers = Layers {
            hematoxylin: vec![0.0; size],
            eosin: vec![0.0; size],
            tissue: vec![false; size],
            nuclei: vec![false; size],
            nuclei_count: 0,
        };
        let glands = self.anatomy.glands(region);
        let lattice = self.anatomy.lattice();
        for (index, (x, y)) in places(region).enumerate() {
            let Some(matter) = self.anatomy.matter(&glands, x, y) else { continue };
            let texture =
                self.eosin_texture.at(lattice, matter.fibre[0] * FIBRE[0], matter.fibre[1] * FIBRE[1]);
            let mix = |stroma: f32, cytoplasm: f32| stroma + matter.epithelium * (cytoplasm - stroma);
            let eosin =
                mix(STROMA_EOSIN[0], CYTOPLASM_EOSIN[0]) + mix(STROMA_EOSIN[1], CYTOPLASM_EOSIN[1]) * texture;
            layers.eosin[index] = matter.tissue * eosin.max(LEAST_EOSIN);
            layers.hematoxylin[index] = matter.tissue * mix(STROMA_HEMATOXYLIN, CYTOPLASM_HEMATOXYLIN);
            layers.tissue[index] = matter.tissue > 0.5;
        }
        let nuclei = self.anatomy.nuclei(&glands, region);
        layers.nuclei_count = Anatomy::count(&nuclei, region);
        for nucleus in &nuclei {
            self.stain(nucleus, region, &mut layers);
        }
        self.spoil(region, &mut layers);
        layers
    }

    fn stain(&self, nucleus: &Nucleus, region: Region, layers: &mut Layers) {
        let lattice = self.anatomy.lattice();
        let reach = nucleus.long * (1.0 + NUCLEUS_EDGE / nucleus.short);
        let span = |centre: f32, first: i32, count: usize| {
            let local = centre - first as f32;
            let from = (local - reach).floor().clamp(0.0, count as f32) as usize;
            let to = (local + reach).ceil().clamp(0.0, count as f32) as usize;
            from..to
        };
        for row in span(nucleus.y, region.top, region.rows) {
            for column in span(nucleus.x, region.left, region.columns) {
                let (x, y) = (region.left as f32 + column as f32 + 0.5, region.top as f32 + row as f32 + 0.5);
                let radius = nucleus.radius_at(x, y);
                let share = ((1.0 - radius) * nucleus.short / NUCLEUS_EDGE + 0.5).clamp(0.0, 1.0);
                if share == 0.0 {
                    continue;
                }
                let texture = self.chromatin.at(lattice, x, y).clamp(-1.0, 1.0);
                let chromatin = nucleus.hematoxylin * (1.0 + CHROMATIN_TEXTURE * texture);
                let index = row * region.columns + column;
                let hematoxylin = &mut layers.hematoxylin[index];
                *hematoxylin += share * (chromatin - *hematoxylin);
                layers.eosin[index] *= 1.0 - share * (1.0 - NUCLEUS_EOSIN);
                layers.nuclei[index] |= radius < 1.0;
                layers.tissue[index] |= radius < 1.0;
            }
        }
    }

    /// Staining strength and the fold act on concentrations.
    fn spoil(&self, region: Region, layers: &mut Layers) {
        let [hematoxylin, eosin] = self.effects.strength;
        if self.effects.strength != [1.0; 2] {
            layers.hematoxylin.iter_mut().for_each(|c| *c *= hematoxylin);
            layers.eosin.iter_mut().for_each(|c| *c *= eosin);
        }
        if let (Some(fold), Some(most)) = (&self.fold, self.effects.fold_layers) {
            for (index, (x, y)) in places(region).enumerate() {
                let factor = 1.0 + (most - 1.0) * fold.at(self.anatomy.lattice(), x, y);
                layers.hematoxylin[index] *= factor;
                layers.eosin[index] *= factor;
            }
        }
    }

    /// The picture of a region, with its truth.
    pub(crate) fn view(&self, region: Region) -> View {
        let sigma = self.effects.blur_sigma_px;
        let rim = if sigma > 0.0 { (3.0 * sigma).ceil() as usize } else { 0 };
        let layers = self.layers(region);
        let mut light = if rim == 0 {
            self.light(region, &layers)
        } else {
            let grown = region.grown(rim);
            blur(&self.light(grown, &self.layers(grown)), grown, rim, sigma)
        };
        if let (Some(stroke), Some((ink, opacity))) = (&self.pen, self.effects.pen) {
            for (pixel, (x, y)) in light.iter_mut().zip(places(region)) {
                let share = opacity * stroke.at(self.anatomy.lattice(), x, y);
                for (channel, ink) in pixel.iter_mut().zip(ink) {
                    *channel += share * (ink - *channel);
                }
            }
        }
        let rgb = light.into_iter().flatten().map(|level| (level + 0.5).clamp(0.0, 255.0) as u8).collect();
        View { rgb, layers }
    }

    /// What the camera records of these concentrations: light and its own noise.
    fn light(&self, region: Region, layers: &Layers) -> Vec<[f32; 3]> {
        let noise = self.effects.noise;
        let concentrations = layers.hematoxylin.iter().zip(&layers.eosin);
        concentrations
            .zip(places(region))
            .map(|((&hematoxylin, &eosin), (x, y))| {
                let (column, row) = (x as i32, y as i32);
                let mut light = self.optics.light(hematoxylin, eosin);
                for (channel, shift) in light.iter_mut().zip([0, 89, 178]) {
                    *channel += noise * self.camera.cell(column + shift, row + shift / 3);
                }
                light
            })
            .collect()
    }
}

/// The centres of a region's pixels, row by row.
fn places(region: Region) -> impl Iterator<Item = (f32, f32)> {
    (0..region.rows as i32).flat_map(move |row| {
        (0..region.columns as i32)
            .map(move |column| ((region.left + column) as f32 + 0.5, (region.top + row) as f32 + 0.5))
    })
}
