//! One language's lists as one automaton, and the judgement of what it finds in a clause.

use std::ops::Range;

use aho_corasick::AhoCorasick;

use super::{
    Group, Kind, PolicyError, WordLists,
    clause::{Clause, symbols},
    fold::{Glyph, is_han},
};

/// Between two words in what the automaton reads; stands in no word.
const GAP: char = ' ';

/// What an entry of the lists is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    Term { listed: String, kind: Kind, group: String, hundred_percent: bool },
    Negator,
    AdjacentNegator,
    NotNegator,
    Free,
}

/// One language's lists.
#[derive(Debug, Clone)]
pub(super) struct Lexicon {
    is_chinese: bool,
    reach: usize,
    automaton: AhoCorasick,
    roles: Vec<Role>,
}

/// A negator in a clause, by the places of its symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Negator {
    end: usize,
    is_chinese: bool,
    reach: usize,
    adjacent: bool,
}

/// A term that may not stand where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) listed: String,
    pub(super) group: String,
    pub(super) is_chinese: bool,
    pub(super) hundred_percent: bool,
    /// The bytes of the text it stands for.
    pub(super) raw: Range<usize>,
}

/// An entry found: symbols `start..end` of the clause.
struct Hit<'a> {
    role: &'a Role,
    start: usize,
    end: usize,
}

/// What of `text` belongs to the language, as the automaton reads it.
fn pattern(text: &str, is_chinese: bool) -> Result<String, PolicyError> {
    let glyph = |(at, character): (usize, char)| Glyph { character, raw: at..at + character.len_utf8() };
    let symbols = symbols(&text.char_indices().map(glyph).collect::<Vec<_>>());
    let mut pattern = String::new();
    for symbol in symbols.iter().filter(|symbol| symbol.is_han == is_chinese) {
        if !is_chinese {
            pattern.push(GAP);
        }
        pattern.push_str(&symbol.text);
    }
    if pattern.is_empty() {
        return Err(PolicyError::EmptyTerm { term: text.to_owned() });
    }
    if !is_chinese {
        pattern.push(GAP);
    }
    Ok(pattern)
}

impl Lexicon {
    pub(super) fn chinese(lists: &WordLists, hundred_percent: &[String]) -> Result<Self, PolicyError> {
        Self::new(lists, hundred_percent, true)
    }

    pub(super) fn english(lists: &WordLists, hundred_percent: &[String]) -> Result<Self, PolicyError> {
        Self::new(lists, hundred_percent, false)
    }

    fn new(lists: &WordLists, hundred_percent: &[String], is_chinese: bool) -> Result<Self, PolicyError> {
        if !(1..=20).contains(&lists.negator_reach) {
            return Err(PolicyError::Reach { reach: lists.negator_reach });
        }
        let term = |listed: &String, group: &str, kind, hundred_percent| {
            let role = Role::Term { listed: listed.clone(), kind, group: group.to_owned(), hundred_percent };
            (listed.clone(), role)
        };
        let in_group = |group: &Group| {
            group.terms.iter().map(|listed| term(listed, &group.name, group.kind, false)).collect::<Vec<_>>()
        };
        let mut entries: Vec<(String, Role)> = lists.groups.iter().flat_map(in_group).collect();
        entries.extend(hundred_percent.iter().map(|listed| term(listed, "certainty", Kind::Claim, true)));
        let mut add = |texts: &[String], role: Role| {
            entries.extend(texts.iter().map(|text| (text.clone(), role.clone())));
        };
        add(&lists.negators, Role::Negator);
        add(&lists.adjacent_negators, Role::AdjacentNegator);
        add(&lists.not_negators, Role::NotNegator);
        add(&lists.free, Role::Free);
        for entry in &lists.free_before {
            let gap = if is_chinese { "" } else { " " };
            let phrases: Vec<String> =
                entry.next.iter().map(|next| [entry.term.as_str(), next].join(gap)).collect();
            add(&phrases, Role::Free);
        }
        let patterns: Vec<String> =
            entries.iter().map(|(text, _)| pattern(text, is_chinese)).collect::<Result<_, _>>()?;
        Ok(Self {
            is_chinese,
            reach: lists.negator_reach,
            automaton: AhoCorasick::new(patterns)?,
            roles: entries.into_iter().map(|(_, role)| role).collect(),
        })
    }

    /// Every entry in the clause, also those that overlap.
    fn hits(&self, clause: &Clause) -> Vec<Hit<'_>> {
        let mut haystack = String::new();
        // Where each symbol of this language begins in the haystack, and its place in the clause.
        let mut starts: Vec<(usize, usize)> = Vec::new();
        for (place, symbol) in clause.symbols.iter().enumerate().filter(|(_, s)| s.is_han == self.is_chinese)
        {
            starts.push((haystack.len(), place));
            if !self.is_chinese {
                haystack.push(GAP);
            }
            haystack.push_str(&symbol.text);
        }
        if !self.is_chinese {
            haystack.push(GAP);
        }
        let place = |from: usize| {
            let index = starts.binary_search_by_key(&from, |(start, _)| *start).ok()?;
            starts.get(index).map(|(_, place)| *place)
        };
        // A word's pattern ends with the gap that begins the next word.
        let last = |end: usize| {
            let end = if self.is_chinese { end } else { end - GAP.len_utf8() };
            let index = starts.partition_point(|(start, _)| *start < end).checked_sub(1)?;
            starts.get(index).map(|(_, place)| *place)
        };
        self.automaton
            .find_overlapping_iter(&haystack)
            .filter_map(|found| {
                let role = self.roles.get(found.pattern().as_usize())?;
                Some(Hit { role, start: place(found.start())?, end: last(found.end())? + 1 })
            })
            .collect()
    }

    /// The negators of a clause from the left, the longest at a place, none inside another.
    pub(super) fn negators(&self, clause: &Clause) -> Vec<Negator> {
        let hits = self.hits(clause);
        let longest = |role: &Role, start: usize| {
            hits.iter().filter(|hit| hit.role == role && hit.start == start).map(|hit| hit.end).max()
        };
        let mut negators = Vec::new();
        let mut place = 0;
        while let Some(symbol) = clause.symbols.get(place) {
            let by_form =
                (!symbol.is_han && !self.is_chinese && symbol.text.ends_with("n't")).then_some(place + 1);
            let negator = longest(&Role::Negator, place).max(by_form);
            let adjacent = longest(&Role::AdjacentNegator, place);
            let decoy = longest(&Role::NotNegator, place);
            if decoy.is_some() && decoy >= negator {
                place = decoy.unwrap_or_default().max(place + 1);
                continue;
            }
            let Some(end) = negator.or(adjacent) else {
                place += 1;
                continue;
            };
            negators.push(Negator {
                end,
                is_chinese: self.is_chinese,
                reach: self.reach,
                adjacent: negator.is_none(),
            });
            place = end.max(place + 1);
        }
        negators
    }

    /// Whether a negator stands anywhere in the clause.
    pub(super) fn has_negator(&self, clause: &Clause) -> bool {
        self.negators(clause).iter().any(|negator| !negator.adjacent)
    }

    /// The terms that may not stand; the longest at a place counts. `negators` are those of both languages.
    pub(super) fn violations(&self, clause: &Clause, negators: &[Negator]) -> Vec<Found> {
        let hits = self.hits(clause);
        let mut terms: Vec<&Hit<'_>> =
            hits.iter().filter(|hit| matches!(hit.role, Role::Term { .. })).collect();
        // An order may begin inside a claim that is free, so only those that begin together are one.
        terms.sort_by_key(|hit| (hit.start, std::cmp::Reverse(hit.end)));
        terms.dedup_by_key(|hit| hit.start);
        let free = |term: &Hit<'_>| {
            hits.iter().any(|hit| *hit.role == Role::Free && hit.start <= term.start && term.end <= hit.end)
        };
        terms
            .into_iter()
            .filter(|term| !free(term))
            .filter_map(|term| {
                let Role::Term { listed, kind, group, hundred_percent } = term.role else { return None };
                let negators =
                    negators.iter().filter(|negator| self.reaches(negator, clause, term.start)).count();
                let violates = match kind {
                    Kind::Claim | Kind::Exclusion => negators != 1,
                    Kind::Order => true,
                    Kind::Denial => negators % 2 == 1,
                };
                let last = clause.symbols.get(term.end.checked_sub(1)?)?;
                violates.then(|| {
                    Some(Found {
                        listed: listed.clone(),
                        group: group.clone(),
                        is_chinese: self.is_chinese,
                        hundred_percent: *hundred_percent,
                        raw: clause.symbols.get(term.start)?.raw.start..last.raw.end,
                    })
                })?
            })
            .collect()
    }

    /// Within a language its own symbols count, so that an abbreviation does not shorten a Chinese negator's reach;
    /// between languages all do.
    fn reaches(&self, negator: &Negator, clause: &Clause, term: usize) -> bool {
        let Some(between) = clause.symbols.get(negator.end..term) else { return false };
        if negator.adjacent {
            return between.is_empty() && negator.is_chinese == self.is_chinese;
        }
        let counts = |is_han: bool| negator.is_chinese != self.is_chinese || is_han == self.is_chinese;
        let between = between.iter().filter(|symbol| counts(symbol.is_han)).count();
        // In English the reach is the term's place after the negator.
        let distance = if negator.is_chinese { between } else { between + 1 };
        distance <= negator.reach
    }
}

/// The longest of `words` that `text` begins with: Han characters anywhere, other words on their boundary.
pub(super) fn leading<'a>(text: &str, words: &'a [String]) -> Option<&'a str> {
    let fits = |word: &&String| {
        let rest =
            text.get(..word.len()).filter(|head| head.eq_ignore_ascii_case(word)).and(text.get(word.len()..));
        rest.is_some_and(|rest| ends_word(word.chars().next_back(), rest.chars().next()))
    };
    words.iter().filter(fits).max_by_key(|word| word.len()).map(String::as_str)
}

/// The longest of `words` that `text` ends with.
pub(super) fn trailing<'a>(text: &str, words: &'a [String]) -> Option<&'a str> {
    let fits = |word: &&String| {
        let at = text.len().checked_sub(word.len());
        let tail = at.and_then(|at| text.get(at..)).filter(|tail| tail.eq_ignore_ascii_case(word));
        let head = tail.and(at).and_then(|at| text.get(..at));
        head.is_some_and(|head| ends_word(head.chars().next_back(), word.chars().next()))
    };
    words.iter().filter(fits).max_by_key(|word| word.len()).map(String::as_str)
}

fn ends_word(left: Option<char>, right: Option<char>) -> bool {
    let of_word = |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() && !is_han(c));
    !(of_word(left) && of_word(right))
}
