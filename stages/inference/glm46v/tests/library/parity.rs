//! Ids, positions, pixels and scores equal those of transformers on tiny random checkpoints, in both file layouts.

use crate::support::{Case, copy_of, edit, engine, fixtures};
use glm46v::{Capture, Engine, FinishReason, GenerateOptions, RepetitionStop, Request};

/// Largest difference of any score, absolute. The scores themselves reach 50.
const LOGITS_ABSOLUTE: f32 = 1e-3;
/// Length of the difference of a step's scores over the length of the scores.
const LOGITS_RELATIVE: f32 = 1e-5;

fn assert_same_as_transformers(engine: &Engine, case: &Case) -> FinishReason {
    let name = &case.name;
    let expected = &case.tensors;
    let prompt = case.prompt();
    let greedy_ids = expected.u32("greedy_ids");
    let options = GenerateOptions {
        max_new_tokens: 12,
        repetition: RepetitionStop::Off,
        capture: Capture::Logits,
        ..GenerateOptions::default()
    };

    let prepared = engine.handle().processor().prepare(&prompt, options.max_new_tokens).unwrap();
    assert_eq!(prepared.input_ids, expected.u32("input_ids"), "{name}: input ids");
    let axes = expected.u32("position_ids");
    let tokens = prepared.input_ids.len();
    for (i, position) in prepared.positions.iter().enumerate() {
        let wanted = [axes[i], axes[tokens + i], axes[2 * tokens + i]];
        assert_eq!(*position, wanted, "{name}: position of token {i}");
    }
    if expected.names().iter().any(|n| n == "pixel_values") {
        let pixels = expected.f32("pixel_values");
        assert_eq!(prepared.pixel_values.len(), pixels.len(), "{name}: pixel values");
        let worst = max_difference(&prepared.pixel_values, &pixels);
        assert!(worst <= 1e-6, "{name}: pixel values differ by {worst}");
    }

    let answer = engine.handle().generate(&Request::new(prompt, options)).unwrap();
    let captured = answer.captured.unwrap();
    assert_eq!(captured.input_ids, expected.u32("input_ids"), "{name}: captured ids");
    let logits = expected.f32("logits");
    let vocabulary = expected.shape("logits")[1];
    for (step, (ours, theirs)) in captured.step_logits.iter().zip(logits.chunks_exact(vocabulary)).enumerate()
    {
        let absolute = max_difference(ours, theirs);
        let relative = distance(ours, theirs) / distance(theirs, &vec![0.0; vocabulary]);
        assert!(absolute <= LOGITS_ABSOLUTE, "{name}: scores of step {step} differ by {absolute}");
        assert!(relative <= LOGITS_RELATIVE, "{name}: scores of step {step} differ by {relative} relative");
    }
    assert_eq!(answer.token_ids, greedy_ids, "{name}: greedy ids");
    assert_eq!(captured.step_logits.len(), greedy_ids.len(), "{name}: one set of scores per id");
    assert_eq!(answer.text, case.about["text"].as_str().unwrap(), "{name}: text");
    answer.finish_reason
}

fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
}

#[test]
fn version_5_folder_answers_as_transformers() {
    let engine = engine(&fixtures().join("glm46v-v5"));
    let cases = Case::of("glm46v-v5");
    assert_eq!(cases.len(), 7);
    for case in &cases {
        assert_eq!(assert_same_as_transformers(&engine, case), FinishReason::Length);
    }
}

#[test]
fn version_4_folder_answers_as_transformers() {
    let engine = engine(&fixtures().join("glm4v-v4"));
    let cases = Case::of("glm4v-v4");
    assert_eq!(cases.len(), 7);
    for case in &cases {
        assert_eq!(assert_same_as_transformers(&engine, case), FinishReason::Length);
    }
}

#[test]
fn end_token_of_generation_config_stops_as_in_transformers() {
    let case = Case::load("stop");
    let folder = copy_of(&fixtures().join("glm46v-v5"));
    edit(folder.path(), "generation_config.json", |config| {
        config["eos_token_id"] = case.about["eos_token_id"].clone();
    });
    let engine = engine(folder.path());
    assert_eq!(assert_same_as_transformers(&engine, &case), FinishReason::Stop);
}
