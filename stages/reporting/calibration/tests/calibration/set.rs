//! The file: what is written is read again, and nothing else is.

use calibration::{Asked, CalibrationSet, Contents, Refusal, SetError, drift::Feature, fit, set::File};
use schemas::Digest;

use crate::world::{plan, studies};

fn set() -> CalibrationSet {
    fit(plan(), &studies(300, 3.0, 1)).unwrap().set
}

fn asked() -> Asked {
    Asked { model: Digest::of(b"model"), fingerprint: Digest::of(b"inference"), synthetic: true }
}

#[test]
fn a_set_is_read_as_it_was_written() {
    let set = set();
    let text = set.to_text();
    let read = CalibrationSet::read(&text).unwrap();
    assert_eq!(read, set);
    assert_eq!(set.digest(), Digest::of(text.as_bytes()));
    assert_eq!(read.to_text(), text);
    assert!(set.contents().reference[&Feature::GeometricGap].is_sorted());
}

#[test]
fn the_same_studies_make_the_same_bytes() {
    assert_eq!(set().to_text(), set().to_text());
}

#[test]
fn what_was_changed_or_cut_is_told() {
    let text = set().to_text();
    let bound = text.find("\"bound\": ").unwrap() + 9;
    let digit = &text[bound..=bound];
    let other = if digit == "1" { "2" } else { "1" };
    let edited = format!("{}{other}{}", &text[..bound], &text[bound + 1..]);
    assert!(matches!(CalibrationSet::read(&edited), Err(SetError::Damaged { .. })), "{digit}");
    for cut in [0, 1, text.len() / 2, text.len() - 2] {
        assert!(matches!(CalibrationSet::read(&text[..cut]), Err(SetError::Malformed { .. })), "{cut}");
    }
    let format = text.replace("prescreen calibration set 1", "prescreen calibration set 2");
    assert!(matches!(CalibrationSet::read(&format), Err(SetError::Format { .. })));
    let unknown = text.replacen("{\n", "{\n  \"more\": 1,\n", 1);
    assert!(matches!(CalibrationSet::read(&unknown), Err(SetError::Malformed { .. })));
    let long = format!("{text}{}", " ".repeat(4 << 20));
    assert!(matches!(CalibrationSet::read(&long), Err(SetError::TooLong { .. })));
}

#[test]
fn a_set_that_contradicts_itself_is_refused() {
    type Change = fn(&mut Contents);
    let break_it: [(&str, Change); 8] = [
        ("id", |set| set.id = "../set".to_owned()),
        ("key", |set| set.group_by = [&set.group_by[..], &set.group_by[..]].concat()),
        ("group stands twice", |set| set.groups.push(set.groups[0].clone())),
        ("first group", |set| set.groups[0].bound = None),
        ("too few", |set| {
            set.groups[1].bound = Some(1.0);
            set.groups[1].studies = 99;
        }),
        ("temperature", |set| set.temperature = 0.0),
        ("errors", |set| set.errors.model = -1.0),
        ("reference", |set| {
            set.reference.insert(Feature::EfPercent, vec![2.0, 1.0]);
        }),
    ];
    for (word, break_it) in break_it {
        let mut contents = set().contents().clone();
        break_it(&mut contents);
        let error = CalibrationSet::new(contents).unwrap_err().to_string();
        assert!(error.starts_with("contradicts itself: ") && error.contains(word), "{word}: {error}");
    }
}

#[test]
fn a_set_serves_its_own_model_inference_and_kind_of_study_alone() {
    let set = set();
    assert_eq!(set.serves(&asked()), Ok(()));
    assert_eq!(set.serves(&Asked { synthetic: false, ..asked() }), Err(Refusal::MadeOfPhantoms));
    // A merged adapter changes the model's digest.
    let adapted = Digest::of(b"model and adapter");
    let refusal = set.serves(&Asked { model: adapted, ..asked() }).unwrap_err();
    assert!(matches!(refusal, Refusal::OtherModel { found, .. } if found == adapted));
    let fingerprint = Digest::of(b"another prompt");
    assert!(matches!(set.serves(&Asked { fingerprint, ..asked() }), Err(Refusal::OtherFingerprint { .. })));
    let mut contents = set.contents().clone();
    contents.synthetic = false;
    let clinical = CalibrationSet::new(contents).unwrap();
    assert_eq!(clinical.serves(&asked()), Err(Refusal::MadeOfPatients));
}

/// The committed schema is the type's; the example `schema` writes it.
#[test]
fn the_schema_beside_the_crate_is_that_of_the_type() {
    let committed: serde_json::Value = serde_json::from_str(include_str!("../../set.schema.json")).unwrap();
    let current = serde_json::to_value(schemars::schema_for!(File)).unwrap();
    assert_eq!(committed, current, "run `cargo run -p calibration --example schema > …/set.schema.json`");
}
