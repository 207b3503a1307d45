//! The tests and intervals of a comparison. Numbers in, numbers out: nothing here knows a study.
//!
//! Invariants:
//! - Pure; chance enters as a seed ([`bootstrap`]) and nowhere else.
//! - Every formula names its source and agrees with SciPy and statsmodels (`tests/oracle`).
//! - What cannot be computed, for example the spread of one number, is `None` and never a made-up value.

pub mod agreement;
pub mod bootstrap;
pub mod holm;
pub mod proportion;

use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

/// Quantile `p` of Student's t with `freedom` degrees of freedom, by bisection of its distribution function.
pub(crate) fn t_quantile(p: f64, freedom: f64) -> Option<f64> {
    let t = StudentsT::new(0.0, 1.0, freedom).ok()?;
    // The distribution function loses its last digits in the upper tail: quantiles are taken from the lower one.
    let tail = p.min(1.0 - p);
    let mut reach = 1.0;
    while t.cdf(-reach) > tail {
        reach *= 2.0;
        if reach > 1e12 {
            return None;
        }
    }
    let size = -bisect(-reach, 0.0, |x| t.cdf(x) - tail);
    Some(if p < 0.5 { -size } else { size })
}

/// Probability beyond `t` in the upper tail of Student's t.
pub(crate) fn t_tail(t: f64, freedom: f64) -> Option<f64> {
    // By symmetry from the lower tail, which keeps its digits.
    Some(StudentsT::new(0.0, 1.0, freedom).ok()?.cdf(-t))
}

/// The standard normal distribution.
pub(crate) fn normal() -> Normal {
    Normal::standard()
}

/// Quantile `p` of the standard normal distribution.
pub(crate) fn z_quantile(p: f64) -> f64 {
    let tail = p.min(1.0 - p);
    if tail <= 0.0 {
        return if p < 0.5 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let size = -bisect(-40.0, 0.0, |x| normal().cdf(x) - tail);
    if p < 0.5 { -size } else { size }
}

/// The root of rising `f` between `low` and `high`, to the last bit.
pub(crate) fn bisect(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return middle;
        }
        if f(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// Mean; nothing of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Quantile `p` of `sorted`, linear between order statistics (Hyndman & Fan 1996, type 7; the default of numpy).
pub fn quantile(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = p.clamp(0.0, 1.0) * last as f64;
    let below = *sorted.get(at.floor() as usize)?;
    let above = *sorted.get(at.ceil() as usize)?;
    let share = at - at.floor();
    // Written so that equal neighbours, infinite ones too, give themselves.
    Some(if below == above { below } else { below + share * (above - below) })
}

/// Median of `values`, which are reordered; nothing of nothing.
pub fn median(values: &mut [f64]) -> Option<f64> {
    let count = values.len();
    let (lower_part, upper, _) =
        values.get_mut(..)?.select_nth_unstable_by((count / 2).min(count.checked_sub(1)?), f64::total_cmp);
    let upper = *upper;
    if count % 2 == 1 {
        return Some(upper);
    }
    let lower = lower_part.iter().copied().max_by(f64::total_cmp)?;
    Some(f64::midpoint(lower, upper))
}
