//! Intervals of statistics without a formula, by drawing pairs again (Efron & Tibshirani 1993).
//!
//! Pairs are drawn whole, so what both arms share stays shared. The same seed, name and number of pairs draw the same
//! pairs, whatever the thread, the machine, and the order of the measures.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use statrs::distribution::ContinuousCDF as _;

use super::{agreement::Estimate, normal, quantile, z_quantile};

/// How an interval is read off the drawn statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Their quantiles. For medians, whose jackknife has no limit, so that BCa has no sound acceleration.
    Percentile,
    /// Their quantiles, corrected for bias and acceleration (Efron, J Am Stat Assoc 1987;82:171). For smooth statistics.
    BiasCorrected,
}

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draws<'a> {
    /// The run's seed.
    pub seed: u64,
    /// The measure's name: each draws its own.
    pub name: &'a str,
    /// How often.
    pub resamples: u32,
}

impl Draws<'_> {
    /// Indices below `pairs`, as many, for every resample.
    pub fn indices(&self, pairs: usize) -> impl Iterator<Item = Vec<usize>> {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(self.name.as_bytes());
        let mut chance = ChaCha8Rng::from_seed(hash.finalize().into());
        (0..self.resamples).map(move |_| (0..pairs).map(|_| chance.random_range(0..pairs)).collect())
    }
}

/// The interval of confidence `1 - 2 tail` around `statistic` of all pairs, from its values over `resamples`, each a list
/// of indices below `pairs`. Nothing where a value is no number or there are fewer than two pairs.
pub fn interval(
    pairs: usize,
    tail: f64,
    reading: Reading,
    resamples: impl Iterator<Item = Vec<usize>>,
    statistic: impl Fn(&[usize]) -> f64,
) -> Option<Estimate> {
    let all: Vec<usize> = (0..pairs).collect();
    let value = statistic(&all);
    let mut drawn: Vec<f64> = resamples.map(|indices| statistic(&indices)).collect();
    if pairs < 2 || drawn.is_empty() || !value.is_finite() || drawn.iter().any(|value| !value.is_finite()) {
        return None;
    }
    drawn.sort_by(f64::total_cmp);
    let [low, high] = match reading {
        Reading::Percentile => [tail, 1.0 - tail],
        Reading::BiasCorrected => corrected(&drawn, value, &jackknife(pairs, &statistic), tail),
    };
    Some(Estimate { value, low: quantile(&drawn, low)?, high: quantile(&drawn, high)? })
}

/// The statistic without each pair in turn.
fn jackknife(pairs: usize, statistic: impl Fn(&[usize]) -> f64) -> Vec<f64> {
    (0..pairs)
        .map(|left_out| statistic(&(0..pairs).filter(|index| *index != left_out).collect::<Vec<_>>()))
        .collect()
}

/// Which quantiles of `drawn` to read instead of `tail` and `1 - tail`.
fn corrected(drawn: &[f64], value: f64, jackknife: &[f64], tail: f64) -> [f64; 2] {
    // Ties count half, as in SciPy: without spread there is no bias to correct.
    let below = drawn.iter().filter(|drawn| **drawn < value).count();
    let equal = drawn.iter().filter(|drawn| **drawn == value).count();
    let share = (below as f64 + equal as f64 / 2.0) / drawn.len() as f64;
    let shift = z_quantile(share);
    let centre = jackknife.iter().sum::<f64>() / jackknife.len() as f64;
    let power = |exponent: i32| jackknife.iter().map(|value| (centre - value).powi(exponent)).sum::<f64>();
    let spread = power(2);
    let acceleration = if spread > 0.0 { power(3) / (6.0 * spread.powf(1.5)) } else { 0.0 };
    if !shift.is_finite() {
        return [tail, 1.0 - tail];
    }
    [tail, 1.0 - tail].map(|p| {
        let sum = shift + z_quantile(p);
        normal().cdf(shift + sum / (1.0 - acceleration * sum))
    })
}
