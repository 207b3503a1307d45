//! The statistics of a comparison against SciPy and statsmodels (`oracle/make_fixtures.py`), and what they must always keep.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;
use replay::statistics::{
    agreement::{self, agreement, equivalence},
    bootstrap::{Draws, Reading, interval},
    holm, median,
    proportion::{self, lower_bound, mcnemar, upper_bound},
};
use serde::Deserialize;
use serde_json::Value;

#[path = "oracle/answers.rs"]
mod answers;

#[derive(Deserialize)]
struct Fixtures {
    questions: answers::Questions,
    answers: Value,
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Number(number) => vec![number.as_f64().unwrap()],
        other => panic!("no number: {other}"),
    }
}

#[test]
fn every_number_is_that_of_scipy_and_statsmodels() {
    let fixtures: Fixtures = serde_json::from_str(include_str!("oracle/fixtures.json")).unwrap();
    let ours = serde_json::to_value(answers::answer(&fixtures.questions).unwrap()).unwrap();
    let expected = fixtures.answers.as_object().unwrap();
    assert_eq!(expected.len(), 8);
    for (name, theirs) in expected {
        let (ours, theirs) = (numbers(&ours[name]), numbers(theirs));
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let difference = (ours - theirs).abs() / theirs.abs().max(1.0);
            assert!(difference <= 1e-9, "{name}: {ours} is not {theirs}");
        }
    }
}

#[test]
fn no_discordance_in_59_pairs_lies_below_five_percent_and_in_58_does_not() {
    assert!(upper_bound(0, 59, 0.05) < 0.05);
    assert!(upper_bound(0, 58, 0.05) >= 0.05);
    assert_eq!(proportion::pairs_needed(0, 10, 0.05, 0.05), Some(59));
    assert_eq!(proportion::pairs_needed(1, 10, 0.05, 0.05), None);
}

#[test]
fn what_cannot_be_computed_is_nothing() {
    assert_eq!(agreement(&[], 0.05), None);
    assert_eq!(agreement(&[1.0], 0.05), None);
    assert_eq!(agreement(&[1.0, f64::NAN], 0.05), None);
    assert_eq!(median(&mut []), None);
    assert_eq!(interval(1, 0.05, Reading::Percentile, std::iter::once(vec![0]), |_| 0.0), None);
    assert_eq!(interval(2, 0.05, Reading::Percentile, std::iter::empty(), |_| 0.0), None);
    assert_eq!(interval(2, 0.05, Reading::BiasCorrected, std::iter::once(vec![0, 1]), |_| f64::NAN), None);
    assert_eq!(upper_bound(0, 0, 0.05), 1.0);
    assert_eq!(lower_bound(0, 0, 0.05), 0.0);
}

#[test]
fn a_constant_difference_is_known_exactly() {
    let found = agreement(&[6.0; 20], 0.05).unwrap();
    assert_eq!((found.bias.low, found.bias.high, found.deviation), (6.0, 6.0, 0.0));
    assert_eq!(equivalence(&found, 2.0, 0.05).unwrap().p, 1.0);
    assert_eq!(equivalence(&found, 7.0, 0.05).unwrap().p, 0.0);
    assert_eq!(agreement::pairs_needed(&found, 2.0, 0.05), None);
}

#[test]
fn draws_depend_on_seed_and_name_only() {
    let drawn = |seed, name| Draws { seed, name, resamples: 5 }.indices(9).collect::<Vec<_>>();
    assert_eq!(drawn(1, "a"), drawn(1, "a"));
    assert_ne!(drawn(1, "a"), drawn(2, "a"));
    assert_ne!(drawn(1, "a"), drawn(1, "b"));
}

/// 19 of 20 intervals hold what they are about: of 400 normal samples of 40 with a mean of 1, 90 % intervals hold it in
/// about 360.
#[test]
fn bootstrap_intervals_hold_the_truth_as_often_as_they_promise() {
    let mut held = 0;
    for sample in 0..400_u64 {
        let draws = Draws { seed: sample, name: "noise", resamples: 40 };
        // Twelve uniform numbers, summed, are near enough to normal (Irwin-Hall).
        let values: Vec<f64> = draws
            .indices(13)
            .map(|row| 1.0 + row.iter().take(12).map(|index| *index as f64 / 12.0 - 0.5).sum::<f64>())
            .collect();
        let mean = |indices: &[usize]| {
            indices.iter().map(|index| values[*index]).sum::<f64>() / indices.len() as f64
        };
        let resamples = Draws { seed: sample, name: "draws", resamples: 300 };
        let found =
            interval(values.len(), 0.05, Reading::BiasCorrected, resamples.indices(values.len()), mean)
                .unwrap();
        held += u32::from((found.low..=found.high).contains(&1.0));
    }
    assert!((336..=380).contains(&held), "{held} of 400");
}

proptest! {
    #[test]
    fn mcnemar_is_a_probability_that_does_not_know_the_arms(lost in 0_u64..400, gained in 0_u64..400) {
        let (here, there) = (mcnemar(lost, gained), mcnemar(gained, lost));
        prop_assert_eq!(here, there);
        prop_assert!((0.0..=1.0).contains(&here.exact) && (0.0..=1.0).contains(&here.mid));
        prop_assert!(here.mid <= here.exact);
    }

    #[test]
    fn bounds_enclose_the_share(count in 0_u64..300, more in 0_u64..300, alpha in 0.001..0.4_f64) {
        let total = count + more;
        let (low, high) = (lower_bound(count, total, alpha), upper_bound(count, total, alpha));
        if total > 0 {
            let share = count as f64 / total as f64;
            prop_assert!(low <= share && share <= high, "{low} {share} {high}");
        }
    }

    #[test]
    fn adjusting_never_lowers_a_probability_and_keeps_their_order(p in prop::collection::vec(0.0..=1.0_f64, 0..20)) {
        let adjusted = holm::adjusted(&p);
        prop_assert_eq!(adjusted.len(), p.len());
        for (a, b) in p.iter().zip(&adjusted) {
            prop_assert!(a <= b && *b <= 1.0);
        }
        for (i, j) in (0..p.len()).flat_map(|i| (0..p.len()).map(move |j| (i, j))) {
            prop_assert!(p[i] > p[j] || adjusted[i] <= adjusted[j]);
        }
    }

    #[test]
    fn agreement_mirrors(differences in prop::collection::vec(-50.0..50.0_f64, 2..40)) {
        let mirrored: Vec<f64> = differences.iter().map(|one| -one).collect();
        let (here, there) = (agreement(&differences, 0.05).unwrap(), agreement(&mirrored, 0.05).unwrap());
        prop_assert!((here.bias.value + there.bias.value).abs() < 1e-9);
        prop_assert!((here.upper_limit.high + there.lower_limit.low).abs() < 1e-9);
    }

    #[test]
    fn median_is_the_middle(mut values in prop::collection::vec(-1e6..1e6_f64, 1..50)) {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let expected = f64::midpoint(sorted[sorted.len() / 2], sorted[(sorted.len() - 1) / 2]);
        prop_assert_eq!(median(&mut values), Some(expected));
    }
}
