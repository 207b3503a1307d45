//! One spelling for what a reader sees as one: width, case, accents, script variants, look-alikes and invisible
//! characters folded away. Every folded character knows where it came from.

use std::{collections::HashMap, ops::Range};

use schemas::Digest;
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// Pairs of a traditional or variant character and its simplified one, between white space; `#` begins a comment line.
const SIMPLIFIED: &str = include_str!("../../../../config/language/traditional.txt");

/// SHA-256 over the lists and the table of script variants, which belongs to them.
pub(super) fn digest_with_table(json: &str) -> Digest {
    Digest::of([json, SIMPLIFIED].concat().as_bytes())
}

/// A folded character and the bytes of the text it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glyph {
    pub(super) character: char,
    pub(super) raw: Range<usize>,
}

/// The characters that stand for others.
#[derive(Debug, Clone)]
pub(super) struct Folding(HashMap<char, char>);

impl Folding {
    /// The table of script variants and `lookalikes`, pairs of a character and what it looks like. `None` if they do not
    /// pair up.
    pub(super) fn new(lookalikes: &str) -> Option<Self> {
        let lines = SIMPLIFIED.lines().filter(|line| !line.starts_with('#'));
        let variants = lines.flat_map(str::split_whitespace).filter_map(pair);
        let lookalikes: Vec<char> = lookalikes.chars().collect();
        let pairs = lookalikes.chunks(2).map(|pair| match pair {
            [from, to] => Some((*from, *to)),
            _ => None,
        });
        let pairs: Option<Vec<(char, char)>> = pairs.collect();
        Some(Self(variants.chain(pairs?).collect()))
    }

    /// `text` folded. Compatibility decomposition without its marks gives what NFKC gives, and each character by itself:
    /// so a place in the result is a place in the text.
    pub(super) fn glyphs(&self, text: &str) -> Vec<Glyph> {
        let mut glyphs = Vec::with_capacity(text.len());
        for (start, character) in text.char_indices() {
            let raw = start..start + character.len_utf8();
            let folded = std::iter::once(character)
                .nfkd()
                .flat_map(char::to_lowercase)
                .filter(|character| !is_combining_mark(*character) && !is_invisible(*character))
                .map(|character| self.look(character));
            glyphs.extend(folded.map(|character| Glyph { character, raw: raw.clone() }));
        }
        glyphs
    }

    fn look(&self, character: char) -> char {
        match character {
            '\u{2018}' | '\u{2019}' | '\u{02bc}' | '\u{00b4}' | '`' => '\'',
            '\r' | '\u{0b}' | '\u{0c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
            other => self.0.get(&other).copied().unwrap_or(other),
        }
    }
}

fn pair(text: &str) -> Option<(char, char)> {
    let mut characters = text.chars();
    Some((characters.next()?, characters.next()?))
}

/// Han ideographs of every block, and the numeral zero.
pub(crate) fn is_han(character: char) -> bool {
    matches!(
        character,
        '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}'
    )
}

/// Characters that show nothing: controls, joiners, direction marks, variation selectors (Default_Ignorable_Code_Point).
fn is_invisible(character: char) -> bool {
    let white = character.is_whitespace();
    (character.is_control() && !white)
        || matches!(
            character,
            '\u{00ad}'
                | '\u{034f}'
                | '\u{061c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}
