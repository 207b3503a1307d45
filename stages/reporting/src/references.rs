//! Passages to read on: a licensed corpus, looked up after the report is written and printed below it as numbered
//! references. It never changes a number or a sentence.
//!
//! ```text
//!   JSONL ─▶ licence? hash? citation within the wording rules? ─▶ index in memory
//!                                                                    │
//!   names of findings, doubts, cautions, abstention ─▶ one query each ─▶ best passage above the threshold ─▶ [1] [2] ...
//! ```
//!
//! A line is `{"id","source","edition","page","lang","text","licence","hash"}`; a passage may stand in both languages
//! under one id. `hash` is the SHA-256 of `text`. A corpus with a passage that has no licence or another hash is refused
//! as a whole.

mod search;

use std::collections::BTreeMap;

use schemas::{Bilingual, Digest, Reference};
use serde::Deserialize;

use crate::{
    LanguagePolicy,
    material::{Material, MaterialError},
};
use search::Index;

const PASSAGES: &str = include_str!("../../../config/references/passages.jsonl");

/// Most references below one report.
const MOST: usize = 5;

/// Longest passage in characters: a paragraph, not a chapter.
const LONGEST: usize = 4000;

/// A corpus that is refused.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// The file cannot be read.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// Not a passage.
    #[error("line {line} of the corpus is not a passage")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// Nobody says that it may be printed.
    #[error(
        "passage {id} (line {line}) has licence {licence:?}; expected an SPDX identifier such as CC0-1.0 or LicenseRef-Name"
    )]
    Licence {
        /// Counted from 1.
        line: usize,
        /// The passage.
        id: String,
        /// What stands there.
        licence: String,
    },
    /// The text is not the one that was reviewed.
    #[error(
        "passage {id} (line {line}) has hash {found}, its text has {computed}; review it and seal it again"
    )]
    Hash {
        /// Counted from 1.
        line: usize,
        /// The passage.
        id: String,
        /// What stands there.
        found: Digest,
        /// What would be right.
        computed: Digest,
    },
    /// A field that cannot be cited.
    #[error("passage {id:?} (line {line}) has an unusable {field}")]
    Field {
        /// Counted from 1.
        line: usize,
        /// The passage.
        id: String,
        /// Which.
        field: &'static str,
    },
    /// The same passage twice in one language.
    #[error("passage {id} stands twice in one language (line {line})")]
    Twice {
        /// Counted from 1.
        line: usize,
        /// The passage.
        id: String,
    },
    /// The index could not be made.
    #[error("passages cannot be indexed")]
    Index(#[from] tantivy::TantivyError),
}

/// The language of a passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Lang {
    En,
    Zh,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passage {
    id: String,
    source: String,
    edition: String,
    page: u32,
    lang: Lang,
    text: String,
    #[serde(default)]
    licence: String,
    hash: Digest,
}

impl Passage {
    fn citation(&self) -> String {
        let Self { id, source, edition, page, .. } = self;
        match self.lang {
            Lang::En => format!("{source}, {edition}, p. {page} ({id})"),
            Lang::Zh => format!("{source},{edition},第 {page} 页({id})"),
        }
    }

    fn check(&self, line: usize, policy: &LanguagePolicy) -> Result<(), CorpusError> {
        let unusable = |field| Err(CorpusError::Field { line, id: self.id.clone(), field });
        let id_character = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
        let one_line = |text: &str| {
            !text.trim().is_empty() && text.chars().count() <= 200 && !text.chars().any(char::is_control)
        };
        if self.id.is_empty() || self.id.len() > 64 || !self.id.chars().all(id_character) {
            return unusable("id");
        }
        if !one_line(&self.source) {
            return unusable("source");
        }
        if !one_line(&self.edition) {
            return unusable("edition");
        }
        if self.text.trim().is_empty() || self.text.chars().count() > LONGEST {
            return unusable("text");
        }
        if !is_licence(&self.licence) {
            let (id, licence) = (self.id.clone(), self.licence.clone());
            return Err(CorpusError::Licence { line, id, licence });
        }
        let computed = Digest::of(self.text.as_bytes());
        if computed != self.hash {
            return Err(CorpusError::Hash { line, id: self.id.clone(), found: self.hash, computed });
        }
        // The citation is printed in the report, so it keeps the report's rules.
        if !policy.violations(&self.citation()).is_empty() {
            return unusable("source: its citation breaks a wording rule");
        }
        Ok(())
    }
}

/// The form of an SPDX identifier; the words by which SPDX says that there is none are none.
fn is_licence(text: &str) -> bool {
    let character = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    text.len() >= 3
        && text.len() <= 64
        && text.chars().all(character)
        && !matches!(text, "NONE" | "NOASSERTION")
}

/// The passages and their index.
#[derive(Debug, Clone)]
pub struct Library {
    digest: Digest,
    /// By id and language.
    citations: BTreeMap<String, BTreeMap<Lang, String>>,
    index: Index,
}

impl Library {
    /// The passages this build carries.
    pub fn built_in() -> Result<Self, CorpusError> {
        Self::parse(PASSAGES, &LanguagePolicy::embedded())
    }

    pub(crate) fn load(material: &Material, policy: &LanguagePolicy) -> Result<Self, CorpusError> {
        Self::parse(&material.text("", PASSAGES)?, policy)
    }

    /// Reads a corpus: one passage a line, blank lines between them allowed.
    pub fn parse(jsonl: &str, policy: &LanguagePolicy) -> Result<Self, CorpusError> {
        let mut citations: BTreeMap<String, BTreeMap<Lang, String>> = BTreeMap::new();
        let mut texts = Vec::new();
        for (index, text) in jsonl.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            let line = index + 1;
            let passage: Passage =
                serde_json::from_str(text).map_err(|source| CorpusError::Json { line, source })?;
            passage.check(line, policy)?;
            let of_id = citations.entry(passage.id.clone()).or_default();
            if of_id.insert(passage.lang, passage.citation()).is_some() {
                return Err(CorpusError::Twice { line, id: passage.id });
            }
            texts.push((passage.id, [passage.source, passage.text].join(" ")));
        }
        Ok(Self { digest: Digest::of(jsonl.as_bytes()), citations, index: Index::build(texts)? })
    }

    /// SHA-256 of the file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How a passage is cited, in each language or, where it has one only, in that.
    pub fn citation(&self, id: &str) -> Option<Bilingual> {
        let of_id = self.citations.get(id)?;
        let any = of_id.values().next()?;
        let [en, zh] = [Lang::En, Lang::Zh].map(|lang| of_id.get(&lang).unwrap_or(any));
        Some(Bilingual::new(en, zh))
    }

    /// Ids of the passages about `query`, best first, with their scores; all of them above the threshold.
    pub fn search(&self, query: &str, most: usize) -> Vec<(String, f32)> {
        self.index.search(query, most)
    }

    /// The best passage about each subject, each passage once, numbered in the order of the subjects.
    pub(crate) fn references(&self, subjects: &[Bilingual]) -> Vec<Reference> {
        let mut ids: Vec<String> = Vec::new();
        for subject in subjects {
            let found = [&subject.en, &subject.zh].into_iter().flat_map(|name| self.search(name, 1));
            let best = found.reduce(|best, other| if other.1 > best.1 { other } else { best });
            ids.extend(best.map(|(id, _)| id).filter(|id| !ids.contains(id)));
        }
        let cited = ids.into_iter().filter_map(|id| self.citation(&id).map(|source| (id, source)));
        (1..).zip(cited.take(MOST)).map(|(number, (id, source))| Reference { number, id, source }).collect()
    }
}
