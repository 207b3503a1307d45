//! Numbers that other implementations give for the same input.

use calibration::{
    Alpha,
    conformal::{coverage_range, quantile, rank},
    drift::{deciles, kolmogorov_smirnov, population_stability_of_shares},
    metrics::{
        Outcome, Ranked, aurc, brier, excess_aurc, expected_calibration_error, negative_log_likelihood,
    },
};

/// Nineteen scores; MAPIE 1.6 gives 7.7 at 0.1, where the common `np.quantile` idiom gives 8.9.
const SCORES: [f64; 19] =
    [3.1, 0.4, 7.7, 2.2, 5.0, 1.5, 0.9, 4.4, 6.3, 2.8, 3.6, 1.1, 0.2, 8.9, 2.0, 4.9, 5.5, 0.7, 3.3];

const CONFIDENCES: [f64; 10] = [0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.52];
const CORRECT: [bool; 10] = [true, true, true, false, true, true, false, true, false, true];

fn alpha(share: f64) -> Alpha {
    Alpha::new(share).unwrap()
}

fn outcomes() -> Vec<Outcome> {
    CONFIDENCES
        .iter()
        .zip(CORRECT)
        .map(|(confidence, correct)| Outcome { confidence: *confidence, correct })
        .collect()
}

fn ranked() -> Vec<Ranked> {
    let one = |outcome: Outcome| Ranked {
        doubt: 1.0 - outcome.confidence,
        loss: f64::from(u8::from(!outcome.correct)),
    };
    outcomes().into_iter().map(one).collect()
}

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
}

#[test]
fn conformal_quantiles_are_those_of_mapie() {
    for (share, expected) in [(0.1, 7.7), (0.05, 8.9), (0.2, 5.5), (0.04, f64::INFINITY)] {
        assert_eq!(quantile(&SCORES, alpha(share)), expected, "alpha {share}");
    }
    assert_eq!(rank(19, alpha(0.05)), 19, "20 times 0.95 is 19, whatever binary says");
    assert_eq!(quantile(&[], alpha(0.5)), f64::INFINITY);
    assert_eq!((alpha(0.1).finite_from(), alpha(0.05).finite_from()), (9, 19));
    for share in [0.0, -0.1, 0.51, f64::NAN] {
        assert!(Alpha::new(share).is_err(), "{share}");
    }
}

#[test]
fn the_true_coverage_given_one_set_is_a_beta_distribution() {
    let expected = [
        (100, [0.836, 0.951]),
        (300, [0.864, 0.932]),
        (500, [0.873, 0.925]),
        (1000, [0.881, 0.918]),
        (2000, [0.887, 0.913]),
    ];
    for (n, [lower, upper]) in expected {
        let [low, high] = coverage_range(n, alpha(0.1), 0.95).unwrap();
        close(low, lower, 6e-4);
        close(high, upper, 6e-4);
    }
    assert_eq!(coverage_range(8, alpha(0.1), 0.95), None, "no finite interval, no range");
}

#[test]
fn calibration_errors_of_ten_statements() {
    close(expected_calibration_error(&outcomes(), 10), 0.1530, 1e-12);
    let square = |outcome: &Outcome| (outcome.confidence - f64::from(u8::from(outcome.correct))).powi(2);
    close(brier(&outcomes()), outcomes().iter().map(square).sum::<f64>() / 10.0, 1e-15);
    // sklearn.metrics.log_loss([1,1,1,0,1,1,0,1,0,1], confidences)
    close(negative_log_likelihood(&outcomes()), 0.558_604_958_025_687, 1e-12);
    assert_eq!(expected_calibration_error(&[], 10), 0.0);
}

#[test]
fn risk_and_coverage_of_ten_statements() {
    close(aurc(&ranked()), 0.178_571, 5e-7);
    close(excess_aurc(&ranked()), 0.113_849, 5e-7);
    // The order of equal doubts changes nothing.
    let mut same: Vec<Ranked> = ranked().into_iter().map(|one| Ranked { doubt: 1.0, ..one }).collect();
    let forward = aurc(&same);
    same.reverse();
    assert_eq!(aurc(&same), forward);
    close(forward, 0.3, 1e-12);
}

#[test]
fn stability_of_ten_shares() {
    let actual = [0.05, 0.08, 0.1, 0.1, 0.12, 0.12, 0.13, 0.1, 0.1, 0.1];
    close(population_stability_of_shares(&[0.1; 10], &actual), 0.054_284_0, 5e-8);
    // An empty bin gives a number, not infinity.
    assert!(population_stability_of_shares(&[0.5, 0.5], &[1.0, 0.0]).is_finite());
    assert_eq!(deciles(&[0.0, 10.0]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
}

#[test]
fn kolmogorov_smirnov_is_that_of_scipy() {
    // scipy.stats.ks_2samp(a, b, method="exact")
    let first: Vec<f64> = (0..10).map(f64::from).collect();
    let second: Vec<f64> = (0..8).map(|one| f64::from(one) + 3.5).collect();
    let test = kolmogorov_smirnov(&first, &second).unwrap();
    close(test.distance, 0.4, 1e-12);
    close(test.p, 0.391_745_509_392_568, 1e-12);
    assert_eq!(kolmogorov_smirnov(&first, &[]), None);
    let apart = kolmogorov_smirnov(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).unwrap();
    close(apart.p, 0.1, 1e-12);
}
