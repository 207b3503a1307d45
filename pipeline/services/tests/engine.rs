//! The engine behind the stage's trait, with the checkpoint of the repository.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

use std::{path::PathBuf, sync::Arc};

use glm46v::{Checkpoint, Engine, EngineOptions};
use inference::{Config, InferenceStage, PromptConfig};
use schemas::FinishReason;
use services::EngineBackend;
use stage::{BackendError, Image, ModelBackend, ModelRequest, Services, Stage as _};

fn engine() -> Engine {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../stages/inference/glm46v/checkpoints/untrained");
    Engine::start(Checkpoint::open(folder).unwrap(), EngineOptions { queue: 2, ..EngineOptions::default() })
        .unwrap()
}

fn request(images: Vec<Image>) -> ModelRequest {
    ModelRequest { system: Some("Answer.".into()), images, prompt: "Which view?".into(), max_new_tokens: 8 }
}

fn picture(side: u32) -> Image {
    Image { width: side, height: side, rgb: vec![90; 3 * (side * side) as usize].into() }
}

#[test]
fn the_engine_answers_greedily_and_says_what_it_is() {
    let engine = engine();
    let backend = EngineBackend::new(engine.handle(), "untrained");
    assert!(backend.identity().untrained);
    assert_eq!(backend.identity().digest.as_bytes(), engine.handle().info().digest.as_bytes());
    let first = backend.generate(&request(vec![picture(56)])).unwrap();
    assert_eq!(backend.generate(&request(vec![picture(56)])).unwrap(), first);
    assert!(first.vision_tokens > 0 && first.prompt_tokens > first.vision_tokens);
    assert!(first.generated_tokens <= 8);
    assert!(first.generated_tokens == 8 || first.finish_reason != FinishReason::Length);
}

#[test]
fn requests_that_can_never_work_are_refused_and_a_gone_engine_is_broken() {
    let engine = engine();
    let backend = EngineBackend::new(engine.handle(), "untrained");
    let short = Image { rgb: vec![0; 5].into(), ..picture(56) };
    assert!(matches!(backend.generate(&request(vec![short])), Err(BackendError::Refused(_))));
    assert!(matches!(backend.generate(&request(vec![picture(0)])), Err(BackendError::Refused(_))));
    let endless = ModelRequest { max_new_tokens: u32::MAX, ..request(vec![]) };
    assert!(matches!(backend.generate(&endless), Err(BackendError::Refused(_))));
    drop(engine);
    assert!(matches!(backend.generate(&request(vec![])), Err(BackendError::Broken(_))));
}

#[test]
fn the_stage_builds_on_it() {
    let engine = engine();
    let model: Arc<dyn ModelBackend> = Arc::new(EngineBackend::new(engine.handle(), "untrained"));
    let text = include_str!("../../../config/prompts/echo.en.md").to_owned();
    let config = Config {
        prompt: PromptConfig { id: "echo.en".into(), text },
        max_new_tokens: 16,
        max_images: 2,
        allow_demo_model: false,
    };
    assert!(InferenceStage::build(config, &Services { model }).is_ok());
}
