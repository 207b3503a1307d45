//! The wording guard: no assertion that only a physician may make leaves in a report.
//!
//! ```text
//!   text ─▶ normalise ─▶ clauses ─┬▶ Chinese: characters ─┐
//!                                 └▶ English: words ──────┴▶ every listed term ─▶ judged by its clause ─▶ violations
//! ```
//!
//! A listed term is one of three kinds:
//! - a *claim* ("confirmed", "确诊") is free if exactly one negator stands before it in its clause, no further than the
//!   window reaches; two negators cancel out and make it a violation again;
//! - an *exclusion* ("ruled out", "排除") is inverted: bare it claims health, with one negator ("cannot rule out") it is
//!   the caution we want. The same rule decides;
//! - an *order* ("no further", "立即手术") is a violation whatever stands around it.
//!
//! The lists are a versioned file, hashed into the run fingerprint. They err towards finding too much: a false alarm costs
//! a report its text, a miss puts an assertion under a machine's name.

mod clause;
mod normal;

use std::collections::HashMap;

use schemas::Digest;
use serde::Deserialize;

use clause::{Lexicon, clauses, han_symbols, words};

const EMBEDDED: &str = include_str!("language/policy.json");

/// How far a negator reaches to its right: Han characters between it and the term.
const HAN_WINDOW: usize = 6;

/// The same in English: a term up to this many words after the negator.
const WORD_WINDOW: usize = 4;

/// A file of word lists that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not the JSON expected.
    #[error("language policy is not readable")]
    Json(#[from] serde_json::Error),
    /// The character table does not pair up.
    #[error(
        "language policy lists {traditional} traditional and {simplified} simplified characters; expected as many"
    )]
    CharacterTable {
        /// Characters of the one.
        traditional: usize,
        /// Characters of the other.
        simplified: usize,
    },
}

/// One listed term found where it may not stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The term as listed; nothing of the text.
    pub term: String,
}

/// The word lists, ready to look for.
#[derive(Debug, Clone)]
pub struct LanguagePolicy {
    version: String,
    digest: Digest,
    zh: Lexicon<char>,
    en: Lexicon<String>,
    hundred_percent_of: Vec<String>,
    simplified: HashMap<char, char>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    version: String,
    zh: WordLists,
    en: WordLists,
    hundred_percent_of: Vec<String>,
    traditional: String,
    simplified: String,
}

/// The lists of one language, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WordLists {
    claims: Vec<String>,
    orders: Vec<String>,
    exclusions: Vec<String>,
    negators: Vec<String>,
    adjacent_negators: Vec<String>,
    not_negators: Vec<String>,
    free: Vec<String>,
    free_before: Vec<FreeBefore>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FreeBefore {
    term: String,
    next: Vec<String>,
}

impl LanguagePolicy {
    /// The lists this build carries.
    pub fn embedded() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the file is part of this build; every test of the crate reads it"
        )]
        Self::parse(EMBEDDED).expect("embedded language policy is readable")
    }

    /// Reads word lists.
    pub fn parse(json: &str) -> Result<Self, PolicyError> {
        let file: PolicyFile = serde_json::from_str(json)?;
        let (traditional, simplified) = (file.traditional.chars().count(), file.simplified.chars().count());
        if traditional != simplified {
            return Err(PolicyError::CharacterTable { traditional, simplified });
        }
        Ok(Self {
            version: file.version,
            digest: Digest::of(json.as_bytes()),
            zh: Lexicon::new(&file.zh, HAN_WINDOW, han_symbols),
            en: Lexicon::new(&file.en, WORD_WINDOW, words),
            hundred_percent_of: file.hundred_percent_of,
            simplified: file.traditional.chars().zip(file.simplified.chars()).collect(),
        })
    }

    /// The lists' own version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// SHA-256 of the file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Every listed term of `text` that may not stand where it stands, in order.
    pub fn violations(&self, text: &str) -> Vec<Violation> {
        let text = normal::form(text, &self.simplified);
        let mut found = Vec::new();
        for clause in clauses(&text) {
            let words = words(clause);
            found.extend(self.zh.violations(&han_symbols(clause)));
            found.extend(self.en.violations(&words));
            if self.says_hundred_percent(clause, &words) {
                found.push("100 %".to_owned());
            }
        }
        found.into_iter().map(|term| Violation { term }).collect()
    }

    /// "100 %" is a certainty, unless the clause counts tiles, frames or a saturation.
    fn says_hundred_percent(&self, clause: &str, words: &[String]) -> bool {
        let counted = |unit: &String| {
            if unit.is_ascii() { words.contains(unit) } else { clause.contains(unit.as_str()) }
        };
        words.windows(2).any(|pair| pair == ["100", "%"]) && !self.hundred_percent_of.iter().any(counted)
    }
}
