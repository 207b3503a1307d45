//! Which tensors the architecture has, in which shapes and for what: the names of transformers'
//! `Glm4vForConditionalGeneration`. A linear layer is stored as `[out, in]`.

use std::collections::BTreeMap;

use candle_core::{Result as TensorResult, Tensor};

use super::weights::Weights;
use crate::config::{ModelConfig, TextConfig, VisionConfig};
use crate::error::{LoadError, Names};

/// Tensors that are computed, not learned, and that older files nevertheless store.
const DERIVED: [&str; 3] = ["rotary_emb.inv_freq", "rotary_pos_emb.inv_freq", "position_ids"];

/// What the model does with a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A matrix that the language model multiplies with, its head included.
    TextLinear,
    /// A matrix that the vision tower multiplies with; a convolution over whole patches is one.
    VisionLinear,
    /// The table of token embeddings.
    Embedding {
        /// Whether it is multiplied with as well, as the head.
        tied: bool,
    },
    /// Weights of an RMS norm, which works on the residual stream.
    Norm,
    /// Biases and the table of patch positions.
    Other,
}

/// One tensor of the architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) shape: Vec<usize>,
    pub(crate) role: Role,
}

impl Entry {
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Rows and row length, as the matrix that it is multiplied as.
    pub(crate) fn matrix(&self) -> (usize, usize) {
        let rows = self.shape.first().copied().unwrap_or_default();
        (rows, self.shape.iter().skip(1).product())
    }

    /// The tensor as that matrix. A convolution's kernel `[out, in, row, column]` takes the order in which the pixels of
    /// a patch lie behind each other here: row, column, in. Patches themselves are stored in the kernel's own order.
    pub(crate) fn to_matrix(&self, tensor: Tensor) -> TensorResult<Tensor> {
        match self.shape.len() {
            2 => Ok(tensor),
            4 => tensor.permute((0, 2, 3, 1))?.contiguous()?.reshape(self.matrix()),
            _ => tensor.reshape(self.matrix()),
        }
    }
}

/// All tensors of an architecture by name.
pub(crate) struct Manifest(BTreeMap<String, Entry>);

impl Manifest {
    pub(crate) fn of(config: &ModelConfig) -> Self {
        let mut expected = Self(BTreeMap::new());
        // transformers drops a stored head when it is tied, and so do we.
        let tied = config.tie_word_embeddings;
        text(&mut expected, &config.text, tied);
        vision(&mut expected, &config.vision);
        if !tied {
            let head = [config.text.vocab_size, config.text.hidden_size];
            expected.add("lm_head.weight", Role::TextLinear, &head);
        }
        expected
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.0.get(name)
    }

    /// Checks names, shapes and types of all stored tensors.
    pub(super) fn check(&self, config: &ModelConfig, weights: &Weights) -> Result<(), LoadError> {
        let missing: Vec<String> =
            self.0.keys().filter(|name| weights.stored(name).is_none()).cloned().collect();
        if !missing.is_empty() {
            return Err(LoadError::TensorsMissing { names: Names(missing) });
        }
        let unexpected: Vec<String> = weights
            .names()
            .filter(|name| !self.0.contains_key(*name))
            .filter(|name| !DERIVED.iter().any(|derived| name.ends_with(derived)))
            .filter(|name| !(config.tie_word_embeddings && *name == "lm_head.weight"))
            .map(str::to_owned)
            .collect();
        if !unexpected.is_empty() {
            return Err(LoadError::TensorsUnexpected { names: Names(unexpected) });
        }
        self.0.iter().try_for_each(|(name, entry)| weights.check(name, &entry.shape))
    }

    fn add(&mut self, name: impl Into<String>, role: Role, shape: &[usize]) {
        self.0.insert(name.into(), Entry { shape: shape.to_vec(), role });
    }
}

fn text(expected: &mut Manifest, c: &TextConfig, tied: bool) {
    let prefix = "model.language_model";
    expected.add(
        format!("{prefix}.embed_tokens.weight"),
        Role::Embedding { tied },
        &[c.vocab_size, c.hidden_size],
    );
    expected.add(format!("{prefix}.norm.weight"), Role::Norm, &[c.hidden_size]);
    for i in 0..c.layers {
        let layer = format!("{prefix}.layers.{i}");
        for norm in
            ["input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm"]
        {
            expected.add(format!("{layer}.{norm}.weight"), Role::Norm, &[c.hidden_size]);
        }
        for (name, heads) in [("q_proj", c.heads), ("k_proj", c.kv_heads), ("v_proj", c.kv_heads)] {
            expected.add(
                format!("{layer}.self_attn.{name}.weight"),
                Role::TextLinear,
                &[heads * c.head_dim, c.hidden_size],
            );
            expected.add(format!("{layer}.self_attn.{name}.bias"), Role::Other, &[heads * c.head_dim]);
        }
        expected.add(
            format!("{layer}.self_attn.o_proj.weight"),
            Role::TextLinear,
            &[c.hidden_size, c.heads * c.head_dim],
        );
        expected.add(
            format!("{layer}.mlp.gate_up_proj.weight"),
            Role::TextLinear,
            &[2 * c.intermediate_size, c.hidden_size],
        );
        expected.add(
            format!("{layer}.mlp.down_proj.weight"),
            Role::TextLinear,
            &[c.hidden_size, c.intermediate_size],
        );
    }
}

fn vision(expected: &mut Manifest, c: &VisionConfig) {
    let prefix = "model.visual";
    let (hidden, out, side, merge) = (c.hidden_size, c.out_hidden_size, c.patch_size, c.spatial_merge_size);
    expected.add(
        format!("{prefix}.patch_embed.proj.weight"),
        Role::VisionLinear,
        &[hidden, c.channels, c.temporal_patch_size, side, side],
    );
    expected.add(format!("{prefix}.patch_embed.proj.bias"), Role::Other, &[hidden]);
    expected.add(format!("{prefix}.post_conv_layernorm.weight"), Role::Norm, &[hidden]);
    expected.add(
        format!("{prefix}.embeddings.position_embedding.weight"),
        Role::Other,
        &[c.position_side * c.position_side, hidden],
    );
    for i in 0..c.depth {
        let block = format!("{prefix}.blocks.{i}");
        expected.add(format!("{block}.norm1.weight"), Role::Norm, &[hidden]);
        expected.add(format!("{block}.norm2.weight"), Role::Norm, &[hidden]);
        expected.add(format!("{block}.attn.qkv.weight"), Role::VisionLinear, &[3 * hidden, hidden]);
        if c.attention_bias {
            expected.add(format!("{block}.attn.qkv.bias"), Role::Other, &[3 * hidden]);
        }
        expected.add(format!("{block}.attn.proj.weight"), Role::VisionLinear, &[hidden, hidden]);
        expected.add(format!("{block}.mlp.gate_proj.weight"), Role::VisionLinear, &[out, hidden]);
        expected.add(format!("{block}.mlp.up_proj.weight"), Role::VisionLinear, &[out, hidden]);
        expected.add(format!("{block}.mlp.down_proj.weight"), Role::VisionLinear, &[hidden, out]);
    }
    expected.add(format!("{prefix}.post_layernorm.weight"), Role::Norm, &[hidden]);
    expected.add(format!("{prefix}.downsample.weight"), Role::VisionLinear, &[out, hidden, merge, merge]);
    expected.add(format!("{prefix}.downsample.bias"), Role::Other, &[out]);
    expected.add(format!("{prefix}.merger.proj.weight"), Role::VisionLinear, &[out, out]);
    expected.add(format!("{prefix}.merger.post_projection_norm.weight"), Role::Other, &[out]);
    expected.add(format!("{prefix}.merger.post_projection_norm.bias"), Role::Other, &[out]);
    expected.add(
        format!("{prefix}.merger.gate_proj.weight"),
        Role::VisionLinear,
        &[c.intermediate_size, out],
    );
    expected.add(format!("{prefix}.merger.up_proj.weight"), Role::VisionLinear, &[c.intermediate_size, out]);
    expected.add(
        format!("{prefix}.merger.down_proj.weight"),
        Role::VisionLinear,
        &[out, c.intermediate_size],
    );
}
