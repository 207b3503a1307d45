//! Gain and contrast of one picture inside a region.

use raster::{Kernel, Mask, Plane, histogram, otsu};

/// At this grey level and above a pixel is saturated.
const SATURATED: u8 = 250;
/// At this grey level and below a pixel is black.
const BLACK: u8 = 5;
/// Smoothing before blood and tissue are told apart, in pixels of the work image: speckle is no class of its own.
const SIGMA: f64 = 2.5;

/// How a picture is exposed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exposure {
    /// Share of saturated pixels.
    pub(crate) saturated: f64,
    /// Share of black pixels.
    pub(crate) black: f64,
    /// Mean grey level of the darker of two classes: blood.
    pub(crate) low: f64,
    /// Mean grey level of the brighter class: tissue.
    pub(crate) high: f64,
}

impl Exposure {
    /// Of `plane` inside `region`; a flat picture has one class, its own level.
    pub(crate) fn of(plane: &Plane, region: &Mask) -> Self {
        let levels = histogram(region.select(plane.samples()));
        let total = levels.iter().sum::<u64>().max(1) as f64;
        let count = |from: u8, to: u8| {
            let range = levels.iter().take(usize::from(to) + 1).skip(usize::from(from));
            range.sum::<u64>() as f64 / total
        };
        let samples: Vec<f32> = plane.samples().iter().map(|sample| f32::from(*sample)).collect();
        let smooth: Vec<u8> = Kernel::new(SIGMA)
            .picture(&samples, plane.width())
            .into_iter()
            .map(|level| (level + 0.5) as u8)
            .collect();
        let split = otsu(&histogram(region.select(&smooth)));
        let flat = || region.select(&smooth).next().map_or(0.0, f64::from);
        let (low, high) = split.map_or_else(|| (flat(), flat()), |split| (split.low, split.high));
        Self { saturated: count(SATURATED, u8::MAX), black: count(0, BLACK), low, high }
    }

    /// Grey levels between the classes.
    pub(crate) fn contrast(&self) -> f64 {
        self.high - self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_classes_of_a_picture_in_two_halves_are_exact() {
        let (width, height) = (80, 60);
        let plane = Plane::new(
            width,
            height,
            (0..width * height).map(|i| if i % 80 < 40 { 4 } else { 252 }).collect(),
        );
        // Away from the seam, so that smoothing mixes nothing.
        let inside = (0..width * height).map(|i| !(20..60).contains(&(i % 80))).collect();
        let exposure = Exposure::of(&plane, &Mask::new(width, height, inside));
        assert_eq!(exposure, Exposure { saturated: 0.5, black: 0.5, low: 4.0, high: 252.0 });
        assert_eq!(exposure.contrast(), 248.0);
    }

    #[test]
    fn a_flat_picture_has_no_contrast() {
        let plane = Plane::new(8, 8, vec![77; 64]);
        let exposure = Exposure::of(&plane, &Mask::new(8, 8, vec![true; 64]));
        assert_eq!((exposure.low, exposure.contrast()), (77.0, 0.0));
    }
}
