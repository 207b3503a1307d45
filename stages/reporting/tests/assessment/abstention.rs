//! Reasons for giving no number at all.

use schemas::{FindingsInferred, Quality, ReasonCode, Tag, Verdict, View};

use crate::world::{
    abstention_of, answer, clean, clip, config, distribution, evidence, report, set, with_set,
};

/// The code with which the study abstains after `change`.
fn code_after(change: impl FnOnce(&mut FindingsInferred)) -> String {
    let mut input = clean();
    change(&mut input);
    abstention_of(&report(&input, &with_set(&set(600, 3.0)))).to_owned()
}

#[test]
fn a_rejecting_gate_poor_pictures_and_a_declined_number_abstain() {
    assert_eq!(code_after(|input| input.verdict = Verdict::Reject), "GATE_REJECTED");
    assert_eq!(code_after(|input| answer(input).quality = Quality::Poor), "IMAGE_QUALITY_POOR");
    assert_eq!(code_after(|input| answer(input).lvef_percent = None), "LVEF_DECLINED");
}

#[test]
fn clips_without_trusted_phases_abstain_where_all_that_were_asked_about_are_so() {
    let unreliable = || clip(Some(View::A4C), None, &["PHASE_UNRELIABLE"]);
    let code = code_after(|input| input.clips = vec![unreliable(), unreliable()]);
    assert_eq!(code, "PHASE_UNRELIABLE");
    // The evidence speaks of the first clip.
    let code = code_after(|input| input.clips = vec![unreliable(), clip(Some(View::A4C), None, &[])]);
    assert_eq!(code, "PHASE_UNRELIABLE");
}

#[test]
fn a_view_that_is_not_apical_abstains() {
    for view in [None, Some(View::PLAX), Some(View::PSAX), Some(View::Subcostal), Some(View::Other)] {
        assert_eq!(code_after(|input| answer(input).view = view), "VIEW_NOT_APICAL", "{view:?}");
    }
    // The gate, which knows nothing of the model, doubts the view as well.
    let code = code_after(|input| {
        input.cautions = vec![ReasonCode::known("VIEW_UNCONFIRMED")];
        answer(input).view = Some(View::PLAX);
    });
    assert_eq!(code, "VIEW_WRONG");
}

#[test]
fn a_header_of_another_kind_of_view_abstains() {
    let mut input = clean();
    input.clips = vec![clip(Some(View::PLAX), Some(58.0), &[])];
    let report = report(&input, &config());
    assert_eq!(abstention_of(&report), "VIEW_CONFLICT");
    assert_eq!(report.tags, [Tag::ViewConflict]);
}

#[test]
fn an_interval_too_wide_to_be_of_use_abstains_and_names_its_set() {
    let mut input = clean();
    evidence(&mut input).ef = Some(distribution(60.0, 14.0));
    let report = report(&input, &with_set(&set(600, 3.0)));
    assert_eq!(abstention_of(&report), "INTERVAL_TOO_WIDE");
    assert_eq!(report.calibration.unwrap().id, "site-1");
}

#[test]
fn a_model_that_hardly_gives_numbers_abstains() {
    let mut input = clean();
    let mut ef = distribution(60.0, 1.0);
    ef.mass = 0.49;
    evidence(&mut input).ef = Some(ef);
    let report = report(&input, &config());
    assert_eq!(abstention_of(&report), "FORMAT_UNCERTAIN");
    assert_eq!(report.tags, [Tag::FormatUncertain]);
}

#[test]
fn model_and_study_must_be_of_one_kind_in_both_directions() {
    for (synthetic_only, synthetic) in [(true, false), (false, true), (true, true), (false, false)] {
        let mut input = clean();
        input.model.synthetic_only = synthetic_only;
        input.study.synthetic = synthetic;
        let strict = report(&input, &config());
        if synthetic_only == synthetic {
            assert!(strict.ef.is_some());
        } else {
            assert_eq!(abstention_of(&strict), "MODEL_STUDY_MISMATCH");
            let mut allowed = config();
            allowed.allow_demo_model = true;
            assert!(report(&input, &allowed).ef.is_some());
        }
        assert_eq!(strict.tags.contains(&Tag::Synthetic), synthetic);
    }
}

#[test]
fn an_untrained_model_is_never_believed() {
    assert_eq!(code_after(|input| input.model.untrained = true), "MODEL_UNTRAINED");
}
