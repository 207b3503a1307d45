//! Intervals come from a set that serves, and from nowhere else.

use calibration::CalibrationSet;
use schemas::{Certainty, Digest, Tag};

use crate::world::{build, clean, config, distribution, evidence, report, set, with_set};

#[test]
fn a_number_has_the_interval_of_the_set_it_names() {
    let set = set(600, 3.0);
    let report = report(&clean(), &with_set(&set));
    let ef = report.ef.unwrap();
    let [lower, upper] = ef.interval.unwrap();
    // The model's own range of a point to each side, and the set's bound of about 2.7.
    assert!((upper - lower - 7.4).abs() < 0.8, "{lower} {upper}");
    assert!(lower < 60.3 && 60.3 < upper);
    assert_eq!((ef.percent, ef.geometric_percent), (60.0, Some(58.0)));
    let used = report.calibration.unwrap();
    assert_eq!(
        (used.id.as_str(), used.group.as_str(), used.studies),
        ("site-1", "quality=good,view=A4C", 600)
    );
    assert_eq!((used.digest, used.alpha, used.synthetic), (set.digest(), 0.1, false));
    assert_eq!(report.certainty, Certainty::Low);
    assert_eq!(report.tags, []);
}

#[test]
fn without_a_set_there_is_no_interval() {
    let report = report(&clean(), &config());
    let ef = report.ef.unwrap();
    assert_eq!((ef.percent, ef.interval), (60.0, None));
    assert_eq!(report.calibration, None);
    assert_eq!((report.certainty, &report.tags[..]), (Certainty::High, &[Tag::Uncalibrated][..]));
}

#[test]
fn a_set_of_another_model_inference_or_kind_of_study_serves_nothing() {
    let set = set(600, 3.0);
    let mut adapted = clean();
    adapted.model.digest = Digest::of(b"weights with an adapter");
    let mut prompted = clean();
    prompted.fingerprint = Digest::of(b"another prompt");
    // Both of a phantom: the model may answer, the set of patients may not stand behind it.
    let mut phantom = clean();
    phantom.study.synthetic = true;
    phantom.model.synthetic_only = true;
    for (name, input) in [("model", adapted), ("inference", prompted), ("kind", phantom)] {
        let report = report(&input, &with_set(&set));
        assert!(report.tags.contains(&Tag::Uncalibrated), "{name}");
        assert_eq!((report.ef.unwrap().interval, report.calibration), (None, None), "{name}");
        assert_eq!(report.certainty, Certainty::High, "{name}");
    }
}

#[test]
fn a_set_made_of_phantoms_serves_no_patient_even_where_the_demo_model_may() {
    let mut contents = set(600, 3.0).contents().clone();
    contents.synthetic = true;
    let set = CalibrationSet::new(contents).unwrap();
    let mut config = with_set(&set);
    config.allow_demo_model = true;
    let mut input = clean();
    input.model.synthetic_only = true;
    assert_eq!(report(&input, &config).ef.unwrap().interval, None);
    input.study.synthetic = true;
    let report = report(&input, &config);
    assert!(report.ef.unwrap().interval.is_some());
    assert!(report.calibration.unwrap().synthetic);
}

#[test]
fn a_number_without_a_distribution_still_has_an_interval() {
    let mut input = clean();
    evidence(&mut input).ef = None;
    let report = report(&input, &with_set(&set(600, 3.0)));
    let [lower, upper] = report.ef.unwrap().interval.unwrap();
    assert!(lower < 60.0 && 60.0 < upper && upper - lower < 7.0, "{lower} {upper}");
}

#[test]
fn a_damaged_set_is_refused_before_the_first_study() {
    let mut config = with_set(&set(600, 3.0));
    if let Some(file) = &mut config.calibration_set {
        file.text = file.text.replacen("\"alpha\": 0.1", "\"alpha\": 0.2", 1);
    }
    let error = build(&config).err().expect("a refusal").to_string();
    assert!(error.starts_with("calibration_set is set.json; that file is damaged"), "{error}");
}

#[test]
fn thresholds_out_of_order_are_refused() {
    let mut config = config();
    config.certainty.low.interval_width = 21.0;
    let error = build(&config).err().expect("a refusal").to_string();
    assert!(error.starts_with("certainty.low.interval_width is 21, 20"), "{error}");
    config.certainty.low.interval_width = f64::NAN;
    assert!(build(&config).is_err());
}

#[test]
fn the_run_fingerprint_follows_inference_set_thresholds_and_settings() {
    let base = config();
    let mut other =
        [with_set(&set(600, 3.0)), with_set(&set(600, 4.0)), base.clone(), base.clone(), base.clone()];
    other[2].allow_demo_model = true;
    other[3].drift_alarm = true;
    other[4].certainty.abstain.interval_width = 31.0;
    let of = |config| report(&clean(), config).run_fingerprint;
    let mut seen: Vec<Digest> = other.iter().map(of).collect();
    assert_eq!(of(&base), of(&base));
    seen.push(of(&base));
    let input = schemas::FindingsInferred { fingerprint: Digest::of(b"another"), ..clean() };
    seen.push(report(&input, &base).run_fingerprint);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 7);
}

#[test]
fn evidence_with_impossible_numbers_is_invalid() {
    let set = with_set(&set(600, 3.0));
    let break_it: [fn(&mut schemas::EfDistribution); 5] = [
        |ef| ef.estimate = 101.0,
        |ef| ef.q05 = 80.0,
        |ef| ef.variance_within = -1.0,
        |ef| ef.variance_between = f64::INFINITY,
        |ef| ef.mass = 1.5,
    ];
    for break_it in break_it {
        let mut input = clean();
        let mut ef = distribution(60.0, 1.0);
        break_it(&mut ef);
        evidence(&mut input).ef = Some(ef);
        assert!(matches!(crate::world::try_report(&input, &set), Err(stage::StageError::Invalid(_))));
    }
}
