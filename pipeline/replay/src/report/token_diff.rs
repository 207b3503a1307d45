//! Which tokens of two texts differ.

use similar::{Algorithm, ChangeTag};

/// Beyond so many tokens of either text nothing is marked: comparing takes time with the square of what differs.
const MOST: usize = 2_000;

/// A stretch of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) text: String,
    /// Not in the other text.
    pub(super) changed: bool,
}

/// Both texts in stretches, and whether they could be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) first: Vec<Stretch>,
    pub(super) second: Vec<Stretch>,
    pub(super) compared: bool,
}

/// Marks what is in one text only.
pub(super) fn mark(first: &str, second: &str) -> Marked {
    let (a, b) = (tokens(first), tokens(second));
    if a.len() > MOST || b.len() > MOST {
        let whole = |text: &str| vec![Stretch { text: text.to_owned(), changed: false }];
        return Marked { first: whole(first), second: whole(second), compared: false };
    }
    let mut marked = Marked { first: Vec::new(), second: Vec::new(), compared: true };
    for operation in similar::capture_diff_slices(Algorithm::Patience, &a, &b) {
        for change in operation.iter_changes(&a, &b) {
            match change.tag() {
                ChangeTag::Equal => {
                    push(&mut marked.first, change.value(), false);
                    push(&mut marked.second, change.value(), false);
                }
                ChangeTag::Delete => push(&mut marked.first, change.value(), true),
                ChangeTag::Insert => push(&mut marked.second, change.value(), true),
            }
        }
    }
    marked
}

fn push(stretches: &mut Vec<Stretch>, token: &str, changed: bool) {
    match stretches.last_mut() {
        Some(last) if last.changed == changed => last.text.push_str(token),
        _ => stretches.push(Stretch { text: token.to_owned(), changed }),
    }
}

/// Words and numbers of Latin letters as one token each, without the full stop or hyphen behind them; every other character
/// by itself, as Han is written. Stops where there are too many to be compared.
fn tokens(text: &str) -> Vec<&str> {
    let joins = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '%');
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if tokens.len() > MOST {
            break;
        }
        let (run, _) = rest.split_at(rest.find(|c| !joins(c)).unwrap_or(rest.len()));
        let word = run.trim_end_matches(['.', '-']).len();
        let (token, after) = rest.split_at(if word == 0 { first.len_utf8() } else { word });
        tokens.push(token);
        rest = after;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(stretches: &[Stretch]) -> Vec<&str> {
        stretches.iter().filter(|one| one.changed).map(|one| one.text.as_str()).collect()
    }

    #[test]
    fn marks_numbers_and_han_that_differ_and_keeps_every_character() {
        let (a, b) = ("LVEF about 57.1 %, U_LOW. 约 57%(可能)", "LVEF about 63.0 %, U_HIGH. 约 63%(较可能)");
        let marked = mark(a, b);
        assert_eq!(changed(&marked.first), ["57.1", "U_LOW", "57%"]);
        assert_eq!(changed(&marked.second), ["63.0", "U_HIGH", "63%", "较"]);
        let whole = |stretches: &[Stretch]| stretches.iter().map(|one| one.text.as_str()).collect::<String>();
        assert_eq!((whole(&marked.first).as_str(), whole(&marked.second).as_str()), (a, b));
    }

    #[test]
    fn a_text_too_long_is_shown_unmarked_and_says_so() {
        let marked = mark(&"字".repeat(MOST + 1), "字");
        assert!(!marked.compared);
        assert_eq!(changed(&marked.first), [""; 0]);
    }
}
