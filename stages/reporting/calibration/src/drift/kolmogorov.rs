//! Two-sample Kolmogorov-Smirnov test.

/// Steps of the exact distribution at most; beyond them the limit for large samples is as good.
const MOST_STEPS: usize = 16_000_000;

/// The test's answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KolmogorovSmirnov {
    /// Greatest distance of the two distribution functions.
    pub distance: f64,
    /// Probability of at least this distance where both samples are of one population.
    pub p: f64,
}

/// Compares two sorted samples; nothing where one is empty. The probability is exact for samples without equal values and
/// on the safe side, too large, with them.
pub fn kolmogorov_smirnov(first: &[f64], second: &[f64]) -> Option<KolmogorovSmirnov> {
    let (n, m) = (first.len(), second.len());
    if n == 0 || m == 0 {
        return None;
    }
    let distance = distance(first, second);
    let p = if n.saturating_mul(m) <= MOST_STEPS { exact(n, m, distance) } else { limit(n, m, distance) };
    Some(KolmogorovSmirnov { distance, p: p.clamp(0.0, 1.0) })
}

fn distance(first: &[f64], second: &[f64]) -> f64 {
    let step =
        |sample: &[f64], value: f64| sample.partition_point(|one| *one <= value) as f64 / sample.len() as f64;
    let at = |value: &f64| (step(first, *value) - step(second, *value)).abs();
    first.iter().chain(second).map(at).fold(0.0, f64::max)
}

/// One minus the share of ways through the grid of `n` by `m` that stay nearer to its diagonal than `distance` (Hodges
/// 1958): every order in which the two samples can be merged is such a way, and all are equally likely.
///
/// `within[j]` is the share of ways to (i, j) that stayed near; the last step came from the left with chance j/(i + j).
fn exact(n: usize, m: usize, distance: f64) -> f64 {
    // Distances are multiples of 1/(n m): half such a step keeps rounding out.
    let bound = distance - 0.5 / (n as f64 * m as f64);
    let near = |i: usize, j: usize| (i as f64 / n as f64 - j as f64 / m as f64).abs() < bound;
    let mut within = vec![0.0; m + 1];
    for i in 0..=n {
        let mut left = 0.0;
        for (j, place) in within.iter_mut().enumerate() {
            let share = if i + j == 0 {
                1.0
            } else {
                let steps = (i + j) as f64;
                *place * (i as f64 / steps) + left * (j as f64 / steps)
            };
            *place = if near(i, j) { share } else { 0.0 };
            left = *place;
        }
    }
    1.0 - within.last().copied().unwrap_or(0.0)
}

/// Kolmogorov's limit, `2 Σ (-1)^(k-1) exp(-2 k² λ²)`.
fn limit(n: usize, m: usize, distance: f64) -> f64 {
    let lambda_squared = n as f64 * m as f64 / (n + m) as f64 * distance * distance;
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 2.0 } else { -2.0 };
        sign * (-2.0 * f64::from(k * k) * lambda_squared).exp()
    };
    (1..=100).map(term).sum()
}
