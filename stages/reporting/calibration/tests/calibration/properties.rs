//! What holds for any input.

use calibration::{
    Alpha, CalibrationSet, Key, Prediction, Score, Traits,
    conformal::{quantile, rank, reported_interval},
    drift::{Bag, kolmogorov_smirnov, population_stability},
    fit,
    groups::labels,
    metrics::{Ranked, aurc, excess_aurc, rank_correlation},
};
use proptest::prelude::*;

use crate::world::{plan, studies};

fn any_prediction() -> impl Strategy<Value = Prediction> {
    (0.0..100.0_f64, 0.0..30.0_f64, 0.0..30.0_f64, 0.0..20.0_f64).prop_map(
        |(estimate, down, up, deviation)| Prediction {
            estimate,
            lower: estimate - down,
            upper: estimate + up,
            deviation,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_quantile_is_the_score_of_its_rank(
        scores in proptest::collection::vec(-50.0..50.0_f64, 0..60),
        share in 0.01..0.5_f64,
    ) {
        let alpha = Alpha::new(share).unwrap();
        let bound = quantile(&scores, alpha);
        let k = rank(scores.len(), alpha);
        prop_assert_eq!(bound.is_infinite(), k > scores.len());
        let at_most = scores.iter().filter(|score| **score <= bound).count();
        let below = scores.iter().filter(|score| **score < bound).count();
        prop_assert!(at_most >= k.min(scores.len()) && (bound.is_infinite() || below < k));
    }

    #[test]
    fn an_interval_holds_what_scores_within_its_bound_and_lies_in_range(
        prediction in any_prediction(),
        bound in -40.0..120.0_f64,
        truth in 0.0..100.0_f64,
    ) {
        for score in [Score::Quantiles, Score::Scaled] {
            let [lower, upper] = score.interval(&prediction, bound);
            prop_assert!(0.0 <= lower && lower <= upper && upper <= 100.0);
            if score.of(&prediction, truth) <= bound - 1e-9 {
                prop_assert!((lower..=upper).contains(&truth), "{:?} {} {}", score, lower, upper);
            }
            let reported = reported_interval([lower, upper], prediction.reported());
            prop_assert!(reported[0] <= lower && upper <= reported[1]);
            prop_assert!((reported[0]..=reported[1]).contains(&prediction.reported()));
            prop_assert!(0.0 <= reported[0] && reported[1] <= 100.0);
        }
        prop_assert_eq!(Score::Scaled.interval(&prediction, f64::INFINITY), [0.0, 100.0]);
    }

    #[test]
    fn labels_end_with_all_and_each_parent_is_a_part_of_its_child(view in "[A-Za-z0-9_-]{1,32}") {
        let traits = Traits::default().with(Key::View, &view).unwrap();
        let labels = labels(&[Key::Vendor, Key::Quality, Key::View], &traits);
        prop_assert_eq!(labels.len(), 4);
        prop_assert_eq!(labels[2].clone(), format!("view={view}"));
        prop_assert!(labels[0].ends_with(&labels[1]) && labels[1].ends_with(&labels[2]));
        prop_assert_eq!(labels[3].as_str(), "all");
    }

    #[test]
    fn a_trait_that_cannot_stand_in_a_label_is_refused(value in "[^A-Za-z0-9_-]{1,5}|[a-z]{33,40}|") {
        prop_assert!(Traits::default().with(Key::Vendor, &value).is_err());
    }

    #[test]
    fn a_rank_is_a_share_above_nothing(scores in proptest::collection::vec(0.0..5.0_f64, 0..40), tie in 0.0..1.0_f64) {
        let mut bag = Bag::new(Vec::new());
        for score in scores {
            let p = bag.rank(score.round(), tie);
            prop_assert!(0.0 < p && p <= 1.0, "{}", p);
        }
    }

    #[test]
    fn drift_measures_are_finite_and_nothing_between_equal_samples(
        mut values in proptest::collection::vec(-1e6..1e6_f64, 1..80),
        mut other in proptest::collection::vec(-1e6..1e6_f64, 1..80),
    ) {
        values.sort_by(f64::total_cmp);
        other.sort_by(f64::total_cmp);
        let test = kolmogorov_smirnov(&values, &other).unwrap();
        prop_assert!((0.0..=1.0).contains(&test.p) && (0.0..=1.0).contains(&test.distance));
        prop_assert!(population_stability(&values, &other) >= 0.0);
        prop_assert_eq!(population_stability(&values, &values), 0.0);
        let same = kolmogorov_smirnov(&values, &values).unwrap();
        prop_assert_eq!((same.distance, same.p), (0.0, 1.0));
    }

    #[test]
    fn no_ranking_beats_the_one_that_knows(
        pairs in proptest::collection::vec((0.0..10.0_f64, 0.0..10.0_f64), 1..60),
    ) {
        let ranked: Vec<Ranked> = pairs.into_iter().map(|(doubt, loss)| Ranked { doubt, loss }).collect();
        prop_assert!(excess_aurc(&ranked) >= -1e-9);
        prop_assert!(aurc(&ranked) <= ranked.iter().map(|one| one.loss).fold(0.0, f64::max) + 1e-9);
        if let Some(correlation) = rank_correlation(&ranked) {
            prop_assert!((-1.0 - 1e-9..=1.0 + 1e-9).contains(&correlation));
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}", place in 0..4_000_usize, byte in 0_u8..128) {
        prop_assert!(CalibrationSet::read(&text).is_err());
        let mut bytes = WRITTEN.with(Clone::clone);
        let place = place % bytes.len();
        let same = bytes[place] == byte;
        bytes[place] = byte;
        let white = |byte: u8| byte == b' ' || byte == b'\n' || byte == b'\r' || byte == b'\t';
        let text = String::from_utf8(bytes).unwrap();
        // Nothing but white space may change unnoticed, or a number written another way.
        if let Ok(set) = CalibrationSet::read(&text) {
            prop_assert!(same || white(byte) || set.to_text().as_bytes() == WRITTEN.with(Clone::clone));
        }
    }
}

thread_local! {
    static WRITTEN: Vec<u8> = fit(plan(), &studies(150, 3.0, 1)).unwrap().set.to_text().into_bytes();
}
