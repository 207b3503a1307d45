//! The forms of a report.

use std::collections::{BTreeMap, HashMap};

use quick_xml::{Reader, events::Event};
use replay::{
    diff::compare,
    report::{
        FOR_REFERENCE_ONLY, Report,
        html::{self, Language, Limits, content_security_policy},
        junit::to_junit,
    },
};
use schemas::{Bilingual, Digest};

use super::{beyond, changed, comparison, report, world};

const HOSTILE: &str = "</div><script>alert('x')</script><img src=x onerror=alert(1)> & \"quoted\" \u{1b}[31m";

fn page(report: &Report, language: Language) -> String {
    html::page(report, &mut (), language, Limits::PAGE).unwrap()
}

fn planted() -> Report {
    let studies = world::studies(80, 1);
    report(
        &studies,
        &changed(&studies, |study| {
            study.ef += 6.0;
            study.ed += u32::from(study.number < 10);
        }),
    )
}

#[test]
fn the_page_holds_the_verdict_the_plots_and_the_mandatory_line_and_fetches_nothing() {
    let report = planted();
    for language in [Language::English, Language::Chinese, Language::Both] {
        let page = page(&report, language);
        assert!(page.contains(FOR_REFERENCE_ONLY));
        assert_eq!(page.matches("<svg").count(), 4, "agreement twice, risk, latency");
        for forbidden in ["<script", "style=\"", " on", "src=\"http", "href=", "@import", "url("] {
            let found = page.find(forbidden).map(|at| &page[at..(at + 40).min(page.len())]);
            // " on" begins words of text; attributes of that name have a sign after them.
            if forbidden == " on" {
                assert!(
                    !page.contains(" onerror=") && !page.contains(" onclick=") && !page.contains(" onload=")
                );
            } else {
                assert_eq!(found, None, "{forbidden}");
            }
        }
        let policy = page.split("http-equiv=\"Content-Security-Policy\" content=\"").nth(1).unwrap();
        assert!(
            policy.starts_with(&content_security_policy().replace('\'', "&#39;"))
                || policy.starts_with(&content_security_policy())
        );
    }
    let (english, chinese, both) =
        (page(&report, Language::English), page(&report, Language::Chinese), page(&report, Language::Both));
    assert!(english.contains("Regression") && !english.contains("超出界值"));
    assert!(chinese.contains("退步") && !chinese.contains("beyond margin"));
    assert!(both.contains("Regression") && both.contains("退步"));
}

#[test]
fn both_texts_stand_side_by_side_with_the_changed_tokens_marked() {
    let studies = world::studies(60, 2);
    let candidate = changed(&studies, |study| study.ef = if study.number == 7 { 12.0 } else { study.ef });
    let page = page(&report(&studies, &candidate), Language::English);
    let before = studies[7].ef;
    assert!(
        page.contains(&format!("approximately <del>{before:.0}</del>")),
        "the baseline's number is struck out"
    );
    assert!(page.contains("approximately <ins>12</ins>"), "the candidate's is underlined");
}

#[test]
fn hostile_text_is_escaped_in_every_form() {
    let studies = world::studies(60, 3);
    let candidate = changed(&studies, |study| {
        study.remark = Bilingual::new(HOSTILE, HOSTILE);
        study.ef = if study.number == 1 { 99.0 } else { study.ef };
    });
    let mut given = comparison(&studies, &candidate);
    given.facts.pins = vec![replay::report::Pin {
        name: HOSTILE.to_owned(),
        baseline: "a".to_owned(),
        candidate: HOSTILE.to_owned(),
    }];
    let report = compare(&given).unwrap();
    let page = page(&report, Language::Both);
    assert!(!page.contains("<script") && !page.contains("<img src=x"));
    assert!(page.contains("&lt;script&gt;"));
    well_formed(&to_junit(&report));
}

#[test]
fn pictures_are_embedded_up_to_the_limits_and_a_wrong_or_missing_one_is_said() {
    let studies = world::studies(60, 4);
    let candidate = changed(&studies, |study| study.ed += u32::from(study.number < 10));
    let report = report(&studies, &candidate);
    assert_eq!(report.discordant.len(), 10);
    let mut store: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
    for study in report
        .discordant
        .iter()
        .flat_map(|study| study.baseline_pictures.iter().chain(&study.candidate_pictures))
    {
        let number = study.instance_uid.as_str().trim_start_matches("2.25.8").parse().unwrap();
        let png = world::png(number, study.frame);
        store.insert(Digest::of(&png), png);
    }
    let embedded = |store: &mut BTreeMap<Digest, Vec<u8>>, limits: Limits| {
        let page = html::page(&report, store, Language::English, limits).unwrap();
        (page.matches("src=\"data:image/png;base64,").count(), page)
    };
    assert_eq!(embedded(&mut store, Limits::PAGE).0, 40);
    let (few, page) = embedded(&mut store, Limits { pictures: 7, ..Limits::PAGE });
    assert_eq!((few, page.matches("this page holds no more pictures").count()), (7, 33));
    let (none, page) = embedded(&mut store, Limits { picture_bytes: 10, ..Limits::PAGE });
    assert_eq!((none, page.matches("too large for this page").count()), (0, 40));
    let first = report.discordant[0].baseline_pictures[0].image.sha256;
    store.insert(first, b"\x89PNG\r\n\x1a\nsomething else".to_vec());
    let (rest, page) = embedded(&mut store, Limits::PAGE);
    assert_eq!((rest, page.matches("not the picture that was read").count()), (39, 1));
    let (none, page) = embedded(&mut BTreeMap::new(), Limits::PAGE);
    assert_eq!((none, page.matches("not in the store").count()), (0, 40));
}

#[test]
fn a_long_report_says_what_the_page_leaves_out() {
    let studies = world::studies(60, 5);
    let report = report(&studies, &changed(&studies, |study| study.ef = 99.0));
    let limits = Limits { studies: 5, ..Limits::PAGE };
    let page = html::page(&report, &mut (), Language::English, limits).unwrap();
    assert_eq!(page.matches("<section class=\"study\">").count(), 5);
    assert!(page.contains(&format!("{} more are in the JSON form.", report.discordant.len() - 5)));
}

/// Names of test cases by how they ended.
fn well_formed(xml: &str) -> HashMap<String, Vec<String>> {
    let mut reader = Reader::from_str(xml);
    let (mut cases, mut name): (HashMap<String, Vec<String>>, String) = (HashMap::new(), String::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => return cases,
            Event::Start(tag) | Event::Empty(tag) => {
                let kind = String::from_utf8(tag.name().as_ref().to_vec()).unwrap();
                let attribute = |wanted: &str| {
                    let found = tag
                        .attributes()
                        .map(Result::unwrap)
                        .find(|one| one.key.as_ref() == wanted.as_bytes());
                    found.map(|one| String::from_utf8(one.value.to_vec()).unwrap())
                };
                if kind == "testcase" {
                    name = format!("{}.{}", attribute("classname").unwrap(), attribute("name").unwrap());
                }
                cases.entry(kind).or_default().push(name.clone());
            }
            _ => {}
        }
    }
}

#[test]
fn junit_has_a_case_for_each_measure_and_fails_with_the_verdict() {
    let report = planted();
    let cases = well_formed(&to_junit(&report));
    assert_eq!(cases["testcase"].len(), report.measures.len() + 1);
    assert_eq!(cases["failure"].len(), beyond(&report).len() + 1);
    assert!(cases["failure"].contains(&"replay.reporting.lvef".to_owned()));
    let few = world::studies(10, 6);
    let open = well_formed(&to_junit(&super::report(&few, &few)));
    assert!(open["error"].contains(&"replay.verdict".to_owned()) && !open.contains_key("failure"));
}

#[test]
fn every_form_is_the_same_each_time() {
    let (a, b) = (planted(), planted());
    assert_eq!(a.to_json().unwrap(), b.to_json().unwrap());
    assert_eq!(page(&a, Language::Both), page(&b, Language::Both));
    assert_eq!(to_junit(&a), to_junit(&b));
}
