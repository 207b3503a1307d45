//! Every example of `schemas/topics` runs through the stage that reads its topic.
//!
//! Examples name blobs that no store holds, so a stage that looks at pictures says `ObjectMissing` of them: it must
//! say so, the same way each time, and never panic. Stages that need no picture must answer.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, sync::Arc};

use schemas::{Digest, Message, ModelIdentity, decode};
use stage::{
    BackendError, Generation, ModelBackend, ModelRequest, Outcome, Services, Stage, StageError, Visitor,
    testing::{MemoryBlobs, MemoryFrames, check, ctx},
};

/// No picture reaches a model here: whoever asks fails the test.
struct NoModel(ModelIdentity);

impl ModelBackend for NoModel {
    fn identity(&self) -> &ModelIdentity {
        &self.0
    }

    fn generate(&self, _: &ModelRequest) -> Result<Generation, BackendError> {
        Err(BackendError::Broken("an example reached the model".into()))
    }

    fn score(&self, _: &ModelRequest, _: &[String]) -> Result<Vec<f64>, BackendError> {
        Err(BackendError::Broken("an example reached the model".into()))
    }
}

fn services() -> Services {
    Services {
        model: Arc::new(NoModel(ModelIdentity {
            name: "none".to_owned(),
            digest: Digest::of(b"none"),
            dtype: "f32".to_owned(),
            device: "cpu".to_owned(),
            untrained: true,
            synthetic_only: false,
        })),
    }
}

/// The stage's table of `config/default.toml`, with the names of prompts replaced by the prompts.
fn table(name: &str) -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/default.toml");
    let all: toml::Table = fs::read_to_string(path).expect("defaults").parse().expect("TOML");
    let mut table = all["stages"][name].as_table().expect("the stage's table").clone();
    if let Some(toml::Value::Table(prompts)) = table.get_mut("prompts") {
        for (_, prompt) in prompts.iter_mut() {
            let id = prompt.as_str().expect("a prompt's name").to_owned();
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../config/prompts/{id}.md"));
            let text = fs::read_to_string(path).expect("a prompt");
            *prompt =
                toml::Table::from_iter([("id".to_owned(), id.into()), ("text".to_owned(), text.into())])
                    .into();
        }
    }
    // Nothing is named by default: the composition root then leaves the option away.
    table.remove("calibration_set");
    table
}

struct RunExamples {
    answered: usize,
    missing: usize,
}

impl Visitor for RunExamples {
    fn stage<S: Stage>(&mut self) {
        let topic = S::In::TOPIC;
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/topics").join(topic.name).join("examples");
        let mut files: Vec<_> =
            fs::read_dir(folder).expect("examples").map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{} has no example", topic.name);
        let inputs: Vec<S::In> = files
            .iter()
            .map(|file| {
                decode(&fs::read(file).expect("an example"), topic.major, topic.minor).expect("a message")
            })
            .collect();
        let (blobs, frames) = (MemoryBlobs::default(), MemoryFrames::default());
        let build = || {
            let config = table(S::NAME).try_into::<S::Config>().expect("a valid table");
            S::build(config, &services()).expect("a stage")
        };
        for (file, result) in files.iter().zip(check::<S>(build, &inputs, &mut ctx(&blobs, &frames))) {
            match result {
                Ok(Outcome::Emit(_) | Outcome::Reject(_)) => self.answered += 1,
                Err(StageError::Invalid(_)) => self.missing += 1,
                Err(error) => panic!("{} on {}: {error}", S::NAME, file.display()),
            }
        }
    }
}

#[test]
fn every_example_runs_through_its_stage() {
    let mut run = RunExamples { answered: 0, missing: 0 };
    stages::visit(&mut run);
    assert!(run.answered >= 3, "only {} examples were answered", run.answered);
    assert!(run.missing >= 4, "only {} examples were found to lack their pictures", run.missing);
}
