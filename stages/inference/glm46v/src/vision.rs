//! The vision tower: patches to vision tokens of the language model's width.
//!
//! ```text
//! patches ─ patch_embed ─ post_conv_layernorm ─ + position table, bicubic
//!         ─ depth × { norm1, attention with 2-D rotary, norm2, gated mlp }
//!         ─ post_layernorm ─ downsample merge × merge ─ merger ─▶ vision tokens
//! ```
//!
//! All pictures of a request go through in one matrix; attention stays inside each picture (or temporal group).
//! Convolutions whose stride is their kernel are matrix products. Source: transformers `modeling_glm4v.py`,
//! `Glm4vVisionModel`.

use candle_core::{Device, Result, Tensor};
use candle_nn::ops::layer_norm;
use candle_nn::rotary_emb::rope;

use crate::attention::{Visible, attention};
use crate::checkpoint::{Checkpoint, TensorSource};
use crate::config::VisionConfig;
use crate::error::LoadError;
use crate::layers::{GatedMlp, Linear, RmsNorm};
use crate::patches::Grid;
use crate::position_table::PositionTable;
use crate::rope::{RotaryTable, inverse_frequencies};

/// PyTorch's default, which the merger's norm keeps.
const LAYER_NORM_EPS: f32 = 1e-5;

/// Weights of the vision tower.
pub(crate) struct VisionTower {
    config: VisionConfig,
    device: Device,
    patch_embed: Linear,
    post_conv_norm: RmsNorm,
    positions: PositionTable,
    blocks: Vec<Block>,
    post_norm: RmsNorm,
    downsample: Linear,
    merger: Merger,
    inverse_frequencies: Vec<f32>,
}

struct Block {
    norm1: RmsNorm,
    qkv: Linear,
    proj: Linear,
    norm2: RmsNorm,
    mlp: GatedMlp,
}

struct Merger {
    proj: Linear,
    norm_weight: Tensor,
    norm_bias: Tensor,
    mlp: GatedMlp,
}

impl VisionTower {
    pub(crate) fn load(checkpoint: &Checkpoint, device: &Device) -> std::result::Result<Self, LoadError> {
        let config = checkpoint.config.vision.clone();
        let source = checkpoint.weights.source(device, "model.visual");
        let patch = source.below("patch_embed").below("proj");
        let patch_weight = patch.tensor("weight")?.reshape((config.hidden_size, config.patch_len()))?;
        let downsample = source.below("downsample");
        // Conv2d weight [out, in, row, column] to the order of a token's patches: [out, row, column, in].
        let downsample_weight = downsample
            .tensor("weight")?
            .permute((0, 2, 3, 1))?
            .reshape((config.out_hidden_size, config.patches_per_token() * config.hidden_size))?;
        let merger = source.below("merger");
        let merger_norm = merger.below("post_projection_norm");
        let eps = config.rms_norm_eps;
        Ok(Self {
            patch_embed: Linear::new(patch_weight, Some(patch.tensor("bias")?)),
            post_conv_norm: RmsNorm::load(&source, "post_conv_layernorm", eps)?,
            positions: PositionTable::new(
                &source.below("embeddings").below("position_embedding").tensor("weight")?,
                config.position_side,
            )?,
            blocks: (0..config.depth)
                .map(|i| Block::load(&source.below("blocks").below(i), &config))
                .collect::<std::result::Result<_, LoadError>>()?,
            post_norm: RmsNorm::load(&source, "post_layernorm", eps)?,
            downsample: Linear::new(downsample_weight.contiguous()?, Some(downsample.tensor("bias")?)),
            merger: Merger {
                proj: Linear::load(&merger, "proj")?,
                norm_weight: merger_norm.tensor("weight")?,
                norm_bias: merger_norm.tensor("bias")?,
                mlp: GatedMlp::load(&merger)?,
            },
            // Each axis has half of the head's pairs.
            inverse_frequencies: inverse_frequencies(config.rope_theta, config.head_dim / 2),
            device: device.clone(),
            config,
        })
    }

    /// Vision tokens `[tokens, out hidden]` of all grids, in order. `pixel_values` has patches × patch length values.
    pub(crate) fn forward(&self, pixel_values: &[f32], grids: &[Grid]) -> Result<Tensor> {
        let c = &self.config;
        let patches: usize = grids.iter().map(|grid| grid.patches()).sum();
        let x = Tensor::from_slice(pixel_values, (patches, c.patch_len()), &self.device)?;
        let x = self.post_conv_norm.forward(&self.patch_embed.forward(&x)?)?;
        let mut x = (x + self.position_embeddings(grids)?)?;
        let rotary = self.rotary(grids, patches)?;
        for block in &self.blocks {
            x = block.forward(&x, &rotary, grids, c)?;
        }
        let tokens = patches / c.patches_per_token();
        let x = self.post_norm.forward(&x)?.reshape((tokens, c.patches_per_token() * c.hidden_size))?;
        self.merger.forward(&self.downsample.forward(&x)?)
    }

    fn position_embeddings(&self, grids: &[Grid]) -> Result<Tensor> {
        let parts = grids
            .iter()
            .map(|grid| self.positions.resample(*grid, self.config.spatial_merge_size, &self.device))
            .collect::<Result<Vec<_>>>()?;
        Tensor::cat(&parts, 0)
    }

    /// Angles of a patch: its row times every frequency, then its column times every frequency.
    fn rotary(&self, grids: &[Grid], patches: usize) -> Result<RotaryTable> {
        let mut angles = Vec::with_capacity(patches * self.config.head_dim / 2);
        for grid in grids {
            for (row, column) in grid.block_order(self.config.spatial_merge_size) {
                for coordinate in [row, column] {
                    angles.extend(self.inverse_frequencies.iter().map(|f| coordinate as f32 * f));
                }
            }
        }
        RotaryTable::new(&angles, patches, &self.device)
    }
}

impl Block {
    fn load(source: &TensorSource<'_>, config: &VisionConfig) -> std::result::Result<Self, LoadError> {
        let attention = source.below("attn");
        Ok(Self {
            norm1: RmsNorm::load(source, "norm1", config.rms_norm_eps)?,
            qkv: if config.attention_bias {
                Linear::load_with_bias(&attention, "qkv")?
            } else {
                Linear::load(&attention, "qkv")?
            },
            proj: Linear::load(&attention, "proj")?,
            norm2: RmsNorm::load(source, "norm2", config.rms_norm_eps)?,
            mlp: GatedMlp::load(&source.below("mlp"))?,
        })
    }

    fn forward(&self, x: &Tensor, rotary: &RotaryTable, grids: &[Grid], c: &VisionConfig) -> Result<Tensor> {
        let x = (x + self.attend(&self.norm1.forward(x)?, rotary, grids, c)?)?;
        &x + self.mlp.forward(&self.norm2.forward(&x)?)?
    }

    fn attend(&self, x: &Tensor, rotary: &RotaryTable, grids: &[Grid], c: &VisionConfig) -> Result<Tensor> {
        let rows = x.dim(0)?;
        // [rows, 3 · heads · d] to [3, heads, rows, d].
        let qkv = self
            .qkv
            .forward(x)?
            .reshape((rows, 3, c.heads, c.head_dim))?
            .permute((1, 2, 0, 3))?
            .contiguous()?;
        let part = |i: usize| qkv.narrow(0, i, 1);
        let turn = |x: Tensor| rope(&x.contiguous()?, &rotary.cos, &rotary.sin)?.squeeze(0);
        let (q, k, v) = (turn(part(0)?)?, turn(part(1)?)?, part(2)?.squeeze(0)?);
        let mut start = 0;
        let mut mixed = Vec::with_capacity(grids.len());
        for grid in grids {
            let of_grid = |t: &Tensor| t.narrow(1, start, grid.patches());
            mixed.push(attention(&of_grid(&q)?, &of_grid(&k)?, &of_grid(&v)?, Visible::All)?);
            start += grid.patches();
        }
        self.proj.forward(&Tensor::cat(&mixed, 0)?)
    }
}

impl Merger {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = layer_norm(&self.proj.forward(x)?, &self.norm_weight, &self.norm_bias, LAYER_NORM_EPS)?;
        self.mlp.forward(&x.gelu_erf()?)
    }
}
