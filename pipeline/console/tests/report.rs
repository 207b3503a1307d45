//! The page of one report over a real socket: every kind of report, with what it must show and in which order.

#![expect(clippy::expect_used, reason = "a test that cannot go on says so by a panic")]

#[path = "../examples/report_pages/site.rs"]
mod site;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, LazyLock},
};

use console::{Console, Token};
use site::{Examples, UIDS};
use tokio::{runtime::Runtime, sync::watch};

/// A console that serves the examples as long as the tests run.
struct Serving {
    address: SocketAddr,
    _stop: watch::Sender<bool>,
    _runtime: Runtime,
    _uploads: tempfile::TempDir,
}

static SERVING: LazyLock<Serving> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let uploads = tempfile::tempdir().expect("a folder");
    let token = Token::new("0123456789abcdef0123456789abcdef").expect("a token");
    let site = Arc::new(Examples);
    let bind = Console::bind(([127, 0, 0, 1], 0).into(), site, token, uploads.path().to_owned());
    let console = runtime.block_on(bind).expect("a free port");
    let address = console.address().expect("an address");
    let (stop, stopped) = watch::channel(false);
    runtime.spawn(console.serve(stopped));
    Serving { address, _stop: stop, _runtime: runtime, _uploads: uploads }
});

fn page(name: &str) -> String {
    let uid = UIDS.iter().find(|(_, example)| *example == name).expect("an example").0;
    let address = SERVING.address;
    let mut stream = TcpStream::connect(address).expect("a connection");
    let head = format!("GET /studies/{uid} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// Where each of `parts` begins; every one must be there, in this order.
fn in_order(page: &str, parts: &[&str]) {
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
            "<article class=\"draft\" lang=\"zh\">",
            LAST_ZH,
        ],
    );
    in_order(&page, &["ED 舒张末", "A4C", "ES 收缩末", "Run", "LOINC 18043-0"]);
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
    in_order(
        &page,
        &["glandular tissue", LAST_EN, "tile 图块", "512×512 px at 10240, 4096", "stain normalised 染色归一"],
    );
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

/// The stylesheet is the only place for colours; the pages' own rule forbids inline style and script.
#[test]
fn no_page_of_a_report_needs_inline_style_or_script() {
    for (_, name) in UIDS {
        let page = page(name);
        assert!(!page.contains(" style=") && !page.contains("<script"), "{name}");
        assert!(page.contains("Not a medical device"), "{name}");
    }
}
