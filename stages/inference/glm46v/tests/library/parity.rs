//! Ids, positions, pixels, scores and answers equal those of transformers on tiny random checkpoints of many shapes.
//!
//! Checkpoints that nobody has seen yet: `fixtures/make_fixtures.py --fresh SEED`, which runs `examples/parity.rs`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::agreement::{SCORES_WITHIN, agreement};
use crate::case::{Case, cases};
use crate::support::{copy_of, edit, engine, fixtures};
use glm46v::{Checkpoint, FinishReason, ModelConfig};

/// Of each checkpoint: none to three pictures, extreme ones, a history, two videos, thinking on and off.
const CASES: usize = 8;

fn committed() -> Vec<(PathBuf, Vec<Case>)> {
    let all = cases(&fixtures()).into_iter().filter(|(checkpoint, _)| checkpoint != "stop");
    all.map(|(checkpoint, cases)| (fixtures().join(checkpoint), cases)).collect()
}

#[test]
fn every_checkpoint_answers_as_transformers() {
    let all = committed();
    assert!(all.len() >= 6, "{} checkpoints", all.len());
    for (folder, cases) in all {
        assert_eq!(cases.len(), CASES, "{}", folder.display());
        let engine = engine(&folder);
        for case in &cases {
            let agreed = agreement(&engine, case).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            assert_eq!(agreed.finish_reason, FinishReason::Length, "{}", case.name);
            assert!(agreed.scores <= SCORES_WITHIN, "{}", case.name);
        }
    }
}

#[test]
fn scores_within_the_tolerance_leave_one_answer() {
    for case in committed().iter().flat_map(|(_, cases)| cases) {
        let margin = case.about["margin"].as_f64().unwrap();
        assert!(margin > SCORES_WITHIN * std::f64::consts::SQRT_2, "{}: {margin:.1e}", case.name);
        let ids: BTreeSet<u32> = case.tensors.u32("greedy_ids").into_iter().collect();
        assert!(ids.len() >= 4, "{}: {} different ids", case.name, ids.len());
        assert!(case.steps().len() >= 6, "{}", case.name);
    }
}

#[test]
fn checkpoints_differ_in_everything_that_a_file_may_say() {
    let configs: Vec<ModelConfig> =
        committed().iter().map(|(folder, _)| Checkpoint::open(folder).unwrap().config().clone()).collect();
    let kinds = |of: &dyn Fn(&ModelConfig) -> String| configs.iter().map(of).collect::<BTreeSet<_>>().len();
    assert!(kinds(&|c| (c.text.heads / c.text.kv_heads).to_string()) >= 4, "query heads of a key head");
    assert!(kinds(&|c| c.text.layers.to_string()) >= 4, "layers");
    assert!(kinds(&|c| c.vision.depth.to_string()) >= 4, "depth of the vision tower");
    assert!(kinds(&|c| format!("{:?}", c.text.rope.sections)) >= 5, "sections");
    assert!(kinds(&|c| c.text.rope.sections.len().to_string()) >= 3, "number of sections");
    assert_eq!(kinds(&|c| c.tie_word_embeddings.to_string()), 2, "tied or not");
    assert_eq!(kinds(&|c| c.eos_token_ids.len().to_string()), 2, "token orders");
    assert_eq!(kinds(&|c| c.vision.patch_size.to_string()), 2, "patches");
    assert_eq!(kinds(&|c| c.vision.attention_bias.to_string()), 2, "biases of the vision tower");
    let layouts: BTreeSet<bool> =
        committed().iter().map(|(folder, _)| folder.join("processor_config.json").exists()).collect();
    assert_eq!(layouts.len(), 2, "layouts");
}

#[test]
fn end_token_of_generation_config_stops_as_in_transformers() {
    let stop = cases(&fixtures()).remove("stop").unwrap().remove(0);
    let folder = copy_of(&fixtures().join("glm46v-v5"));
    edit(folder.path(), "generation_config.json", |config| {
        config["eos_token_id"] = stop.about["eos_token_id"].clone();
    });
    let agreed = agreement(&engine(folder.path()), &stop).unwrap();
    assert_eq!(agreed.finish_reason, FinishReason::Stop);
}
