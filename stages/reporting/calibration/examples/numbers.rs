//! Answers to an oracle's questions: one JSON object on standard input, one on standard output.
//!
//! What is asked for is computed by the crate alone; `.ci/oracle/uncertainty.py` compares it with other implementations.

use std::io::Write as _;

use calibration::{
    Alpha, Prediction, Score,
    conformal::{coverage_range, quantile},
    drift::{kolmogorov_smirnov, population_stability},
    metrics::{
        Outcome, Ranked, aurc, brier, expected_calibration_error, negative_log_likelihood, rank_correlation,
    },
    temperature::{self, Stated},
};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Questions {
    alphas: Vec<f64>,
    /// Of the calibration: truth, estimate, quantiles, deviation.
    calibration: Vec<[f64; 5]>,
    /// Of the test, without the truth.
    test: Vec<[f64; 4]>,
    confidences: Vec<f64>,
    correct: Vec<bool>,
    reference: Vec<f64>,
    actual: Vec<f64>,
    sizes: Vec<usize>,
}

fn prediction([estimate, lower, upper, deviation]: [f64; 4]) -> Prediction {
    Prediction { estimate, lower, upper, deviation }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let asked: Questions = serde_json::from_reader(std::io::stdin().lock())?;
    let mut intervals = Vec::new();
    for share in &asked.alphas {
        let alpha = Alpha::new(*share)?;
        for (name, score) in [("quantiles", Score::Quantiles), ("scaled", Score::Scaled)] {
            let scores: Vec<f64> = asked
                .calibration
                .iter()
                .map(|[truth, estimate, lower, upper, deviation]| {
                    score.of(&prediction([*estimate, *lower, *upper, *deviation]), *truth)
                })
                .collect();
            let bound = quantile(&scores, alpha);
            let of_test: Vec<[f64; 2]> =
                asked.test.iter().map(|one| score.interval(&prediction(*one), bound)).collect();
            intervals.push(json!({
                "alpha": share,
                "score": name,
                "bound": bound.is_finite().then_some(bound),
                "intervals": of_test,
            }));
        }
    }
    let outcomes: Vec<Outcome> = asked
        .confidences
        .iter()
        .zip(&asked.correct)
        .map(|(confidence, correct)| Outcome { confidence: *confidence, correct: *correct })
        .collect();
    let ranked: Vec<Ranked> = outcomes
        .iter()
        .map(|one| Ranked { doubt: 1.0 - one.confidence, loss: f64::from(u8::from(!one.correct)) })
        .collect();
    let stated: Vec<Stated> = asked
        .calibration
        .iter()
        .map(|[truth, estimate, _, _, deviation]| Stated {
            mean: *estimate,
            variance: deviation.powi(2),
            truth: *truth,
        })
        .collect();
    let (mut reference, mut actual) = (asked.reference, asked.actual);
    reference.sort_by(f64::total_cmp);
    actual.sort_by(f64::total_cmp);
    let test = kolmogorov_smirnov(&reference, &actual).ok_or("a sample is empty")?;
    let tenth = Alpha::new(0.1)?;
    let answers = json!({
        "intervals": intervals,
        "ece": expected_calibration_error(&outcomes, 10),
        "brier": brier(&outcomes),
        "nll": negative_log_likelihood(&outcomes),
        "aurc": aurc(&ranked),
        "spearman": rank_correlation(&ranked),
        "temperature": temperature::fit(&stated),
        "psi": population_stability(&reference, &actual),
        "ks": { "distance": test.distance, "p": test.p },
        "coverage": asked.sizes.iter().map(|n| coverage_range(*n, tenth, 0.95)).collect::<Vec<_>>(),
    });
    writeln!(std::io::stdout().lock(), "{answers}")?;
    Ok(())
}
