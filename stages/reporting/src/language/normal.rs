//! One spelling for what a reader sees as one: width, case, script variant and invisible characters removed.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization as _;

/// `text` in NFKC, lower case, simplified, without invisible characters and without spaces between Han characters.
pub(crate) fn form(text: &str, simplified: &HashMap<char, char>) -> String {
    let visible: Vec<char> = text
        .nfkc()
        .flat_map(char::to_lowercase)
        .filter(|character| !is_invisible(*character))
        .map(|character| match character {
            '\u{2019}' | '\u{02bc}' => '\'',
            other => simplified.get(&other).copied().unwrap_or(other),
        })
        .collect();
    let mut form = String::with_capacity(text.len());
    for (index, character) in visible.iter().copied().enumerate() {
        let after_han = form.chars().next_back().is_some_and(is_han);
        if is_inner_space(character) && after_han {
            let next = visible.iter().skip(index).find(|next| !is_inner_space(**next));
            if next.is_some_and(|next| is_han(*next)) {
                continue;
            }
        }
        form.push(character);
    }
    form
}

/// Han ideographs (Unicode blocks CJK Unified Ideographs and Extension A); the listed terms use no others.
pub(crate) fn is_han(character: char) -> bool {
    matches!(character, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

/// A line break ends a clause and stays.
fn is_inner_space(character: char) -> bool {
    character.is_whitespace() && character != '\n'
}

/// Characters that show nothing: joiners, direction marks, variation selectors (Default_Ignorable_Code_Point).
fn is_invisible(character: char) -> bool {
    matches!(
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
            | '\u{e0000}'..='\u{e0fff}'
    )
}
