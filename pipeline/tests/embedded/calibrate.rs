//! `calibrate` from a file: what it writes, what it refuses, and that the service takes what it wrote.

use std::{fmt::Write as _, fs, path::Path};

use serde_json::{Value, json};

use crate::harness::process::{Place, stderr, stdout};

const EXAMPLE: &str =
    include_str!("../../../schemas/topics/findings.inferred.v1/examples/answer_with_evidence.json");

/// Deals the numbers 0 to 1 evenly, whatever part of the row is looked at.
fn even(index: u32, factor: f64) -> f64 {
    (f64::from(index) * factor).fract()
}

/// `count` studies, read with errors up to `error` points to each side.
fn studies(count: u32, error: f64) -> Vec<Value> {
    let study = |index: u32| {
        let mut findings: Value = serde_json::from_str(EXAMPLE).unwrap();
        let truth = 20.0 + 50.0 * even(index, 0.754_877_666_246_693);
        let estimate = truth + error * (2.0 * even(index, 0.618_033_988_749_895) - 1.0);
        findings["study"]["study_uid"] = json!(format!("2.25.{index}"));
        findings["inference"]["answer"]["lvef_percent"] = json!(estimate.round() as u8);
        findings["clips"][0]["geometry"]["ef_percent"] = json!(truth);
        let ef = &mut findings["evidence"]["ef"];
        for (key, offset) in [("estimate", 0.0), ("q05", -1.5), ("q50", 0.0), ("q95", 1.5)] {
            ef[key] = json!(estimate + offset);
        }
        json!({ "findings": findings, "truth_ef": truth, "vendor": if index.is_multiple_of(4) { "A" } else { "B" } })
    };
    (0..count).map(study).collect()
}

fn write(path: &Path, studies: &[Value]) {
    let mut text = String::new();
    for study in studies {
        writeln!(text, "{study}").unwrap();
    }
    fs::write(path, text).unwrap();
}

/// Exit code and output of a calibration of `studies` under `arguments`.
fn calibrate(place: &Place, studies: &[Value], arguments: &[&str]) -> (Option<i32>, String, String) {
    let (from, out) = (place.folder("sets").join("studies.jsonl"), place.folder("sets").join("set-1.json"));
    write(&from, studies);
    let (from, out) = (from.to_string_lossy().into_owned(), out.to_string_lossy().into_owned());
    let mut all = vec!["calibrate", "--from", from.as_str(), "--out", out.as_str()];
    all.extend(arguments);
    let output = place.cli(&all);
    (output.status.code(), stdout(&output), stderr(&output))
}

#[test]
fn a_calibration_writes_a_set_that_the_service_takes_and_the_same_one_again() {
    let place = Place::new("calibrate");
    let (code, said, error) = calibrate(&place, &studies(600, 4.0), &["--json"]);
    assert_eq!(code, Some(0), "{error}");
    let table: Value = serde_json::from_str(&said).unwrap();
    let coverage = table["cross_validation"]["coverage"].as_f64().unwrap();
    assert!((0.87..=0.93).contains(&coverage), "{table}");
    assert!(table["errors"]["model"].as_f64() < table["errors"]["mean_predictor"].as_f64(), "{table}");
    let labels: Vec<&str> =
        table["groups"].as_array().unwrap().iter().map(|group| group["label"].as_str().unwrap()).collect();
    assert_eq!(labels.first(), Some(&"all"));
    assert!(labels.contains(&"vendor=A,quality=good,view=A4C"), "{labels:?}");
    assert!(table["rankings"].as_array().unwrap().len() >= 4, "{table}");

    let set = place.folder("sets").join("set-1.json");
    for plot in ["reliability", "risk-coverage", "width", "coverage"] {
        let svg = fs::read_to_string(set.with_extension(format!("{plot}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{plot}");
        assert!(svg.contains("<text") && !svg.contains("NaN"), "{plot}");
    }
    let text = fs::read_to_string(set.with_extension("txt")).unwrap();
    assert!(text.contains("600 patients") && text.contains("vendor=B,quality=good,view=A4C"), "{text}");

    let option = format!("stages.reporting.calibration_set=\"{}\"", set.display());
    let checked = place.cli(&["check", "--set", &option]);
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    // The same studies, the same bounds; only the time differs.
    let without_time = |text: String| {
        text.lines()
            .filter(|line| !line.contains("made_at") && !line.contains("sha256"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let first = without_time(fs::read_to_string(&set).unwrap());
    calibrate(&place, &studies(600, 4.0), &[]);
    assert_eq!(without_time(fs::read_to_string(&set).unwrap()), first);

    // A damaged set is refused before anything starts.
    let text = fs::read_to_string(&set).unwrap();
    fs::write(&set, text.replacen("\"alpha\": 0.1", "\"alpha\": 0.2", 1)).unwrap();
    let checked = place.cli(&["check", "--set", &option]);
    assert_eq!(checked.status.code(), Some(64));
    assert!(stderr(&checked).contains("damaged"), "{}", stderr(&checked));
}

#[test]
fn what_allows_no_promise_is_told_by_its_exit_code_and_writes_nothing() {
    let place = Place::new("calibrate");
    let (code, _, error) = calibrate(&place, &studies(63, 4.0), &[]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("63 usable studies; 100 are needed, 37 more"), "{error}");

    let mut shuffled = studies(200, 4.0);
    let truths: Vec<Value> = shuffled.iter().rev().map(|study| study["truth_ef"].clone()).collect();
    shuffled.iter_mut().zip(truths).for_each(|(study, truth)| study["truth_ef"] = truth);
    let (code, _, error) = calibrate(&place, &shuffled, &[]);
    assert_eq!((code, error.contains("always saying the mean")), (Some(1), true), "{error}");

    let mut abstaining = studies(120, 4.0);
    for study in abstaining.iter_mut().take(50) {
        study["findings"]["inference"]["answer"]["view"] = json!("PLAX");
    }
    let (code, _, error) = calibrate(&place, &abstaining, &[]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("70 usable") && error.contains("left out: VIEW_NOT_APICAL 50"), "{error}");

    let mut mixed = studies(200, 4.0);
    mixed[150]["findings"]["fingerprint"] = json!("f".repeat(64));
    let mut impossible = studies(200, 4.0);
    impossible[3]["truth_ef"] = json!(103.0);
    let mut strange = studies(200, 4.0);
    strange[3]["vendor"] = json!("A, B");
    let mut unknown = studies(200, 4.0);
    unknown[3]["more"] = json!(1);
    let wrong: [(&[Value], &[&str], &str); 6] = [
        (&mixed, &[], "2 sources"),
        (&impossible, &[], "2.25.3 has the truth 103"),
        (&strange, &[], "2.25.3 has a vendor"),
        (&unknown, &[], "line 4"),
        (&studies(200, 4.0), &["--alpha", "0.7"], "alpha is 0.7"),
        (&studies(200, 4.0), &["--group-by", "vendor,age"], "age"),
    ];
    for (studies, arguments, named) in wrong {
        let (code, _, error) = calibrate(&place, studies, arguments);
        assert_eq!((code, error.contains(named)), (Some(64), true), "{named}: {error}");
    }
    assert!(!place.folder("sets").join("set-1.json").exists());
}

#[test]
fn reviewed_studies_are_asked_of_the_running_system_alone() {
    let place = Place::new("calibrate");
    let out = place.folder("sets").join("set.json");
    let output = place.cli(&["calibrate", "--from", "reviewed", "--out", &out.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("no running prescreen"), "{}", stderr(&output));
}
