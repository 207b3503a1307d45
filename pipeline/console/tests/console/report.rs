//! The page of one report over a real socket: every kind of report, with what it must show and in which order.

use std::sync::LazyLock;

use jiff::Timestamp;

use crate::{
    reports::{self, UIDS},
    serving::Serving,
    world::World,
};

/// One console for all of these tests: they only read.
static SERVING: LazyLock<Serving> = LazyLock::new(|| {
    let at = Timestamp::UNIX_EPOCH;
    let studies = UIDS.iter().map(|(uid, name)| reports::study(uid, name, at, at)).collect();
    Serving::start(World { studies, picture: reports::picture, ..World::default() })
});

fn page_in(name: &str, language: &str) -> String {
    let uid = UIDS.iter().find(|(_, example)| *example == name).expect("an example").0;
    let answer = SERVING.get(&format!("/studies/{uid}?lang={language}"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn page(name: &str) -> String {
    page_in(name, "en")
}

/// Where each of `parts` begins; every one must be there, in this order.
pub(crate) fn in_order(page: &str, parts: &[&str]) {
    let mut from = 0;
    for part in parts {
        let found = page.get(from..).and_then(|rest| rest.find(part));
        from += found.unwrap_or_else(|| panic!("{part:?} is missing or too early:\n{page}")) + part.len();
    }
}

const LAST_EN: &str = "it requires review and confirmation by a licensed physician before use.</p></article>";
const LAST_ZH: &str = "须经执业医师复核确认后方可生效。</p></article>";

#[test]
fn the_interval_stands_before_the_value_and_both_before_the_text() {
    let page = page("calibrated");
    in_order(
        &page,
        &[
            "U_LOW",
            "54.7–65.9 %",
            "90 % interval",
            "<svg class=\"scale\"",
            "Model ",
            "60 %",
            "Contours ",
            "58 %",
        ],
    );
    in_order(
        &page,
        &[
            "site-1",
            "<article class=\"draft\" lang=\"en\">",
            LAST_EN,
            "<article class=\"draft\" lang=\"zh-CN\">",
            LAST_ZH,
        ],
    );
    in_order(&page, &["ED end-diastole", "A4C", "ES end-systole", "Run", "LOINC 18043-0"]);
    assert!(page.contains("<rect class=\"interval\""), "the interval is drawn");
}

#[test]
fn doubts_are_marked_and_references_are_numbered() {
    let page = page("cautioned");
    in_order(&page, &["U_HIGH", "EF_DISAGREE", "QUALITY_CAUTION", "BAND_AMBIGUOUS", "BLUR", "35.5–58.1 %"]);
    in_order(
        &page,
        &[
            "<p>References</p>",
            "<p>[1] prescreen reading notes",
            LAST_EN,
            "<p>参考资料</p>",
            "<p>[1] ",
            LAST_ZH,
        ],
    );
}

#[test]
fn an_abstention_shows_its_reason_and_no_number() {
    let page = page("abstains_for_quality");
    in_order(
        &page,
        &[
            "ABSTAIN",
            "SYNTHETIC",
            "No judgement",
            "IMAGE_QUALITY_POOR",
            "Please re-acquire",
            LAST_EN,
            LAST_ZH,
        ],
    );
    assert!(!page.contains("<svg") && !page.contains("LVEF approximately"));
}

#[test]
fn a_slide_shows_its_tiles_with_and_without_normalised_stain() {
    let page = page("pathology");
    in_order(&page, &["glandular tissue", LAST_EN, "tile", "512×512 px @ 10240, 4096", "stain normalised"]);
    assert!(!page.contains("ejection fraction"));
}

#[test]
fn a_number_without_a_set_says_so_in_place_of_an_interval() {
    let page = page("number_with_doubts");
    in_order(&page, &["U_HIGH", "UNCALIBRATED", "No interval", "without calibration", "<svg", "55 %"]);
    assert!(!page.contains("<rect class=\"interval\""));
}

#[test]
fn a_rejection_says_why_and_what_to_acquire_in_both_languages() {
    let page = page("rejected");
    in_order(
        &page,
        &[
            "REJECTED",
            "BLUR",
            "Images not fit to be read, reason: blurred picture (BLUR)",
            LAST_EN,
            "图像不合格,原因:图像模糊(BLUR)",
            LAST_ZH,
        ],
    );
}

#[test]
fn in_chinese_the_labels_and_the_chinese_text_come_first() {
    let page = page_in("calibrated", "zh");
    in_order(
        &page,
        &[
            "初步报告",
            "左心室射血分数",
            "54.7–65.9 %",
            "90 % 区间",
            "模型",
            LAST_ZH,
            LAST_EN,
            "ED 舒张末",
            "版本信息",
            "时间线",
        ],
    );
    assert!(!page.contains("Left ventricular ejection fraction<") && !page.contains("Timeline"), "{page}");
}

/// The stylesheet is the only place for colours; the pages' own rule forbids inline style and script.
#[test]
fn no_page_of_a_report_needs_inline_style_or_script() {
    for (_, name) in UIDS {
        let page = page(name);
        assert!(!page.contains(" style=") && !page.contains("<script"), "{name}");
        assert!(page.contains("Not a medical device"), "{name}");
    }
}
