//! Where the tissue is.

use raster::{Mask, Plane, Window, histogram, otsu};
use stage::Image;

use crate::appearance::is_pen;

/// Steps of an 8-bit sample in one unit of optical density.
const STEPS: f64 = 250.0;
/// Mean optical densities between which the threshold must lie. Otsu alone collapses where nearly everything is tissue
/// (Dice 0.59 on phantoms with 90 % tissue, against 0.93 to 0.97 inside these bounds).
const THRESHOLD: [f64; 2] = [0.05, 0.10];
/// Half the side of the square that opens and closes, pixels (HistoQC's default radius).
const REACH: usize = 3;
/// Smaller pieces are dirt (HistoQC).
const LEAST_PIECE: usize = 64;
/// Smaller holes are lumina, vessels, fat (HistoQC), as long as they are less than this share of the picture.
const LEAST_HOLE: (usize, usize) = (1000, 100);

/// Tissue of a picture.
#[derive(Debug, Clone)]
pub struct Tissue {
    /// Which pixels.
    pub mask: Mask,
    /// For each pixel the piece it belongs to, counted from 1; 0 outside.
    pub pieces: Vec<u32>,
    /// Pixels of each piece.
    pub areas: Vec<usize>,
}

impl Tissue {
    /// Share of the picture, 0 to 1.
    pub fn share(&self) -> f64 {
        self.mask.area() as f64 / self.mask.inside().len().max(1) as f64
    }
}

/// Finds tissue by its mean optical density. Pen is none.
pub fn tissue(image: &Image) -> Tissue {
    let whole = Window { left: 0, top: 0, width: image.width as usize, height: image.height as usize };
    let density = Plane::of_pixels(image, whole, |pixel| {
        if is_pen(pixel) { 0 } else { (stain::mean_density(pixel) * STEPS).round().clamp(0.0, 255.0) as u8 }
    });
    let split = otsu(&histogram(density.samples().iter().copied()));
    let [least, most] = THRESHOLD;
    let threshold = split.map_or(0.0, |split| f64::from(split.threshold)).clamp(least * STEPS, most * STEPS);
    let rough = Mask::of(&density, |sample| f64::from(sample) > threshold);
    let opened = rough.eroded(REACH).dilated(REACH);
    let closed = opened.dilated(REACH).eroded(REACH);
    let (most_hole, share) = LEAST_HOLE;
    let most_hole = most_hole.min(whole.width * whole.height / share);
    let filled = inverted(&without_small(&inverted(&closed), most_hole));
    let mask = without_small(&filled, LEAST_PIECE);
    let (pieces, areas) = mask.components();
    Tissue { mask, pieces, areas }
}

/// Without the components of fewer than `least` pixels.
fn without_small(mask: &Mask, least: usize) -> Mask {
    let (labels, areas) = mask.components();
    let keeps = |label: &u32| {
        let area = label.checked_sub(1).and_then(|index| areas.get(index as usize));
        area.is_some_and(|area| *area >= least)
    };
    Mask::new(mask.width(), mask.height(), labels.iter().map(keeps).collect())
}

fn inverted(mask: &Mask) -> Mask {
    Mask::new(mask.width(), mask.height(), mask.inside().iter().map(|inside| !inside).collect())
}
