//! The language model: GLM-4 decoder with four norms per layer and multimodal rotary positions.
//!
//! ```text
//! x ─┬─ input_layernorm ─ attention ─ post_self_attn_layernorm ─ + ─┬─ post_attention_layernorm ─ mlp ─ post_mlp_layernorm ─ + ─▶
//!    └──────────────────────────────────────────────────────────┘   └────────────────────────────────────────────────────────┘
//! ```
//!
//! A step takes rows of any number of sequences behind each other: linear layers see one matrix, attention runs per
//! sequence on that sequence's cache. Source: transformers `modeling_glm4v.py`.

use candle_core::{Device, Result, Tensor};
use candle_nn::rotary_emb::rope_i;

use crate::attention::{Visible, attention};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::TensorSource;
use crate::config::TextConfig;
use crate::error::LoadError;
use crate::kv_cache::KvCache;
use crate::layers::{Linear, RmsNorm};
use crate::rope::{Position, RotaryTable, TextRotary};

/// The rows of one sequence in a step.
pub(crate) struct Segment<'a> {
    pub(crate) rows: usize,
    pub(crate) cache: &'a mut KvCache,
}

/// Weights of the language model.
pub(crate) struct TextModel {
    config: TextConfig,
    device: Device,
    embeddings: Tensor,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
    rotary: TextRotary,
}

struct Layer {
    input_norm: RmsNorm,
    attention: Attention,
    post_attention_norm: RmsNorm,
    mlp_norm: RmsNorm,
    mlp: FusedMlp,
    post_mlp_norm: RmsNorm,
}

struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    rotary_dim: usize,
}

/// `down( silu(gate) · up )` where one projection gives gate and up.
struct FusedMlp {
    gate_up: Linear,
    down: Linear,
}

impl TextModel {
    pub(crate) fn load(checkpoint: &Checkpoint, device: &Device) -> std::result::Result<Self, LoadError> {
        let config = checkpoint.config.text.clone();
        let source = checkpoint.weights.source(device, "model.language_model");
        let embeddings = source.below("embed_tokens").tensor("weight")?;
        let head = if checkpoint.config.tie_word_embeddings {
            embeddings.clone()
        } else {
            checkpoint.weights.source(device, "lm_head").tensor("weight")?
        };
        let layers = (0..config.layers)
            .map(|i| Layer::load(&source.below("layers").below(i), &config))
            .collect::<std::result::Result<_, LoadError>>()?;
        Ok(Self {
            layers,
            norm: RmsNorm::load(&source, "norm", config.rms_norm_eps)?,
            head: Linear::new(head, None),
            rotary: TextRotary::new(&config.rope),
            embeddings,
            device: device.clone(),
            config,
        })
    }

    /// An empty past.
    pub(crate) fn cache(&self) -> Result<KvCache> {
        KvCache::new(&self.config, &self.device)
    }

    /// Rows of the embedding table, `[ids, hidden]`, in fresh memory.
    pub(crate) fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.embeddings.index_select(&Tensor::new(ids, &self.device)?, 0)
    }

    /// One step: `x` `[rows, hidden]` of all segments behind each other, one position per row. Returns the last row of
    /// each segment, `[segments, hidden]`, after the final norm.
    pub(crate) fn forward(
        &self,
        x: Tensor,
        positions: &[Position],
        segments: &mut [Segment<'_>],
    ) -> Result<Tensor> {
        let rotary = self.rotary.table(positions, &self.device)?;
        let mut x = x;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &rotary, i, segments)?;
        }
        let mut end = 0;
        let mut last_rows = Vec::with_capacity(segments.len());
        for segment in segments {
            segment.cache.commit(segment.rows);
            end += segment.rows;
            last_rows.push(end as u32 - 1);
        }
        let last = x.index_select(&Tensor::new(last_rows, &self.device)?, 0)?;
        self.norm.forward(&last)
    }

    /// Scores of the next token, `[rows, vocabulary]`.
    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.head.forward(hidden)
    }
}

impl Layer {
    fn load(source: &TensorSource<'_>, config: &TextConfig) -> std::result::Result<Self, LoadError> {
        let norm = |name| RmsNorm::load(source, name, config.rms_norm_eps);
        let attention = source.below("self_attn");
        let mlp = source.below("mlp");
        Ok(Self {
            input_norm: norm("input_layernorm")?,
            attention: Attention {
                q: Linear::load_with_bias(&attention, "q_proj")?,
                k: Linear::load_with_bias(&attention, "k_proj")?,
                v: Linear::load_with_bias(&attention, "v_proj")?,
                o: Linear::load(&attention, "o_proj")?,
                heads: config.heads,
                kv_heads: config.kv_heads,
                head_dim: config.head_dim,
                rotary_dim: config.rope.rotary_dim,
            },
            post_attention_norm: norm("post_self_attn_layernorm")?,
            mlp_norm: norm("post_attention_layernorm")?,
            mlp: FusedMlp {
                gate_up: Linear::load(&mlp, "gate_up_proj")?,
                down: Linear::load(&mlp, "down_proj")?,
            },
            post_mlp_norm: norm("post_mlp_layernorm")?,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        rotary: &RotaryTable,
        index: usize,
        segments: &mut [Segment<'_>],
    ) -> Result<Tensor> {
        let mixed = self.attention.forward(&self.input_norm.forward(x)?, rotary, index, segments)?;
        let x = (x + self.post_attention_norm.forward(&mixed)?)?;
        let fed = self.mlp.forward(&self.mlp_norm.forward(&x)?)?;
        &x + self.post_mlp_norm.forward(&fed)?
    }
}

impl Attention {
    fn forward(
        &self,
        x: &Tensor,
        rotary: &RotaryTable,
        layer: usize,
        segments: &mut [Segment<'_>],
    ) -> Result<Tensor> {
        let q = self.rotate(&self.split_heads(&self.q.forward(x)?, self.heads)?, rotary)?;
        let k = self.rotate(&self.split_heads(&self.k.forward(x)?, self.kv_heads)?, rotary)?;
        let v = self.split_heads(&self.v.forward(x)?, self.kv_heads)?;
        let mut start = 0;
        let mut mixed = Vec::with_capacity(segments.len());
        for segment in segments {
            let of_segment = |t: &Tensor| t.narrow(1, start, segment.rows);
            let past = segment.cache.len();
            let (keys, values) = segment.cache.append(layer, &of_segment(&k)?, &of_segment(&v)?)?;
            mixed.push(attention(&of_segment(&q)?, &keys, &values, Visible::Causal { past })?);
            start += segment.rows;
        }
        self.o.forward(&Tensor::cat(&mixed, 0)?)
    }

    /// `[rows, heads · d]` to `[heads, rows, d]`.
    fn split_heads(&self, x: &Tensor, heads: usize) -> Result<Tensor> {
        x.reshape((x.dim(0)?, heads, self.head_dim))?.transpose(0, 1)?.contiguous()
    }

    /// Turns interleaved pairs of the leading dimensions; the others pass.
    fn rotate(&self, x: &Tensor, rotary: &RotaryTable) -> Result<Tensor> {
        let turn = |x: &Tensor| rope_i(&x.contiguous()?.unsqueeze(0)?, &rotary.cos, &rotary.sin)?.squeeze(0);
        match self.head_dim - self.rotary_dim {
            0 => turn(x),
            rest => {
                let turned = turn(&x.narrow(2, 0, self.rotary_dim)?)?;
                Tensor::cat(&[turned, x.narrow(2, self.rotary_dim, rest)?.contiguous()?], 2)
            }
        }
    }
}

impl FusedMlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let gate_up = self.gate_up.forward(x)?;
        let width = gate_up.dim(1)? / 2;
        let gate = gate_up.narrow(1, 0, width)?.silu()?;
        self.down.forward(&(gate_up.narrow(1, width, width)? * gate)?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn sequences_in_one_step_do_not_see_each_other() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/glm46v-v5");
        let model = TextModel::load(&Checkpoint::open(folder).unwrap(), &Device::Cpu).unwrap();
        let prompts: [&[u32]; 2] = [&[5, 6, 7, 8, 9], &[100, 101, 102]];
        let places = |n: usize| (0..n as u32).map(|p| [p; 3]).collect::<Vec<Position>>();
        let run = |ids: &[u32], positions: &[Position], segments: &mut [Segment<'_>]| {
            model.forward(model.embed(ids).unwrap(), positions, segments).unwrap()
        };

        let mut alone = Vec::new();
        for ids in prompts {
            let mut cache = model.cache().unwrap();
            let mut step = |ids: &[u32], positions: &[Position]| {
                run(ids, positions, &mut [Segment { rows: ids.len(), cache: &mut cache }])
            };
            alone.push(step(ids, &places(ids.len())));
            alone.push(step(&[42], &[[ids.len() as u32; 3]]));
        }

        let (mut first, mut second) = (model.cache().unwrap(), model.cache().unwrap());
        let prefill = run(
            &[5, 6, 7, 8, 9, 100, 101, 102],
            &[places(5), places(3)].concat(),
            &mut [Segment { rows: 5, cache: &mut first }, Segment { rows: 3, cache: &mut second }],
        );
        let decode = run(
            &[42, 42],
            &[[5; 3], [3; 3]],
            &mut [Segment { rows: 1, cache: &mut first }, Segment { rows: 1, cache: &mut second }],
        );
        let together = Tensor::cat(&[prefill, decode], 0).unwrap();
        let order = [&alone[0], &alone[2], &alone[1], &alone[3]];
        let apart = Tensor::cat(&order, 0).unwrap();
        let worst = (together - apart).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(worst < 1e-5, "{worst}");
    }
}
