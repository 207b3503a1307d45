//! Does anything move? Streamed over thumbnails, so a clip of any length costs the same memory.

use raster::{Kernel, Plane};

/// Side of the thumbnail in pixels.
const SIDE: usize = 64;
/// Spatial smoothing in thumbnail pixels: noise on a frozen picture is no motion.
const SIGMA: f64 = 1.5;
/// Mean absolute difference in grey levels below which a frame repeats the one before.
const DUPLICATE: f64 = 0.25;

/// Temporal statistics of the thumbnails seen so far.
#[derive(Debug, Default)]
pub(crate) struct Motion {
    frames: u32,
    duplicates: u32,
    sums: Vec<f64>,
    squares: Vec<f64>,
    previous: Option<Plane>,
}

impl Motion {
    pub(crate) fn add(&mut self, luma: &Plane) {
        let thumbnail = luma.reduced(SIDE, SIDE);
        if let Some(previous) = &self.previous {
            let pairs = previous.samples().iter().zip(thumbnail.samples());
            let difference: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            self.duplicates += u32::from((difference as f64) < DUPLICATE * thumbnail.samples().len() as f64);
        }
        let levels: Vec<f32> = thumbnail.samples().iter().map(|sample| f32::from(*sample)).collect();
        let smooth = Kernel::new(SIGMA).picture(&levels, thumbnail.width());
        self.sums.resize(self.sums.len().max(smooth.len()), 0.0);
        self.squares.resize(self.sums.len(), 0.0);
        for ((level, sum), square) in smooth.iter().zip(&mut self.sums).zip(&mut self.squares) {
            *sum += f64::from(*level);
            *square += f64::from(*level).powi(2);
        }
        self.frames += 1;
        self.previous = Some(thumbnail);
    }

    /// The 95th percentile over the pixels of the temporal standard deviation, in grey levels.
    pub(crate) fn deviation(&self) -> f64 {
        let count = f64::from(self.frames.max(1));
        let spread = |(sum, square): (&f64, &f64)| (square / count - (sum / count).powi(2)).max(0.0).sqrt();
        let mut deviations: Vec<f64> = self.sums.iter().zip(&self.squares).map(spread).collect();
        deviations.sort_by(f64::total_cmp);
        percentile(&deviations, 0.95)
    }

    /// The share of frames that repeat the one before.
    pub(crate) fn duplicate_share(&self) -> f64 {
        f64::from(self.duplicates) / f64::from(self.frames.saturating_sub(1).max(1))
    }
}

/// The `share` quantile of sorted values, linear between neighbours (numpy's default); 0 of none.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let position = share * sorted.len().saturating_sub(1) as f64;
    let at = |index: f64| sorted.get(index as usize).copied().unwrap_or_default();
    let (low, high) = (at(position.floor()), at(position.ceil()));
    low + (high - low) * position.fract()
}

/// The median; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(&values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_picture_has_neither_deviation_nor_new_frames() {
        let picture = Plane::new(80, 80, (0..6400).map(|i| (i * 31 % 251) as u8).collect());
        let mut motion = Motion::default();
        (0..10).for_each(|_| motion.add(&picture));
        assert!(motion.deviation() < 1e-3);
        assert_eq!(motion.duplicate_share(), 1.0);
    }

    #[test]
    fn a_picture_that_blinks_by_a_known_amount_has_half_of_it_as_deviation() {
        let mut motion = Motion::default();
        (0..10).for_each(|i| motion.add(&Plane::new(64, 64, vec![100 + 20 * (i % 2); 4096])));
        assert!((motion.deviation() - 10.0).abs() < 1e-3);
        assert_eq!(motion.duplicate_share(), 0.0);
    }

    #[test]
    fn percentiles_are_linear_between_neighbours() {
        assert_eq!(percentile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(median(vec![5.0, 1.0, 3.0, 4.0]), 3.5);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
