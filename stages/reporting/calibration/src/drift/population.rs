//! Population stability index: how far the shares of bins have moved.

/// Least share of a bin, so that an empty one gives a number.
const LEAST_SHARE: f64 = 1e-4;

/// The nine bounds between the ten equal parts of sorted `reference` (linear interpolation); none where it is empty.
pub fn deciles(reference: &[f64]) -> Vec<f64> {
    let Some(last) = reference.len().checked_sub(1) else { return Vec::new() };
    let at = |decile: u32| {
        let place = f64::from(decile) / 10.0 * last as f64;
        let value = |index: usize| reference.get(index).copied();
        let low = value(place as usize)?;
        let high = value(place as usize + 1).unwrap_or(low);
        Some(low + (high - low) * place.fract())
    };
    (1..10).filter_map(at).collect()
}

/// Share of `values` in each bin: up to and with the first bound, …, above the last one.
pub fn shares(values: &[f64], bounds: &[f64]) -> Vec<f64> {
    let mut counts = vec![0_usize; bounds.len() + 1];
    for value in values {
        let bin = bounds.partition_point(|bound| bound < value);
        if let Some(count) = counts.get_mut(bin) {
            *count += 1;
        }
    }
    counts.into_iter().map(|count| count as f64 / values.len().max(1) as f64).collect()
}

/// `Σ (a - e) ln(a / e)` over the shares expected and found. Below 0.1 stable, to 0.25 to be watched, above it another
/// population.
pub fn population_stability_of_shares(expected: &[f64], actual: &[f64]) -> f64 {
    let term = |(expected, actual): (&f64, &f64)| {
        let (expected, actual) = (expected.max(LEAST_SHARE), actual.max(LEAST_SHARE));
        (actual - expected) * (actual / expected).ln()
    };
    expected.iter().zip(actual).map(term).sum()
}

/// The index of `actual` against the deciles of sorted `reference`. By chance about `9 (1/n + 1/m)`.
pub fn population_stability(reference: &[f64], actual: &[f64]) -> f64 {
    let bounds = deciles(reference);
    population_stability_of_shares(&shares(reference, &bounds), &shares(actual, &bounds))
}
