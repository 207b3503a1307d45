//! Which token comes next, how sure the model was of it, and when it is no use to go on. Functions of ids and scores;
//! chance comes from the request's own seed, so that an answer does not depend on the requests beside it.

use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling as CandleSampling};
use candle_transformers::utils::apply_repeat_penalty;

use crate::error::RequestError;
use crate::grammar::{AnswerMatcher, Grammar};

/// How the next token is chosen from the scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// The highest score; of equal scores the lowest id.
    Greedy,
    /// By chance.
    Random {
        /// Scores are divided by it; above 0. Near 0 is nearly greedy, 1 is the model's own distribution.
        temperature: f64,
        /// Only the so many likeliest tokens.
        top_k: Option<usize>,
        /// Only the likeliest tokens that make up this probability.
        top_p: Option<f64>,
        /// Scores of tokens already written, positive ones divided and negative ones multiplied by it; 1 changes nothing.
        repetition_penalty: f32,
        /// The same seed, the same choices.
        seed: u64,
    },
}

impl Sampling {
    fn check(self) -> Result<(), RequestError> {
        let Self::Random { temperature, top_k, top_p, repetition_penalty, .. } = self else { return Ok(()) };
        let wrong = |field, value: f64, expected| Err(RequestError::Sampling { field, value, expected });
        if !(temperature.is_finite() && temperature > 0.0) {
            return wrong("temperature", temperature, "a number above 0; use greedy for 0");
        }
        if top_k == Some(0) {
            return wrong("top_k", 0.0, "at least 1");
        }
        if let Some(top_p) = top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return wrong("top_p", top_p, "above 0 and at most 1");
        }
        if !(repetition_penalty.is_finite() && repetition_penalty > 0.0) {
            return wrong("repetition_penalty", repetition_penalty.into(), "a number above 0");
        }
        Ok(())
    }
}

/// One sequence's way of choosing.
pub(crate) struct Sampler {
    random: Option<(LogitsProcessor, f32)>,
    answer: Option<AnswerMatcher>,
}

/// A chosen token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) id: u32,
    /// The grammar's answer is complete with it.
    pub(crate) completes: bool,
}

impl Sampler {
    /// For an answer that begins with the tokens `prefix`.
    pub(crate) fn new(
        sampling: Sampling,
        grammar: Option<&Grammar>,
        prefix: &[u32],
    ) -> Result<Self, RequestError> {
        sampling.check()?;
        let answer = grammar.map(|grammar| grammar.matcher(prefix)).transpose()?;
        let Sampling::Random { temperature, top_k, top_p, repetition_penalty, seed } = sampling else {
            return Ok(Self { random: None, answer });
        };
        let how = match (top_k, top_p) {
            (None, None) => CandleSampling::All { temperature },
            (Some(k), None) => CandleSampling::TopK { k, temperature },
            (None, Some(p)) => CandleSampling::TopP { p, temperature },
            (Some(k), Some(p)) => CandleSampling::TopKThenTopP { k, p, temperature },
        };
        Ok(Self { random: Some((LogitsProcessor::from_sampling(seed, how), repetition_penalty)), answer })
    }

    /// The next token from finite `logits`, after `written` ids.
    pub(crate) fn next(&mut self, logits: &[f32], written: &[u32]) -> Result<Chosen, RequestError> {
        let step = written.len();
        if !logits.iter().all(|score| score.is_finite()) {
            return Err(RequestError::LogitsNotFinite { step });
        }
        let Some(answer) = &mut self.answer else {
            return Ok(Chosen { id: choose(&mut self.random, logits, written)?, completes: false });
        };
        let mut allowed = logits.to_vec();
        answer.allowed()?.mask(&mut allowed);
        let id = choose(&mut self.random, &allowed, written)?;
        Ok(Chosen { id, completes: answer.accept(id)? })
    }
}

fn choose(
    random: &mut Option<(LogitsProcessor, f32)>,
    logits: &[f32],
    written: &[u32],
) -> Result<u32, RequestError> {
    let Some((random, penalty)) = random else {
        return greedy(logits).ok_or(RequestError::LogitsNotFinite { step: written.len() });
    };
    let logits = Tensor::from_slice(logits, logits.len(), &Device::Cpu)?;
    let logits = if *penalty == 1.0 { logits } else { apply_repeat_penalty(&logits, *penalty, written)? };
    Ok(random.sample(&logits)?)
}

/// How sure the model was of one generated token.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenScore {
    /// The token.
    pub id: u32,
    /// Natural logarithm of its probability, in f32, before any temperature.
    pub logprob: f32,
    /// The likeliest tokens and theirs, likeliest first.
    pub top: Vec<(u32, f32)>,
}

impl TokenScore {
    /// From the scores that `id` was chosen from, with `top` alternatives.
    pub(crate) fn of(logits: &[f32], id: u32, top: usize) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|score| f64::from(score - largest).exp()).sum();
        let of = |score: f32| (f64::from(score - largest) - sum.ln()) as f32;
        let logprob = logits.get(id as usize).map_or(f32::NEG_INFINITY, |score| of(*score));
        let mut order: Vec<(u32, f32)> =
            if top == 0 { Vec::new() } else { (0..).zip(logits.iter().copied()).collect() };
        let by_score = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let top = top.min(order.len());
        if top > 0 && top < order.len() {
            order.select_nth_unstable_by(top - 1, by_score);
        }
        order.truncate(top);
        order.sort_unstable_by(by_score);
        Self { id, logprob, top: order.into_iter().map(|(id, score)| (id, of(score))).collect() }
    }
}

/// The id with the highest score; of equal scores the lowest id. `None` where no score is above -∞.
fn greedy(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (id, score) in (0..).zip(logits) {
        if *score > best.map_or(f32::NEG_INFINITY, |(_, highest)| highest) {
            best = Some((id, *score));
        }
    }
    best.map(|(id, _)| id)
}

/// When an answer that repeats itself is cut off: greedy decoding never leaves a loop by itself, it only fills
/// `max_new_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepetitionStop {
    /// Never.
    Off,
    /// When the last so many tokens are one block, of at most a quarter of them, over and over. At least 8.
    Window(usize),
}

impl RepetitionStop {
    /// 64 tokens: long enough for lists of equal numbers in a JSON answer.
    pub const DEFAULT: Self = Self::Window(64);

    /// Whether the ids generated so far end in a loop.
    pub fn is_looping(self, ids: &[u32]) -> bool {
        let Self::Window(window) = self else { return false };
        let window = window.max(8);
        let Some(tail) = ids.len().checked_sub(window).and_then(|start| ids.get(start..)) else {
            return false;
        };
        (1..=window / 4).any(|period| tail.iter().skip(period).eq(tail.iter().take(window - period)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_are_those_of_softmax_and_alternatives_come_in_order() {
        let logits = [0.5f32, 2.0, -1.0, 2.0, 1.0];
        let score = TokenScore::of(&logits, 4, 3);
        let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        let wanted = |x: f64| (x.exp() / sum).ln() as f32;
        assert!((score.logprob - wanted(1.0)).abs() < 1e-6);
        assert_eq!(score.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 3, 4]);
        assert!((score.top[0].1 - wanted(2.0)).abs() < 1e-6);
    }

    #[test]
    fn chance_follows_the_seed_and_keeps_to_its_bounds() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32 * 0.3).collect();
        let draw = |seed, top_k| {
            let sampling =
                Sampling::Random { temperature: 1.0, top_k, top_p: None, repetition_penalty: 1.0, seed };
            let mut sampler = Sampler::new(sampling, None, &[]).unwrap();
            (0..40).map(|_| sampler.next(&logits, &[]).unwrap().id).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, None), draw(1, None));
        assert_ne!(draw(1, None), draw(2, None));
        assert!(draw(3, Some(7)).iter().all(|id| id % 7 == 6));
    }

    #[test]
    fn settings_that_mean_nothing_are_refused_by_name() {
        let random = |temperature, top_p| Sampling::Random {
            temperature,
            top_k: None,
            top_p,
            repetition_penalty: 1.0,
            seed: 0,
        };
        for (sampling, name) in [(random(0.0, None), "temperature"), (random(1.0, Some(1.5)), "top_p")] {
            let error = Sampler::new(sampling, None, &[]).err().unwrap();
            assert!(matches!(error, RequestError::Sampling { field, .. } if field == name), "{error}");
        }
    }
}
