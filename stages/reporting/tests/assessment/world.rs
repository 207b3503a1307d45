//! Findings as the stage before makes them, and calibration sets of chosen width.

use calibration::{Alpha, CalibrationSet, Case, Key, Plan, Prediction, Score, Traits};
use jiff::Timestamp;
use reporting::{CalibrationFile, Config, ReportingStage};
use schemas::{
    Answer, AskedAbout, Certainty, Clip, Digest, Domain, EfDistribution, EfSample, Evidence,
    FindingsInferred, Geometry, Inference, InstanceUid, ModelIdentity, Priority, Quality, ReasonCode,
    ReportIssued, Revision, SeriesUid, StudyHead, StudyUid, Timing, TimingSource, Verdict, View,
};
use stage::{
    ConfigError, Outcome, Services, Stage as _, StageError,
    testing::{self, MemoryBlobs, MemoryFrames},
};

/// The configuration of the tests; the thresholds are those that a fresh installation has.
pub(crate) fn config() -> Config {
    let certainty = serde_json::json!({
        "low": { "interval_width": 12.0, "semantic_entropy": 0.3, "geometric_gap": 7.0, "calibration_studies": 500 },
        "medium": { "interval_width": 20.0, "semantic_entropy": 0.6, "geometric_gap": 10.0, "calibration_studies": 100 },
        "abstain": { "interval_width": 30.0, "mass": 0.5 },
        "certain_mass": 0.9,
    });
    let config =
        serde_json::json!({ "allow_demo_model": false, "drift_alarm": false, "certainty": certainty });
    serde_json::from_value(config).unwrap()
}

/// The same with a set.
pub(crate) fn with_set(set: &CalibrationSet) -> Config {
    let file = CalibrationFile { path: "set.json".to_owned(), text: set.to_text() };
    Config { calibration_set: Some(file), ..config() }
}

pub(crate) fn model() -> ModelIdentity {
    ModelIdentity {
        name: "a".into(),
        digest: Digest::of(b"weights"),
        dtype: "f32".into(),
        device: "cpu".into(),
        untrained: false,
        synthetic_only: false,
    }
}

/// A set of `studies` patients' studies whose errors lie evenly between -`error` and `error` points: 90 % intervals of a bare
/// number are about `1.8 error` points wide.
pub(crate) fn set(studies: u32, error: f64) -> CalibrationSet {
    let case = |index: u32| {
        // Multiples of the golden ratio fill any interval evenly, whatever part of them is looked at.
        let even = |factor: f64| (f64::from(index) * factor).fract();
        let truth = 20.0 + 50.0 * even(0.754_877_666_246_693);
        let estimate = truth + error * (2.0 * even(0.618_033_988_749_895) - 1.0);
        let traits = Traits::default().with(Key::Quality, "good").unwrap().with(Key::View, "A4C").unwrap();
        Case {
            unit: index.to_string(),
            prediction: Prediction::bare(estimate),
            truth,
            traits,
            geometric: Some(truth),
        }
    };
    let cases: Vec<Case> = (0..studies).map(case).collect();
    let plan = Plan {
        id: "site-1".to_owned(),
        made_at: Timestamp::UNIX_EPOCH,
        model: model().digest,
        fingerprint: Digest::of(b"inference"),
        synthetic: false,
        score: Score::Quantiles,
        alpha: Alpha::new(0.1).unwrap(),
        group_by: vec![Key::Quality, Key::View],
    };
    calibration::fit(plan, &cases).unwrap().set
}

pub(crate) fn clip(view: Option<View>, geometry: Option<f64>, flags: &[&'static str]) -> Clip {
    Clip {
        series_uid: SeriesUid::new("2.25.10").unwrap(),
        instance_uid: InstanceUid::new("2.25.11").unwrap(),
        view,
        timing: Timing { source: TimingSource::FrameTime, fps: Some(50.0) },
        keyframes: vec![],
        geometry: geometry.map(|ef_percent| Geometry {
            ef_percent,
            method: "single-plane discs".into(),
            flags: vec![],
        }),
        flags: flags.iter().map(|flag| ReasonCode::new(flag).unwrap()).collect(),
    }
}

/// A clean study: A4C, good, 60 percent with some spread, contours at 58, one beat asked about.
pub(crate) fn clean() -> FindingsInferred {
    FindingsInferred {
        study: StudyHead {
            study_uid: StudyUid::new("2.25.1").unwrap(),
            revision: Revision::FIRST,
            priority: Priority::Routine,
            domain: Domain::Echo,
            synthetic: false,
        },
        verdict: Verdict::Accept,
        cautions: vec![],
        clips: vec![clip(Some(View::A4C), Some(58.0), &[])],
        model: model(),
        fingerprint: Digest::of(b"inference"),
        inference: Inference::Answer(Answer {
            view: Some(View::A4C),
            quality: Quality::Good,
            lvef_percent: Some(60),
            findings: vec![],
        }),
        generation: None,
        evidence: Some(Evidence {
            ef: Some(distribution(60.3, 1.0)),
            semantic_entropy: 0.1,
            token_log_probability: None,
            askings: 1,
            agreeing: 1,
        }),
    }
}

/// A distribution around `estimate` with quantiles `half` points to each side.
pub(crate) fn distribution(estimate: f64, half: f64) -> EfDistribution {
    let asked = AskedAbout { clip: 0, beat: 1, variation: 0 };
    EfDistribution {
        estimate,
        q05: estimate - half,
        q50: estimate,
        q95: estimate + half,
        entropy: 1.0,
        mass: 0.99,
        variance_within: 0.4,
        variance_between: 0.0,
        samples: vec![EfSample { asked, mean: estimate, variance: 0.4, mass: 0.99, declined: 0.0 }],
    }
}

pub(crate) fn answer(input: &mut FindingsInferred) -> &mut Answer {
    match &mut input.inference {
        Inference::Answer(answer) => answer,
        Inference::Abstained(abstention) => panic!("abstained: {abstention:?}"),
    }
}

pub(crate) fn evidence(input: &mut FindingsInferred) -> &mut Evidence {
    input.evidence.as_mut().unwrap()
}

pub(crate) fn build(config: &Config) -> Result<ReportingStage, ConfigError> {
    ReportingStage::build(config.clone(), &Services::without_model())
}

pub(crate) fn try_report(input: &FindingsInferred, config: &Config) -> Result<ReportIssued, StageError> {
    let (blobs, frames) = (MemoryBlobs::default(), MemoryFrames::default());
    let mut ctx = testing::ctx(&blobs, &frames);
    let build = || build(config).unwrap();
    match testing::check(build, std::slice::from_ref(input), &mut ctx).remove(0)? {
        Outcome::Emit(report) => Ok(report),
        Outcome::Reject(rejection) => panic!("rejected: {rejection:?}"),
    }
}

pub(crate) fn report(input: &FindingsInferred, config: &Config) -> ReportIssued {
    try_report(input, config).unwrap()
}

/// The code of an abstention that gives no number.
pub(crate) fn abstention_of(report: &ReportIssued) -> &str {
    assert_eq!(report.certainty, Certainty::Abstain);
    assert_eq!(report.ef, None);
    report.abstention.as_ref().unwrap().as_str()
}
