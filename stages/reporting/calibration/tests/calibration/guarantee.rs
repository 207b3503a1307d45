//! The promise, measured; and the sets that cannot make it.

use calibration::{
    Alpha, Case, FitError, Key, Prediction, Score,
    conformal::{Adaptive, quantile},
    fit, studies_needed,
    temperature::{self, Stated},
};
use rand::seq::SliceRandom as _;

use crate::world::{chance, normal, plan, studies};

fn hits(cases: &[Case], interval: impl Fn(&Case) -> [f64; 2]) -> f64 {
    let hit = |case: &&Case| {
        let [lower, upper] = interval(case);
        (lower..=upper).contains(&case.truth)
    };
    cases.iter().filter(hit).count() as f64 / cases.len() as f64
}

#[test]
fn ninety_percent_of_intervals_hold_the_truth_over_200_splits_of_500() {
    let alpha = Alpha::new(0.1).unwrap();
    for score in [Score::Quantiles, Score::Scaled] {
        let mut chance = chance(7);
        let mut cases = studies(1_000, 4.0, 1);
        let mut sum = 0.0;
        for _ in 0..200 {
            cases.shuffle(&mut chance);
            let (calibration, test) = cases.split_at(500);
            let scores: Vec<f64> =
                calibration.iter().map(|case| score.of(&case.prediction, case.truth)).collect();
            let bound = quantile(&scores, alpha);
            sum += hits(test, |case| score.interval(&case.prediction, bound));
        }
        let coverage = sum / 200.0;
        assert!((0.89..=0.92).contains(&coverage), "{score:?}: {coverage}");
    }
}

#[test]
fn a_set_keeps_its_promise_on_studies_it_has_not_seen() {
    let fitted = fit(plan(), &studies(1_000, 4.0, 1)).unwrap();
    let set = fitted.set.contents();
    assert!((0.87..=0.93).contains(&set.cross_validation.coverage), "{:?}", set.cross_validation);
    let fresh = studies(4_000, 4.0, 2);
    let coverage = hits(&fresh, |case| fitted.set.interval(&case.prediction, &case.traits).bounds);
    assert!((0.88..=0.93).contains(&coverage), "{coverage}");
    // A set on other studies keeps it no longer.
    let shifted =
        hits(&studies(4_000, 8.0, 3), |case| fitted.set.interval(&case.prediction, &case.traits).bounds);
    assert!(shifted < 0.75, "{shifted}");
}

#[test]
fn a_model_without_a_distribution_gets_intervals_of_one_width() {
    let mut cases = studies(400, 3.0, 5);
    for case in &mut cases {
        case.prediction = Prediction::bare(case.prediction.estimate);
    }
    let set = fit(plan(), &cases).unwrap().set;
    let interval = set.interval(&Prediction::bare(50.0), &cases[0].traits);
    assert!((interval.width() - 2.0 * 1.645 * 3.0).abs() < 1.5, "{interval:?}");
    assert_eq!(set.contents().temperature, 1.0);
}

#[test]
fn small_groups_take_their_parents_bound() {
    let mut cases = studies(450, 3.0, 9);
    for (index, case) in cases.iter_mut().enumerate() {
        // 50 of one vendor, 400 of the other, whose errors are theirs.
        let vendor = if index % 9 == 0 { "small" } else { "large" };
        case.traits = std::mem::take(&mut case.traits).with(Key::Vendor, vendor).unwrap();
    }
    let plan = calibration::Plan { group_by: vec![Key::Vendor, Key::View], ..plan() };
    let set = fit(plan, &cases).unwrap().set;
    let group = |index: usize| {
        let case: &Case = &cases[index];
        set.interval(&case.prediction, &case.traits).group.label.clone()
    };
    assert_eq!(group(0), "view=A4C", "50 studies are no group of their own");
    assert_eq!(group(1), "vendor=large,view=A4C");
    let unheard_of = calibration::Traits::default().with(Key::View, "PLAX").unwrap();
    assert_eq!(set.interval(&cases[0].prediction, &unheard_of).group.label, "all");
    let listed: Vec<(&str, bool)> =
        set.contents().groups.iter().map(|group| (group.label.as_str(), group.bound.is_some())).collect();
    let expected = [
        ("all", true),
        ("vendor=large,view=A4C", true),
        ("vendor=small,view=A4C", false),
        ("view=A4C", true),
    ];
    assert_eq!(listed, expected);
}

#[test]
fn too_few_studies_are_counted_against_what_is_needed() {
    let alpha = |share| Alpha::new(share).unwrap();
    assert_eq!((studies_needed(alpha(0.1)), studies_needed(alpha(0.01))), (100, 198));
    let error = fit(plan(), &studies(63, 3.0, 1)).unwrap_err();
    assert_eq!(error.to_string(), "63 usable studies; 100 are needed, 37 more");
}

#[test]
fn shuffled_truths_are_refused() {
    let mut cases = studies(500, 3.0, 1);
    let mut truths: Vec<f64> = cases.iter().map(|case| case.truth).collect();
    truths.shuffle(&mut chance(1));
    cases.iter_mut().zip(truths).for_each(|(case, truth)| case.truth = truth);
    assert!(matches!(fit(plan(), &cases), Err(FitError::NoBetterThanMean { .. })));
}

#[test]
fn studies_whose_errors_change_on_the_way_are_refused() {
    let mut cases = studies(250, 3.0, 1);
    cases.extend(studies(250, 6.0, 2));
    assert!(matches!(fit(plan(), &cases), Err(FitError::NotExchangeable { .. })));
}

#[test]
fn numbers_that_cannot_be_are_named_by_their_place() {
    for truth in [-0.1, 100.1, f64::NAN] {
        let mut cases = studies(120, 3.0, 1);
        cases[41].truth = truth;
        assert!(matches!(fit(plan(), &cases), Err(FitError::Impossible { place: 42 })), "{truth}");
    }
}

#[test]
fn cases_of_one_patient_are_never_on_both_sides() {
    // Every study twice: an interval that had seen its own twin would fit it too well.
    let mut cases = studies(150, 4.0, 3);
    cases.extend(cases.clone());
    let twins = fit(plan(), &cases).unwrap();
    let (first, second) = twins.intervals.split_at(150);
    assert_eq!(first, second, "twins are judged by the same folds");
}

#[test]
fn the_temperature_is_the_variance_that_the_model_did_not_state() {
    let mut chance = chance(4);
    let stated: Vec<Stated> = (0..20_000)
        .map(|_| Stated { mean: 50.0, variance: 4.0, truth: 50.0 + 6.0 * normal(&mut chance) })
        .collect();
    let temperature = temperature::fit(&stated).unwrap();
    assert!((temperature - 9.0).abs() < 0.3, "{temperature}");
    let nll = |temperature| stated.iter().map(|one| one.nll(temperature)).sum::<f64>();
    assert!(nll(temperature) < nll(temperature * 1.02) && nll(temperature) < nll(temperature / 1.02));
    let inside = stated[0].probability([44.0, 56.0], temperature);
    assert!((inside - 0.683).abs() < 0.02, "{inside}");
    assert_eq!(temperature::fit(&[]), None);
}

#[test]
fn adaptive_inference_comes_back_to_the_share_asked_for() {
    // A model that misses at once twice as often as it says.
    let mut chance = chance(8);
    let mut adaptive = Adaptive::new(Alpha::new(0.1).unwrap(), 0.01);
    let mut missed = 0;
    for _ in 0..5_000 {
        let misses = rand::Rng::random_bool(&mut chance, (2.0 * adaptive.alpha()).clamp(0.0, 1.0));
        missed += u32::from(misses);
        adaptive.observe(misses);
    }
    assert!((f64::from(missed) / 5_000.0 - 0.1).abs() < 0.005, "{missed}");
    assert!((adaptive.alpha() - 0.05).abs() < 0.03, "{}", adaptive.alpha());
}
