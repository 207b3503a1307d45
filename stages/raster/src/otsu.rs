//! Otsu's threshold (IEEE Trans SMC 1979;9:62): the split of a histogram with the largest variance between classes.

/// A histogram split in two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Split {
    /// Values up to and including it belong to the lower class.
    pub threshold: u8,
    /// Mean of the lower class.
    pub low: f64,
    /// Mean of the upper class.
    pub high: f64,
}

/// Counts of each value.
pub fn histogram(values: impl Iterator<Item = u8>) -> [u64; 256] {
    let mut counts = [0; 256];
    values.for_each(|value| counts[usize::from(value)] += 1);
    counts
}

/// The split of `counts`; none where fewer than two values occur.
pub fn otsu(counts: &[u64; 256]) -> Option<Split> {
    let total: u64 = counts.iter().sum();
    let weighted: u64 = counts.iter().zip(0_u64..).map(|(count, value)| count * value).sum();
    let (mut below, mut below_weighted) = (0_u64, 0_u64);
    let mut best: Option<(f64, Split)> = None;
    for (count, threshold) in counts.iter().zip(0_u8..=255) {
        below += count;
        below_weighted += count * u64::from(threshold);
        if below == 0 || below == total {
            continue;
        }
        let low = below_weighted as f64 / below as f64;
        let high = (weighted - below_weighted) as f64 / (total - below) as f64;
        let between = below as f64 * (total - below) as f64 * (high - low).powi(2);
        if best.is_none_or(|(largest, _)| between > largest) {
            best = Some((between, Split { threshold, low, high }));
        }
    }
    best.map(|(_, split)| split)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_heaps_are_split_between_them() {
        let values = (0..100).map(|i| if i < 60 { 20 + i % 3 } else { 200 + i % 5 });
        let split = otsu(&histogram(values)).expect("two classes");
        assert!((22..200).contains(&split.threshold));
        assert!((split.low - 21.0).abs() < 1e-9 && (split.high - 202.0).abs() < 1e-9);
    }

    #[test]
    fn one_value_cannot_be_split() {
        assert_eq!(otsu(&histogram([9_u8; 5].into_iter())), None);
        assert_eq!(otsu(&[0; 256]), None);
    }
}
