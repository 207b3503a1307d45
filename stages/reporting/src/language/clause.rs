//! A text's clauses, each a row of symbols: Han characters and words. A negator reaches to the end of its clause at most.

use std::ops::Range;

use super::fold::{Glyph, is_han};

/// One Han character, or one word of another script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) text: String,
    pub(super) is_han: bool,
    /// The bytes of the text it stands for.
    pub(super) raw: Range<usize>,
}

/// The symbols between two marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    pub(super) symbols: Vec<Symbol>,
}

impl Clause {
    /// The bytes of the text from the first symbol to the last.
    pub(super) fn raw(&self) -> Range<usize> {
        let start = self.symbols.first().map_or(0, |symbol| symbol.raw.start);
        start..self.symbols.last().map_or(start, |symbol| symbol.raw.end)
    }

    /// Whether `word` stands in it: as a word by itself, or as a run of Han characters.
    pub(super) fn holds(&self, word: &str) -> bool {
        if word.is_ascii() {
            return self.symbols.iter().any(|symbol| symbol.text == word);
        }
        let han: String =
            self.symbols.iter().filter(|symbol| symbol.is_han).map(|s| s.text.as_str()).collect();
        han.contains(word)
    }
}

/// Splits at the marks that end the reach of a negator. A point between digits is a decimal point.
pub(super) fn clauses(glyphs: &[Glyph]) -> Vec<Clause> {
    let digit = |index: Option<usize>| {
        index.and_then(|index| glyphs.get(index)).is_some_and(|glyph| glyph.character.is_ascii_digit())
    };
    let ends = |(index, glyph): (usize, &Glyph)| {
        let decimal_point =
            glyph.character == '.' && digit(index.checked_sub(1)) && digit(index.checked_add(1));
        let mark = matches!(glyph.character, '。' | '｡' | ',' | ';' | '!' | '?' | '.' | '\n');
        (mark && !decimal_point).then_some(index)
    };
    let mut clauses = Vec::new();
    let mut start = 0;
    for end in glyphs.iter().enumerate().filter_map(ends).chain([glyphs.len()]) {
        let symbols = symbols(glyphs.get(start..end).unwrap_or_default());
        if !symbols.is_empty() {
            clauses.push(Clause { symbols });
        }
        start = end + 1;
    }
    clauses
}

/// Han characters each by itself; runs of other letters and digits with their apostrophes as words, `%` by itself.
/// Anything else separates, also `_`, so that a code in capitals is read as its words.
pub(super) fn symbols(glyphs: &[Glyph]) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = Vec::new();
    let mut within_word = false;
    for glyph in glyphs {
        let character = glyph.character;
        let is_han = is_han(character);
        let of_word = character == '\'' || (character.is_alphanumeric() && !is_han);
        if of_word
            && within_word
            && let Some(word) = symbols.last_mut()
        {
            word.text.push(character);
            word.raw.end = glyph.raw.end;
        } else if of_word || is_han || character == '%' {
            symbols.push(Symbol { text: character.to_string(), is_han, raw: glyph.raw.clone() });
        }
        within_word = of_word;
    }
    symbols.retain(|symbol| !symbol.text.trim_matches('\'').is_empty());
    spelled_out(symbols)
}

/// Three or more single letters in a row are one word spelled out.
fn spelled_out(symbols: Vec<Symbol>) -> Vec<Symbol> {
    let single =
        |symbol: &Symbol| symbol.text.len() == 1 && symbol.text.bytes().all(|b| b.is_ascii_lowercase());
    let mut joined = Vec::with_capacity(symbols.len());
    for run in symbols.chunk_by(|left, right| single(left) && single(right)) {
        match run {
            [first, _, .., last] if run.len() >= 3 => joined.push(Symbol {
                text: run.iter().map(|symbol| symbol.text.as_str()).collect(),
                is_han: false,
                raw: first.raw.start..last.raw.end,
            }),
            run => joined.extend_from_slice(run),
        }
    }
    joined
}
