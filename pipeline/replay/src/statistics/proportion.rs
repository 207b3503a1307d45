//! Shares of pairs, and whether two answers differ in more pairs one way than the other.

use statrs::function::{beta::beta_reg, factorial::ln_binomial};

use super::bisect;

/// Pairs of yes and no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paired {
    /// Yes in both.
    pub both: u64,
    /// Yes in the first only.
    pub lost: u64,
    /// Yes in the second only.
    pub gained: u64,
    /// Yes in neither.
    pub neither: u64,
}

impl Paired {
    /// Counts one pair.
    pub fn count(&mut self, first: bool, second: bool) {
        match (first, second) {
            (true, true) => self.both += 1,
            (true, false) => self.lost += 1,
            (false, true) => self.gained += 1,
            (false, false) => self.neither += 1,
        }
    }

    /// All pairs.
    pub fn pairs(&self) -> u64 {
        self.both + self.lost + self.gained + self.neither
    }

    /// Pairs that differ.
    pub fn discordant(&self) -> u64 {
        self.lost + self.gained
    }
}

/// Probabilities of a discordance at least as uneven as the one seen, were both directions equally likely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct McNemar {
    /// Exact, two-sided: the sign test on the discordant pairs (McNemar 1947; exact form in Fagerland, Lydersen & Laake,
    /// BMC Med Res Methodol 2013;13:91).
    pub exact: f64,
    /// Mid-p: twice the one-sided mid-p, which counts what was seen half. Less conservative (same source).
    pub mid: f64,
}

/// McNemar's test of `lost` against `gained`. 1 where nothing is discordant.
pub fn mcnemar(lost: u64, gained: u64) -> McNemar {
    let (total, least) = (lost + gained, lost.min(gained));
    if lost == gained {
        return McNemar { exact: 1.0, mid: 1.0 };
    }
    // P(X <= k) of a binomial with probability one half is the regularised incomplete beta function I_1/2(n - k, k + 1).
    let below = beta_reg((total - least) as f64, least as f64 + 1.0, 0.5);
    let here = (ln_binomial(total, least) - total as f64 * std::f64::consts::LN_2).exp();
    McNemar { exact: (2.0 * below).min(1.0), mid: (2.0 * below - here).clamp(0.0, 1.0) }
}

/// The largest share that is not refuted at `alpha`, one-sided, by `count` of `total` (Clopper & Pearson, Biometrika
/// 1934;26:404). Never too small, whatever the truth: a margin above it is kept with confidence `1 - alpha`.
///
/// 1 for no pairs.
pub fn upper_bound(count: u64, total: u64, alpha: f64) -> f64 {
    if count >= total {
        return 1.0;
    }
    // The share at which `count` or fewer have probability alpha.
    bisect(0.0, 1.0, |share| beta_reg(count as f64 + 1.0, (total - count) as f64, share) - (1.0 - alpha))
}

/// The smallest such share; 0 for no pairs.
pub fn lower_bound(count: u64, total: u64, alpha: f64) -> f64 {
    if count == 0 || count > total {
        return 0.0;
    }
    bisect(0.0, 1.0, |share| beta_reg(count as f64, (total - count) as f64 + 1.0, share) - alpha)
}

/// Pairs from which a share like `count` of `total` would show itself to lie below `margin`: the smallest number whose
/// [`upper_bound`] does. Nothing where the share does not lie below, or ten million pairs would not do.
pub fn pairs_needed(count: u64, total: u64, margin: f64, alpha: f64) -> Option<u64> {
    let share = if total == 0 { 0.0 } else { count as f64 / total as f64 };
    if share >= margin {
        return None;
    }
    let shows = |pairs: u64| upper_bound((share * pairs as f64).ceil() as u64, pairs, alpha) < margin;
    let mut high = 1_u64;
    while !shows(high) {
        high *= 2;
        if high > 10_000_000 {
            return None;
        }
    }
    // Rounding up the count makes the bound saw-toothed: the bisection finds an edge of it, which is near enough.
    let mut low = high / 2;
    while low + 1 < high {
        let middle = u64::midpoint(low, high);
        if shows(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}
