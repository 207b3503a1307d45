//! A folder that is damaged, incomplete or of another model is refused with an error that names what is wrong.

use std::collections::HashMap;
use std::path::Path;

use crate::support::{copy_of, edit, fixtures};
use glm46v::{
    Checkpoint, Engine, EngineOptions, GenerateOptions, LoadError, Message, Part, Prompt, Request,
    RequestError, RgbImage, Role, Thinking,
};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::json;

fn v4() -> tempfile::TempDir {
    copy_of(&fixtures().join("glm4v-v4"))
}

fn v5() -> tempfile::TempDir {
    copy_of(&fixtures().join("glm46v-v5"))
}

fn refusal(folder: &Path) -> LoadError {
    match Checkpoint::open(folder) {
        Err(error) => error,
        Ok(checkpoint) => match Engine::start(checkpoint, EngineOptions::default()) {
            Err(error) => error,
            Ok(_) => panic!("{} was accepted", folder.display()),
        },
    }
}

/// The whole chain, as a log shows it.
fn text(error: &LoadError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Rewrites the only weight file with other tensors.
fn rewrite(folder: &Path, change: impl FnOnce(&mut HashMap<String, TensorView<'_>>)) {
    let path = folder.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let parsed = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: HashMap<String, TensorView<'_>> = parsed.tensors().into_iter().collect();
    change(&mut tensors);
    std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
}

#[test]
fn missing_tensors_are_named() {
    let folder = v4();
    rewrite(folder.path(), |tensors| {
        tensors.remove("model.visual.downsample.bias").unwrap();
        tensors.remove("model.language_model.layers.1.self_attn.k_proj.bias").unwrap();
    });
    let error = refusal(folder.path());
    assert!(matches!(error, LoadError::TensorsMissing { .. }));
    assert_eq!(
        error.to_string(),
        "the weights lack model.language_model.layers.1.self_attn.k_proj.bias, model.visual.downsample.bias"
    );
}

#[test]
fn unexpected_tensors_are_named() {
    let folder = v4();
    rewrite(folder.path(), |tensors| {
        let any = tensors["model.visual.downsample.bias"].clone();
        tensors.insert("model.visual.blocks.7.norm1.weight".to_owned(), any);
    });
    let error = refusal(folder.path());
    assert!(matches!(error, LoadError::TensorsUnexpected { .. }));
    assert!(error.to_string().contains("model.visual.blocks.7.norm1.weight"), "{error}");
}

#[test]
fn computed_buffers_and_a_tied_head_may_be_stored() {
    let folder = v4();
    rewrite(folder.path(), |tensors| {
        let any = tensors["model.visual.downsample.bias"].clone();
        tensors.insert("model.language_model.rotary_emb.inv_freq".to_owned(), any);
        let head = tensors["model.language_model.embed_tokens.weight"].clone();
        tensors.insert("lm_head.weight".to_owned(), head);
    });
    Checkpoint::open(folder.path()).unwrap();
}

#[test]
fn wrong_shape_names_the_tensor_and_both_shapes() {
    let folder = v4();
    edit(folder.path(), "config.json", |c| c["vision_config"]["intermediate_size"] = json!(70));
    let LoadError::TensorShape { name, found, expected } = refusal(folder.path()) else { panic!() };
    assert_eq!(name, "model.visual.merger.down_proj.weight");
    assert_eq!((found, expected), (vec![64, 72], vec![64, 70]));
}

#[test]
fn integer_weights_are_refused_by_name() {
    let folder = v4();
    rewrite(folder.path(), |tensors| {
        let name = "model.visual.downsample.bias";
        let view = TensorView::new(safetensors::Dtype::I16, vec![64], &[0; 128]).unwrap();
        tensors.insert(name.to_owned(), view);
    });
    let error = refusal(folder.path());
    assert_eq!(
        error.to_string(),
        "tensor model.visual.downsample.bias is stored as I16; expected F32, F16 or BF16"
    );
}

#[test]
fn weight_file_cut_short_at_any_place_is_refused() {
    let folder = v4();
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    for keep in [0, 4, 8, 100, 6000, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..keep]).unwrap();
        let error = refusal(folder.path());
        assert!(matches!(error, LoadError::Weights { .. }), "{keep} bytes: {error}");
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    }
}

#[test]
fn header_that_claims_absurd_sizes_is_refused() {
    let folder = v4();
    let path = folder.path().join("model.safetensors");
    for header_len in [u64::MAX, 1 << 40, 1 << 20] {
        let mut bytes = header_len.to_le_bytes().to_vec();
        bytes.extend_from_slice(
            br#"{"a":{"dtype":"F32","shape":[4000000000],"data_offsets":[0,16000000000]}}"#,
        );
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(refusal(folder.path()), LoadError::Weights { .. }));
    }
}

#[test]
fn missing_shard_is_named() {
    let folder = v5();
    std::fs::remove_file(folder.path().join("model-00003-of-00005.safetensors")).unwrap();
    let error = refusal(folder.path());
    assert!(text(&error).contains("model-00003-of-00005.safetensors"), "{}", text(&error));
}

#[test]
fn shard_outside_the_folder_is_refused() {
    let folder = v5();
    edit(folder.path(), "model.safetensors.index.json", |index| {
        index["weight_map"]["lm_head.weight"] = json!("../secrets.safetensors");
    });
    let LoadError::ShardName { shard } = refusal(folder.path()) else { panic!() };
    assert_eq!(shard, "../secrets.safetensors");
}

#[test]
fn the_same_tensor_in_two_shards_is_refused() {
    let folder = v5();
    std::fs::copy(
        folder.path().join("model-00001-of-00005.safetensors"),
        folder.path().join("model-00009-of-00005.safetensors"),
    )
    .unwrap();
    edit(folder.path(), "model.safetensors.index.json", |index| {
        index["weight_map"]["again"] = json!("model-00009-of-00005.safetensors");
    });
    assert!(matches!(refusal(folder.path()), LoadError::TensorTwice { .. }));
}

#[test]
fn missing_files_are_named() {
    for (file, wanted) in [
        ("config.json", "config.json"),
        ("tokenizer.json", "tokenizer.json"),
        ("model.safetensors", "model.safetensors"),
        ("preprocessor_config.json", "preprocessor_config.json"),
        ("tokenizer_config.json", "chat_template.jinja"),
    ] {
        let folder = v4();
        std::fs::remove_file(folder.path().join(file)).unwrap();
        let error = refusal(folder.path());
        assert!(error.to_string().contains(wanted), "{file}: {error}");
    }
    let error = refusal(Path::new("/nonexistent/folder"));
    assert!(matches!(error, LoadError::FileMissing { wanted: "config.json", .. }));
}

#[test]
fn wrong_types_and_values_in_config_name_the_field() {
    type Change = fn(&mut serde_json::Value);
    let changes: [(&str, Change); 20] = [
        ("model_type", |c| c["model_type"] = json!("qwen2_vl")),
        ("model_type", |c| c["model_type"] = json!(7)),
        ("text_config.hidden_size", |c| c["text_config"]["hidden_size"] = json!("64")),
        ("text_config.hidden_size", |c| c["text_config"]["hidden_size"] = json!(-64)),
        ("text_config.hidden_size", |c| c["text_config"]["hidden_size"] = json!(9e18)),
        ("text_config.num_hidden_layers", |c| c["text_config"]["num_hidden_layers"] = json!(0)),
        ("text_config.num_hidden_layers", |c| {
            c["text_config"]["num_hidden_layers"] = json!(4_000_000_000_u64);
        }),
        ("text_config.num_attention_heads", |c| c["text_config"]["num_attention_heads"] = json!(7)),
        ("text_config.num_key_value_heads", |c| c["text_config"]["num_key_value_heads"] = json!(3)),
        ("text_config.head_dim", |c| c["text_config"]["head_dim"] = json!(64)),
        ("text_config.partial_rotary_factor", |c| c["text_config"]["partial_rotary_factor"] = json!(1.5)),
        ("text_config.hidden_act", |c| c["text_config"]["hidden_act"] = json!("gelu")),
        ("text_config.vocab_size", |c| {
            c["text_config"].as_object_mut().unwrap().remove("vocab_size");
        }),
        ("mrope_section", |c| c["text_config"]["rope_scaling"]["mrope_section"] = json!([2, 3, 4])),
        ("rope_type", |c| c["text_config"]["rope_scaling"]["rope_type"] = json!("yarn")),
        ("vision_config.patch_size", |c| c["vision_config"]["patch_size"] = json!([14, 16])),
        ("vision_config.out_hidden_size", |c| c["vision_config"]["out_hidden_size"] = json!(32)),
        ("vision_config.num_heads", |c| c["vision_config"]["num_heads"] = json!(16)),
        ("image_token_id", |c| c["image_token_id"] = json!(151_363)),
        ("quantization_config", |c| c["quantization_config"] = json!({"bits": 4})),
    ];
    for (field, change) in changes {
        let folder = v4();
        edit(folder.path(), "config.json", change);
        let error = refusal(folder.path());
        assert!(text(&error).contains("config.json"), "{}", text(&error));
        assert!(text(&error).contains(field), "{field}: {}", text(&error));
    }
}

#[test]
fn files_that_are_not_json_are_refused() {
    for name in ["config.json", "generation_config.json", "preprocessor_config.json", "tokenizer_config.json"]
    {
        for content in ["", "{", "[1]", "\u{feff}{}", "nul"] {
            let folder = v4();
            std::fs::write(folder.path().join(name), content).unwrap();
            let error = refusal(folder.path());
            assert!(
                text(&error).contains(name) || text(&error).contains("chat_template"),
                "{}",
                text(&error)
            );
        }
    }
}

#[test]
fn processor_that_this_library_does_not_have_is_refused() {
    for (field, value) in [
        ("patch_size", json!(16)),
        ("merge_size", json!(3)),
        ("resample", json!(2)),
        ("do_resize", json!(false)),
        ("image_std", json!([0.2, 0.0, 0.2])),
        ("size", json!({"shortest_edge": 100, "longest_edge": 10})),
    ] {
        let folder = v4();
        edit(folder.path(), "preprocessor_config.json", |c| c[field] = value);
        let error = refusal(folder.path());
        assert!(matches!(error, LoadError::FieldValue { .. }), "{field}: {error}");
    }
}

#[test]
fn tokenizer_and_config_must_agree() {
    let folder = v4();
    edit(folder.path(), "config.json", |c| c["image_token_id"] = json!(5));
    let error = refusal(folder.path());
    assert!(matches!(error, LoadError::TokenId { field: "image_token_id", config_id: 5, .. }), "{error}");

    let folder = v4();
    std::fs::write(folder.path().join("tokenizer.json"), b"{\"version\": \"1.0\"}").unwrap();
    assert!(matches!(refusal(folder.path()), LoadError::Tokenizer { .. }));
}

#[test]
fn template_that_does_not_parse_is_refused() {
    let folder = v5();
    std::fs::write(folder.path().join("chat_template.jinja"), "{% for m in messages %}").unwrap();
    assert!(matches!(refusal(folder.path()), LoadError::Template { .. }));
}

#[test]
fn marks_with_unknown_keys_are_refused() {
    let folder = v5();
    edit(folder.path(), "config.json", |c| c["prescreen"] = json!({"untraind": true}));
    let error = refusal(folder.path());
    assert!(text(&error).contains("untraind"), "{}", text(&error));
}

#[test]
fn digest_follows_content_and_nothing_else() {
    let folder = v5();
    let first = Checkpoint::open(folder.path()).unwrap().digest();
    assert_eq!(Checkpoint::open(fixtures().join("glm46v-v5")).unwrap().digest(), first);
    std::fs::write(folder.path().join("README.md"), "not part of the model").unwrap();
    assert_eq!(Checkpoint::open(folder.path()).unwrap().digest(), first);
    let template = folder.path().join("chat_template.jinja");
    let mut changed = std::fs::read_to_string(&template).unwrap();
    changed.push(' ');
    std::fs::write(&template, changed).unwrap();
    assert_ne!(Checkpoint::open(folder.path()).unwrap().digest(), first);
    assert_eq!(first.to_string().len(), 64);
}

/// Where the values of a JSON document are.
fn leaves(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            map.iter().for_each(|(key, value)| leaves(value, &format!("{path}/{key}"), found));
        }
        serde_json::Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, value)| leaves(value, &format!("{path}/{i}"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

#[test]
fn any_odd_value_in_any_field_is_refused_or_harmless() {
    let odd = [
        json!(null),
        json!(-1),
        json!(0),
        json!(1),
        json!(1e300),
        json!(u64::MAX),
        json!("x"),
        json!([]),
        json!({}),
        json!(true),
    ];
    let folder = v4();
    let mut refused = 0;
    for name in [
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "video_preprocessor_config.json",
    ] {
        let original = std::fs::read(folder.path().join(name)).unwrap();
        let mut paths = Vec::new();
        leaves(&serde_json::from_slice(&original).unwrap(), "", &mut paths);
        for (path, value) in paths.iter().flat_map(|path| odd.iter().map(move |value| (path, value))) {
            edit(folder.path(), name, |c| *c.pointer_mut(path).unwrap() = value.clone());
            let engine = Checkpoint::open(folder.path())
                .and_then(|checkpoint| Engine::start(checkpoint, EngineOptions::default()));
            match engine {
                // An answer or a typed refusal, but not a lost engine.
                Ok(engine) => {
                    let content = vec![Part::Image(RgbImage::new(60, 40)), Part::Text("What?".to_owned())];
                    let prompt = Prompt {
                        messages: vec![Message { role: Role::User, content }],
                        thinking: Thinking::Off,
                    };
                    let options = GenerateOptions { max_new_tokens: 2, ..GenerateOptions::default() };
                    let answer = engine.handle().generate(&Request::new(prompt, options));
                    assert!(!matches!(answer, Err(RequestError::EngineGone)), "{name}{path} = {value}");
                }
                Err(_) => refused += 1,
            }
        }
        std::fs::write(folder.path().join(name), original).unwrap();
    }
    assert!(refused > 100, "{refused}");
}
