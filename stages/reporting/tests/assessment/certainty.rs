//! The worst rule decides.

use schemas::{Certainty, FindingsInferred, Tag, Verdict, View};

use crate::world::{clean, clip, distribution, evidence, report, set, with_set};

/// Certainty and tags of the clean study after `change`, with a set of enough studies and 90 % intervals of 5.4 points
/// around a bare number.
fn after(change: impl FnOnce(&mut FindingsInferred)) -> (Certainty, Vec<Tag>) {
    let mut input = clean();
    change(&mut input);
    let report = report(&input, &with_set(&set(600, 3.0)));
    (report.certainty, report.tags)
}

#[test]
fn width_decides() {
    for (half, expected) in [(1.0, Certainty::Low), (5.0, Certainty::Medium), (9.0, Certainty::High)] {
        let (certainty, _) = after(|input| evidence(input).ef = Some(distribution(60.0, half)));
        assert_eq!(certainty, expected, "{half}");
    }
}

#[test]
fn semantic_entropy_decides() {
    for (entropy, expected) in
        [(0.3, Certainty::Low), (0.31, Certainty::Medium), (0.6, Certainty::Medium), (0.61, Certainty::High)]
    {
        assert_eq!(after(|input| evidence(input).semantic_entropy = entropy).0, expected, "{entropy}");
    }
    assert_eq!(after(|input| input.evidence = None).0, Certainty::Medium, "not checked is not good");
}

#[test]
fn contours_decide() {
    for (geometry, expected, disagree) in [
        (Some(53.0), Certainty::Low, false),
        (Some(52.9), Certainty::Medium, false),
        (Some(70.0), Certainty::Medium, false),
        (Some(70.1), Certainty::High, true),
        (Some(-3.0), Certainty::Medium, false),
        (None, Certainty::Medium, false),
    ] {
        let (certainty, tags) = after(|input| input.clips = vec![clip(Some(View::A4C), geometry, &[])]);
        assert_eq!(certainty, expected, "{geometry:?}");
        assert_eq!(tags.contains(&Tag::EfDisagree), disagree, "{geometry:?}");
    }
    // The median of the clips counts.
    let clips = [20.0, 58.0, 90.0].map(|ef| clip(Some(View::A4C), Some(ef), &[]));
    assert_eq!(after(|input| input.clips = clips.to_vec()).0, Certainty::Low);
}

#[test]
fn the_number_of_calibration_studies_decides() {
    for (studies, expected) in [(120, Certainty::Medium), (499, Certainty::Medium), (500, Certainty::Low)] {
        assert_eq!(report(&clean(), &with_set(&set(studies, 3.0))).certainty, expected, "{studies}");
    }
}

#[test]
fn the_gate_decides() {
    let (certainty, tags) = after(|input| {
        input.verdict = Verdict::Caution;
        input.cautions = vec![schemas::ReasonCode::known("BLUR")];
    });
    assert_eq!((certainty, tags), (Certainty::Medium, vec![Tag::QualityCaution]));
}

#[test]
fn doubts_of_clips_decide() {
    let flagged = |flag: &'static str| {
        after(|input| {
            // Asked about the first clip only; the second is the one in doubt.
            input.clips = vec![clip(Some(View::A4C), Some(58.0), &[]), clip(Some(View::A4C), None, &[flag])];
        })
    };
    assert_eq!(flagged("PHASE_UNRELIABLE"), (Certainty::Medium, vec![Tag::PhaseUnreliable]));
    assert_eq!(flagged("ARRHYTHMIA"), (Certainty::Medium, vec![Tag::Arrhythmia]));
    assert_eq!(flagged("SOMETHING_ELSE"), (Certainty::Low, vec![]));
}

#[test]
fn a_band_is_ambiguous_where_the_interval_reaches_over_its_edge() {
    for (estimate, ambiguous) in
        [(60.0, false), (52.0, true), (49.5, true), (45.0, false), (40.5, true), (30.0, false)]
    {
        let (_, tags) = after(|input| {
            evidence(input).ef = Some(distribution(estimate, 0.5));
            input.clips = vec![clip(Some(View::A4C), Some(estimate), &[])];
        });
        assert_eq!(tags.contains(&Tag::BandAmbiguous), ambiguous, "{estimate}");
    }
}

#[test]
fn two_apical_views_that_differ_are_a_doubt() {
    for (views, conflict) in [
        (vec![Some(View::A2C)], true),
        (vec![Some(View::A2C), Some(View::A4C)], false),
        (vec![None], false),
        (vec![], false),
    ] {
        let (certainty, tags) = after(|input| {
            evidence(input).ef = None;
            input.clips = views.iter().map(|view| clip(*view, Some(58.0), &[])).collect();
        });
        assert_eq!(tags.contains(&Tag::ViewConflict), conflict, "{views:?}");
        assert_eq!(certainty == Certainty::High, conflict, "{views:?}");
    }
}

#[test]
fn a_form_half_kept_is_a_doubt() {
    let (certainty, tags) = after(|input| {
        let mut ef = distribution(60.0, 1.0);
        ef.mass = 0.89;
        evidence(input).ef = Some(ef);
    });
    assert_eq!((certainty, tags), (Certainty::High, vec![Tag::FormatUncertain]));
}

#[test]
fn drift_is_said_of_every_number_once_a_person_says_so() {
    let mut config = with_set(&set(600, 3.0));
    config.drift_alarm = true;
    let report = report(&clean(), &config);
    assert_eq!((report.certainty, &report.tags[..]), (Certainty::High, &[Tag::DriftAlarm][..]));
}

#[test]
fn features_of_a_slide_need_no_number() {
    let (certainty, tags) = after(|input| {
        input.study.domain = schemas::Domain::Pathology;
        input.clips = vec![clip(None, None, &["STAIN_FALLBACK"])];
        let answer = crate::world::answer(input);
        (answer.view, answer.lvef_percent) = (None, None);
        evidence(input).ef = None;
    });
    assert_eq!((certainty, tags), (Certainty::High, vec![Tag::StainFallback]));
}
