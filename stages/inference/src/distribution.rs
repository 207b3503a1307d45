//! The ejection fraction as a distribution: measured from the model's probabilities, not from its words.
//!
//! ```text
//!   answer so far:  {"view":"A4C","quality":"good","lvef_percent":  ─▶ score  0, 1, … 100, null,
//!                                                                        │ exp
//!     mass M = Σ over the numbers          declined = of null            ▼
//!     P(v) ∝ probability of v     ─▶ mean and variance of this asking
//!
//!   all askings ─▶ equal mixture ─▶ quantiles, entropy
//!              └─▶ median of the means: the estimate; variance within and between askings
//! ```
//!
//! A number is scored with the comma that follows it, so that 5 is not the beginning of 52. A backend counts every token
//! that begins with the comma: byte-level tokenizers keep `,"` together.
//!
//! Invariants:
//! - mass and declined are probabilities of separate events: each at least 0, together at most 1.
//! - 0 ≤ q05 ≤ q50 ≤ q95 ≤ 100.
//! - The order of the askings decides the order of the samples and nothing else, to the last bit.

use schemas::{AskedAbout, EfDistribution, EfSample};

/// 0 to 100.
const NUMBERS: usize = 101;

/// The end of the value: another key follows.
const TERMINATOR: &str = ",";

/// Below this mass the shape of what is left is the model's noise floor and says nothing about a number.
const LEAST_MASS: f64 = 1e-6;

/// A log-probability may exceed 0 by rounding, in half precision by so much.
const ROUNDING: f64 = 0.02;

/// What the backend gave in place of log-probabilities.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub(crate) enum ScoresError {
    #[error("model backend scored {found} of {} continuations", NUMBERS + 1)]
    Count { found: usize },
    #[error("model backend gave {value} as a log-probability; expected at most 0")]
    Value { value: f64 },
}

/// What one asking says about the number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NumberScores {
    /// Probability of each whole number from 0 to 100, scaled to sum 1.
    distribution: [f64; NUMBERS],
    pub(crate) mass: f64,
    pub(crate) declined: f64,
}

impl NumberScores {
    /// What may stand in the number's place: 0 to 100, then null.
    pub(crate) fn continuations() -> Vec<String> {
        let numbers = (0..NUMBERS).map(|number| number.to_string());
        numbers.chain(["null".to_owned()]).map(|value| value + TERMINATOR).collect()
    }

    /// From the log-probabilities of [`NumberScores::continuations`]; none where no number has any probability.
    pub(crate) fn read(log_probabilities: &[f64]) -> Result<Option<Self>, ScoresError> {
        let wrong = |value: &&f64| value.is_nan() || **value > ROUNDING;
        if let Some(value) = log_probabilities.iter().find(wrong) {
            return Err(ScoresError::Value { value: *value });
        }
        let Some((null, numbers)) = log_probabilities.split_last() else {
            return Err(ScoresError::Count { found: 0 });
        };
        let Ok(numbers) = <&[f64; NUMBERS]>::try_from(numbers) else {
            return Err(ScoresError::Count { found: log_probabilities.len() });
        };
        let probabilities = numbers.map(f64::exp);
        let numbers: f64 = probabilities.iter().sum();
        let declined = null.exp();
        // Rounding may take the sum of all past 1.
        let whole = (numbers + declined).max(1.0);
        if numbers / whole < LEAST_MASS {
            return Ok(None);
        }
        Ok(Some(Self {
            distribution: probabilities.map(|probability| probability / numbers),
            mass: numbers / whole,
            declined: declined / whole,
        }))
    }

    fn mean(&self) -> f64 {
        expectation(&self.distribution, |number| number)
    }

    fn sample(&self, asked: AskedAbout) -> EfSample {
        let mean = self.mean();
        EfSample {
            asked,
            mean,
            variance: expectation(&self.distribution, |number| (number - mean) * (number - mean)),
            mass: self.mass,
            declined: self.declined,
        }
    }
}

fn expectation(distribution: &[f64; NUMBERS], of: impl Fn(f64) -> f64) -> f64 {
    (0_u32..).zip(distribution).map(|(number, probability)| probability * of(f64::from(number))).sum()
}

/// The distribution over all askings that could be scored; none if none could.
pub(crate) fn over(askings: &[(AskedAbout, &NumberScores)]) -> Option<EfDistribution> {
    if askings.is_empty() {
        return None;
    }
    let samples: Vec<EfSample> = askings.iter().map(|(asked, scores)| scores.sample(*asked)).collect();
    let mixture: [f64; NUMBERS] = std::array::from_fn(|number| {
        mean(askings.iter().map(|(_, scores)| scores.distribution.get(number).copied().unwrap_or(0.0)))
    });
    let means = || samples.iter().map(|sample| sample.mean);
    let centre = mean(means());
    Some(EfDistribution {
        estimate: median(means())?,
        q05: quantile(&mixture, 0.05),
        q50: quantile(&mixture, 0.50),
        q95: quantile(&mixture, 0.95),
        entropy: entropy(&mixture),
        mass: samples.iter().map(|sample| sample.mass).fold(1.0, f64::min),
        variance_within: mean(samples.iter().map(|sample| sample.variance)),
        variance_between: mean(means().map(|mean| (mean - centre) * (mean - centre))),
        samples,
    })
}

/// Summed in order of size, so that the order of the askings does not reach the last bit.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Of an even number of values the mean of the middle two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// Each whole number stands for the unit interval around it, evenly filled; the ends are cut at 0 and 100.
fn quantile(mixture: &[f64; NUMBERS], share: f64) -> f64 {
    let mut below = 0.0;
    for (number, probability) in (0_u32..).zip(mixture) {
        if *probability > 0.0 && below + probability >= share {
            return (f64::from(number) - 0.5 + (share - below) / probability).clamp(0.0, 100.0);
        }
        below += probability;
    }
    // Only where rounding kept the sum below the share asked for.
    100.0
}

/// In nats.
fn entropy(mixture: &[f64; NUMBERS]) -> f64 {
    let terms = mixture.iter().filter(|probability| **probability > 0.0);
    terms.map(|probability| -probability * probability.ln()).sum::<f64>().max(0.0)
}
