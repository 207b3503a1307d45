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

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::layer_norm;
use candle_nn::rotary_emb::rope;

use crate::attention::{Kernels, Segments};
use crate::checkpoint::{Loader, TensorSource};
use crate::config::VisionConfig;
use crate::error::LoadError;
use crate::layers::{GatedMlp, Linear, Normed, RmsNorm};
use crate::numerics::Numerics;
use crate::patches::Grid;
use crate::position_table::PositionTable;
use crate::rope::{RotaryTable, inverse_frequencies};

/// PyTorch's default, which the merger's norm keeps.
const LAYER_NORM_EPS: f32 = 1e-5;

/// Weights of the vision tower.
pub(crate) struct VisionTower {
    config: VisionConfig,
    device: Device,
    numerics: Numerics,
    kernels: Kernels,
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
    pub(crate) fn load(
        config: &VisionConfig,
        loader: &Loader<'_>,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        let config = config.clone();
        let source = loader.source("model.visual");
        let merger = source.below("merger");
        let merger_norm = merger.below("post_projection_norm");
        let eps = config.rms_norm_eps;
        Ok(Self {
            patch_embed: Linear::load_with_bias(&source.below("patch_embed"), "proj")?,
            post_conv_norm: RmsNorm::load(&source, "post_conv_layernorm", (eps, Normed::ForResidual))?,
            positions: PositionTable::new(
                &source.below("embeddings").below("position_embedding").table("weight")?,
                config.position_side,
            )?,
            blocks: (0..config.depth)
                .map(|i| Block::load(&source.below("blocks").below(i), &config))
                .collect::<std::result::Result<_, LoadError>>()?,
            post_norm: RmsNorm::load(&source, "post_layernorm", (eps, Normed::ForMatrices))?,
            downsample: Linear::load_with_bias(&source, "downsample")?,
            merger: Merger {
                proj: Linear::load(&merger, "proj")?,
                norm_weight: merger_norm.tensor("weight")?,
                norm_bias: merger_norm.tensor("bias")?,
                mlp: GatedMlp::load(&merger)?,
            },
            // Each axis has half of the head's pairs.
            inverse_frequencies: inverse_frequencies(config.rope_theta, config.head_dim / 2),
            kernels: Kernels::of(source.plan(), config.head_dim),
            numerics: source.plan().numerics,
            device: device.clone(),
            config,
        })
    }

    /// Vision tokens `[tokens, out hidden]` of all grids, in order. `pixel_values` has patches × patch length values.
    pub(crate) fn forward(&self, pixel_values: &[f32], grids: &[Grid]) -> Result<Tensor> {
        let c = &self.config;
        let patches: usize = grids.iter().map(|grid| grid.patches()).sum();
        let x = Tensor::from_slice(pixel_values, (patches, c.patch_len()), &self.device)?
            .to_dtype(self.numerics.compute.dtype())?;
        let x = self.post_conv_norm.forward(&self.patch_embed.forward(&x)?)?;
        let mut x = (x + self.position_embeddings(grids)?.to_dtype(self.numerics.residual.dtype())?)?;
        let rotary = self.rotary(grids, patches)?;
        let lengths = grids.iter().map(|grid| grid.patches()).collect();
        let pictures = Segments::new(lengths, self.kernels, &self.device)?;
        for block in &self.blocks {
            x = block.forward(&x, &rotary, &pictures, c)?;
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
            norm1: RmsNorm::load(source, "norm1", (config.rms_norm_eps, Normed::ForMatrices))?,
            qkv: if config.attention_bias {
                Linear::load_with_bias(&attention, "qkv")?
            } else {
                Linear::load(&attention, "qkv")?
            },
            proj: Linear::load(&attention, "proj")?,
            norm2: RmsNorm::load(source, "norm2", (config.rms_norm_eps, Normed::ForMatrices))?,
            mlp: GatedMlp::load(&source.below("mlp"))?,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        rotary: &RotaryTable,
        pictures: &Segments,
        c: &VisionConfig,
    ) -> Result<Tensor> {
        let mixed = self.attend(&self.norm1.forward(x)?, rotary, pictures, c)?;
        let x = (x + mixed.to_dtype(x.dtype())?)?;
        &x + self.mlp.forward(&self.norm2.forward(&x)?)?.to_dtype(x.dtype())?
    }

    fn attend(
        &self,
        x: &Tensor,
        rotary: &RotaryTable,
        pictures: &Segments,
        c: &VisionConfig,
    ) -> Result<Tensor> {
        let rows = x.dim(0)?;
        // [rows, 3 · heads · d] to [3, heads, rows, d].
        let qkv = self
            .qkv
            .forward(x)?
            .reshape((rows, 3, c.heads, c.head_dim))?
            .permute((1, 2, 0, 3))?
            .contiguous()?;
        let part = |i: usize| qkv.narrow(0, i, 1);
        // Turned in f32, as transformers does.
        let turn = |x: Tensor| {
            let turned = rope(&x.to_dtype(DType::F32)?.contiguous()?, &rotary.cos, &rotary.sin)?;
            turned.squeeze(0)?.to_dtype(x.dtype())
        };
        let (q, k, v) = (turn(part(0)?)?, turn(part(1)?)?, part(2)?.squeeze(0)?);
        self.proj.forward(&pictures.attention(&q, &k, &v)?)
    }
}

impl Merger {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = layer_norm(&self.proj.forward(x)?, &self.norm_weight, &self.norm_bias, LAYER_NORM_EPS)?;
        self.mlp.forward(&x.gelu_erf()?)
    }
}
