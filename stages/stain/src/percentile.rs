//! Percentiles by selection.

/// How a percentile lies between two order statistics (Hyndman and Fan 1996).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Percentile {
    /// Position `(n − 1)·q`: numpy's default.
    Linear,
    /// Position `n·q − ½`: MATLAB's `prctile`.
    Hazen,
}

impl Percentile {
    /// The value at share `q`, 0 to 1, of `values`, which are reordered; `None` of nothing.
    pub(crate) fn of(self, values: &mut [f64], q: f64) -> Option<f64> {
        let last = values.len().checked_sub(1)?;
        let position = match self {
            Self::Linear => last as f64 * q,
            Self::Hazen => values.len() as f64 * q - 0.5,
        }
        .clamp(0.0, last as f64);
        let (below, share) = (position.floor() as usize, position.fract());
        let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
        let low = *low;
        let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
        // The side from which one interpolates is numpy's, to its last bit.
        let step = high - low;
        Some(if share < 0.5 { low + step * share } else { high - step * (1.0 - share) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_definitions_on_ten_values() {
        let at = |how: Percentile, q| how.of(&mut [9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0, 0.0], q);
        // numpy.percentile(range(10), [1, 50, 99, 100]), MATLAB prctile of the same.
        assert_eq!(
            [0.01, 0.5, 0.99, 1.0].map(|q| at(Percentile::Linear, q)),
            [Some(0.09), Some(4.5), Some(8.91), Some(9.0)]
        );
        assert_eq!([0.01, 0.5, 0.99].map(|q| at(Percentile::Hazen, q)), [Some(0.0), Some(4.5), Some(9.0)]);
        assert_eq!(Percentile::Linear.of(&mut [], 0.5), None);
    }
}
