//! One clause against one language's lists. A clause is a row of symbols: Han characters, or English words.

use super::{WordLists, normal::is_han};

/// Splits at the marks that end the reach of a negator. A point between digits is a decimal point.
pub(crate) fn clauses(text: &str) -> Vec<&str> {
    let mut clauses = Vec::new();
    let mut start = 0;
    let mut previous = ' ';
    let mut characters = text.char_indices().peekable();
    while let Some((index, character)) = characters.next() {
        let decimal_point = character == '.'
            && previous.is_ascii_digit()
            && characters.peek().is_some_and(|(_, next)| next.is_ascii_digit());
        if matches!(character, '。' | ',' | ';' | '!' | '?' | '.' | '\n') && !decimal_point {
            clauses.extend(text.get(start..index));
            start = index + character.len_utf8();
        }
        previous = character;
    }
    clauses.extend(text.get(start..));
    clauses
}

/// The clause's Han characters; others are left out, so that neither a hyphen nor a bracket hides a term.
pub(crate) fn han_symbols(clause: &str) -> Vec<char> {
    clause.chars().filter(|character| is_han(*character)).collect()
}

/// The clause's words: runs of letters and digits with their apostrophes, and `%` by itself. `_` separates, so that a
/// code in capitals is read as its words.
pub(crate) fn words(clause: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for character in clause.chars() {
        let within = character == '\'' || (character.is_alphanumeric() && !is_han(character));
        if !within || character == '%' {
            words.push(if character == '%' { "%".to_owned() } else { String::new() });
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(character);
        }
    }
    words.retain(|word| !word.trim_matches('\'').is_empty());
    words
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A claim or an exclusion.
    Negatable,
    Order,
}

#[derive(Debug, Clone)]
struct Term<S> {
    symbols: Vec<S>,
    listed: String,
    kind: Kind,
    /// What may follow and make it free.
    next: Vec<Vec<S>>,
}

/// One language's lists as rows of symbols.
#[derive(Debug, Clone)]
pub(crate) struct Lexicon<S> {
    terms: Vec<Term<S>>,
    negators: Vec<Vec<S>>,
    adjacent_negators: Vec<Vec<S>>,
    not_negators: Vec<Vec<S>>,
    free: Vec<Vec<S>>,
    window: usize,
}

/// Symbols `start..end` of a clause.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

impl<S: Symbol> Lexicon<S> {
    pub(crate) fn new(lists: &WordLists, window: usize, symbols: impl Fn(&str) -> Vec<S>) -> Self {
        let rows = |texts: &[String]| -> Vec<Vec<S>> { texts.iter().map(|text| symbols(text)).collect() };
        let term = |listed: &String, kind| Term {
            symbols: symbols(listed),
            listed: listed.clone(),
            kind,
            next: lists
                .free_before
                .iter()
                .filter(|entry| entry.term == *listed)
                .flat_map(|entry| rows(&entry.next))
                .collect(),
        };
        let negatable =
            lists.claims.iter().chain(&lists.exclusions).map(|listed| term(listed, Kind::Negatable));
        let orders = lists.orders.iter().map(|listed| term(listed, Kind::Order));
        Self {
            terms: negatable.chain(orders).collect(),
            negators: rows(&lists.negators),
            adjacent_negators: rows(&lists.adjacent_negators),
            not_negators: rows(&lists.not_negators),
            free: rows(&lists.free),
            window,
        }
    }

    /// The listed terms of `clause` that may not stand there; the longest term at a place counts.
    pub(crate) fn violations(&self, clause: &[S]) -> Vec<String> {
        let mut found = Vec::new();
        let mut position = 0;
        while let Some(rest) = clause.get(position..).filter(|rest| !rest.is_empty()) {
            let here = self.terms.iter().filter(|term| rest.starts_with(&term.symbols));
            let Some(term) = here.max_by_key(|term| term.symbols.len()) else {
                position += 1;
                continue;
            };
            let span = Span { start: position, end: position + term.symbols.len() };
            if !self.is_free(term, clause, span) {
                found.push(term.listed.clone());
            }
            // Not past the term: an order may begin inside a claim that was free.
            position += 1;
        }
        found
    }

    fn is_free(&self, term: &Term<S>, clause: &[S], span: Span) -> bool {
        if self.within_free_phrase(clause, span) {
            return true;
        }
        let rest = clause.get(span.end..).unwrap_or_default();
        if term.next.iter().any(|next| rest.starts_with(next)) {
            return true;
        }
        term.kind == Kind::Negatable && self.negators_before(clause, span.start) == 1
    }

    fn within_free_phrase(&self, clause: &[S], span: Span) -> bool {
        self.free.iter().any(|phrase| {
            clause.windows(phrase.len()).enumerate().any(|(start, window)| {
                window == phrase.as_slice() && start <= span.start && span.end <= start + phrase.len()
            })
        })
    }

    /// How many negators reach `position`. Read from the left, the longest at a place, none inside another.
    fn negators_before(&self, clause: &[S], position: usize) -> usize {
        let before = clause.get(..position).unwrap_or_default();
        let mut count = 0;
        let mut start = 0;
        while let Some(rest) = before.get(start..).filter(|rest| !rest.is_empty()) {
            let longest = |rows: &[Vec<S>]| {
                rows.iter().filter(|row| rest.starts_with(row)).map(Vec::len).max().unwrap_or_default()
            };
            let decoy = longest(&self.not_negators);
            let negator = longest(&self.negators).max(usize::from(rest.first().is_some_and(S::is_negator)));
            let adjacent = longest(&self.adjacent_negators);
            if decoy > 0 && decoy >= negator {
                start += decoy;
            } else if negator > 0 {
                let end = start + negator;
                count += usize::from(S::distance(position - end) <= self.window);
                start = end;
            } else {
                count += usize::from(adjacent > 0 && start + adjacent == position);
                start += adjacent.max(1);
            }
        }
        count
    }
}

/// What a clause is a row of.
pub(crate) trait Symbol: Clone + PartialEq {
    /// A negator by its form, beside the listed ones.
    fn is_negator(&self) -> bool;

    /// How far a term lies behind a negator with `between` symbols between them, as the language's window counts.
    fn distance(between: usize) -> usize;
}

impl Symbol for char {
    fn is_negator(&self) -> bool {
        false
    }

    fn distance(between: usize) -> usize {
        between
    }
}

impl Symbol for String {
    /// "isn't", "can't".
    fn is_negator(&self) -> bool {
        self.ends_with("n't")
    }

    fn distance(between: usize) -> usize {
        between + 1
    }
}
