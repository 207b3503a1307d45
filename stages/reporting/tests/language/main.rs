//! The wording guard on sentences as people write them, in `zh.txt` and `en.txt`: each was read by a person, about half
//! of them are negated or hedged.

use std::collections::HashSet;

use proptest::prelude::*;
use reporting::{LanguagePolicy, PolicyError, Softened};

const ZH: &str = include_str!("zh.txt");
const EN: &str = include_str!("en.txt");
const REWORDED: &str = include_str!("reworded.txt");

/// What a line of the data stands for: `\u{200b}`, `\n` and `\t` are written out there.
fn unescaped(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        rest = if let Some((code, after)) = after.strip_prefix("u{").and_then(|code| code.split_once('}')) {
            let code = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
            text.push(code.unwrap_or_else(|| panic!("no character: {line}")));
            after
        } else {
            let mut characters = after.chars();
            text.push(match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                other => panic!("unknown escape {other:?}: {line}"),
            });
            characters.as_str()
        };
    }
    text.push_str(rest);
    text
}

/// The sentences of a file that begin with `mark`.
fn sentences(file: &str, mark: &str) -> Vec<String> {
    file.lines().filter_map(|line| line.strip_prefix(mark)).map(|line| unescaped(line.trim())).collect()
}

fn lines(file: &str) -> impl Iterator<Item = &str> {
    file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[test]
fn the_sentences_are_many_different_and_half_of_them_are_harmless() {
    for file in [ZH, EN] {
        let (forbidden, allowed) = (sentences(file, "✗ "), sentences(file, "✓ "));
        let all: HashSet<&String> = forbidden.iter().chain(&allowed).collect();
        assert_eq!(all.len(), lines(file).count(), "every line is marked, none stands twice");
        assert!(all.len() >= 150, "{}", all.len());
        assert!(forbidden.len() >= 75 && allowed.len() >= 75, "{} {}", forbidden.len(), allowed.len());
    }
}

#[test]
fn every_assertion_is_found() {
    let policy = LanguagePolicy::embedded();
    for file in [ZH, EN] {
        let missed: Vec<String> =
            sentences(file, "✗ ").into_iter().filter(|s| policy.violations(s).is_empty()).collect();
        assert_eq!(missed, [""; 0]);
    }
}

#[test]
fn at_most_two_in_a_hundred_harmless_sentences_are_false_alarms() {
    let policy = LanguagePolicy::embedded();
    for file in [ZH, EN] {
        let allowed = sentences(file, "✓ ");
        let alarms: Vec<_> = allowed
            .iter()
            .map(|sentence| (sentence, policy.violations(sentence)))
            .filter(|(_, violations)| !violations.is_empty())
            .collect();
        assert!(alarms.len() * 50 <= allowed.len(), "{alarms:?}");
    }
}

#[test]
fn what_is_found_is_reworded_or_withheld() {
    let policy = LanguagePolicy::embedded();
    for line in lines(REWORDED) {
        let (said, expected) = line.split_once(" => ").unwrap_or_else(|| panic!("no arrow: {line}"));
        match policy.soften(said) {
            Softened::Reworded(text) => assert_eq!(text, expected, "{said}"),
            Softened::Withheld(violations) => {
                assert_eq!(expected, "-", "{said}");
                assert!(!violations.is_empty());
            }
            Softened::AsItIs => panic!("nothing found: {said}"),
        }
    }
    for sentence in sentences(ZH, "✓ ").iter().chain(&sentences(EN, "✓ ")) {
        assert_eq!(policy.soften(sentence), Softened::AsItIs, "{sentence}");
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

/// A small file of lists with one place to break.
fn file(lookalikes: &str, reach: usize, term: &str, instead: &str) -> String {
    let lists = format!(
        r#"{{"negator_reach":{reach},"groups":[{{"name":"g","kind":"claim","terms":["{term}"],"rewrite":{{"before_object":"{instead}","after_subject":"x"}}}}],"negators":[],"adjacent_negators":[],"not_negators":[],"free":[],"free_before":[],"openers":[],"closers":[]}}"#
    );
    let zh = lists.replace(&format!(r#""terms":["{term}"]"#), r#""terms":["确诊"]"#);
    format!(
        r#"{{"version":"1","zh":{zh},"en":{lists},"hundred_percent":{{"zh":[],"en":[],"of":[]}},"lookalikes":"{lookalikes}"}}"#
    )
}

#[test]
fn lists_that_cannot_be_used_are_refused() {
    assert!(LanguagePolicy::parse(&file("аa", 4, "sure", "maybe {object}")).is_ok());
    assert!(matches!(LanguagePolicy::parse("{}"), Err(PolicyError::Json(_))));
    let odd = LanguagePolicy::parse(&file("аaе", 4, "sure", "x"));
    assert!(matches!(odd, Err(PolicyError::LookAlikes { characters: 3 })));
    let far = LanguagePolicy::parse(&file("", 21, "sure", "x"));
    assert!(matches!(far, Err(PolicyError::Reach { reach: 21 })));
    let empty = LanguagePolicy::parse(&file("", 4, "!", "x"));
    assert!(matches!(empty, Err(PolicyError::EmptyTerm { .. })));
    let circular = LanguagePolicy::parse(&file("", 4, "sure", "rather sure of {object}"));
    assert!(matches!(circular, Err(PolicyError::Rewording { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever stands around it in other clauses, an assertion is found, and any text gets an answer.
    #[test]
    fn other_clauses_neither_hide_nor_break(
        before in any::<String>(),
        after in any::<String>(),
        index in any::<prop::sample::Index>(),
        chinese in any::<bool>(),
    ) {
        let policy = LanguagePolicy::embedded();
        let forbidden = sentences(if chinese { ZH } else { EN }, "✗ ");
        let text = format!("{before}\n{}\n{after}", index.get(&forbidden));
        prop_assert!(!policy.violations(&text).is_empty());
    }

    /// Invisible characters and spaces anywhere, full width and traditional script hide nothing.
    #[test]
    fn disguise_hides_nothing(
        index in any::<prop::sample::Index>(),
        chinese in any::<bool>(),
        invisible in prop::sample::select(vec!['\u{200b}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{ad}', '\u{fe0f}', '\u{202e}', '\u{e0041}', '\u{7}', '\u{301}']),
        every in 1_usize..4,
        wide in any::<bool>(),
    ) {
        let policy = LanguagePolicy::embedded();
        let forbidden = sentences(if chinese { ZH } else { EN }, "✗ ");
        let sentence = index.get(&forbidden);
        let disguised: String = sentence
            .chars()
            .enumerate()
            .flat_map(|(place, character)| {
                let full_width = char::from_u32(character as u32 + 0xfee0).filter(|_| character.is_ascii_graphic());
                let shown = full_width.filter(|_| wide).unwrap_or(character);
                [Some(shown), (place % every == 0).then_some(invisible)].into_iter().flatten()
            })
            .collect();
        prop_assert!(!policy.violations(&disguised).is_empty(), "{disguised:?}");
    }

    /// What comes out of rewording has nothing to be found in it, and rewording never panics.
    #[test]
    fn a_reworded_text_passes(text in any::<String>(), left in any::<prop::sample::Index>(), right in any::<prop::sample::Index>()) {
        let policy = LanguagePolicy::embedded();
        let sentences = [sentences(ZH, "✗ "), sentences(EN, "✗ ")].concat();
        let text = format!("{} {text} {}", left.get(&sentences), right.get(&sentences));
        match policy.soften(&text) {
            Softened::AsItIs => prop_assert!(policy.violations(&text).is_empty()),
            Softened::Reworded(reworded) => prop_assert_eq!(policy.violations(&reworded), []),
            Softened::Withheld(violations) => prop_assert!(!violations.is_empty()),
        }
    }
}
