//! A random checkpoint whose rows are long enough for blocks of 256, which the committed ones are not.
//!
//! Matrices of the language model have rows of 256, but for the mlp's way down (288: blocks of 32 only); the vision tower's
//! have rows of 96 to 512, and the patch embedding's of 1176 fit no block.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use crate::support::{copy_of, edit, fixtures};

const HIDDEN: usize = 256;
const INNER: usize = 288;
const VOCABULARY: usize = 548;
const LAYERS: usize = 2;
const VISION: usize = 96;
const VISION_INNER: usize = 320;
const DEPTH: usize = 2;

/// Makes it anew; the same at each call.
pub(crate) fn wide_checkpoint() -> tempfile::TempDir {
    let folder = copy_of(&fixtures().join("glm46v-v5"));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("safetensors") {
            std::fs::remove_file(path).unwrap();
        }
    }
    edit(folder.path(), "config.json", |config| {
        let text = &mut config["text_config"];
        text["hidden_size"] = json!(HIDDEN);
        text["intermediate_size"] = json!(INNER);
        text["num_attention_heads"] = json!(8);
        text["rope_parameters"]["mrope_section"] = json!([2, 3, 3]);
        let vision = &mut config["vision_config"];
        vision["hidden_size"] = json!(VISION);
        vision["out_hidden_size"] = json!(HIDDEN);
        vision["intermediate_size"] = json!(VISION_INNER);
    });
    write(folder.path());
    folder
}

fn write(folder: &Path) {
    let mut random = Random(1);
    let held: Vec<(String, Vec<usize>, Vec<u8>)> = shapes()
        .into_iter()
        .map(|(name, shape)| {
            let bytes = random.tensor(&name, &shape).into_iter().flat_map(f32::to_le_bytes).collect();
            (name, shape, bytes)
        })
        .collect();
    let views: HashMap<&str, TensorView<'_>> = held
        .iter()
        .map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        })
        .collect();
    std::fs::write(folder.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

fn shapes() -> Vec<(String, Vec<usize>)> {
    let mut all: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: String, shape: &[usize]| all.push((name, shape.to_vec()));
    let text = "model.language_model";
    add(format!("{text}.embed_tokens.weight"), &[VOCABULARY, HIDDEN]);
    add("lm_head.weight".to_owned(), &[VOCABULARY, HIDDEN]);
    add(format!("{text}.norm.weight"), &[HIDDEN]);
    for layer in (0..LAYERS).map(|layer| format!("{text}.layers.{layer}")) {
        for norm in
            ["input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm"]
        {
            add(format!("{layer}.{norm}.weight"), &[HIDDEN]);
        }
        for (name, rows) in [("q_proj", HIDDEN), ("k_proj", 64), ("v_proj", 64)] {
            add(format!("{layer}.self_attn.{name}.weight"), &[rows, HIDDEN]);
            add(format!("{layer}.self_attn.{name}.bias"), &[rows]);
        }
        add(format!("{layer}.self_attn.o_proj.weight"), &[HIDDEN, HIDDEN]);
        add(format!("{layer}.mlp.gate_up_proj.weight"), &[2 * INNER, HIDDEN]);
        add(format!("{layer}.mlp.down_proj.weight"), &[HIDDEN, INNER]);
    }
    let vision = "model.visual";
    add(format!("{vision}.patch_embed.proj.weight"), &[VISION, 3, 2, 14, 14]);
    add(format!("{vision}.patch_embed.proj.bias"), &[VISION]);
    add(format!("{vision}.post_conv_layernorm.weight"), &[VISION]);
    add(format!("{vision}.post_layernorm.weight"), &[VISION]);
    add(format!("{vision}.embeddings.position_embedding.weight"), &[576, VISION]);
    for block in (0..DEPTH).map(|block| format!("{vision}.blocks.{block}")) {
        add(format!("{block}.norm1.weight"), &[VISION]);
        add(format!("{block}.norm2.weight"), &[VISION]);
        add(format!("{block}.attn.qkv.weight"), &[3 * VISION, VISION]);
        add(format!("{block}.attn.proj.weight"), &[VISION, VISION]);
        add(format!("{block}.mlp.gate_proj.weight"), &[HIDDEN, VISION]);
        add(format!("{block}.mlp.up_proj.weight"), &[HIDDEN, VISION]);
        add(format!("{block}.mlp.down_proj.weight"), &[VISION, HIDDEN]);
    }
    add(format!("{vision}.downsample.weight"), &[HIDDEN, VISION, 2, 2]);
    add(format!("{vision}.downsample.bias"), &[HIDDEN]);
    let merger = format!("{vision}.merger");
    add(format!("{merger}.proj.weight"), &[HIDDEN, HIDDEN]);
    add(format!("{merger}.post_projection_norm.weight"), &[HIDDEN]);
    add(format!("{merger}.post_projection_norm.bias"), &[HIDDEN]);
    add(format!("{merger}.gate_proj.weight"), &[VISION_INNER, HIDDEN]);
    add(format!("{merger}.up_proj.weight"), &[VISION_INNER, HIDDEN]);
    add(format!("{merger}.down_proj.weight"), &[HIDDEN, VISION_INNER]);
    all
}

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        let fan_in: usize = shape.iter().skip(1).product();
        let (mean, deviation) = match name {
            _ if name.ends_with("bias") => (0.0, 0.1),
            _ if name.contains("norm") => (1.0, 0.2),
            _ if name.contains("embed_tokens") => (0.0, 1.0),
            _ => (0.0, 1.0 / (fan_in as f32).sqrt()),
        };
        (0..shape.iter().product()).map(|_| mean + deviation * self.normal()).collect()
    }

    /// By the central limit: a sum of twelve uniform numbers.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }

    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    }
}
