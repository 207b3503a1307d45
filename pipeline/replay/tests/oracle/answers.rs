//! What the crate says to the questions of `make_fixtures.py`.

use calibration::metrics::{Outcome, expected_calibration_error};
use replay::statistics::{
    agreement::{agreement, equivalence},
    bootstrap::{Reading, interval},
    holm, median,
    proportion::{lower_bound, mcnemar, upper_bound},
};
use serde::{Deserialize, Serialize};

/// Everything that is asked about.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Questions {
    /// Significance.
    pub(crate) alpha: f64,
    /// Discordant pairs, either way.
    pub(crate) discordant: Vec<[u64; 2]>,
    /// Counts and totals.
    pub(crate) shares: Vec<[u64; 2]>,
    /// Differences of paired measurements.
    pub(crate) differences: Vec<Vec<f64>>,
    /// Margin of their mean.
    pub(crate) margin: f64,
    /// Probabilities of tests done together.
    pub(crate) probabilities: Vec<f64>,
    /// Paired times.
    pub(crate) times: Vec<[f64; 2]>,
    /// Which pairs each resample draws.
    pub(crate) resamples: Vec<Vec<usize>>,
    /// Confidences, and whether each was right.
    pub(crate) stated: Vec<(f64, bool)>,
}

/// Every answer, a row for each question.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answers {
    /// Exact and mid-p.
    pub(crate) mcnemar: Vec<[f64; 2]>,
    /// One-sided bounds.
    pub(crate) bounds: Vec<[f64; 2]>,
    /// Bias with interval, deviation, both limits with intervals.
    pub(crate) agreement: Vec<[f64; 10]>,
    /// Probability and interval of the two one-sided tests.
    pub(crate) equivalence: Vec<[f64; 3]>,
    /// Adjusted probabilities.
    pub(crate) holm: Vec<f64>,
    /// Logarithm of the ratio of medians, percentile interval.
    pub(crate) medians: [f64; 3],
    /// Logarithm of the ratio of means, BCa interval.
    pub(crate) means: [f64; 3],
    /// Expected calibration error in ten bins.
    pub(crate) calibration: f64,
}

/// The answers; nothing where one question has none.
pub(crate) fn answer(asked: &Questions) -> Option<Answers> {
    let Questions { alpha, margin, .. } = *asked;
    let agreed: Vec<_> =
        asked.differences.iter().map(|values| agreement(values, alpha)).collect::<Option<_>>()?;
    let rows = agreed.iter().map(|found| {
        let [bias, lower, upper] =
            [found.bias, found.lower_limit, found.upper_limit].map(|at| [at.value, at.low, at.high]);
        let deviation = found.deviation;
        [bias[0], bias[1], bias[2], deviation, lower[0], lower[1], lower[2], upper[0], upper[1], upper[2]]
    });
    let tested: Vec<_> =
        agreed.iter().map(|found| equivalence(found, margin, alpha)).collect::<Option<_>>()?;
    let drawn = |reading, statistic: &dyn Fn(Vec<f64>) -> f64| {
        let column = |indices: &[usize], arm: usize| -> Vec<f64> {
            indices.iter().filter_map(|index| Some(asked.times.get(*index)?[arm])).collect()
        };
        let ratio =
            |indices: &[usize]| statistic(column(indices, 1)).ln() - statistic(column(indices, 0)).ln();
        let found = interval(asked.times.len(), alpha, reading, asked.resamples.iter().cloned(), ratio)?;
        Some([found.value, found.low, found.high])
    };
    let middle = |mut values: Vec<f64>| median(&mut values).unwrap_or(f64::NAN);
    let average = |values: Vec<f64>| replay::statistics::mean(&values).unwrap_or(f64::NAN);
    let outcomes: Vec<Outcome> = asked
        .stated
        .iter()
        .map(|(confidence, correct)| Outcome { confidence: *confidence, correct: *correct })
        .collect();
    let both = |[lost, gained]: [u64; 2]| {
        let found = mcnemar(lost, gained);
        [found.exact, found.mid]
    };
    let bounds =
        |[count, total]: [u64; 2]| [lower_bound(count, total, alpha), upper_bound(count, total, alpha)];
    Some(Answers {
        mcnemar: asked.discordant.iter().copied().map(both).collect(),
        bounds: asked.shares.iter().copied().map(bounds).collect(),
        agreement: rows.collect(),
        equivalence: tested.iter().map(|found| [found.p, found.low, found.high]).collect(),
        holm: holm::adjusted(&asked.probabilities),
        medians: drawn(Reading::Percentile, &middle)?,
        means: drawn(Reading::BiasCorrected, &average)?,
        calibration: expected_calibration_error(&outcomes, 10),
    })
}
