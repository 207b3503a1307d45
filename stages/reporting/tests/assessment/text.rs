//! What a report says: every kind, both languages, and whatever is pushed in from outside.

use std::{
    fs,
    path::Path,
    sync::{LazyLock, Mutex},
};

use inference::{AbstentionReason, Artefact, FindingCode, Nuclei, Tissue};
use proptest::prelude::*;
use reporting::{
    CodeTable, Config, LAST_LINE, LanguagePolicy, Library, Material, ReportWriter, ReportingStage,
};
use schemas::{
    Abstention, Bilingual, CodeSystem, Domain, Finding, FindingsInferred, Inference, ReasonCode, Rejection,
    RejectionReason, ReportIssued, Tag, Verdict, View,
};
use stage::{
    Outcome, Stage as _,
    testing::{self, MemoryBlobs, MemoryFrames},
};

use crate::world::{answer, build, clean, clip, config, report, set, with_set};

/// Both texts, each without its last line.
fn bodies(text: &Bilingual) -> [&str; 2] {
    let [en, zh] = LAST_LINE;
    [text.en.strip_suffix(en).unwrap(), text.zh.strip_suffix(zh).unwrap()]
}

/// The lines of a text.
fn says(text: &str, line: &str) -> bool {
    text.lines().any(|said| said == line)
}

#[test]
fn a_calibrated_number_stands_with_its_interval_its_set_and_what_the_contours_say() {
    let report = report(&clean(), &with_set(&set(600, 5.0)));
    let ef = report.ef.clone().unwrap();
    let [low, high] = ef.interval.unwrap().map(|bound| format!("{bound:.1}"));
    let [low, high] = [low.trim_end_matches(".0"), high.trim_end_matches(".0")];
    let percent = format!("{:.1}", ef.percent);
    let percent = percent.trim_end_matches(".0");
    let [en, zh] = bodies(&report.text);
    assert!(says(en, &format!("LVEF approximately {percent}% (90% interval {low}–{high}%).")), "{en}");
    assert!(says(zh, &format!("LVEF 约 {percent}%(90% 区间 {low}–{high}%)。")), "{zh}");
    assert!(says(en, "Independent contour measurement: 58%."), "{en}");
    assert!(says(zh, "独立轮廓测量:58%。"), "{zh}");
    let used = report.calibration.unwrap();
    let line =
        format!("Interval from calibration set “site-1”, group “{}”, {} studies.", used.group, used.studies);
    assert!(says(en, &line), "{en}");
    assert!(says(en, "Image quality gate: accepted.") && says(zh, "图像质量检查:通过。"));
}

#[test]
fn a_number_without_a_set_has_no_interval_in_its_text() {
    let report = report(&clean(), &config());
    let [en, zh] = bodies(&report.text);
    assert!(en.contains("LVEF approximately 60.3%.\n") || en.contains("LVEF approximately 60%.\n"), "{en}");
    assert!(!en.contains("interval ") || !en.contains("90%"), "{en}");
    assert!(en.contains("\nUNCALIBRATED: ") && zh.contains("\nUNCALIBRATED:"), "{en}");
}

#[test]
fn every_abstention_has_words_and_says_what_to_acquire_where_that_would_help() {
    let of_reporting = [
        "GATE_REJECTED",
        "IMAGE_QUALITY_POOR",
        "INTERVAL_TOO_WIDE",
        "LVEF_DECLINED",
        "MODEL_STUDY_MISMATCH",
        "PHASE_UNRELIABLE",
        "FORMAT_UNCERTAIN",
        "VIEW_CONFLICT",
        "VIEW_NOT_APICAL",
        "VIEW_WRONG",
        "TIMEOUT",
    ];
    let codes = AbstentionReason::ALL.map(AbstentionReason::code);
    let codes = codes.into_iter().chain(of_reporting.map(ReasonCode::known));
    for code in codes {
        let mut input = clean();
        input.inference = Inference::Abstained(Abstention { code: code.clone(), detail: "60 %".to_owned() });
        let report = report(&input, &config());
        let [en, zh] = bodies(&report.text);
        // The wording for a code without words shows the bare code.
        assert!(en.contains("\nABSTAIN: ") && !en.contains(&format!("ABSTAIN: {code}.")), "{code}: {en}");
        assert!(zh.contains("\nABSTAIN: ") && !zh.contains(&format!("ABSTAIN: {code}。")), "{code}: {zh}");
        assert!(!report.tags.contains(&Tag::LanguagePolicy), "{code}");
        let acquire = en.contains("re-acquire");
        let of_the_pictures =
            ["NO_KEYFRAMES", "GATE_REJECTED", "IMAGE_QUALITY_POOR", "PHASE_UNRELIABLE", "VIEW_WRONG"];
        assert!(acquire || !of_the_pictures.contains(&code.as_str()), "{code}: {en}");
        assert_eq!(acquire, zh.contains("重新采集"), "{code}: {zh}");
    }
}

#[test]
fn every_feature_of_either_form_has_a_name() {
    let echo = FindingCode::ALL.map(FindingCode::code);
    let tissue = Tissue::ALL.map(Tissue::code);
    let nuclei = Nuclei::ALL.map(Nuclei::code);
    let artefact = Artefact::ALL.map(Artefact::code);
    for (domain, code) in echo
        .into_iter()
        .map(|code| (Domain::Echo, code))
        .chain(tissue.into_iter().chain(nuclei).chain(artefact).map(|code| (Domain::Pathology, code)))
    {
        let mut input = clean();
        input.study.domain = domain;
        if domain == Domain::Pathology {
            answer(&mut input).view = None;
            answer(&mut input).lvef_percent = None;
            input.evidence = None;
            input.clips = vec![clip(None, None, &[])];
        }
        answer(&mut input).findings = vec![Finding { code: code.clone() }];
        let report = report(&input, &config());
        let [en, zh] = bodies(&report.text);
        assert!(en.contains("Features suggest possible ") && !en.contains(code.as_str()), "{code}: {en}");
        assert!(zh.contains("图像特征提示") && !zh.contains(code.as_str()), "{code}: {zh}");
        if domain == Domain::Pathology {
            assert!(!en.contains("LVEF") && !zh.contains("射血分数"), "{en}");
            assert_eq!(report.ef, None);
        }
    }
}

#[test]
fn references_are_numbered_before_the_last_line_and_change_nothing_above_them() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("none.jsonl");
    fs::write(&empty, "").unwrap();
    let mut input = clean();
    input.verdict = Verdict::Caution;
    input.cautions = vec![ReasonCode::known("BLUR"), ReasonCode::known("LOW_FPS")];
    answer(&mut input).findings = vec![Finding { code: FindingCode::PericardialEffusion.code() }];
    let with = report(&input, &config());
    let without = report(&input, &Config { references: Material::At(empty), ..config() });
    assert_eq!(without.references, []);
    assert_ne!(with.run_fingerprint, without.run_fingerprint, "the corpus belongs to the fingerprint");
    assert_eq!((&with.ef, &with.tags, with.certainty), (&without.ef, &without.tags, without.certainty));
    let ids: Vec<&str> = with.references.iter().map(|reference| reference.id.as_str()).collect();
    for id in ["finding.effusion", "quality.blur", "quality.fps"] {
        assert!(ids.contains(&id), "{ids:?}");
    }
    let library = Library::built_in().unwrap();
    let lines = |text: &dyn Fn(&Bilingual) -> String, heading: &str| {
        let cited = with.references.iter().map(|reference| {
            assert_eq!(library.citation(&reference.id).as_ref(), Some(&reference.source));
            format!("[{}] {}", reference.number, text(&reference.source))
        });
        [heading.to_owned()].into_iter().chain(cited).map(|line| line + "\n").collect::<String>()
    };
    let [en, zh] = bodies(&with.text);
    let [bare_en, bare_zh] = bodies(&without.text);
    assert_eq!(en, [bare_en, &lines(&|source| source.en.clone(), "References")].concat());
    assert_eq!(zh, [bare_zh, &lines(&|source| source.zh.clone(), "参考资料")].concat());
    assert!(with.references.iter().map(|reference| reference.number).eq(1..=with.references.len() as u32));
}

#[test]
fn codes_are_of_what_the_report_speaks_of_and_all_verified() {
    let mut input = clean();
    answer(&mut input).findings = vec![Finding { code: FindingCode::PericardialEffusion.code() }];
    let codes = report(&input, &config()).codes;
    let has = |system, code: &str| codes.iter().any(|coding| coding.system == system && coding.code == code);
    assert!(has(CodeSystem::Loinc, "18043-0"), "{codes:?}");
    assert!(has(CodeSystem::Snomed, "399214001") && has(CodeSystem::Snomed, "373945007"));
    assert!(has(CodeSystem::Dicom, "125208"), "contours by discs");
    assert!(!has(CodeSystem::Loinc, "8806-2"), "from memory");
    let table = CodeTable::built_in();
    assert!(table.unverified() > 0);
    assert_eq!(table.verified(&ReasonCode::known("CERTAINTY_PROBABLE")), []);
    input.inference =
        Inference::Abstained(Abstention { code: ReasonCode::known("REPETITION"), detail: String::new() });
    let silent = report(&input, &config()).codes;
    assert!(!silent.iter().any(|coding| coding.system == CodeSystem::Loinc), "no number, no code of it");
}

/// A copy of the shipped texts with one file changed.
fn changed(file: &str, change: impl FnOnce(String) -> Option<String>) -> (tempfile::TempDir, Material) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/reports");
    let folder = tempfile::tempdir().unwrap();
    for part in ["", "en", "zh"] {
        fs::create_dir_all(folder.path().join(part)).unwrap();
        for entry in fs::read_dir(shipped.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, folder.path().join(part).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    let path = folder.path().join(file);
    match change(fs::read_to_string(&path).unwrap()) {
        Some(text) => fs::write(&path, text).unwrap(),
        None => fs::remove_file(&path).unwrap(),
    }
    let material = Material::At(folder.path().to_owned());
    (folder, material)
}

fn refusal(file: &str, change: impl FnOnce(String) -> Option<String>) -> String {
    let (_folder, reports) = changed(file, change);
    match build(&Config { reports, ..config() }) {
        Ok(_) => panic!("accepted"),
        Err(error) => {
            assert_eq!(error.key, "reports");
            error.expected
        }
    }
}

#[test]
fn a_sites_own_texts_take_their_place_and_the_fingerprint_follows() {
    let (_folder, reports) =
        changed("en/head.j2", |text| Some(text.replace("Preliminary", "Our preliminary")));
    let own = report(&clean(), &Config { reports, ..config() });
    assert!(own.text.en.starts_with("Our preliminary report (AI draft)"));
    assert_ne!(own.run_fingerprint, report(&clean(), &config()).run_fingerprint);
}

#[test]
fn texts_that_cannot_be_used_are_refused_before_the_first_study() {
    let unknown = refusal("en/caution.j2", |text| Some(text + "{{ patient }}"));
    assert!(unknown.contains("undefined"), "{unknown}");
    let syntax = refusal("zh/abstain.j2", |text| Some(text + "{% if %}"));
    assert!(syntax.contains("zh/abstain"), "{syntax}");
    let missing = refusal("zh/gate.j2", |_| None);
    assert!(missing.contains("gate.j2"), "{missing}");
    let overclaims = refusal("en/accept.j2", |text| Some(text + "No further tests."));
    assert!(overclaims.contains("no further"), "{overclaims}");
    let silent = refusal("en/echo.j2", |text| Some(text.replace("{{ ef.percent }}", "normal")));
    assert!(silent.contains("numbers"), "{silent}");
    let invents = refusal("zh/accept.j2", |text| Some(text + "随访 6 个月"));
    assert!(invents.contains("numbers"), "{invents}");
    let unnamed = refusal("words.json", |text| Some(text.replace("\"ARRHYTHMIA\"", "\"ARRYTHMIA\"")));
    assert!(unnamed.contains("ARRHYTHMIA"), "{unnamed}");
}

#[test]
fn lists_and_passages_that_cannot_be_used_are_refused_before_the_first_study() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let at = || Material::At(path.clone());
    fs::write(&path, "{}").unwrap();
    let key = |config: &Config| build(config).map(drop).unwrap_err().key;
    assert_eq!(key(&Config { language: at(), ..config() }), "language");
    assert_eq!(key(&Config { references: at(), ..config() }), "references");
    let nowhere = Material::At(folder.path().join("nowhere"));
    assert_eq!(key(&Config { references: nowhere, ..config() }), "references");
}

fn rejection(reasons: &[(&'static str, &str)]) -> Rejection {
    let reason = |(code, advice): &(&'static str, &str)| RejectionReason {
        code: ReasonCode::known(code),
        instance_uid: None,
        advice: Bilingual::new(*advice, *advice),
    };
    Rejection { reasons: reasons.iter().map(reason).collect(), instances: vec![] }
}

#[test]
fn a_rejected_study_is_told_why_and_what_to_acquire() {
    let writer = ReportWriter::built_in();
    let text = writer.rejected(
        Domain::Echo,
        false,
        &rejection(&[("BLUR", "Set the focus."), ("LOW_FPS", "Use 40 frames.")]),
    );
    let [en, zh] = bodies(&text);
    assert!(
        says(en, "Images not fit to be read, reason: blurred picture (BLUR), low frame rate (LOW_FPS)."),
        "{en}"
    );
    assert!(
        says(en, "blurred picture (BLUR): Set the focus.")
            && says(en, "Please re-acquire a standard A4C clip.")
    );
    assert!(zh.contains("图像不合格,原因:图像模糊(BLUR)") && says(zh, "建议重新采集标准 A4C 切面。"), "{zh}");
    for hostile in ["Infarction ruled out.", "确诊", "INFARCTION_CONFIRMED"] {
        let text = writer.rejected(Domain::Echo, false, &rejection(&[("BLUR", hostile)]));
        assert_eq!(LanguagePolicy::embedded().violations(bodies(&text)[0]), [], "{hostile}");
        assert!(!text.zh.contains("确诊"), "{hostile}");
    }
}

/// Listed words no text may hold, looked for without the guard's own reading: the templates use none of them, not even
/// negated.
const NEVER: [&str; 24] = [
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
    "cured",
    "确诊",
    "明确诊断",
    "证实",
    "肯定",
    "必定",
    "一定是",
    "完全正常",
    "无需",
    "保证",
];

/// What an attacker, a broken model or a careless site may send in place of a word.
fn hostile() -> impl Strategy<Value = String> {
    let forbidden: Vec<String> = [include_str!("../language/zh.txt"), include_str!("../language/en.txt")]
        .iter()
        .flat_map(|file| file.lines())
        .filter_map(|line| line.strip_prefix("✗ "))
        .map(str::to_owned)
        .collect();
    let disguise = |text: String| {
        let wide = |c: char| char::from_u32(c as u32 + 0xfee0).filter(|_| c.is_ascii_graphic()).unwrap_or(c);
        [text.clone(), text.chars().flat_map(|c| [c, '\u{200b}']).collect(), text.chars().map(wide).collect()]
    };
    prop_oneof![
        2 => proptest::sample::select(forbidden).prop_flat_map(move |text| proptest::sample::select(disguise(text).to_vec())),
        1 => any::<String>(),
        1 => Just("LVEF 99% (90% interval 98–100%)".to_owned()),
    ]
}

fn hostile_code() -> impl Strategy<Value = ReasonCode> {
    let known = vec![
        "BLUR",
        "CONFIRMED",
        "INFARCTION_RULED_OUT",
        "NO_FURTHER_TESTS",
        "EF_57",
        "PHASE_UNRELIABLE",
        "CURED_100",
    ];
    prop_oneof![proptest::sample::select(known).prop_map(str::to_owned), "[A-Z][A-Z0-9_]{1,39}",]
        .prop_map(|code| ReasonCode::new(&code).unwrap())
}

/// Built once, because the cases are many: building tries every kind of text.
static STAGE: LazyLock<Mutex<ReportingStage>> = LazyLock::new(|| Mutex::new(build(&config()).unwrap()));
static WRITER: LazyLock<ReportWriter> = LazyLock::new(ReportWriter::built_in);
static POLICY: LazyLock<LanguagePolicy> = LazyLock::new(LanguagePolicy::embedded);

fn check_text(report: &ReportIssued) -> Result<(), TestCaseError> {
    let [en, zh] = LAST_LINE;
    let stands = report.text.en.lines().last() == Some(en) && report.text.zh.lines().last() == Some(zh);
    prop_assert!(stands, "{:?}", report.text);
    for body in bodies(&report.text) {
        prop_assert_eq!(POLICY.violations(body), []);
        // Codes are read as their words, as the guard does.
        let words = body.to_lowercase().replace(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric(), " ");
        for never in NEVER {
            let found = if never.is_ascii() {
                format!(" {words} ").contains(&format!(" {never} "))
            } else {
                words.contains(never)
            };
            prop_assert!(!found, "{}: {}", never, body);
        }
        prop_assert!(!body.contains("99%") && !body.contains("９９"), "{}", body);
        prop_assert!(!body.chars().any(|c| c.is_control() && c != '\n'), "{:?}", body);
    }
    prop_assert_eq!(report.ef.is_none(), !report.text.en.contains("LVEF approximately"));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever text stands wherever the stage before could put one, no report asserts or lacks its last line.
    #[test]
    fn no_report_asserts_or_lacks_its_last_line_whatever_is_pushed_in(
        texts in proptest::collection::vec(hostile(), 6),
        codes in proptest::collection::vec(hostile_code(), 1..4),
        abstains in any::<bool>(),
        verdict in proptest::sample::select(vec![Verdict::Accept, Verdict::Caution]),
        features in proptest::sample::subsequence(FindingCode::ALL.to_vec(), 0..=3),
        synthetic in any::<bool>(),
    ) {
        let mut input: FindingsInferred = clean();
        input.study.synthetic = synthetic;
        input.model.synthetic_only = synthetic;
        input.verdict = verdict;
        input.cautions = codes.clone();
        input.model.name = texts[0].clone();
        input.model.dtype = texts[1].clone();
        input.model.device = texts[2].clone();
        input.clips = vec![clip(Some(View::A4C), Some(58.0), &[])];
        input.clips[0].flags = codes.clone();
        if let Some(geometry) = &mut input.clips[0].geometry {
            geometry.method = texts[3].clone();
            geometry.flags = codes.clone();
        }
        answer(&mut input).findings = features.iter().map(|code| Finding { code: code.code() }).collect();
        if abstains {
            let code = codes[0].clone();
            input.inference = Inference::Abstained(Abstention { code, detail: texts[4].clone() });
        }
        let (blobs, frames) = (MemoryBlobs::default(), MemoryFrames::default());
        // A case that failed has been told; the stage keeps nothing between records.
        let mut stage = STAGE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let outcome = stage.process(&input, &mut testing::ctx(&blobs, &frames)).unwrap();
        let Outcome::Emit(report) = outcome else { panic!("rejected") };
        check_text(&report)?;
    }

    /// The same for the advice of a rejection.
    #[test]
    fn no_rejection_asserts_or_lacks_its_last_line_whatever_is_pushed_in(
        advice in proptest::collection::vec((hostile_code(), hostile()), 1..4),
    ) {
                let reasons = advice.into_iter().map(|(code, advice)| RejectionReason {
            code,
            instance_uid: None,
            advice: Bilingual::new(advice.clone(), advice),
        });
        let text = WRITER.rejected(Domain::Echo, false, &Rejection { reasons: reasons.collect(), instances: vec![] });
        let [en, zh] = LAST_LINE;
        let stands = text.en.lines().last() == Some(en) && text.zh.lines().last() == Some(zh);
        prop_assert!(stands, "{:?}", text);
        for body in bodies(&text) {
            prop_assert_eq!(POLICY.violations(body), []);
        }
    }
}
