//! The wording guard: no assertion that only a physician may make leaves in a report.
//!
//! ```text
//!   text ─▶ folded characters ─▶ clauses ─▶ rows of symbols ─▶ listed terms ─▶ judged by their clause ─▶ violations
//!           width, case, script              Han characters     Aho–Corasick,                              │
//!           variant, invisibles              and words          longest at a place                         ▼
//!                                                                                   reworded ─▶ looked at again ─▶ withheld
//! ```
//!
//! A listed term is of one of four kinds:
//! - a *claim* ("confirmed", "确诊") is free if exactly one negator stands before it in its clause, no further than the
//!   language's reach; two negators cancel out and make it a violation again;
//! - an *exclusion* ("ruled out", "排除") is inverted: bare it claims health, with one negator ("cannot rule out") it is
//!   the caution we want. The same rule decides;
//! - an *order* ("no further", "立即手术") is a violation whatever stands around it;
//! - a *denial* ("unproven") is what a negator turns into a claim.
//!
//! The lists are files, versioned and hashed into the run fingerprint. They err towards finding too much: a false alarm
//! costs a report its text, a miss puts an assertion under a machine's name.

mod clause;
mod fold;
mod lexicon;
mod reword;

use schemas::Digest;
use serde::Deserialize;

use clause::Clause;
use fold::Folding;
pub(crate) use fold::is_han;
use lexicon::{Found, Lexicon};
use reword::Rewording;

pub(crate) const EMBEDDED: &str = include_str!("../../../config/language/policy.json");

/// A file of word lists that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not the JSON expected.
    #[error("language policy is not readable")]
    Json(#[from] serde_json::Error),
    /// The look-alikes do not pair up.
    #[error("language policy lists {characters} characters as look-alikes; expected pairs, an even number")]
    LookAlikes {
        /// Characters listed.
        characters: usize,
    },
    /// A reach that is none, or that spans more than a clause.
    #[error("language policy has a negator reach of {reach}; expected 1 to 20")]
    Reach {
        /// The reach found.
        reach: usize,
    },
    /// A term without a symbol of its language would be found everywhere or nowhere.
    #[error("language policy lists {term:?}, which holds no character of its language")]
    EmptyTerm {
        /// The entry.
        term: String,
    },
    /// A rewording that would itself be found.
    #[error("language policy rewords group {group} into {found:?}, which it forbids")]
    Rewording {
        /// The group's name.
        group: String,
        /// The term found in its rewording.
        found: String,
    },
    /// The lists are too many for one automaton.
    #[error("language policy is too large")]
    TooLarge(#[from] aho_corasick::BuildError),
}

/// One listed term found where it may not stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The term as listed; nothing of the text.
    pub term: String,
}

/// What is left of a text after the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Softened {
    /// Nothing was found.
    AsItIs,
    /// What was found is reworded, and the result was looked at again.
    Reworded(String),
    /// Something found cannot be reworded: the text must not be shown.
    Withheld(Vec<Violation>),
}

/// The word lists, ready to look for.
#[derive(Debug, Clone)]
pub struct LanguagePolicy {
    version: String,
    digest: Digest,
    folding: Folding,
    zh: Lexicon,
    en: Lexicon,
    rewording: Rewording,
    counted: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    version: String,
    zh: WordLists,
    en: WordLists,
    hundred_percent: HundredPercent,
    lookalikes: String,
}

/// The lists of one language, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WordLists {
    /// How far a negator reaches to its right: Han characters between it and the term; in English the term's place
    /// after it in words.
    negator_reach: usize,
    groups: Vec<Group>,
    negators: Vec<String>,
    /// Negators only right before a term.
    adjacent_negators: Vec<String>,
    /// Phrases that begin like a negator and are none of the term.
    not_negators: Vec<String>,
    /// Phrases within which a term is free.
    free: Vec<String>,
    free_before: Vec<FreeBefore>,
    /// Words at the head of a clause that carry no meaning of their own, for rewording.
    openers: Vec<String>,
    /// The same at its end.
    closers: Vec<String>,
}

/// Terms that are judged and reworded alike.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    kind: Kind,
    terms: Vec<String>,
    rewrite: Rewrite,
}

/// How a term is judged; see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Claim,
    Exclusion,
    Order,
    Denial,
}

/// What stands in place of a clause. `{before}` and `{object}`: what stands before and behind the term; `{subject}`:
/// what stands before it, without openers and closers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rewrite {
    /// Where something follows the term.
    before_object: String,
    /// Where nothing does.
    after_subject: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FreeBefore {
    term: String,
    next: Vec<String>,
}

/// "100 %" is a certainty, unless the clause counts something.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HundredPercent {
    zh: Vec<String>,
    en: Vec<String>,
    of: Vec<String>,
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
        let policy = Self {
            version: file.version,
            digest: fold::digest_with_table(json),
            folding: Folding::new(&file.lookalikes)
                .ok_or(PolicyError::LookAlikes { characters: file.lookalikes.chars().count() })?,
            zh: Lexicon::chinese(&file.zh, &file.hundred_percent.zh)?,
            en: Lexicon::english(&file.en, &file.hundred_percent.en)?,
            rewording: Rewording::new([&file.zh, &file.en]),
            counted: file.hundred_percent.of,
        };
        policy.check_rewordings([&file.zh, &file.en])?;
        Ok(policy)
    }

    /// The lists' own version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// SHA-256 over the file and the table of script variants.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Every listed term of `text` that may not stand where it stands, in order.
    pub fn violations(&self, text: &str) -> Vec<Violation> {
        let found = self.clauses(text).into_iter().flat_map(|clause| self.found(&clause));
        found.map(|found| Violation { term: found.listed }).collect()
    }

    /// Rewords what must not stand, looks again, and gives up where something is still found.
    pub fn soften(&self, text: &str) -> Softened {
        let mut softened: Option<String> = None;
        for _ in 0..REWORDINGS {
            let current = softened.as_deref().unwrap_or(text);
            let found: Vec<(Clause, Vec<Found>)> = self
                .clauses(current)
                .into_iter()
                .map(|clause| {
                    let found = self.found(&clause);
                    (clause, found)
                })
                .filter(|(_, found)| !found.is_empty())
                .collect();
            if found.is_empty() {
                return softened.map_or(Softened::AsItIs, Softened::Reworded);
            }
            let mut next = current.to_owned();
            // From the end, so that the places of earlier clauses stay right.
            for (clause, found) in found.iter().rev() {
                let negated = self.zh.has_negator(clause) || self.en.has_negator(clause);
                let reworded = match found.first() {
                    Some(first) if !negated => self.rewording.of(current, clause, first),
                    _ => None,
                };
                let Some(reworded) = reworded else {
                    return Softened::Withheld(self.violations(text));
                };
                next.replace_range(clause.raw(), &reworded);
            }
            softened = Some(next);
        }
        Softened::Withheld(self.violations(text))
    }

    fn clauses(&self, text: &str) -> Vec<Clause> {
        clause::clauses(&self.folding.glyphs(text))
    }

    /// In order of their place in the clause.
    fn found(&self, clause: &Clause) -> Vec<Found> {
        let counts = self.counted.iter().any(|unit| clause.holds(unit));
        let negators = [self.zh.negators(clause), self.en.negators(clause)].concat();
        let mut found = self.zh.violations(clause, &negators);
        found.extend(self.en.violations(clause, &negators));
        found.retain(|found| !(found.hundred_percent && counts));
        found.sort_by_key(|found| found.raw.start);
        found
    }

    /// A rewording with ordinary words in its places must pass.
    fn check_rewordings(&self, lists: [&WordLists; 2]) -> Result<(), PolicyError> {
        for group in lists.into_iter().flat_map(|lists| &lists.groups) {
            for rewrite in [&group.rewrite.before_object, &group.rewrite.after_subject] {
                let filled = ["{before}", "{subject}", "{object}"]
                    .iter()
                    .fold(rewrite.clone(), |text, place| text.replace(place, "X"));
                if let Some(violation) = self.violations(&filled).into_iter().next() {
                    return Err(PolicyError::Rewording { group: group.name.clone(), found: violation.term });
                }
            }
        }
        Ok(())
    }
}

/// How often a text is reworded before it is given up: a clause may hold several terms, one is reworded at a time.
const REWORDINGS: usize = 4;
