//! LoRA adapters of PEFT merged at load. `fixtures/make_adapter.py` trains the one here and merges it with peft.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use glm46v::{AdapterError, Capture, Checkpoint, Engine, EngineOptions, GenerateOptions, LoadError, Request};
use serde_json::{Value, json};

use crate::case::{Tensors, cases};
use crate::support::{copy_of, edit, fixtures};

fn checkpoint() -> Checkpoint {
    Checkpoint::open(fixtures().join("glm46v-v5")).unwrap()
}

fn refused(folder: &Path) -> AdapterError {
    match checkpoint().with_adapter(folder).err() {
        Some(LoadError::Adapter { source, folder: named }) => {
            assert_eq!(named, folder);
            source
        }
        other => panic!("{other:?}"),
    }
}

/// The refusal of the adapter with a changed configuration.
fn with_config(change: impl FnOnce(&mut Value)) -> AdapterError {
    let folder = copy_of(&fixtures().join("adapter"));
    edit(folder.path(), "adapter_config.json", change);
    refused(folder.path())
}

/// The refusal of the adapter with changed tensors.
fn with_tensors(change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> AdapterError {
    let folder = copy_of(&fixtures().join("adapter"));
    let path = folder.path().join("adapter_model.safetensors");
    let mut tensors: BTreeMap<String, Tensor> =
        candle_core::safetensors::load(&path, &Device::Cpu).unwrap().into_iter().collect();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors.into_iter().collect(), &path).unwrap();
    refused(folder.path())
}

const Q_PROJ: &str = "base_model.model.model.language_model.layers.1.self_attn.q_proj";

#[test]
fn merged_scores_are_those_of_merge_and_unload() {
    let expected = Tensors::open(&fixtures().join("adapter/expected.safetensors"));
    let engine = Engine::start(
        checkpoint().with_adapter(fixtures().join("adapter")).unwrap(),
        EngineOptions::default(),
    )
    .unwrap();
    let plain = Engine::start(checkpoint(), EngineOptions::default()).unwrap();
    let cases = cases(&fixtures()).remove("glm46v-v5").unwrap();
    let mut compared = 0;
    for name in expected.names() {
        let case = cases.iter().find(|case| case.name == format!("glm46v-v5.{name}")).unwrap();
        let scores = |engine: &Engine| {
            let options =
                GenerateOptions { max_new_tokens: 1, capture: Capture::Logits, ..GenerateOptions::default() };
            let answer = engine.handle().generate(&Request::new(case.prompt.clone(), options)).unwrap();
            answer.captured.unwrap().step_logits.remove(0)
        };
        let wanted = expected.f32(&name);
        let apart = |found: &[f32]| {
            found.iter().zip(&wanted).map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f32::max)
        };
        let (merged, unmerged) = (scores(&engine), scores(&plain));
        assert_eq!(merged.len(), wanted.len());
        assert!(apart(&merged) <= 1e-4, "{name}: scores differ by {}", apart(&merged));
        assert!(apart(&unmerged) > 0.1, "{name}: the adapter changes nothing");
        compared += 1;
    }
    assert_eq!(compared, 3);
}

#[test]
fn adapter_is_part_of_the_identity() {
    let folder = copy_of(&fixtures().join("adapter"));
    let with = checkpoint().with_adapter(fixtures().join("adapter")).unwrap().digest();
    assert_ne!(with, checkpoint().digest());
    assert_eq!(checkpoint().with_adapter(folder.path()).unwrap().digest(), with);
    edit(folder.path(), "adapter_config.json", |config| config["lora_alpha"] = 9.into());
    assert_ne!(checkpoint().with_adapter(folder.path()).unwrap().digest(), with);
    let second = checkpoint().with_adapter(folder.path()).unwrap().with_adapter(folder.path()).err();
    assert!(matches!(second, Some(LoadError::Adapter { source: AdapterError::Second, .. })));
}

#[test]
fn what_is_not_merged_is_refused_by_the_name_of_its_field() {
    for (field, value) in [
        ("use_dora", json!(true)),
        ("bias", json!("lora_only")),
        ("lora_bias", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("fan_in_fan_out", json!(true)),
        ("init_lora_weights", json!("pissa")),
        ("layer_replication", json!([[0, 1]])),
        ("target_parameters", json!(["experts.down_proj"])),
        ("trainable_token_indices", json!([1, 2])),
        ("peft_type", json!("LOHA")),
        ("r", json!(0)),
        ("r", json!("4")),
        ("lora_alpha", json!(null)),
        ("rank_pattern", json!({"^layers.0": 6})),
        ("alpha_pattern", json!({"mlp.gate_up_proj": 3, "gate_up_proj": 4})),
        ("use_rslora", json!("yes")),
        ("target_modules", json!(null)),
        ("something_of_next_year", json!(1)),
    ] {
        let error = with_config(|config| config[field] = value.clone());
        assert!(
            matches!(&error, AdapterError::Field { field: named, .. } if named == field),
            "{field}: {error}"
        );
    }
    // Of next year too, but it changes nothing.
    let folder = copy_of(&fixtures().join("adapter"));
    edit(folder.path(), "adapter_config.json", |config| config["something_of_next_year"] = json!(null));
    assert!(checkpoint().with_adapter(folder.path()).is_ok());
}

#[test]
fn ranks_that_do_not_fit_are_refused_by_the_name_of_the_tensor() {
    let error = with_config(|config| config["r"] = 8.into());
    assert!(
        matches!(error, AdapterError::Shape { ref found, expected: [8, _], .. } if found[0] == 4),
        "{error}"
    );
    let error = with_config(|config| config["rank_pattern"] = json!({}));
    assert!(
        matches!(error, AdapterError::Shape { ref name, .. } if name.contains("layers.0.self_attn.q_proj")),
        "{error}"
    );
    let error = with_tensors(|tensors| {
        let narrow = tensors[&format!("{Q_PROJ}.lora_B.weight")].narrow(0, 0, 60).unwrap();
        tensors.insert(format!("{Q_PROJ}.lora_B.weight"), narrow.contiguous().unwrap());
    });
    assert!(
        matches!(error, AdapterError::Shape { expected: [64, 4], ref found, .. } if found == &[60, 4]),
        "{error}"
    );
}

#[test]
fn tensors_without_a_place_or_a_partner_are_refused_by_name() {
    let zeros = |shape: (usize, usize)| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    for unknown in [
        "base_model.model.model.language_model.layers.2.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.language_model.embed_tokens.lora_A.weight",
        "base_model.model.model.language_model.embed_tokens.lora_embedding_A",
        "base_model.model.model.visual.patch_embed.proj.lora_A.weight",
        "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_magnitude_vector.weight",
        "model.language_model.layers.0.self_attn.q_proj.lora_A.weight",
    ] {
        let error = with_tensors(|tensors| drop(tensors.insert(unknown.to_owned(), zeros((4, 64)))));
        assert!(
            matches!(&error, AdapterError::UnknownTensors { names } if names.0 == [unknown]),
            "{unknown}: {error}"
        );
    }
    let half = with_tensors(|tensors| drop(tensors.remove(&format!("{Q_PROJ}.lora_B.weight"))));
    assert!(
        matches!(&half, AdapterError::MissingTensors { names } if names.0[0].ends_with("q_proj.lora_B")),
        "{half}"
    );
    let module = with_tensors(|tensors| tensors.retain(|name, _| !name.starts_with(Q_PROJ)));
    assert!(
        matches!(&module, AdapterError::MissingTensors { names } if Q_PROJ.ends_with(&names.0[0])),
        "{module}"
    );
    let unused = with_config(|config| config["target_modules"].as_array_mut().unwrap().push(json!("k_proj")));
    assert!(
        matches!(&unused, AdapterError::MissingTensors { names } if names.0.contains(&"k_proj".to_owned())),
        "{unused}"
    );
    let untargeted = with_config(|config| config["target_modules"] = json!(["qkv"]));
    assert!(matches!(untargeted, AdapterError::Untargeted { .. }), "{untargeted}");
    let integers = with_tensors(|tensors| {
        let integers = zeros((4, 64)).to_dtype(DType::U32).unwrap();
        tensors.insert(format!("{Q_PROJ}.lora_A.weight"), integers);
    });
    assert!(
        matches!(&integers, AdapterError::Dtype { name, .. } if name.contains("q_proj.lora_A")),
        "{integers}"
    );
}

#[test]
fn files_that_are_missing_or_damaged_are_refused() {
    let folder = copy_of(&fixtures().join("adapter"));
    let path = folder.path().join("adapter_model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    assert!(matches!(refused(folder.path()), AdapterError::Tensors { .. }));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(
        refused(folder.path()),
        AdapterError::FileMissing { wanted: "adapter_model.safetensors" }
    ));
    std::fs::write(folder.path().join("adapter_config.json"), "[]").unwrap();
    std::fs::write(&path, &whole).unwrap();
    assert!(matches!(refused(folder.path()), AdapterError::Json { source: None }));
}
