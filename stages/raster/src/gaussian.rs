//! Separable Gaussian smoothing, borders mirrored without repeating the edge (OpenCV `BORDER_REFLECT_101`).

/// The index `position` of a row of `length` samples mirrored at both ends: `-1` is sample 1, `length` is
/// sample `length - 2`.
pub fn reflect(position: isize, length: usize) -> usize {
    if length < 2 {
        return 0;
    }
    let period = 2 * (length as isize - 1);
    let folded = position.rem_euclid(period);
    folded.min(period - folded) as usize
}

/// A normalised Gaussian, cut at 4 standard deviations.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// The middle weight, then those outwards.
    weights: Vec<f64>,
}

impl Kernel {
    /// Of standard deviation `sigma` in samples; 0 changes nothing.
    pub fn new(sigma: f64) -> Self {
        let radius = (4.0 * sigma).ceil().max(0.0) as usize;
        let weight = |i: usize| if i == 0 { 1.0 } else { (-0.5 * (i as f64 / sigma).powi(2)).exp() };
        let raw: Vec<f64> = (0..=radius).map(weight).collect();
        let total = 2.0 * raw.iter().sum::<f64>() - 1.0;
        Self { weights: raw.into_iter().map(|w| w / total).collect() }
    }

    /// Smooths a row of samples.
    pub fn line(&self, samples: &[f64]) -> Vec<f64> {
        let at = |position: isize| samples.get(reflect(position, samples.len())).copied().unwrap_or_default();
        let smoothed = |index: usize| {
            let centre = index as isize;
            let sides = self.weights.iter().enumerate().skip(1);
            let middle = self.weights.first().map_or(0.0, |w| w * at(centre));
            sides.fold(middle, |sum, (k, w)| sum + w * (at(centre - k as isize) + at(centre + k as isize)))
        };
        (0..samples.len()).map(smoothed).collect()
    }

    /// Smooths a picture of rows `width` long along both axes.
    pub fn picture(&self, samples: &[f32], width: usize) -> Vec<f32> {
        let width = width.max(1);
        let down = self.down(samples, width);
        let mut across = Vec::with_capacity(samples.len());
        let reach = self.weights.len() as isize - 1;
        let full = self.full();
        let mut sum = vec![0.0_f32; width];
        for row in down.chunks_exact(width) {
            let edge = |position: isize| row.get(reflect(position, width)).copied().unwrap_or_default();
            let padded: Vec<f32> = (-reach..0)
                .map(edge)
                .chain(row.iter().copied())
                .chain((0..reach).map(|i| edge(width as isize + i)))
                .collect();
            sum.fill(0.0);
            for (weight, shifted) in full.iter().zip(padded.windows(width)) {
                sum.iter_mut().zip(shifted).for_each(|(sum, sample)| *sum += weight * sample);
            }
            across.extend_from_slice(&sum);
        }
        across
    }

    /// Smooths a stack of equally long samples along the stack; `stack` holds them one after the other, each
    /// `length` long. A picture smoothed along its columns is a stack of its rows.
    pub fn down(&self, stack: &[f32], length: usize) -> Vec<f32> {
        let length = length.max(1);
        let count = stack.len() / length;
        let mut out = Vec::with_capacity(stack.len());
        let mut sum = vec![0.0_f32; length];
        let full = self.full();
        for index in 0..count {
            sum.fill(0.0);
            for (offset, weight) in full.iter().enumerate() {
                let position =
                    reflect(index as isize + offset as isize - (self.weights.len() as isize - 1), count);
                let row = stack.iter().skip(position * length).take(length);
                sum.iter_mut().zip(row).for_each(|(sum, sample)| *sum += weight * sample);
            }
            out.extend_from_slice(&sum);
        }
        out
    }

    fn full(&self) -> Vec<f32> {
        let side = self.weights.iter().skip(1);
        side.clone().rev().chain(self.weights.first()).chain(side).map(|w| *w as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_mirror_without_repeating_the_edge() {
        let mirrored: Vec<usize> = (-3..7).map(|i| reflect(i, 4)).collect();
        assert_eq!(mirrored, [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]);
    }

    #[test]
    fn a_smoothed_picture_keeps_flat_areas_and_spreads_a_point_by_the_kernel() {
        let kernel = Kernel::new(1.0);
        assert!(kernel.picture(&[7.0; 12], 4).iter().all(|v| (v - 7.0).abs() < 1e-5));
        let mut point = vec![0.0; 21 * 21];
        point[10 * 21 + 10] = 1.0;
        let smooth = kernel.picture(&point, 21);
        let line = kernel.line(&(0..21).map(|i| f64::from(u8::from(i == 10))).collect::<Vec<_>>());
        assert!((f64::from(smooth[10 * 21 + 12]) - line[10] * line[12]).abs() < 1e-6);
        assert!((line.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
