//! Which tensors the architecture has, and in which shapes: the names of transformers'
//! `Glm4vForConditionalGeneration`. A linear layer is stored as `[out, in]`.

use std::collections::BTreeMap;

use super::weights::Weights;
use crate::config::{ModelConfig, TextConfig, VisionConfig};
use crate::error::{LoadError, Names};

/// Tensors that are computed, not learned, and that older files nevertheless store.
const DERIVED: [&str; 3] = ["rotary_emb.inv_freq", "rotary_pos_emb.inv_freq", "position_ids"];

/// Checks names, shapes and types of all tensors against the configuration.
pub(super) fn check(config: &ModelConfig, weights: &Weights) -> Result<(), LoadError> {
    let mut expected = Manifest::default();
    text(&mut expected, &config.text);
    vision(&mut expected, &config.vision);
    // transformers drops a stored head when it is tied, and so do we.
    let tied_head = config.tie_word_embeddings;
    if !tied_head {
        expected.add("lm_head.weight", &[config.text.vocab_size, config.text.hidden_size]);
    }
    let missing: Vec<String> =
        expected.0.keys().filter(|name| weights.stored(name).is_none()).cloned().collect();
    if !missing.is_empty() {
        return Err(LoadError::TensorsMissing { names: Names(missing) });
    }
    let unexpected: Vec<String> = weights
        .names()
        .filter(|name| !expected.0.contains_key(*name))
        .filter(|name| !DERIVED.iter().any(|derived| name.ends_with(derived)))
        .filter(|name| !(tied_head && *name == "lm_head.weight"))
        .map(str::to_owned)
        .collect();
    if !unexpected.is_empty() {
        return Err(LoadError::TensorsUnexpected { names: Names(unexpected) });
    }
    for (name, shape) in expected.0 {
        weights.check(&name, &shape)?;
    }
    Ok(())
}

#[derive(Default)]
struct Manifest(BTreeMap<String, Vec<usize>>);

impl Manifest {
    fn add(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.0.insert(name.into(), shape.to_vec());
    }
}

fn text(expected: &mut Manifest, c: &TextConfig) {
    let prefix = "model.language_model";
    expected.add(format!("{prefix}.embed_tokens.weight"), &[c.vocab_size, c.hidden_size]);
    expected.add(format!("{prefix}.norm.weight"), &[c.hidden_size]);
    for i in 0..c.layers {
        let layer = format!("{prefix}.layers.{i}");
        for norm in
            ["input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm"]
        {
            expected.add(format!("{layer}.{norm}.weight"), &[c.hidden_size]);
        }
        for (name, heads) in [("q_proj", c.heads), ("k_proj", c.kv_heads), ("v_proj", c.kv_heads)] {
            expected.add(format!("{layer}.self_attn.{name}.weight"), &[heads * c.head_dim, c.hidden_size]);
            expected.add(format!("{layer}.self_attn.{name}.bias"), &[heads * c.head_dim]);
        }
        expected.add(format!("{layer}.self_attn.o_proj.weight"), &[c.hidden_size, c.heads * c.head_dim]);
        expected.add(format!("{layer}.mlp.gate_up_proj.weight"), &[2 * c.intermediate_size, c.hidden_size]);
        expected.add(format!("{layer}.mlp.down_proj.weight"), &[c.hidden_size, c.intermediate_size]);
    }
}

fn vision(expected: &mut Manifest, c: &VisionConfig) {
    let prefix = "model.visual";
    let (hidden, out, side, merge) = (c.hidden_size, c.out_hidden_size, c.patch_size, c.spatial_merge_size);
    expected.add(
        format!("{prefix}.patch_embed.proj.weight"),
        &[hidden, c.channels, c.temporal_patch_size, side, side],
    );
    expected.add(format!("{prefix}.patch_embed.proj.bias"), &[hidden]);
    expected.add(format!("{prefix}.post_conv_layernorm.weight"), &[hidden]);
    expected.add(
        format!("{prefix}.embeddings.position_embedding.weight"),
        &[c.position_side * c.position_side, hidden],
    );
    for i in 0..c.depth {
        let block = format!("{prefix}.blocks.{i}");
        expected.add(format!("{block}.norm1.weight"), &[hidden]);
        expected.add(format!("{block}.norm2.weight"), &[hidden]);
        expected.add(format!("{block}.attn.qkv.weight"), &[3 * hidden, hidden]);
        if c.attention_bias {
            expected.add(format!("{block}.attn.qkv.bias"), &[3 * hidden]);
        }
        expected.add(format!("{block}.attn.proj.weight"), &[hidden, hidden]);
        expected.add(format!("{block}.mlp.gate_proj.weight"), &[out, hidden]);
        expected.add(format!("{block}.mlp.up_proj.weight"), &[out, hidden]);
        expected.add(format!("{block}.mlp.down_proj.weight"), &[hidden, out]);
    }
    expected.add(format!("{prefix}.post_layernorm.weight"), &[hidden]);
    expected.add(format!("{prefix}.downsample.weight"), &[out, hidden, merge, merge]);
    expected.add(format!("{prefix}.downsample.bias"), &[out]);
    expected.add(format!("{prefix}.merger.proj.weight"), &[out, out]);
    expected.add(format!("{prefix}.merger.post_projection_norm.weight"), &[out]);
    expected.add(format!("{prefix}.merger.post_projection_norm.bias"), &[out]);
    expected.add(format!("{prefix}.merger.gate_proj.weight"), &[c.intermediate_size, out]);
    expected.add(format!("{prefix}.merger.up_proj.weight"), &[c.intermediate_size, out]);
    expected.add(format!("{prefix}.merger.down_proj.weight"), &[out, c.intermediate_size]);
}
