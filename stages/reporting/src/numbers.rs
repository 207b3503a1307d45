//! The numbers of a text: those it must state, those it may state, and no others.

use schemas::{CalibrationUsed, EfEstimate};

/// A number as it is shown: to a tenth, whole where it is.
pub(crate) fn shown(value: f64) -> String {
    let tenths = (value * 10.0).round() / 10.0;
    if tenths.fract() == 0.0 { format!("{tenths:.0}") } else { format!("{tenths:.1}") }
}

/// The share of intervals that hold, in percent. Without a set the product's 90.
pub(crate) fn coverage(calibration: Option<&CalibrationUsed>) -> String {
    shown(100.0 * (1.0 - calibration.map_or(0.1, |set| set.alpha)))
}

/// A name that may hold digits, in marks by which it is told from a number.
pub(crate) fn quoted(name: &str) -> String {
    format!("“{name}”")
}

/// Whether the numbers of `body` are those of the fields: each that must be there is, and nothing else is one.
pub(crate) fn agree(body: &str, ef: Option<&EfEstimate>, calibration: Option<&CalibrationUsed>) -> bool {
    let mut body = body.to_owned();
    for name in calibration.into_iter().flat_map(|set| [&set.id, &set.group]) {
        body = body.replace(&quoted(name), " ");
    }
    let mut required = Vec::new();
    let mut allowed = Vec::new();
    if let Some(ef) = ef {
        required.push(shown(ef.percent));
        required.extend(ef.interval.into_iter().flatten().map(shown));
        required.extend(ef.geometric_percent.map(shown));
        allowed.extend(ef.interval.map(|_| coverage(calibration)));
        allowed.extend(calibration.map(|set| set.studies.to_string()));
    }
    let stated = stated(&body);
    required.iter().all(|number| stated.contains(&number.as_str()))
        && stated.iter().all(|number| required.iter().chain(&allowed).any(|allowed| allowed == number))
}

/// The numbers of a text: digits of any script with a decimal part, not those inside a word such as `A4C`.
pub(crate) fn stated(text: &str) -> Vec<&str> {
    text.split(|character: char| {
        // Han characters are letters to Unicode, but a number stands between them without a space.
        let of_word = character.is_alphanumeric() && !('\u{2e80}'..).contains(&character);
        !(of_word || matches!(character, '.' | '_' | '-'))
    })
    .map(|word| word.trim_matches(['.', '-']))
    .filter(|word| word.chars().any(char::is_numeric))
    .filter(|word| !word.chars().any(|character| character.is_alphabetic() || character == '_'))
    .collect()
}
