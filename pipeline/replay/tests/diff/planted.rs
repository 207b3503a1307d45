//! Planted changes are found, and nothing else is.

use replay::{
    diff::{compare, observed::Observed},
    result::Arm,
    verdict::{Outcome, Reason, Verdict},
};
use schemas::{Bilingual, Quality};

use super::{beyond, changed, comparison, differing, report, world};

#[test]
fn an_identical_candidate_passes_and_nothing_differs() {
    let studies = world::studies(100, 1);
    let report = report(&studies, &studies);
    assert_eq!(report.verdict, Verdict::Pass, "{:#?}", report.reasons);
    assert_eq!(report.reasons, []);
    assert_eq!((report.discordant.len(), report.text_only.len(), report.pairing.unpaired.len()), (0, 0, 0));
    assert_eq!((report.memo_hits, report.pairing.studies), (0, 100));
    let asked = [report.resources.baseline, report.resources.candidate].map(|used| used.unwrap().requests);
    assert_eq!(asked, [100, 100]);
    let judged = report.measures.iter().filter(|measure| measure.outcome == Outcome::Within).count();
    assert!(judged > 20, "{judged}");
}

#[test]
fn a_planted_bias_of_six_points_is_a_regression_of_the_ejection_fraction() {
    let studies = world::studies(100, 2);
    let candidate = changed(&studies, |study| study.ef += 6.0);
    let report = report(&studies, &candidate);
    assert_eq!(report.verdict, Verdict::Regression);
    assert_eq!(beyond(&report), ["reporting.lvef"]);
    let Observed::Points { agreement: Some(found), .. } = &report.measure("reporting.lvef").unwrap().observed
    else {
        panic!("no agreement");
    };
    assert_eq!((found.bias.value, found.deviation), (6.0, 0.0));
    // Six points are more than the step of five, in every study.
    assert_eq!(report.discordant.len(), 100);
    assert!(report.discordant.iter().all(|study| study.lvef_difference == Some(6.0) && study.beyond_step));
}

#[test]
fn a_bias_within_the_margin_passes_and_lists_no_study() {
    let studies = world::studies(100, 3);
    let candidate = changed(&studies, |study| study.ef += if study.number % 2 == 0 { 1.0 } else { 0.0 });
    let report = report(&studies, &candidate);
    assert_eq!(report.verdict, Verdict::Pass, "{:#?}", report.reasons);
    assert_eq!(report.discordant.len(), 0);
    assert_eq!(report.text_only.len(), 50);
}

#[test]
fn ten_pairs_are_inconclusive_and_the_number_needed_is_said() {
    let studies = world::studies(10, 4);
    for candidate in [studies.clone(), changed(&studies, |study| study.ef += 6.0)] {
        let report = report(&studies, &candidate);
        assert_eq!(report.verdict, Verdict::Inconclusive);
        assert_eq!(beyond(&report), [""; 0]);
        // Of verdicts without any difference, 59 pairs show less than 5 %.
        assert!(report.pairs_needed >= Some(59), "{:?}", report.pairs_needed);
        assert!(
            report
                .reasons
                .iter()
                .any(|reason| matches!(reason, Reason::TooFew { pairs: 10, needed: Some(59), .. }))
        );
    }
}

#[test]
fn forty_identical_pairs_are_too_few_for_a_share_of_five_percent() {
    let studies = world::studies(40, 4);
    let report = report(&studies, &studies);
    assert_eq!((report.verdict, report.pairs_needed), (Verdict::Inconclusive, Some(59)));
}

#[test]
fn a_changed_threshold_lists_exactly_the_studies_it_rejects() {
    let studies = world::studies(150, 5);
    let candidate = changed(&studies, |study| study.blurred_below = 0.45);
    let mut planted: Vec<String> = candidate
        .iter()
        .filter(|study| study.is_rejected())
        .map(|study| world::uid(study.number).to_string())
        .collect();
    planted.sort();
    assert!((15..60).contains(&planted.len()), "{}", planted.len());
    let report = report(&studies, &candidate);
    assert_eq!(report.verdict, Verdict::Regression);
    assert_eq!(differing(&report), planted);
    assert_eq!(beyond(&report), ["quality_gate.rejected", "quality_gate.code.BLUR"]);
    for study in &report.discordant {
        assert_eq!(study.differs, ["quality_gate.rejected", "quality_gate.code.BLUR"]);
        assert_eq!(study.candidate.verdict, "rejected: quality_gate");
    }
    // Their later stages have no like, and the reason is the rejection: no gap.
    assert_eq!(report.pairing.unpaired.len(), 3 * planted.len());
    assert_eq!(report.pairing.gaps(), 0);
}

#[test]
fn a_finding_named_no_more_is_found_after_holm() {
    let studies = world::studies(100, 6);
    let candidate = changed(&studies, |study| study.findings.clear());
    let report = report(&studies, &candidate);
    assert_eq!(beyond(&report), ["inference.finding.LV_SYSTOLIC_FUNCTION_REDUCED"]);
    let named = studies.iter().filter(|study| !study.findings.is_empty()).count();
    assert_eq!(report.discordant.len(), named);
}

#[test]
fn holm_counts_every_finding_and_margins_decide_beside_it() {
    let studies = world::studies(100, 7);
    // Six studies change one way: p = 0.03 alone, 0.06 among two findings; and 6 % is beyond 5 %.
    let candidate = changed(&studies, |study| {
        if study.number < 6 {
            study.findings.push("PERICARDIAL_EFFUSION");
        }
    });
    let report = report(&studies, &candidate);
    let measure = report.measure("inference.finding.PERICARDIAL_EFFUSION").unwrap();
    let Observed::Presence { exact_p, holm_p, gained, lost, .. } = &measure.observed else {
        panic!("no presence")
    };
    assert_eq!((*gained, *lost), (6, 0));
    assert!((exact_p - 0.03125).abs() < 1e-12 && (holm_p - 0.0625).abs() < 1e-12, "{exact_p} {holm_p}");
    assert_eq!((measure.outcome, report.verdict), (Outcome::Unclear, Verdict::Inconclusive));
    assert_eq!(report.discordant.len(), 6);
}

#[test]
fn other_frames_are_a_change_of_keyframes_and_of_nothing_else() {
    let studies = world::studies(100, 8);
    let candidate = changed(&studies, |study| study.ed += u32::from(study.number < 30));
    let report = report(&studies, &candidate);
    assert_eq!(beyond(&report), ["keyframes.frames"]);
    assert_eq!(report.discordant.len(), 30);
    assert!(report.discordant.iter().all(|study| study.frames_differ));
}

#[test]
fn abstaining_is_a_change_and_takes_no_number_along() {
    let studies = world::studies(120, 9);
    let candidate = changed(&studies, |study| study.abstains = study.number < 20);
    let report = report(&studies, &candidate);
    let found = beyond(&report);
    for id in
        ["inference.abstained", "reporting.abstained", "reporting.lvef_given", "reporting.certainty.ABSTAIN"]
    {
        assert!(found.contains(&id), "{id} in {found:?}");
    }
    assert!(!found.contains(&"reporting.lvef") && !found.contains(&"inference.quality.good"));
    assert_eq!(report.measure("reporting.lvef").unwrap().pairs, 100);
    assert_eq!(report.discordant.len(), 20);
}

#[test]
fn one_failure_more_is_a_regression_however_few_the_pairs() {
    let studies = world::studies(10, 10);
    let candidate = changed(&studies, |study| study.fails_at = (study.number == 3).then_some("inference"));
    let report = report(&studies, &candidate);
    assert_eq!((report.verdict, beyond(&report)), (Verdict::Regression, vec!["inference.failed"]));
    assert_eq!(report.discordant[0].candidate.verdict, "failed: inference");
    // One failure less is none.
    let mended = super::report(&candidate, &studies);
    assert_eq!(beyond(&mended), [""; 0]);
}

#[test]
fn slower_and_dearer_are_regressions_and_faster_and_cheaper_are_not() {
    let studies = world::studies(100, 11);
    let slow = changed(&studies, |study| {
        study.seconds *= 1.6;
        study.generated_tokens *= 2;
    });
    let found = report(&studies, &slow);
    assert_eq!(found.verdict, Verdict::Regression);
    // Reporting takes 15 ms: more than half as much again is still less than the floor of 50 ms.
    assert_eq!(
        beyond(&found),
        [
            "inference.seconds",
            "keyframes.seconds",
            "quality_gate.seconds",
            "total.seconds",
            "total.generated_tokens"
        ]
    );
    let back = report(&slow, &studies);
    assert_eq!(back.verdict, Verdict::Pass, "{:#?}", back.reasons);
}

#[test]
fn a_text_alone_is_listed_and_does_not_judge() {
    let studies = world::studies(100, 12);
    let candidate = changed(&studies, |study| {
        if study.number < 25 {
            study.remark = Bilingual::new("Nothing else is named.", "未提示其他。");
        }
    });
    let report = report(&studies, &candidate);
    assert_eq!((report.verdict, report.discordant.len(), report.text_only.len()), (Verdict::Pass, 0, 25));
}

#[test]
fn without_a_noise_floor_the_best_is_inconclusive_and_a_clear_regression_stays_one() {
    let studies = world::studies(100, 13);
    let mut given = comparison(&studies, &studies);
    given.noise = None;
    let report = compare(&given).unwrap();
    assert_eq!((report.verdict, report.reasons), (Verdict::Inconclusive, vec![Reason::NoNoiseFloor]));
    given.candidate = world::rows(&changed(&studies, |study| study.ef += 6.0), Arm::Candidate);
    assert_eq!(compare(&given).unwrap().verdict, Verdict::Regression);
}

#[test]
fn a_baseline_that_differs_from_itself_beyond_the_margin_proves_nothing() {
    let studies = world::studies(100, 14);
    let restless = changed(&studies, |study| {
        study.quality = if study.number % 3 == 0 { Quality::Poor } else { study.quality };
    });
    let mut given = comparison(&studies, &studies);
    given.noise = Some(world::live(&restless));
    let found = compare(&given).unwrap();
    assert_eq!(found.verdict, Verdict::Inconclusive);
    let noisy = Reason::Noisy { measure: "inference.quality.good".to_owned() };
    assert!(found.reasons.contains(&noisy), "{:?}", found.reasons);
    // A change of the restless measure says nothing, of a quiet one it does.
    given.candidate = world::rows(&restless, Arm::Candidate);
    assert_eq!(compare(&given).unwrap().verdict, Verdict::Inconclusive);
    given.candidate = world::rows(&changed(&studies, |study| study.ef += 6.0), Arm::Candidate);
    assert_eq!(compare(&given).unwrap().verdict, Verdict::Regression);
}

#[test]
fn a_repetition_of_too_few_studies_is_no_noise_floor() {
    let studies = world::studies(100, 15);
    let mut given = comparison(&studies, &studies);
    given.noise = Some(world::live(&studies[..20]));
    let report = compare(&given).unwrap();
    assert_eq!(report.verdict, Verdict::Inconclusive);
    assert!(matches!(report.reasons.as_slice(), [Reason::NoiseUnknown { .. }]), "{:?}", report.reasons);
}

#[test]
fn an_unfinished_run_cannot_pass_and_its_rows_are_listed() {
    let studies = world::studies(100, 16);
    let mut given = comparison(&studies, &studies);
    let gone = world::uid(5);
    given
        .candidate
        .retain(|row| row.study_uid != gone && !(row.study_uid == world::uid(9) && row.stage == "reporting"));
    let report = compare(&given).unwrap();
    assert_eq!((report.verdict, report.pairing.gaps()), (Verdict::Inconclusive, 5));
    assert_eq!(report.reasons, [Reason::Gaps { rows: 5 }]);
}

#[test]
fn the_live_rows_serve_as_a_baseline_too() {
    let studies = world::studies(100, 17);
    let mut given = comparison(&studies, &changed(&studies, |study| study.blurred_below = 0.45));
    given.baseline = world::live(&studies);
    given.noise = None;
    let report = compare(&given).unwrap();
    assert_eq!(beyond(&report), ["quality_gate.rejected", "quality_gate.code.BLUR"]);
    assert_eq!(report.pairing.gaps(), 0);
}

#[test]
fn a_replay_from_inference_on_compares_what_it_computed_and_no_more() {
    let studies = world::studies(100, 18);
    let mut given = comparison(&studies, &studies);
    for rows in [&mut given.baseline, &mut given.candidate] {
        rows.retain(|row| row.stage == "inference" || row.stage == "reporting");
    }
    let report = compare(&given).unwrap();
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.reasons);
    assert!(report.measures.iter().all(|measure| measure.what.subject != "quality_gate"));
}

#[test]
fn with_truths_coverage_error_and_calibration_are_compared() {
    let studies = world::studies(200, 19);
    let overconfident = changed(&studies, |study| study.half_width = 0.6);
    let mut given = comparison(&studies, &overconfident);
    given.truth = studies.iter().map(|study| (world::uid(study.number), study.truth)).collect();
    let report = compare(&given).unwrap();
    let shift = report.calibration.unwrap();
    let [before, after] = shift.coverage.map(Option::unwrap);
    assert!(before > 0.9 && after < 0.4, "{before} {after}");
    assert_eq!((shift.studies, shift.promised), (200, Some(0.9)));
    let found = beyond(&report);
    assert!(found.contains(&"truth.covered"), "{found:?}");
    let Observed::Score { baseline, candidate, difference: Some(difference) } =
        &report.measure("truth.calibration_error").unwrap().observed
    else {
        panic!("no calibration error");
    };
    // Few truths lie near the edges of a band, so the error grows little: not enough to be sure of.
    assert!(candidate > baseline && difference.high > 0.04, "{baseline} {candidate} {difference:?}");
    assert!(report.risk.unwrap().truth);
    // The other way round the truth says that it is better, though nobody else could.
    let mut back = comparison(&overconfident, &studies);
    back.truth = given.truth;
    let back = compare(&back).unwrap();
    assert_eq!(back.measure("truth.covered").unwrap().outcome, Outcome::Improved);
}

#[test]
fn without_truths_no_calibration_is_claimed() {
    let studies = world::studies(60, 20);
    let report = report(&studies, &studies);
    assert_eq!(report.calibration, None);
    assert!(!report.risk.unwrap().truth);
}
