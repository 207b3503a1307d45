//! How likely a pixel is blood: darker than the grey level that splits blood from tissue.

use raster::{Kernel, Mask, Plane, histogram, otsu};

/// Smoothing in pixels before the split: speckle is no class of its own.
const SIGMA: f64 = 1.2;
/// Width of the soft threshold as share of the threshold, and at least so many grey levels.
const SOFTNESS: (f64, f64) = (0.12, 2.0);
/// Steps of the table in one grey level.
const STEPS: usize = 8;

/// The soft threshold between blood and tissue of one clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Blood {
    threshold: f64,
    /// Occupancy by grey level in steps of 1 / [`STEPS`].
    table: Vec<f32>,
}

impl Blood {
    /// Of a clip: Otsu's threshold over the smoothed `planes` inside `fan`; none where only one grey level occurs. A few
    /// frames spread over the clip are enough.
    pub fn of(planes: &[Plane], fan: &Mask) -> Option<Self> {
        let mut levels = [0_u64; 256];
        for plane in planes {
            let smooth = smoothed(plane);
            let counts = histogram(fan.select(&smooth).map(|level| (level + 0.5) as u8));
            levels.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        otsu(&levels).map(|split| Self::below(f64::from(split.threshold)))
    }

    /// With a threshold that is known, in grey levels.
    pub fn below(threshold: f64) -> Self {
        let softness = (SOFTNESS.0 * threshold).max(SOFTNESS.1);
        let occupancy =
            |step: usize| 1.0 / (1.0 + ((step as f64 / STEPS as f64 - threshold) / softness).exp());
        Self { threshold, table: (0..=255 * STEPS).map(|step| occupancy(step) as f32).collect() }
    }

    /// The threshold in grey levels.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// For each pixel of `plane`, smoothed, how likely it is blood: 0 to 1.
    pub fn occupancy(&self, plane: &Plane) -> Vec<f32> {
        let share =
            |level: f32| self.table.get((level * STEPS as f32 + 0.5) as usize).copied().unwrap_or(0.0);
        smoothed(plane).into_iter().map(share).collect()
    }

    /// The mean of [`Self::occupancy`] over `planes` of one size; empty for none.
    pub fn mean_occupancy<'a>(&self, planes: impl IntoIterator<Item = &'a Plane>) -> Vec<f32> {
        let (mut sum, mut count) = (Vec::new(), 0.0_f32);
        for plane in planes {
            let occupancy = self.occupancy(plane);
            sum.resize(occupancy.len().max(sum.len()), 0.0);
            sum.iter_mut().zip(&occupancy).for_each(|(sum, share)| *sum += share);
            count += 1.0;
        }
        sum.into_iter().map(|sum: f32| sum / count.max(1.0)).collect()
    }
}

fn smoothed(plane: &Plane) -> Vec<f32> {
    let levels: Vec<f32> = plane.samples().iter().map(|sample| f32::from(*sample)).collect();
    Kernel::new(SIGMA).picture(&levels, plane.width())
}
