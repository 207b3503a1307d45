//! Split conformal prediction: intervals that hold the truth with a chosen probability, whatever the model.
//!
//! Where the studies of the calibration and the one at hand are exchangeable, the share of intervals that hold the truth
//! lies between 1 - alpha and 1 - alpha + 1/(n + 1) (Vovk 2005; Angelopoulos & Bates 2021). The guarantee is marginal:
//! over studies, not for each kind of study.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF as _};

/// The share of intervals that may miss: above 0, at most 0.5.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(with = "f64", extend("exclusiveMinimum" = 0.0, "maximum" = 0.5))]
pub struct Alpha(f64);

/// A number that is no such share.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("alpha is {given}; expected more than 0 and at most 0.5, for example 0.1 for 90 % intervals")]
pub struct AlphaError {
    given: f64,
}

impl Alpha {
    /// Checks `alpha`.
    pub fn new(alpha: f64) -> Result<Self, AlphaError> {
        if alpha > 0.0 && alpha <= 0.5 { Ok(Self(alpha)) } else { Err(AlphaError { given: alpha }) }
    }

    /// The share.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The coverage it promises, `1 - alpha`.
    pub fn coverage(self) -> f64 {
        1.0 - self.0
    }

    /// Fewest scores from which a finite interval follows: `⌈1/alpha⌉ - 1`.
    pub fn finite_from(self) -> usize {
        (1.0 / self.0 - 1e-9).ceil() as usize - 1
    }
}

impl TryFrom<f64> for Alpha {
    type Error = AlphaError;
    fn try_from(alpha: f64) -> Result<Self, AlphaError> {
        Self::new(alpha)
    }
}

impl From<Alpha> for f64 {
    fn from(alpha: Alpha) -> Self {
        alpha.0
    }
}

/// Which of `n` sorted scores, counted from 1, bounds the score of the next study: `⌈(n + 1)(1 - alpha)⌉`.
///
/// The allowance keeps a product such as 20 · 0.95, which is 19.000000000000004 in binary, from being rounded up.
pub fn rank(n: usize, alpha: Alpha) -> usize {
    ((n as f64 + 1.0) * alpha.coverage() - 1e-9).ceil() as usize
}

/// The bound on the score of the next study: the score of [`rank`], infinite where that lies beyond the last one.
///
/// `np.quantile(scores, ceil((n + 1)(1 - alpha)) / n, method="higher")`, often seen, is off by one.
pub fn quantile(scores: &[f64], alpha: Alpha) -> f64 {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = rank(scores.len(), alpha).saturating_sub(1);
    sorted.get(index).copied().unwrap_or(f64::INFINITY)
}

/// Between which values the true coverage lies with `certainty`, given one calibration set of `n` scores: it is
/// distributed as Beta(k, n + 1 - k) with `k` of [`rank`]. Nothing where the interval is infinite.
pub fn coverage_range(n: usize, alpha: Alpha, certainty: f64) -> Option<[f64; 2]> {
    let k = rank(n, alpha);
    let beta = Beta::new(k as f64, (n + 1).checked_sub(k)? as f64).ok()?;
    let tail = (1.0 - certainty) / 2.0;
    Some([beta.inverse_cdf(tail), beta.inverse_cdf(1.0 - tail)])
}

/// What a model says of one number between 0 and 100, as far as an interval needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// The value reported.
    pub estimate: f64,
    /// 5 % quantile of its distribution; the estimate where there is none.
    pub lower: f64,
    /// 95 % quantile; the estimate where there is none.
    pub upper: f64,
    /// Standard deviation; 0 where there is no distribution.
    pub deviation: f64,
}

impl Prediction {
    /// A number by itself, without a distribution.
    pub fn bare(estimate: f64) -> Self {
        Self { estimate, lower: estimate, upper: estimate, deviation: 0.0 }
    }

    /// The estimate as reports give it: a whole percent between 0 and 100.
    pub fn reported(&self) -> f64 {
        self.estimate.clamp(0.0, 100.0).round()
    }

    /// Whether every number in it is one, and the bounds lie in order.
    pub fn is_sound(&self) -> bool {
        let Self { estimate, lower, upper, deviation } = *self;
        [estimate, lower, upper, deviation].iter().all(|value| value.is_finite())
            && lower <= upper
            && deviation >= 0.0
    }
}

/// How far a truth lies from a prediction, in the terms from which the interval is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// Conformalised quantiles: how far outside its own 5 to 95 % range (Romano 2019). Negative inside.
    Quantiles,
    /// Distance from the estimate in units of its deviation plus one point.
    Scaled,
}

impl Score {
    /// The score of `truth`.
    pub fn of(self, prediction: &Prediction, truth: f64) -> f64 {
        match self {
            Self::Quantiles => (prediction.lower - truth).max(truth - prediction.upper),
            Self::Scaled => (truth - prediction.estimate).abs() / (prediction.deviation + 1.0),
        }
    }

    /// Every value between 0 and 100 whose score is at most `bound`. Empty sets, which a negative bound can make, become
    /// the point in their middle.
    pub fn interval(self, prediction: &Prediction, bound: f64) -> [f64; 2] {
        let (lower, upper) = match self {
            Self::Quantiles => (prediction.lower - bound, prediction.upper + bound),
            Self::Scaled => {
                let half = bound * (prediction.deviation + 1.0);
                (prediction.estimate - half, prediction.estimate + half)
            }
        };
        if lower > upper {
            let middle = f64::midpoint(prediction.lower, prediction.upper).clamp(0.0, 100.0);
            return [middle, middle];
        }
        [lower.clamp(0.0, 100.0), upper.clamp(0.0, 100.0)]
    }
}

/// `interval` as reports give it: tenths of a percent, rounded outward, and `reported` inside. It only grows, so that it
/// holds the truth no less often.
pub fn reported_interval(interval: [f64; 2], reported: f64) -> [f64; 2] {
    let [lower, upper] = interval;
    // The allowance keeps a tenth that is one already, such as 55.3, from moving on.
    let lower = ((lower * 10.0 + 1e-9).floor() / 10.0).min(reported).max(0.0);
    let upper = ((upper * 10.0 - 1e-9).ceil() / 10.0).max(reported).min(100.0);
    [lower, upper]
}

/// Adaptive conformal inference (Gibbs & Candès 2021): the share asked for follows the share missed, so that the coverage
/// over time holds even where studies are not exchangeable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adaptive {
    target: f64,
    rate: f64,
    alpha: f64,
}

impl Adaptive {
    /// Begins at `target`; `rate` is the step, usually 0.01.
    pub fn new(target: Alpha, rate: f64) -> Self {
        Self { target: target.get(), rate, alpha: target.get() }
    }

    /// The share to ask of the next interval. At 0 or below the interval must hold everything, at 1 or above nothing.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// Takes in whether the last interval missed.
    pub fn observe(&mut self, missed: bool) {
        self.alpha += self.rate * (self.target - f64::from(u8::from(missed)));
    }
}
