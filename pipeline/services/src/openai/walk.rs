//! Scoring continuations on a server that gives only the likeliest next tokens: one token is asked for at a time.
//!
//! ```text
//!   ask after ""   ─▶ 5: -0.1   52: -3.0   7: -4.0   …            continuations "5,"  "52,"
//!   ask after "5"  ─▶ 2: -0.2   ,: -1.5   ,": -2.0               "5,"  = after 5, every token that begins with ","
//!   ask after "52" ─▶ ,": -0.1  ,: -2.0                          "52," = likewise, after 5 and 2 or after 52
//! ```
//!
//! The rule is the engine's (`glm46v`, `EngineHandle::submit_score`): the log-probability that the answer's text goes on
//! with a continuation; its last token may be any whose text begins like it. Two things differ. A text is asked about
//! once, by its text, so other ways to cut it into tokens are added up. And what is not among the likeliest tokens counts
//! as impossible: a continuation that none of them leads to scores -∞.
//!
//! Requests: one for each beginning of a continuation that some token ends at.

use std::collections::BTreeMap;

use super::wire::TokenScore;

/// Log-probabilities of `continuations`, none of them empty. `ask` gives the likeliest tokens after a text.
pub(super) fn scores<E>(
    continuations: &[String],
    mut ask: impl FnMut(&str) -> Result<Vec<TokenScore>, E>,
) -> Result<Vec<f64>, E> {
    let mut scores = vec![f64::NEG_INFINITY; continuations.len()];
    // Shortest first: when a text is asked about, all ways to it have been added up.
    let mut open = BTreeMap::from([((0, String::new()), 0.0)]);
    if continuations.is_empty() {
        open.clear();
    }
    while let Some(((_, path), reached)) = open.pop_first() {
        for token in ask(&path)? {
            let logprob = reached + token.log_probability();
            let text = [path.as_bytes(), token.text()].concat();
            if text.len() == path.len() || logprob == f64::NEG_INFINITY {
                continue;
            }
            let mut is_beginning = false;
            for (score, continuation) in scores.iter_mut().zip(continuations) {
                let wanted = continuation.as_bytes();
                // Not those that an earlier token has completed.
                if wanted.len() > path.len() && text.starts_with(wanted) {
                    *score = log_add(*score, logprob);
                }
                is_beginning |= wanted.len() > text.len() && wanted.starts_with(&text);
            }
            // A part of a character cannot be sent as text.
            if is_beginning && let Ok(text) = String::from_utf8(text) {
                let place = open.entry((text.len(), text)).or_insert(f64::NEG_INFINITY);
                *place = log_add(*place, logprob);
            }
        }
    }
    Ok(scores)
}

/// ln(exp a + exp b).
fn log_add(a: f64, b: f64) -> f64 {
    let (less, more) = if a < b { (a, b) } else { (b, a) };
    if less == f64::NEG_INFINITY { more } else { more + (less - more).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A model that writes these texts, each token with these probabilities.
    fn answer(after: &str) -> Vec<TokenScore> {
        let tokens: &[(&str, f64)] = match after {
            "" => &[("5", 0.5), ("52", 0.2), ("null", 0.1), ("<|user|>", 0.05)],
            "5" => &[("2", 0.4), (",", 0.3), (",\"", 0.2)],
            "52" => &[(",\"", 0.9), (",", 0.05)],
            _ => &[],
        };
        tokens.iter().map(|(token, p)| TokenScore::new(token, p.ln())).collect()
    }

    fn probabilities(continuations: &[&str]) -> (Vec<f64>, Vec<String>) {
        let continuations: Vec<String> = continuations.iter().map(|one| (*one).to_owned()).collect();
        let mut asked = Vec::new();
        let scores = scores(&continuations, |path| {
            asked.push(path.to_owned());
            Ok::<_, Infallible>(answer(path))
        });
        (scores.unwrap().into_iter().map(f64::exp).collect(), asked)
    }

    #[test]
    fn all_ways_to_a_text_add_up_and_each_text_is_asked_about_once() {
        let (found, asked) = probabilities(&["5,", "52,", "null", "7,"]);
        let wanted = [0.5 * (0.3 + 0.2), (0.5 * 0.4 + 0.2) * 0.95, 0.1, 0.0];
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-12, "{found} and {wanted}");
        }
        assert_eq!(asked, ["", "5", "52"]);
    }

    #[test]
    fn a_beginning_includes_what_begins_with_it() {
        let (found, asked) = probabilities(&["5"]);
        assert!((found[0] - 0.7).abs() < 1e-12);
        assert_eq!(asked, [""]);
        assert!(probabilities(&[]).1.is_empty());
    }
}
