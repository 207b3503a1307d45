//! What may be said instead. One clause, one term; whatever would lose a part of the sentence is not reworded.

use std::collections::HashMap;

use super::{
    Rewrite, WordLists,
    clause::Clause,
    lexicon::{Found, leading, trailing},
};

/// The rewordings of both languages.
#[derive(Debug, Clone)]
pub(super) struct Rewording {
    /// By group and whether the term is Chinese.
    groups: HashMap<(String, bool), Rewrite>,
    openers: Vec<String>,
    closers: Vec<String>,
}

impl Rewording {
    /// Of the Chinese lists and the English ones.
    pub(super) fn new([zh, en]: [&WordLists; 2]) -> Self {
        let groups = [(zh, true), (en, false)].into_iter().flat_map(|(lists, is_chinese)| {
            lists.groups.iter().map(move |group| ((group.name.clone(), is_chinese), group.rewrite.clone()))
        });
        Self {
            groups: groups.collect(),
            openers: [zh.openers.as_slice(), &en.openers].concat(),
            closers: [zh.closers.as_slice(), &en.closers].concat(),
        }
    }

    /// What stands in place of `clause` of `text`; nothing where the term is a code or shouted, or where a part of the
    /// sentence has no place in the rewording.
    pub(super) fn of(&self, text: &str, clause: &Clause, found: &Found) -> Option<String> {
        let raw = clause.raw();
        let term = text.get(found.raw.clone())?;
        let (head, tail) = (text.get(raw.start..found.raw.start)?, text.get(found.raw.end..raw.end)?);
        if is_code(head, term, tail) {
            return None;
        }
        let (before, object) = (head.trim(), tail.trim_matches(is_joint));
        let subject = self.without_fillers(before);
        let rewrite = self.groups.get(&(found.group.clone(), found.is_chinese))?;
        let template = if object.is_empty() { &rewrite.after_subject } else { &rewrite.before_object };
        let places = [("{before}", before), ("{subject}", subject), ("{object}", object)];
        let holds_a_place = places.iter().any(|(place, _)| template.contains(place));
        let loses = |place: &str, content: &str| !content.is_empty() && !template.contains(place);
        if holds_a_place
            && (loses("{object}", object) || (!template.contains("{before}") && loses("{subject}", subject)))
        {
            return None;
        }
        let empty = |(place, content): &(&str, &str)| {
            *place != "{before}" && template.contains(place) && content.is_empty()
        };
        if places.iter().any(empty) {
            return None;
        }
        let filled =
            places.iter().fold(template.clone(), |text, (place, content)| text.replace(place, content));
        Some(like_the_clause(filled.trim(), text.get(raw)?))
    }

    /// `text` without the words at its ends that carry no meaning of their own.
    fn without_fillers<'a>(&self, text: &'a str) -> &'a str {
        let mut rest = text.trim_matches(is_joint);
        loop {
            let opener = leading(rest, &self.openers).map_or(0, str::len);
            let opened = rest.get(opener..).unwrap_or_default();
            let closer = trailing(opened, &self.closers).map_or(0, str::len);
            let closed = opened.get(..opened.len() - closer).unwrap_or_default().trim_matches(is_joint);
            if closed.len() == rest.len() {
                return rest;
            }
            rest = closed;
        }
    }
}

/// A term in capitals or beside an underscore is an identifier, and an identifier is not reworded.
fn is_code(head: &str, term: &str, tail: &str) -> bool {
    let letters = || term.chars().filter(char::is_ascii_alphabetic);
    let capitals = letters().count() >= 2 && letters().all(|letter| letter.is_ascii_uppercase());
    capitals || term.contains('_') || head.ends_with('_') || tail.starts_with('_')
}

fn is_joint(character: char) -> bool {
    character.is_whitespace() || matches!(character, ':' | '：' | '-' | '–' | '—' | '·')
}

/// With a capital first letter where the clause had one.
fn like_the_clause(reworded: &str, clause: &str) -> String {
    let mut characters = reworded.chars();
    match characters.next() {
        Some(first) if clause.starts_with(|c: char| c.is_ascii_uppercase()) => {
            [first.to_ascii_uppercase().to_string(), characters.as_str().to_owned()].concat()
        }
        _ => reworded.to_owned(),
    }
}
