//! Temperature scaling: one number that brings a model's stated spread to its errors (Guo 2017).
//!
//! Raising the probabilities of a normal distribution to the power 1/T gives a normal distribution of T times the
//! variance. An ejection fraction scored over 0 to 100 is close to normal, so T is fitted on its mean and variance, and
//! there the likelihood has its greatest value at a known place. The answer's number stays as it is.

use statrs::distribution::{ContinuousCDF as _, Normal};

/// Smallest variance believed, in percent squared: a whole number stands for values half a point to each side.
pub const LEAST_VARIANCE: f64 = 1.0 / 12.0;

/// What a model says of one number, and the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stated {
    /// Mean.
    pub mean: f64,
    /// Variance; [`LEAST_VARIANCE`] where it is less.
    pub variance: f64,
    /// What is true.
    pub truth: f64,
}

impl Stated {
    fn normalised_square(&self) -> f64 {
        (self.truth - self.mean).powi(2) / self.variance.max(LEAST_VARIANCE)
    }

    /// Negative log-likelihood of the truth at `temperature`, in nats.
    pub fn nll(&self, temperature: f64) -> f64 {
        let variance = temperature * self.variance.max(LEAST_VARIANCE);
        0.5 * ((std::f64::consts::TAU * variance).ln() + self.normalised_square() / temperature)
    }

    /// The probability that the value lies in `range`, at `temperature`, given that it lies between 0 and 100.
    pub fn probability(&self, range: [f64; 2], temperature: f64) -> f64 {
        let deviation = (temperature * self.variance.max(LEAST_VARIANCE)).sqrt();
        let Ok(normal) = Normal::new(self.mean, deviation) else { return 0.0 };
        let between = |low: f64, high: f64| normal.cdf(high) - normal.cdf(low);
        let whole = between(0.0, 100.0);
        if whole > 0.0 { between(range[0], range[1]) / whole } else { 0.0 }
    }
}

/// The temperature under which `stated` is most likely; nothing where there is no error to learn from.
pub fn fit(stated: &[Stated]) -> Option<f64> {
    let mean = stated.iter().map(Stated::normalised_square).sum::<f64>() / stated.len() as f64;
    (mean.is_finite() && mean > 0.0).then_some(mean)
}
