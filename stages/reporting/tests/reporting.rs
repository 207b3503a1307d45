//! The stage through its public door: what a report says, and what it never says.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

use inference::{AbstentionReason, FindingCode};
use proptest::prelude::*;
use reporting::{Config, ReportingStage};
use schemas::{
    Abstention, Answer, Certainty, Clip, Digest, Domain, Finding, FindingsInferred, Geometry, Inference,
    InstanceUid, ModelIdentity, Priority, Quality, ReasonCode, ReportIssued, Revision, SeriesUid, StudyHead,
    StudyUid, Tag, Timing, TimingSource, Verdict, View,
};
use stage::{
    Outcome, Services, Stage as _, StageError,
    testing::{self, MemoryBlobs, MemoryFrames},
};

const LAST_EN: &str = "AI-assisted pre-screening result, for reference only; it requires review and confirmation by a licensed physician before use.";
const LAST_ZH: &str = "本结果由人工智能辅助生成,仅供参考,须经执业医师复核确认后方可生效。";

fn model() -> ModelIdentity {
    ModelIdentity {
        name: "a".into(),
        digest: Digest::of(b"weights"),
        dtype: "f32".into(),
        device: "cpu".into(),
        untrained: false,
        synthetic_only: false,
    }
}

fn config(allow_demo_model: bool) -> Config {
    let certainty = serde_json::json!({
        "low": { "interval_width": 12.0, "semantic_entropy": 0.3, "geometric_gap": 7.0, "calibration_studies": 500 },
        "medium": { "interval_width": 20.0, "semantic_entropy": 0.6, "geometric_gap": 10.0, "calibration_studies": 100 },
        "abstain": { "interval_width": 30.0, "mass": 0.5 },
        "certain_mass": 0.9,
    });
    let config = serde_json::json!({ "allow_demo_model": allow_demo_model, "drift_alarm": false, "certainty": certainty });
    serde_json::from_value(config).unwrap()
}

fn build(allow_demo_model: bool) -> ReportingStage {
    // Reporting never asks a model.
    ReportingStage::build(config(allow_demo_model), &Services::without_model()).unwrap()
}

fn clip(view: Option<View>, ef: Option<f64>, flags: Vec<ReasonCode>) -> Clip {
    Clip {
        series_uid: SeriesUid::new("2.25.10").unwrap(),
        instance_uid: InstanceUid::new("2.25.11").unwrap(),
        view,
        timing: Timing { source: TimingSource::FrameTime, fps: Some(50.0) },
        keyframes: vec![],
        geometry: ef.map(|ef_percent| Geometry {
            ef_percent,
            method: "single-plane discs".into(),
            flags: vec![],
        }),
        flags,
    }
}

fn answer(lvef_percent: Option<u8>, findings: &[FindingCode]) -> Inference {
    Inference::Answer(Answer {
        view: Some(View::A4C),
        quality: Quality::Good,
        lvef_percent,
        findings: findings.iter().map(|finding| Finding { code: finding.code() }).collect(),
    })
}

fn abstained(code: ReasonCode) -> Inference {
    Inference::Abstained(Abstention { code, detail: "confirmed 57 %".into() })
}

fn input(inference: Inference) -> FindingsInferred {
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
        clips: vec![clip(Some(View::A4C), Some(55.0), vec![])],
        model: model(),
        fingerprint: Digest::of(b"inference"),
        inference,
        generation: None,
        evidence: None,
    }
}

fn try_report(input: &FindingsInferred, allow_demo_model: bool) -> Result<ReportIssued, StageError> {
    let (blobs, frames) = (MemoryBlobs::default(), MemoryFrames::default());
    let mut ctx = testing::ctx(&blobs, &frames);
    let outcome =
        testing::check(|| build(allow_demo_model), std::slice::from_ref(input), &mut ctx).remove(0)?;
    match outcome {
        Outcome::Emit(report) => Ok(report),
        Outcome::Reject(rejection) => panic!("rejected: {rejection:?}"),
    }
}

fn report(input: &FindingsInferred) -> ReportIssued {
    try_report(input, false).unwrap()
}

fn abstention_of(report: &ReportIssued) -> &str {
    assert_eq!(report.certainty, Certainty::Abstain);
    assert_eq!(report.ef, None);
    report.abstention.as_ref().unwrap().as_str()
}

#[test]
fn a_number_stands_beside_its_doubts_and_without_an_interval() {
    let report =
        report(&input(answer(Some(57), &[FindingCode::LaDilated, FindingCode::PericardialEffusion])));
    assert_eq!(report.certainty, Certainty::High);
    assert_eq!(report.tags, [Tag::Uncalibrated]);
    assert_eq!(report.abstention, None);
    let ef = report.ef.unwrap();
    assert_eq!((ef.percent, ef.interval), (57.0, None));
    assert!(report.text.en.contains("\nLVEF approximately 57%.\n"), "{}", report.text.en);
    assert!(report.text.en.contains("\nUNCALIBRATED: "), "{}", report.text.en);
    assert!(report.text.zh.contains("\nLVEF 约 57%。\n"), "{}", report.text.zh);
    assert!(report.text.zh.contains("\nUNCALIBRATED:"), "{}", report.text.zh);
    assert!(
        report
            .text
            .en
            .contains("possible left atrial dilatation, pericardial effusion; recommend physician review")
    );
    assert!(report.text.zh.contains("图像特征提示左心房扩大、心包积液可能,建议由医师结合临床复核"));
}

#[test]
fn an_untrained_model_is_said_to_be_so() {
    let mut input = input(abstained(AbstentionReason::ModelUntrained.code()));
    input.model.untrained = true;
    input.study.synthetic = true;
    let issued = report(&input);
    assert_eq!(abstention_of(&issued), "MODEL_UNTRAINED");
    assert_eq!(issued.tags, [Tag::Synthetic]);
    assert!(issued.text.en.contains("ABSTAIN: model untrained"));
    assert!(issued.text.zh.contains("ABSTAIN: model untrained"));
    // An answer that slipped through another configuration is not believed either.
    input.inference = answer(Some(57), &[]);
    assert_eq!(abstention_of(&report(&input)), "MODEL_UNTRAINED");
}

#[test]
fn every_abstention_and_every_finding_has_words_in_both_languages() {
    for reason in AbstentionReason::ALL {
        let report = report(&input(abstained(reason.code())));
        assert_eq!(abstention_of(&report), reason.code().as_str());
        assert!(!report.tags.contains(&Tag::LanguagePolicy), "{reason:?}");
        // The fallback wording shows the bare code.
        assert!(!report.text.en.contains(&format!("ABSTAIN: {}.", reason.code())), "{reason:?} has no words");
    }
    for finding in FindingCode::ALL {
        let report = report(&input(answer(Some(40), &[finding])));
        assert_eq!(report.certainty, Certainty::High, "{finding:?}");
        assert!(!report.text.en.contains('{') && !report.text.zh.contains('{'), "{}", report.text.en);
    }
}

#[test]
fn cautions_of_the_gate_are_repeated() {
    let mut input = input(answer(Some(60), &[]));
    input.cautions = vec![ReasonCode::known("BLUR"), ReasonCode::known("SOMETHING_NEW_2")];
    let report = report(&input);
    assert_eq!(report.tags, [Tag::Uncalibrated, Tag::QualityCaution]);
    assert!(report.text.en.contains("accepted with cautions: blurred picture (BLUR), SOMETHING_NEW_2."));
    assert!(report.text.zh.contains("图像模糊(BLUR)、SOMETHING_NEW_2"));
}

#[test]
fn a_text_that_breaks_a_wording_rule_is_replaced() {
    let mut input = input(answer(Some(60), &[FindingCode::LvDilated]));
    input.cautions = vec![ReasonCode::known("INFARCTION_RULED_OUT")];
    let report = report(&input);
    assert_eq!(abstention_of(&report), "LANGUAGE_POLICY");
    assert_eq!(report.tags, [Tag::QualityCaution, Tag::LanguagePolicy]);
    assert!(!report.text.en.contains("RULED"));
    assert!(report.text.en.ends_with(LAST_EN) && report.text.zh.ends_with(LAST_ZH));
}

#[test]
fn findings_made_by_no_known_version_are_invalid() {
    let unknown = Answer {
        view: None,
        quality: Quality::Good,
        lvef_percent: None,
        findings: vec![Finding { code: ReasonCode::known("CANCER") }],
    };
    let impossible = Answer { view: None, quality: Quality::Good, lvef_percent: Some(101), findings: vec![] };
    for wrong in [unknown, impossible] {
        assert!(matches!(try_report(&input(Inference::Answer(wrong)), false), Err(StageError::Invalid(_))));
    }
}

/// Listed words no report may hold, looked for without the guard's own reading: the templates use none of them, not even
/// negated.
const NEVER_EN: [&str; 14] = [
    "confirmed",
    "confirms",
    "diagnosis of",
    "diagnostic of",
    "proves",
    "definitely",
    "certainly",
    "unequivocal",
    "conclusive",
    "rule out",
    "ruled out",
    "excludes",
    "no further",
    "guaranteed",
];
const NEVER_ZH: [&str; 14] = [
    "确诊",
    "明确诊断",
    "诊断为",
    "证实",
    "肯定",
    "必定",
    "必然",
    "一定是",
    "绝对",
    "排除",
    "完全正常",
    "没有问题",
    "无需",
    "保证",
];

fn any_code() -> impl Strategy<Value = ReasonCode> {
    let known = proptest::sample::select(vec![
        "BLUR",
        "LOW_FPS",
        "CONFIRMED",
        "RULED_OUT",
        "PHASE_UNRELIABLE",
        "NO_FURTHER",
        "EF_57",
        "X_1",
    ]);
    prop_oneof![known.prop_map(str::to_owned), "[A-Z][A-Z0-9_]{1,39}"]
        .prop_map(|code| ReasonCode::new(&code).unwrap())
}

fn any_inference() -> impl Strategy<Value = Inference> {
    let views = vec![None, Some(View::A4C), Some(View::PLAX), Some(View::Other)];
    let answered = (
        proptest::sample::select(views),
        proptest::sample::select(vec![Quality::Good, Quality::Fair, Quality::Poor]),
        proptest::option::of(0_u8..=100),
        proptest::sample::subsequence(FindingCode::ALL.to_vec(), 0..=FindingCode::ALL.len()),
    )
        .prop_map(|(view, quality, lvef_percent, findings)| {
            let findings = findings.into_iter().map(|finding| Finding { code: finding.code() }).collect();
            Inference::Answer(Answer { view, quality, lvef_percent, findings })
        });
    prop_oneof![
        answered,
        (any_code(), any::<String>())
            .prop_map(|(code, detail)| Inference::Abstained(Abstention { code, detail }))
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_report_asserts_or_lacks_its_last_line(
        inference in any_inference(),
        cautions in proptest::collection::vec(any_code(), 0..4),
        flags in proptest::collection::vec(any_code(), 0..2),
        geometry in proptest::option::of((-500..1500).prop_map(|tenths: i32| f64::from(tenths) / 10.0)),
        marks in any::<[bool; 4]>(),
        verdict in proptest::sample::select(vec![Verdict::Accept, Verdict::Caution, Verdict::Reject]),
    ) {
        let mut input = input(inference);
        let [synthetic, synthetic_only, untrained, allow] = marks;
        input.study.synthetic = synthetic;
        input.model.synthetic_only = synthetic_only;
        input.model.untrained = untrained;
        input.verdict = verdict;
        input.cautions = cautions;
        input.clips = vec![clip(Some(View::A4C), geometry, flags)];
        let report = try_report(&input, allow).unwrap();

        let en = report.text.en.strip_suffix(LAST_EN).expect("the last line in English");
        let zh = report.text.zh.strip_suffix(LAST_ZH).expect("the last line in Chinese");
        // Codes are read as their words, as the guard does.
        let words = en.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric() && c != '%', " ");
        for never in NEVER_EN {
            prop_assert!(!format!(" {words} ").contains(&format!(" {never} ")), "{never}: {en}");
        }
        for never in NEVER_ZH {
            prop_assert!(!zh.contains(never), "{never}: {zh}");
        }
        // A number appears exactly where the field has one, and is the same.
        for text in [en, zh] {
            let stated: Vec<f64> = text
                .match_indices('%')
                .map(|(end, _)| text[..end].rsplit(|c: char| c != '.' && !c.is_ascii_digit()).next().unwrap().parse().unwrap())
                .collect();
            let numbers = report.ef.iter().flat_map(|ef| [Some(ef.percent), ef.geometric_percent]).flatten();
            prop_assert_eq!(stated, numbers.collect::<Vec<f64>>());
        }
        prop_assert_eq!(report.ef.is_some(), report.certainty != Certainty::Abstain);
        prop_assert_eq!(report.abstention.is_some(), report.certainty == Certainty::Abstain);
        let mut ordered = report.tags.clone();
        ordered.sort();
        ordered.dedup();
        prop_assert_eq!(ordered, report.tags);
    }
}
