//! The wording guard on sentences as people write them, half of them negated or hedged.

use proptest::prelude::*;
use reporting::{LanguagePolicy, PolicyError};

const FORBIDDEN_ZH: [&str; 42] = [
    "确诊为扩张型心肌病",
    "本例可确诊",
    "明确诊断:心包积液",
    "诊断为左心功能不全",
    "超声证实左心室扩大",
    "肯定存在室壁运动异常",
    "必定为心肌梗死",
    "必然提示心衰",
    "一定是心包积液",
    "左心室扩大无疑",
    "毫无疑问为心衰",
    "绝对异常",
    "准确率百分之百",
    "可排除心肌梗死",
    "已排除心包积液",
    "排除肺栓塞。",
    "心脏完全正常",
    "心脏没有问题",
    "无需随访",
    "无需复查",
    "不用治疗",
    "患者已治愈",
    "应立即手术",
    "应服用阿司匹林",
    "保证结果准确",
    "零风险",
    "並非不能確診",
    "并非不能确诊",
    "不能不肯定为心衰",
    "图像质量差,不能评估,但确诊心衰",
    "未见积液,可确诊为心肌病",
    "未见积液可确诊心肌病",
    "確診為擴張型心肌病",
    "確 診 為心肌病",
    "确\u{200b}诊为心肌病",
    "确-诊为心肌病",
    "诊断为(左心衰)",
    "不典型表现可排除心梗",
    "射血分数100%可信",
    "射血分数１００％可信",
    "不需要复查",
    "排 除 心肌梗死",
];

const ALLOWED_ZH: [&str; 44] = [
    "不能确诊",
    "无法确诊为心肌病",
    "未确诊",
    "尚未确诊",
    "尚不能肯定",
    "难以证实",
    "不宜诊断为心衰",
    "不作为确诊依据",
    "并非确诊结果",
    "不足以证实心包积液",
    "不能据此确诊",
    "不能排除心包积液",
    "不排除心包积液",
    "难以排除肺栓塞",
    "不除外心肌梗死",
    "无法排除室壁运动异常",
    "不能据此排除",
    "未排除心肌病",
    "不一定是心包积液",
    "不肯定",
    "在一定程度上提示心功能减低",
    "速度绝对值偏低",
    "心肌绝对运动减低",
    "否定意见由医师给出",
    "既往确诊高血压",
    "既往确诊为高血压",
    "确诊需结合临床",
    "确诊须由医师完成",
    "确诊应由执业医师作出",
    "确诊依赖临床资料",
    "确诊有赖进一步检查",
    "确诊前请复核",
    "由医师确诊",
    "有待证实",
    "图像特征提示左心室扩大可能,建议由医师结合临床复核",
    "LVEF 约 57%。",
    "图像不合格,原因:图像模糊,建议重新采集标准 A4C 切面",
    "100% 的切片已读取",
    "血氧 100%",
    "正确诊断有赖于医师",
    "不能保证结果准确",
    "未來需要複核",
    "不能說完全正常",
    "本次图像未见明确室壁运动异常征象,不能据此排除",
];

const FORBIDDEN_EN: [&str; 44] = [
    "Confirmed dilated cardiomyopathy",
    "This confirms heart failure",
    "Diagnosis of pericardial effusion",
    "The patient was diagnosed with heart failure",
    "Diagnostic of amyloidosis",
    "This proves ischemia",
    "Definitely abnormal",
    "Certainly a thrombus",
    "Undoubtedly reduced function",
    "Unequivocal wall motion abnormality",
    "Conclusive evidence of infarction",
    "This is always ischemia",
    "We are 100 % sure",
    "100% certain",
    "100\u{a0}% sure",
    "Rules out pericardial effusion",
    "Infarction is ruled out",
    "This rule out is complete",
    "The study excludes endocarditis",
    "Effusion is excluded",
    "Completely normal heart",
    "There is no need for follow-up",
    "No further tests",
    "The patient is cured",
    "Must be treated today",
    "The result is guaranteed",
    "A risk-free procedure",
    "There is no doubt about effusion",
    "Without doubt an effusion",
    "It is not impossible: confirmed infarction, cannot be not confirmed",
    "Not unable to be confirmed",
    "It cannot not be ruled out",
    "CONFIRMED: dilated cardiomyopathy",
    "c\u{200b}onfirmed infarction",
    "ｃｏｎｆｉｒｍｅｄ infarction",
    "RULED_OUT",
    "Images are poor, confirmed anyway",
    "No effusion. Infarction is confirmed",
    "There is no thrombus and the infarction is confirmed",
    "Not only confirmed but severe",
    "Definite reduction of function",
    "Immediate surgery",
    "zero risk",
    "Normal LVEF; confirmed",
];

const ALLOWED_EN: [&str; 42] = [
    "Not confirmed",
    "It cannot be confirmed",
    "The finding can't be confirmed",
    "The finding can\u{2019}t be confirmed",
    "This has never been confirmed",
    "We are unable to give a definite answer",
    "No definite sign of effusion",
    "Without confirmed history",
    "Insufficient for a diagnosis of effusion",
    "This is not diagnostic of amyloidosis",
    "It isn't conclusive",
    "The evidence is not conclusive",
    "This does not prove ischemia and is not unequivocal",
    "Not always visible",
    "Not definitely abnormal",
    "We cannot say certainly",
    "Cannot rule out pericardial effusion",
    "Pericardial effusion cannot be ruled out",
    "This does not rule out infarction",
    "Not excluded",
    "The study does not exclude endocarditis",
    "Infarction is not ruled out",
    "Not completely normal",
    "The result is not guaranteed",
    "Confirmation required",
    "Review and confirmation by a licensed physician",
    "The finding must be confirmed by a physician",
    "It should be confirmed on site",
    "Unless confirmed by a physician",
    "Do not use until confirmed",
    "Previously confirmed hypertension",
    "Features suggest possible left ventricular dilatation; recommend physician review.",
    "LVEF approximately 57%.",
    "LVEF approximately 57.5%. Low certainty",
    "100% of frames were read",
    "100 % of the tiles",
    "SpO2 100%",
    "VIEW_UNCONFIRMED",
    "Follow-up at the physician's discretion",
    "The certainty is low",
    "An exclusive list",
    "Other conditions remain possible",
];

#[test]
fn assertions_are_found() {
    let policy = LanguagePolicy::embedded();
    for sentence in FORBIDDEN_ZH.iter().chain(&FORBIDDEN_EN) {
        assert!(!policy.violations(sentence).is_empty(), "missed: {sentence}");
    }
}

#[test]
fn negated_and_hedged_sentences_pass() {
    let policy = LanguagePolicy::embedded();
    for sentence in ALLOWED_ZH.iter().chain(&ALLOWED_EN) {
        assert_eq!(policy.violations(sentence), [], "false alarm: {sentence}");
    }
}

#[test]
fn a_violation_names_the_listed_term() {
    let terms: Vec<String> = LanguagePolicy::embedded()
        .violations("Infarction is ruled out. 確診為心肌病。")
        .into_iter()
        .map(|violation| violation.term)
        .collect();
    assert_eq!(terms, ["ruled out", "确诊为"]);
}

#[test]
fn lists_that_cannot_be_used_are_refused() {
    assert!(matches!(LanguagePolicy::parse("{}"), Err(PolicyError::Json(_))));
    let lists = r#"{"claims":[],"orders":[],"exclusions":[],"negators":[],"adjacent_negators":[],"not_negators":[],"free":[],"free_before":[]}"#;
    let file = format!(
        r#"{{"version":"1","zh":{lists},"en":{lists},"hundred_percent_of":[],"traditional":"確診","simplified":"确"}}"#
    );
    assert!(matches!(
        LanguagePolicy::parse(&file),
        Err(PolicyError::CharacterTable { traditional: 2, simplified: 1 })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever stands around it in other clauses, an assertion is found, and any text gets an answer.
    #[test]
    fn other_clauses_neither_hide_nor_break(
        before in any::<String>(),
        after in any::<String>(),
        index in 0..FORBIDDEN_EN.len(),
    ) {
        let policy = LanguagePolicy::embedded();
        let sentence = FORBIDDEN_EN[index];
        // A unit such as "tiles" in the neighbourhood belongs to another clause.
        let text = format!("{before}\n{sentence}\n{after}");
        prop_assert!(!policy.violations(&text).is_empty());
    }
}
