//! Agreement of two measurements of the same thing (Bland & Altman, Lancet 1986;327:307 and Stat Methods Med Res
//! 1999;8:135), and equivalence of their means (two one-sided tests; Schuirmann, J Pharmacokinet Biopharm 1987;15:657).

use serde::{Deserialize, Serialize};

use super::{mean, t_quantile, t_tail, z_quantile};

/// Share of differences that the limits of agreement are to hold.
const HELD: f64 = 0.95;

/// A number and the interval it is known to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// How far differences lie from 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Differences.
    pub pairs: u64,
    /// Their mean, with its two-sided interval of confidence `1 - alpha`.
    pub bias: Estimate,
    /// Their standard deviation (divisor n - 1).
    pub deviation: f64,
    /// Mean less 1.96 standard deviations, with the interval of confidence `1 - alpha` (standard error
    /// `s * sqrt(1/n + 1.96^2 / (2 (n - 1)))`, Bland & Altman 1999).
    pub lower_limit: Estimate,
    /// Mean plus 1.96 standard deviations, likewise.
    pub upper_limit: Estimate,
}

/// Agreement of `differences`; nothing of fewer than two, or where one is no number.
pub fn agreement(differences: &[f64], alpha: f64) -> Option<Agreement> {
    let n = differences.len() as f64;
    let bias = mean(differences).filter(|bias| bias.is_finite())?;
    let t = t_quantile(1.0 - alpha / 2.0, n - 1.0)?;
    let squares: f64 = differences.iter().map(|difference| (difference - bias).powi(2)).sum();
    let deviation = (squares / (n - 1.0)).sqrt();
    let z = z_quantile(f64::midpoint(1.0, HELD));
    let around = |value: f64, error: f64| Estimate { value, low: value - t * error, high: value + t * error };
    let limit_error = deviation * (1.0 / n + z * z / (2.0 * (n - 1.0))).sqrt();
    Some(Agreement {
        pairs: differences.len() as u64,
        bias: around(bias, deviation / n.sqrt()),
        deviation,
        lower_limit: around(bias - z * deviation, limit_error),
        upper_limit: around(bias + z * deviation, limit_error),
    })
}

/// Two one-sided tests of a mean difference against `-margin` and `margin`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Equivalence {
    /// The larger of both probabilities: at most alpha, and the mean lies within the margin.
    pub p: f64,
    /// The interval of confidence `1 - 2 alpha`, which lies within the margin exactly then.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Whether the mean of differences lies within `margin` of 0.
pub fn equivalence(agreement: &Agreement, margin: f64, alpha: f64) -> Option<Equivalence> {
    let n = agreement.pairs as f64;
    let error = agreement.deviation / n.sqrt();
    let bias = agreement.bias.value;
    let reach = t_quantile(1.0 - alpha, n - 1.0)? * error;
    // Without spread there is no doubt: the mean lies within, or it does not.
    let p = if error > 0.0 {
        let above = t_tail((bias + margin) / error, n - 1.0)?;
        let below = t_tail((margin - bias) / error, n - 1.0)?;
        above.max(below)
    } else {
        f64::from(u8::from(bias.abs() >= margin))
    };
    Some(Equivalence { p, low: bias - reach, high: bias + reach })
}

/// Pairs from which [`equivalence`] would be shown with probability 0.8, should bias and spread stay what they are
/// (normal approximation). Nothing where the bias is not within.
pub fn pairs_needed(agreement: &Agreement, margin: f64, alpha: f64) -> Option<u64> {
    let room = margin - agreement.bias.value.abs();
    // Both tests must succeed; with a bias of 0 each of them with probability 0.9.
    let reach = z_quantile(1.0 - alpha) + z_quantile(0.9);
    let pairs = (reach * agreement.deviation / room).powi(2).ceil().max(2.0);
    (room > 0.0 && pairs < 1e7).then_some(pairs as u64)
}
