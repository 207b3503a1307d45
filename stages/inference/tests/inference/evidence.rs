//! How sure the model is found to be.

use std::sync::Arc;

use inference::InferenceStage;
use proptest::prelude::*;
use schemas::{EfDistribution, KeyframesExtracted, ModelIdentity};
use stage::{
    BackendError, Generation, ModelBackend, ModelRequest, Scope, Services, Stage as _, StageError,
    testing::{MemoryBlobs, MemoryFrames, check, ctx},
};

use crate::world::{Reply, Scripted, answer_of, answered, beats, config, one_beat, outcome_of, peak};

/// Log-probabilities of a normal distribution around `mean`, with `mass` in all and half the rest on null.
fn bell(mean: f64, deviation: f64, mass: f64) -> Vec<f64> {
    let weights: Vec<f64> =
        (0..=100).map(|number| (-((f64::from(number) - mean) / deviation).powi(2) / 2.0).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum * mass).ln()).chain([((1.0 - mass) / 2.0).ln()]).collect()
}

fn scored(lvef: Option<u8>, scores: Option<Vec<f64>>) -> Reply {
    Reply { scores, ..Reply::echo("A4C", lvef) }
}

fn study_of(replies: Vec<Reply>, blobs: &MemoryBlobs) -> (Arc<Scripted>, KeyframesExtracted) {
    let levels: Vec<u8> = (1..).map(|index| 10 * index).take(replies.len()).collect();
    let input = beats(blobs, &levels);
    (Scripted::of_each(levels.into_iter().zip(replies)), input)
}

fn ef_of(replies: Vec<Reply>) -> EfDistribution {
    let blobs = MemoryBlobs::default();
    let (model, input) = study_of(replies, &blobs);
    answered(&answer_of(&model, &config(), &input, &blobs)).1.ef.clone().unwrap()
}

#[test]
fn a_certain_number_has_no_spread_but_its_own_width() {
    let ef = ef_of(vec![scored(Some(57), Some(peak(57, 0.9, 0.05)))]);
    assert_eq!((ef.estimate, ef.variance_within, ef.variance_between, ef.entropy), (57.0, 0.0, 0.0, 0.0));
    for (quantile, expected) in [(ef.q05, 56.55), (ef.q50, 57.0), (ef.q95, 57.45)] {
        assert!((quantile - expected).abs() < 1e-9, "{quantile} {expected}");
    }
    assert!((ef.mass - 0.9).abs() < 1e-12 && (ef.samples[0].declined - 0.05).abs() < 1e-12);
}

#[test]
fn a_known_distribution_gives_its_moments_quantiles_and_entropy() {
    let ef = ef_of(vec![scored(Some(50), Some(bell(50.0, 5.0, 0.95)))]);
    assert!((ef.estimate - 50.0).abs() < 1e-9 && (ef.q50 - 50.0).abs() < 1e-9);
    assert!((ef.variance_within - 25.0).abs() < 1e-3, "{}", ef.variance_within);
    // Normal quantiles, a unit interval's variance of 1/12 wider.
    let width = 1.644_854 * (25.0_f64 + 1.0 / 12.0).sqrt();
    assert!((ef.q95 - 50.0 - width).abs() < 0.02 && (50.0 - ef.q05 - width).abs() < 0.02, "{ef:?}");
    // Of a normal distribution: ln(σ √(2πe)).
    assert!(
        (ef.entropy - (5.0 * (2.0 * std::f64::consts::PI * std::f64::consts::E).sqrt()).ln()).abs() < 1e-6
    );
}

#[test]
fn askings_that_disagree_show_between_and_their_median_stands() {
    let ef = ef_of(vec![
        scored(Some(60), Some(peak(60, 0.8, 0.0))),
        scored(Some(30), Some(peak(30, 0.9, 0.0))),
        scored(Some(57), Some(peak(57, 1.0, 0.0))),
    ]);
    assert_eq!(ef.estimate, 57.0);
    assert!((ef.mass - 0.8).abs() < 1e-12);
    let mean = 49.0;
    let between = ((60.0_f64 - mean).powi(2) + (30.0_f64 - mean).powi(2) + (57.0_f64 - mean).powi(2)) / 3.0;
    assert!((ef.variance_between - between).abs() < 1e-9 && ef.variance_within == 0.0);
    assert!((ef.entropy - 3.0_f64.ln()).abs() < 1e-12);
    assert!((ef.q05 - (29.5 + 0.15)).abs() < 1e-9 && (ef.q50 - 57.0).abs() < 1e-9, "{ef:?}");
}

#[test]
fn the_number_is_the_rounded_estimate_and_falls_away_where_most_give_none() {
    let blobs = MemoryBlobs::default();
    let percent = |replies: Vec<Reply>| {
        let (model, input) = study_of(replies, &blobs);
        answered(&answer_of(&model, &config(), &input, &blobs)).0.lvef_percent
    };
    // The mean of 50 and 53 is 51.5: rounded, and not what any asking said.
    let wide = |mean: f64| Some(bell(mean, 3.0, 0.9));
    assert_eq!(percent(vec![scored(Some(48), wide(51.7))]), Some(52));
    assert_eq!(percent(vec![scored(Some(50), wide(50.0)), scored(Some(53), wide(53.2))]), Some(52));
    // Two of three decline in words.
    assert_eq!(
        percent(vec![scored(Some(50), wide(50.0)), scored(None, wide(50.0)), scored(None, wide(50.0))]),
        None
    );
    // Words say a number, probabilities mostly decline.
    assert_eq!(percent(vec![scored(Some(50), Some(peak(50, 0.3, 0.6)))]), None);
    assert_eq!(percent(vec![scored(Some(50), Some(peak(50, 0.5, 0.4)))]), Some(50));
    // Half is not most.
    assert_eq!(percent(vec![scored(Some(50), wide(50.0)), scored(None, wide(50.0))]), None);
}

#[test]
fn a_backend_that_cannot_score_leaves_the_answer_and_no_distribution() {
    let blobs = MemoryBlobs::default();
    for scores in [None, Some(vec![f64::NEG_INFINITY; 102]), Some(peak(50, 1e-9, 0.9))] {
        let (model, input) = study_of(
            vec![
                scored(Some(50), scores.clone()),
                scored(Some(60), scores.clone()),
                scored(Some(53), scores.clone()),
            ],
            &blobs,
        );
        let found = answer_of(&model, &config(), &input, &blobs);
        let (answer, evidence) = answered(&found);
        assert_eq!(evidence.ef, None);
        // The median of the words.
        assert_eq!(answer.lvef_percent, Some(53));
        assert_eq!((evidence.askings, evidence.agreeing), (3, 3));
    }
}

/// Answers, and is gone when it is to score.
struct GoneBeforeScoring(Arc<Scripted>);

impl ModelBackend for GoneBeforeScoring {
    fn identity(&self) -> &ModelIdentity {
        self.0.identity()
    }

    fn generate(&self, request: &ModelRequest) -> Result<Generation, BackendError> {
        self.0.generate(request)
    }

    fn score(&self, _: &ModelRequest, _: &[String]) -> Result<Vec<f64>, BackendError> {
        Err(BackendError::Unavailable("connection refused".into()))
    }
}

#[test]
fn a_backend_that_is_gone_when_it_is_to_score_is_asked_again_later() {
    let blobs = MemoryBlobs::default();
    let frames = MemoryFrames::default();
    let model = Arc::new(GoneBeforeScoring(Arc::new(Scripted::new(Reply::echo("A4C", Some(50))))));
    let build = || InferenceStage::build(config(), &Services { model: model.clone() }).unwrap();
    let outcome = check(build, &[one_beat(&blobs)], &mut ctx(&blobs, &frames)).remove(0);
    assert!(matches!(outcome, Err(StageError::Transient { scope: Scope::Dependency, .. })), "{outcome:?}");
}

#[test]
fn scores_that_are_none_stop_the_worker() {
    let blobs = MemoryBlobs::default();
    let mut too_likely = peak(50, 0.5, 0.1);
    too_likely[3] = 0.5;
    let mut undefined = peak(50, 0.5, 0.1);
    undefined[3] = f64::NAN;
    for scores in [vec![], vec![-1.0; 101], vec![-1.0; 103], too_likely, undefined] {
        let model = Arc::new(Scripted::new(scored(Some(50), Some(scores))));
        let outcome = outcome_of(&model, &config(), &one_beat(&blobs), &blobs);
        assert!(matches!(outcome, Err(StageError::Fatal(_))), "{outcome:?}");
    }
}

#[test]
fn semantic_entropy_is_over_the_bands_of_the_number() {
    let blobs = MemoryBlobs::default();
    let entropy = |numbers: &[Option<u8>]| {
        let replies = numbers.iter().map(|number| scored(*number, None)).collect();
        let (model, input) = study_of(replies, &blobs);
        answered(&answer_of(&model, &config(), &input, &blobs)).1.semantic_entropy
    };
    assert_eq!(entropy(&[Some(50), Some(70), Some(100)]), 0.0);
    assert_eq!(entropy(&[Some(0), Some(40)]), 0.0);
    assert!((entropy(&[Some(40), Some(41)]) - 0.5).abs() < 1e-12);
    assert!((entropy(&[Some(49), Some(50)]) - 0.5).abs() < 1e-12);
    assert!((entropy(&[Some(40), Some(49), Some(50), None]) - 1.0).abs() < 1e-12);
}

#[test]
fn the_tokens_log_probability_is_their_mean_where_all_are_known() {
    let blobs = MemoryBlobs::default();
    let with = |value| Reply { log_probability: value, ..Reply::echo("A4C", Some(50)) };
    for (values, mean) in
        [([Some(-3.0), Some(-6.0)], Some(-1.5)), ([Some(-3.0), None], None), ([None, None], None)]
    {
        let (model, input) = study_of(values.map(with).to_vec(), &blobs);
        assert_eq!(answered(&answer_of(&model, &config(), &input, &blobs)).1.token_log_probability, mean);
    }
}

fn any_scores() -> impl Strategy<Value = Vec<f64>> {
    let bells =
        (0.0..100.0_f64, 0.2..40.0_f64, 0.01..1.0_f64).prop_map(|(mean, sd, mass)| bell(mean, sd, mass));
    let peaks =
        (0_u8..=100, 0.01..0.9_f64, 0.0..0.1_f64).prop_map(|(at, mass, declined)| peak(at, mass, declined));
    let ragged = prop::collection::vec(-60.0..0.0_f64, 102).prop_map(|scores| {
        let sum: f64 = scores.iter().map(|score| score.exp()).sum();
        scores.iter().map(|score| score - sum.max(1.0).ln()).collect()
    });
    prop_oneof![bells, peaks, ragged]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_distribution_is_one_and_does_not_depend_on_the_order_of_the_askings(
        scores in prop::collection::vec(any_scores(), 1..5),
    ) {
        let replies: Vec<Reply> = scores.into_iter().map(|scores| scored(Some(50), Some(scores))).collect();
        let ef = ef_of(replies.clone());
        prop_assert!(0.0 <= ef.q05 && ef.q05 <= ef.q50 && ef.q50 <= ef.q95 && ef.q95 <= 100.0, "{:?}", ef);
        prop_assert!((0.0..=101.0_f64.ln() + 1e-9).contains(&ef.entropy), "{:?}", ef);
        prop_assert!((0.0..=100.0).contains(&ef.estimate) && ef.variance_within >= 0.0 && ef.variance_between >= 0.0);
        for sample in &ef.samples {
            prop_assert!(sample.mass > 0.0 && sample.declined >= 0.0);
            prop_assert!(sample.mass + sample.declined <= 1.0 + 1e-12, "{:?}", sample);
            prop_assert!(ef.mass <= sample.mass);
            prop_assert!((0.0..=100.0).contains(&sample.mean) && (0.0..=2500.0 + 1e-9).contains(&sample.variance));
        }
        let mut turned = replies;
        turned.reverse();
        let again = ef_of(turned);
        let mut samples = again.samples.clone();
        samples.reverse();
        let means = |ef: &EfDistribution| ef.samples.iter().map(|sample| sample.mean).collect::<Vec<_>>();
        prop_assert_eq!(samples.iter().map(|sample| sample.mean).collect::<Vec<_>>(), means(&ef));
        prop_assert_eq!(EfDistribution { samples: vec![], ..again }, EfDistribution { samples: vec![], ..ef });
    }
}
