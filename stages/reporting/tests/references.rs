//! The passages below a report: what is refused, and what is found.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use reporting::{CorpusError, LanguagePolicy, Library};
use schemas::Digest;
use serde::Deserialize;

const PASSAGES: &str = include_str!("../../../config/references/passages.jsonl");
const QUERIES: &str = include_str!("references.jsonl");

#[derive(Deserialize)]
struct Asked {
    query: String,
    /// The passage a reader would want; none where the corpus has nothing to say.
    expect: Option<String>,
}

fn asked() -> Vec<Asked> {
    QUERIES.lines().map(|line| serde_json::from_str(line).expect("a query")).collect()
}

#[test]
fn the_wanted_passage_is_among_the_first_five_and_mostly_the_first() {
    let library = Library::built_in().expect("the corpus");
    let asked = asked();
    let about: Vec<(&str, &str)> =
        asked.iter().filter_map(|asked| Some((asked.query.as_str(), asked.expect.as_deref()?))).collect();
    assert!(about.len() >= 50, "{}", about.len());
    let mut found = 0.0;
    let mut lowest = f32::MAX;
    let mut reciprocal = 0.0;
    for (query, expected) in &about {
        assert!(library.citation(expected).is_some(), "{expected} is not in the corpus");
        let ranked = library.search(query, 5);
        lowest = lowest.min(ranked.iter().find(|(id, _)| id == expected).map_or(0.0, |(_, score)| *score));
        match ranked.iter().position(|(id, _)| id == expected) {
            Some(place) => {
                found += 1.0;
                reciprocal += 1.0 / (place + 1) as f64;
                if place > 0 {
                    eprintln!("{query}: {expected} is at {}, {ranked:?}", place + 1);
                }
            }
            None => eprintln!("{query}: {expected} is not among {ranked:?}"),
        }
    }
    let (recall, mrr) = (found / about.len() as f64, reciprocal / about.len() as f64);
    eprintln!("{} queries: recall@5 {recall:.3}, MRR {mrr:.3}, lowest score {lowest:.2}", about.len());
    assert!(recall >= 0.97, "recall@5 {recall:.3}");
    assert!(mrr >= 0.90, "MRR {mrr:.3}");
}

#[test]
fn what_the_corpus_does_not_speak_of_gets_no_citation() {
    let library = Library::built_in().expect("the corpus");
    let asked = asked();
    let strangers: Vec<&Asked> = asked.iter().filter(|asked| asked.expect.is_none()).collect();
    assert!(strangers.len() >= 8);
    for asked in strangers {
        assert_eq!(library.search(&asked.query, 5), [], "{}", asked.query);
    }
}

#[test]
fn every_id_found_can_be_cited_in_both_languages() {
    let library = Library::built_in().expect("the corpus");
    for asked in asked() {
        for (id, _) in library.search(&asked.query, 5) {
            let citation = library.citation(&id).expect("a citation");
            assert!(citation.en.contains(&id) && citation.zh.contains(&id), "{citation:?}");
        }
    }
    assert_eq!(library.citation("not.there"), None);
}

#[test]
fn the_same_corpus_gives_the_same_answer() {
    let search = || Library::built_in().expect("the corpus").search("gain too high 增益过高", 5);
    assert_eq!(search(), search());
}

fn passage(id: &str, licence: Option<&str>, hash: Digest, source: &str) -> String {
    let mut json = serde_json::json!({
        "id": id, "source": source, "edition": "1", "page": 1, "lang": "en", "text": "Of gain.", "hash": hash,
    });
    if let Some(licence) = licence {
        json["licence"] = licence.into();
    }
    json.to_string()
}

#[test]
fn a_passage_nobody_licensed_or_reviewed_is_refused_with_its_line() {
    let policy = LanguagePolicy::embedded();
    let hash = Digest::of(b"Of gain.");
    let good = passage("a.b", Some("CC0-1.0"), hash, "Notes");
    let parse = |text: &str| Library::parse(text, &policy);
    assert!(parse(&good).is_ok());
    assert!(parse("").is_ok(), "an empty corpus cites nothing");
    assert_eq!(parse("").expect("empty").search("gain", 5), []);
    for licence in [None, Some(""), Some("NONE"), Some("NOASSERTION"), Some("all rights reserved")] {
        let text = format!("{good}\n\n{}", passage("c", licence, hash, "Notes"));
        assert!(matches!(parse(&text), Err(CorpusError::Licence { line: 3, .. })), "{licence:?}");
    }
    let changed = passage("a", Some("CC0-1.0"), Digest::of(b"Of gain"), "Notes");
    assert!(matches!(parse(&changed), Err(CorpusError::Hash { line: 1, computed, .. }) if computed == hash));
    let twice = format!("{good}\n{good}");
    assert!(matches!(parse(&twice), Err(CorpusError::Twice { line: 2, .. })));
    assert!(matches!(parse("{}"), Err(CorpusError::Json { line: 1, .. })));
    for (id, source) in [("A B", "Notes"), ("a", ""), ("a", "Two\nlines"), ("a", "Infarction ruled out")] {
        let text = passage(id, Some("CC0-1.0"), hash, source);
        assert!(matches!(parse(&text), Err(CorpusError::Field { line: 1, .. })), "{id} {source}");
    }
}

/// What is shipped is ours to give away, and says nothing a report may not say.
#[test]
fn the_passages_of_this_build_are_ours_and_keep_the_wording_rules() {
    let policy = LanguagePolicy::embedded();
    let mut passages = 0;
    for line in PASSAGES.lines() {
        let passage: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(passage["licence"], "CC0-1.0");
        let text = passage["text"].as_str().expect("a text");
        assert_eq!(policy.violations(text), [], "{text}");
        passages += 1;
    }
    assert!(passages >= 40);
}
