//! Does anything move? Statistics over small pictures of every frame.

use raster::{Kernel, Plane};

/// Side of the picture in pixels.
pub(crate) const SIDE: usize = 64;
/// Spatial smoothing in its pixels: noise on a frozen picture is no motion.
const SIGMA: f64 = 1.5;
/// Mean absolute difference in grey levels below which a frame repeats the one before.
const DUPLICATE: f64 = 0.25;

/// How a clip changes over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Motion {
    /// The 95th percentile over the pixels of the temporal standard deviation, in grey levels.
    pub(crate) deviation: f64,
    /// The share of frames that repeat the one before.
    pub(crate) duplicate_share: f64,
}

impl Motion {
    /// Of `frames`, each [`SIDE`] by [`SIDE`].
    pub(crate) fn of(frames: &[Plane]) -> Self {
        let kernel = Kernel::new(SIGMA);
        let (mut sums, mut squares) = (vec![0.0_f64; SIDE * SIDE], vec![0.0_f64; SIDE * SIDE]);
        for frame in frames {
            let levels: Vec<f32> = frame.samples().iter().map(|sample| f32::from(*sample)).collect();
            let smooth = kernel.picture(&levels, frame.width());
            for ((level, sum), square) in smooth.iter().zip(&mut sums).zip(&mut squares) {
                let level = f64::from(*level);
                *sum += level;
                *square += level * level;
            }
        }
        let count = frames.len().max(1) as f64;
        let spread = |(sum, square): (&f64, &f64)| (square / count - (sum / count).powi(2)).max(0.0).sqrt();
        let mut deviations: Vec<f64> = sums.iter().zip(&squares).map(spread).collect();
        deviations.sort_by(f64::total_cmp);
        let duplicates = frames.windows(2).filter(|pair| matches!(pair, [a, b] if repeats(a, b))).count();
        Self {
            deviation: percentile(&deviations, 0.95),
            duplicate_share: duplicates as f64 / frames.len().saturating_sub(1).max(1) as f64,
        }
    }
}

fn repeats(before: &Plane, after: &Plane) -> bool {
    let pairs = before.samples().iter().zip(after.samples());
    let difference: u32 = pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    f64::from(difference) < DUPLICATE * after.samples().len() as f64
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
        let picture = Plane::new(SIDE, SIDE, (0..SIDE * SIDE).map(|i| (i * 31 % 251) as u8).collect());
        let motion = Motion::of(&vec![picture; 10]);
        assert!(motion.deviation < 1e-3);
        assert_eq!(motion.duplicate_share, 1.0);
    }

    #[test]
    fn a_picture_that_blinks_by_a_known_amount_has_half_of_it_as_deviation() {
        let frames: Vec<Plane> =
            (0..10).map(|i| Plane::new(SIDE, SIDE, vec![100 + 20 * (i % 2); SIDE * SIDE])).collect();
        let motion = Motion::of(&frames);
        assert!((motion.deviation - 10.0).abs() < 1e-3);
        assert_eq!(motion.duplicate_share, 0.0);
    }

    #[test]
    fn percentiles_are_linear_between_neighbours() {
        assert_eq!(percentile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(median(vec![5.0, 1.0, 3.0, 4.0]), 3.5);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
