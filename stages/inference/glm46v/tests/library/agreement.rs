//! How far an engine's answer is from that of transformers.

use glm46v::{Capture, Engine, FinishReason, GenerateOptions, RepetitionStop, Request};

use crate::case::Case;

/// Length of the difference of a step's scores over the length of the scores, at most.
pub(crate) const SCORES_WITHIN: f64 = 1e-5;
/// Of normalised pixels, absolute.
const PIXELS_WITHIN: f32 = 1e-6;
/// Tokens of an answer that is not ended before.
pub(crate) const TOKENS: usize = 64;

/// An answer that agrees.
pub(crate) struct Agreement {
    /// The largest difference of a kept step's scores, relative as [`SCORES_WITHIN`].
    pub(crate) scores: f64,
    pub(crate) finish_reason: FinishReason,
}

/// Asks the engine what transformers was asked. The error names the first thing that differs.
pub(crate) fn agreement(engine: &Engine, case: &Case) -> Result<Agreement, String> {
    let expected = &case.tensors;
    let options = GenerateOptions {
        max_new_tokens: TOKENS,
        repetition: RepetitionStop::Off,
        capture: Capture::Logits,
        ..GenerateOptions::default()
    };
    let input_ids = expected.u32("input_ids");
    let processor = engine.handle();
    let prepared = processor.processor().prepare(&case.prompt, TOKENS).map_err(|error| error.to_string())?;
    same("input ids", &prepared.input_ids, &input_ids)?;
    let axes = expected.u32("position_ids");
    let tokens = input_ids.len();
    let positions: Vec<[u32; 3]> =
        (0..tokens).map(|i| [axes[i], axes[tokens + i], axes[2 * tokens + i]]).collect();
    same("positions", &prepared.positions, &positions)?;
    if expected.names().iter().any(|name| name == "pixel_values") {
        let pixels = expected.f32("pixel_values");
        same("number of pixel values", &prepared.pixel_values.len(), &pixels.len())?;
        let mut pairs = prepared.pixel_values.iter().zip(&pixels);
        if !pairs.all(|(a, b)| (a - b).abs() <= PIXELS_WITHIN) {
            return Err(format!("pixel values differ by more than {PIXELS_WITHIN}"));
        }
    }

    let request = Request::new(case.prompt.clone(), options);
    let answer = engine.handle().generate(&request).map_err(|error| error.to_string())?;
    let captured = answer.captured.ok_or("no scores were captured")?;
    same("captured ids", &captured.input_ids, &input_ids)?;
    let (steps, logits) = (case.steps(), expected.f32("logits"));
    let vocabulary = logits.len() / steps.len();
    let mut scores: f64 = 0.0;
    for (step, theirs) in steps.iter().zip(logits.chunks_exact(vocabulary)) {
        let ours = captured.step_logits.get(*step).ok_or_else(|| format!("no scores of step {step}"))?;
        same("scores of a step", &ours.len(), &vocabulary)?;
        let difference = distance(ours, theirs) / distance(theirs, &vec![0.0; vocabulary]);
        if difference.is_nan() || difference > SCORES_WITHIN {
            return Err(format!("scores of step {step} differ by {difference:.1e} relative"));
        }
        scores = scores.max(difference);
    }
    same("ids of the answer", &answer.token_ids, &expected.u32("greedy_ids"))?;
    same("one set of scores for each id", &captured.step_logits.len(), &answer.token_ids.len())?;
    same("text", &answer.text.as_str(), &case.about["text"].as_str().unwrap_or_default())?;
    Ok(Agreement { scores, finish_reason: answer.finish_reason })
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, theirs: &T) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: {ours:?} instead of {theirs:?}")) }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}
