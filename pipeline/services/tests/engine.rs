//! The engine behind the stage's trait, with the checkpoint of the repository.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

use std::path::PathBuf;

use glm46v::{Checkpoint, Determinism, Engine, EngineOptions};
use schemas::FinishReason;
use serde_json::{Value, json};
use services::EngineBackend;
use stage::{BackendError, Image, ModelBackend, ModelRequest, Picture, Presentation};

fn engine() -> Engine {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../stages/inference/glm46v/checkpoints/untrained");
    let options = EngineOptions { queue: 2, determinism: Determinism::Exact, ..EngineOptions::default() };
    Engine::start(Checkpoint::open(folder).unwrap(), options).unwrap()
}

fn request(pictures: Vec<Picture>) -> ModelRequest {
    ModelRequest {
        system: Some("Answer.".into()),
        pictures,
        prompt: "Which view?".into(),
        answer_prefix: String::new(),
        schema: None,
        max_new_tokens: 8,
    }
}

fn image(side: u32) -> Image {
    Image { width: side, height: side, rgb: vec![90; 3 * (side * side) as usize].into() }
}

fn schema() -> String {
    json!({"type": "object", "additionalProperties": false, "required": ["view", "lvef"], "properties": {
        "view": {"enum": ["A4C", "A2C"]}, "lvef": {"type": "integer", "minimum": 0, "maximum": 100}}})
    .to_string()
}

#[test]
fn the_engine_answers_greedily_and_says_what_it_is() {
    let engine = engine();
    let backend = EngineBackend::new(engine.handle(), "untrained");
    assert!(backend.identity().untrained);
    assert_eq!(backend.identity().dtype, "f32, deterministic");
    assert_eq!(backend.identity().device, "cpu");
    assert_eq!(backend.presentation(), Presentation::Stills);
    assert_eq!(backend.identity().digest.as_bytes(), engine.handle().info().digest.as_bytes());
    let first = backend.generate(&request(vec![Picture::Still(image(56))])).unwrap();
    assert_eq!(backend.generate(&request(vec![Picture::Still(image(56))])).unwrap(), first);
    assert!(first.vision_tokens > 0 && first.prompt_tokens > first.vision_tokens);
    assert!(first.generated_tokens <= 8);
    assert!(first.generated_tokens == 8 || first.finish_reason != FinishReason::Length);
    assert!(first.log_probability.is_some_and(|sum| sum.is_finite() && sum < 0.0));
}

#[test]
fn beat_is_one_picture_of_two_frames() {
    let engine = engine();
    let backend = EngineBackend::new(engine.handle(), "untrained");
    let tokens = |pictures| backend.generate(&request(pictures)).unwrap().vision_tokens;
    let still = tokens(vec![Picture::Still(image(112))]);
    assert_eq!(tokens(vec![Picture::Still(image(112)), Picture::Still(image(112))]), 2 * still);
    assert_eq!(tokens(vec![Picture::Beat([image(112), image(112)])]), still);
    let unequal = backend.generate(&request(vec![Picture::Beat([image(112), image(56)])]));
    assert!(matches!(unequal, Err(BackendError::Refused(_))));
}

#[test]
fn answer_is_held_to_its_schema_from_its_prefix_on() {
    let engine = engine();
    let backend = EngineBackend::new(engine.handle(), "untrained");
    let begun = r#"{"view":"A2C","lvef":"#;
    for prefix in ["", begun] {
        let asked = ModelRequest {
            answer_prefix: prefix.into(),
            schema: Some(schema()),
            max_new_tokens: 40,
            ..request(vec![Picture::Still(image(56))])
        };
        let answer = backend.generate(&asked).unwrap();
        let json: Value = serde_json::from_str(&format!("{prefix}{}", answer.text)).unwrap();
        assert!(json["lvef"].as_i64().is_some_and(|lvef| (0..=100).contains(&lvef)), "{json}");
        assert_eq!(answer.finish_reason, FinishReason::Stop);
    }
    // What is left of the longest answer, 4 bytes and a separator's room, must fit; and so must all of it.
    let short = |prefix: &str| {
        backend.generate(&ModelRequest {
            answer_prefix: prefix.into(),
            schema: Some(schema()),
            ..request(vec![])
        })
    };
    assert!(short(begun).is_ok());
    let refused = short("").unwrap_err();
    let BackendError::Refused(source) = &refused else { panic!("{refused}") };
    assert!(source.to_string().contains("max_new_tokens is 8"), "{source}");
    for (prefix, schema) in [(r#"{"lvef""#, schema()), ("", "{".into()), ("", r#"{"type":"string"}"#.into())]
    {
        let wrong = ModelRequest {
            answer_prefix: prefix.into(),
            schema: Some(schema),
            max_new_tokens: 40,
            ..request(vec![])
        };
        assert!(matches!(backend.generate(&wrong), Err(BackendError::Refused(_))), "{prefix}");
    }
}

#[test]
fn continuations_are_scored_behind_the_prefix_whatever_the_cap() {
    let engine = engine();
    let backend = EngineBackend::new(engine.handle(), "untrained");
    let asked = ModelRequest { answer_prefix: r#"{"lvef":"#.into(), max_new_tokens: 1, ..request(vec![]) };
    let texts: Vec<String> = (0..=100).map(|number| format!("{number},\"")).collect();
    let scores = backend.score(&asked, &texts).unwrap();
    assert_eq!(scores.len(), 101);
    let mass: f64 = scores.iter().map(|score| score.exp()).sum();
    assert!(mass > 0.0 && mass < 1.0, "{mass}");
    assert!(matches!(backend.score(&asked, &[String::new()]), Err(BackendError::Refused(_))));
}

#[test]
fn requests_that_can_never_work_are_refused_and_a_gone_engine_is_broken() {
    let engine = engine();
    let backend = EngineBackend::new(engine.handle(), "untrained");
    let short = Image { rgb: vec![0; 5].into(), ..image(56) };
    for wrong in [short, image(0)] {
        let asked = request(vec![Picture::Still(wrong)]);
        assert!(matches!(backend.generate(&asked), Err(BackendError::Refused(_))));
        assert!(matches!(backend.score(&asked, &["1".into()]), Err(BackendError::Refused(_))));
    }
    let endless = ModelRequest { max_new_tokens: u32::MAX, ..request(vec![]) };
    assert!(matches!(backend.generate(&endless), Err(BackendError::Refused(_))));
    drop(engine);
    assert!(matches!(backend.generate(&request(vec![])), Err(BackendError::Broken(_))));
    assert!(matches!(backend.score(&request(vec![]), &["1".into()]), Err(BackendError::Broken(_))));
}
