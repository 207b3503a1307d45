//! What holds of every comparison.

use proptest::prelude::*;
use rand::{SeedableRng as _, seq::SliceRandom as _};
use replay::{
    diff::{Comparison, compare, observed::Observed},
    report::Report,
    result::Arm,
    verdict::{Outcome, Verdict},
};

use super::{Study, world};

/// With fewer draws than a real comparison: what holds of every comparison holds of these too.
fn comparison(baseline: &[Study], candidate: &[Study]) -> Comparison {
    let mut given = super::comparison(baseline, candidate);
    given.margins.resamples = 100;
    given
}

fn report(baseline: &[Study], candidate: &[Study]) -> Report {
    compare(&comparison(baseline, candidate)).unwrap()
}

/// Any mixture of small changes.
fn altered(studies: &[Study], seed: u64, rate: u32) -> Vec<Study> {
    let other = world::studies(studies.len() as u32, seed);
    let mix = |(study, other): (&Study, &Study)| {
        let hit = |salt: u32| (other.number * 7919 + salt * 104_729 + seed as u32).is_multiple_of(rate);
        let mut study = study.clone();
        if hit(1) {
            study.ef = other.ef;
        }
        if hit(2) {
            study.findings.clone_from(&other.findings);
        }
        if hit(3) {
            study.blurred_below = 0.5;
        }
        if hit(4) {
            study.abstains = true;
        }
        if hit(5) {
            study.quality = other.quality;
        }
        if hit(6) {
            study.ed = other.ed;
        }
        study.seconds *= 1.0 + f64::from(other.number % 5) / 20.0;
        study
    };
    studies.iter().zip(&other).map(mix).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn identical_rows_never_regress(count in 1_u32..120, seed in 0_u64..1000) {
        let studies = world::studies(count, seed);
        let report = report(&studies, &studies);
        prop_assert_ne!(report.verdict, Verdict::Regression);
        prop_assert!(report.discordant.is_empty());
        prop_assert!(report.pairing.unpaired.is_empty());
        prop_assert_eq!(report.verdict == Verdict::Pass, count >= 59, "{:?}", report.reasons);
    }

    #[test]
    fn exchanging_the_arms_mirrors_the_comparison(seed in 0_u64..1000, rate in 2_u32..12) {
        let studies = world::studies(70, seed);
        let candidate = altered(&studies, seed, rate);
        let (there, back) = (report(&studies, &candidate), report(&candidate, &studies));
        let uids = |report: &Report| super::differing(report).join(" ");
        prop_assert_eq!(uids(&there), uids(&back));
        prop_assert_eq!(there.measures.len(), back.measures.len());
        for (a, b) in there.measures.iter().zip(&back.measures) {
            prop_assert_eq!((&a.id, a.pairs), (&b.id, b.pairs));
            match (&a.observed, &b.observed) {
                (
                    Observed::Presence { lost, gained, exact_p, mid_p, discordant, .. },
                    Observed::Presence { lost: l, gained: g, exact_p: e, mid_p: m, discordant: d, .. },
                ) => prop_assert_eq!((lost, gained, exact_p, mid_p, discordant), (g, l, e, m, d)),
                (Observed::Points { agreement: Some(a), .. }, Observed::Points { agreement: Some(b), .. }) => {
                    prop_assert!((a.bias.value + b.bias.value).abs() < 1e-9);
                    prop_assert!((a.upper_limit.value + b.lower_limit.value).abs() < 1e-9);
                }
                (Observed::Ratio { ratio: Some(a), .. }, Observed::Ratio { ratio: Some(b), .. }) => {
                    prop_assert!((a.value * b.value - 1.0).abs() < 1e-9);
                    prop_assert!((a.low * b.high - 1.0).abs() < 1e-9, "{} {}", a.low, b.high);
                }
                (a, b) => prop_assert_eq!(std::mem::discriminant(a), std::mem::discriminant(b)),
            }
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter(seed in 0_u64..1000) {
        let studies = world::studies(40, seed);
        let mut given = comparison(&studies, &altered(&studies, seed, 5));
        let expected = compare(&given).unwrap().to_json().unwrap();
        let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        given.baseline.shuffle(&mut chance);
        given.candidate.shuffle(&mut chance);
        given.noise.as_mut().unwrap().shuffle(&mut chance);
        prop_assert_eq!(compare(&given).unwrap().to_json().unwrap(), expected);
    }

    #[test]
    fn every_study_that_differs_is_listed_and_no_other(seed in 0_u64..1000, rate in 2_u32..30) {
        let studies = world::studies(60, seed);
        let candidate = altered(&studies, seed, rate);
        let step = super::standard().ef_step_points;
        let mut expected: Vec<String> = studies.iter().zip(&candidate).filter(|(a, b)| {
            let read = !a.is_rejected() && !b.is_rejected();
            let answered = read && !a.abstains && !b.abstains;
            let widths = |study: &Study| if study.abstains { None } else { Some(study.half_width) };
            a.is_rejected() != b.is_rejected()
                || read && (a.ed != b.ed || a.abstains != b.abstains || widths(a) != widths(b))
                || answered && (a.findings != b.findings || a.quality != b.quality || (a.ef - b.ef).abs() > step)
        }).map(|(study, _)| world::uid(study.number).to_string()).collect();
        expected.sort();
        let report = report(&studies, &candidate);
        prop_assert_eq!(super::differing(&report), expected);
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written(seed in 0_u64..1000) {
        let studies = world::studies(35, seed);
        let report = report(&studies, &altered(&studies, seed, 4));
        let json = report.to_json().unwrap();
        let back: Report = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&back, &report);
        prop_assert_eq!(back.to_json().unwrap(), json);
    }
}

/// Latencies drawn from one distribution in both arms: a regression is claimed in at most one run in twenty, as alpha says.
#[test]
fn chance_alone_seldom_regresses() {
    let mut claimed = 0;
    for seed in 0..40 {
        let studies = world::studies(70, seed);
        let other = world::studies(70, seed + 1000);
        let mut candidate = studies.clone();
        for (study, other) in candidate.iter_mut().zip(&other) {
            study.seconds = other.seconds;
            study.generated_tokens = other.generated_tokens;
            study.ef += f64::from(other.number % 3) - 1.0;
        }
        let report = report(&studies, &candidate);
        claimed += u32::from(report.measures.iter().any(|measure| measure.outcome == Outcome::Regressed));
        assert_eq!(report.baseline_arm, Arm::Baseline);
    }
    assert!(claimed <= 2, "{claimed} of 40");
}
