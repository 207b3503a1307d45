//! The language model: GLM-4 decoder with four norms per layer and multimodal rotary positions.
//!
//! ```text
//! x ─┬─ input_layernorm ─ attention ─ post_self_attn_layernorm ─ + ─┬─ post_attention_layernorm ─ mlp ─ post_mlp_layernorm ─ + ─▶
//!    └──────────────────────────────────────────────────────────┘   └────────────────────────────────────────────────────────┘
//! ```
//!
//! A step takes rows of any number of sequences behind each other, without padding: linear layers see one matrix,
//! attention runs per sequence on that sequence's blocks. `x` has the type of the residual stream, all between a norm and
//! the next one that of the activations. Source: transformers `modeling_glm4v.py`.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::rotary_emb::rope_i;

use crate::attention::{Kernels, Visible, attention};
use crate::checkpoint::{Loader, TensorSource};
use crate::config::{ModelConfig, TextConfig};
use crate::error::LoadError;
use crate::kv_store::{self, KvStore, Places, Span};
use crate::layers::{Linear, Normed, Products, RmsNorm, Weight};
use crate::numerics::Numerics;
use crate::paged_attention::paged_attention;
use crate::rope::{Position, RotaryTable, TextRotary};

/// The rows of a step: sequences behind each other.
pub(crate) struct Rows<'a> {
    /// One for each row.
    pub(crate) positions: &'a [Position],
    /// One for each sequence, in the order of the rows.
    pub(crate) spans: &'a [Span<'a>],
    /// Whether a row's result may depend, in its last bits, on the rows beside it.
    pub(crate) products: Products,
}

/// Weights of the language model.
pub(crate) struct TextModel {
    config: TextConfig,
    device: Device,
    numerics: Numerics,
    kernels: Kernels,
    embeddings: Weight,
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
    pub(crate) fn load(
        config: &ModelConfig,
        loader: &Loader<'_>,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        let source = loader.source("model.language_model");
        let embeddings = source.below("embed_tokens").matrix("weight")?;
        let head = if config.tie_word_embeddings {
            embeddings.clone()
        } else {
            loader.source("lm_head").matrix("weight")?
        };
        let config = config.text.clone();
        let layers = (0..config.layers)
            .map(|i| Layer::load(&source.below("layers").below(i), &config))
            .collect::<std::result::Result<_, LoadError>>()?;
        Ok(Self {
            layers,
            norm: RmsNorm::load(&source, "norm", (config.rms_norm_eps, Normed::ForMatrices))?,
            head: Linear::new(head),
            rotary: TextRotary::new(&config.rope),
            embeddings,
            kernels: Kernels::of(source.plan(), config.head_dim),
            numerics: source.plan().numerics,
            device: device.clone(),
            config,
        })
    }

    /// An empty store of so many blocks.
    pub(crate) fn store(&self, blocks: u32) -> Result<KvStore> {
        KvStore::new(&self.config, blocks, self.numerics.compute.dtype(), &self.device)
    }

    /// Rows of the embedding table, `[ids, hidden]`, in fresh memory.
    pub(crate) fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.embeddings.rows(&Tensor::new(ids, &self.device)?, self.numerics.residual.dtype())
    }

    /// One step: `x` `[rows, hidden]`. Writes keys and values into the store and returns the last row of each sequence,
    /// `[sequences, hidden]`, after the final norm. A step that failed may be run again.
    pub(crate) fn forward(&self, x: Tensor, rows: &Rows<'_>, store: &KvStore) -> Result<Tensor> {
        let step = Step {
            rotary: self
                .rotary
                .table(rows.positions, &self.device)?
                .to_dtype(self.numerics.compute.dtype())?,
            places: match self.device {
                Device::Cpu => None,
                _ => Some(Places::new(rows.spans, &self.config, &self.device)?),
            },
            kernels: self.kernels,
            #[cfg(feature = "flash")]
            flash: match self.kernels {
                Kernels::Flash => Some(crate::flash::Sequences::new(rows.spans, &self.device)?),
                _ => None,
            },
            rows,
        };
        let mut x = x;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &step, store.layer(i)?)?;
        }
        let mut end = 0;
        let mut last_rows = Vec::with_capacity(rows.spans.len());
        for span in rows.spans {
            end += span.rows;
            last_rows.push(end as u32 - 1);
        }
        let last = x.index_select(&Tensor::new(last_rows, &self.device)?, 0)?;
        self.norm.forward(&last)
    }

    /// Scores of the next token, `[rows, vocabulary]`, in f32.
    pub(crate) fn logits(&self, hidden: &Tensor, products: Products) -> Result<Tensor> {
        self.head.forward_rows(hidden, products)?.to_dtype(DType::F32)
    }
}

impl Layer {
    fn load(source: &TensorSource<'_>, config: &TextConfig) -> std::result::Result<Self, LoadError> {
        let norm = |name, normed| RmsNorm::load(source, name, (config.rms_norm_eps, normed));
        let attention = source.below("self_attn");
        let mlp = source.below("mlp");
        Ok(Self {
            input_norm: norm("input_layernorm", Normed::ForMatrices)?,
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
            post_attention_norm: norm("post_self_attn_layernorm", Normed::ForResidual)?,
            mlp_norm: norm("post_attention_layernorm", Normed::ForMatrices)?,
            mlp: FusedMlp {
                gate_up: Linear::load(&mlp, "gate_up_proj")?,
                down: Linear::load(&mlp, "down_proj")?,
            },
            post_mlp_norm: norm("post_mlp_layernorm", Normed::ForResidual)?,
        })
    }

    fn forward(&self, x: &Tensor, step: &Step<'_>, store: &kv_store::Layer) -> Result<Tensor> {
        let mixed = self.attention.forward(&self.input_norm.forward(x)?, step, store)?;
        let x = (x + self.post_attention_norm.forward(&mixed)?)?;
        let fed = self.mlp.forward(&self.mlp_norm.forward(&x)?, step.rows.products)?;
        &x + self.post_mlp_norm.forward(&fed)?
    }
}

/// What all layers share in a step.
struct Step<'a> {
    rows: &'a Rows<'a>,
    rotary: RotaryTable,
    kernels: Kernels,
    /// Where the step's rows go in the store, on devices that write them all at once.
    places: Option<Places>,
    #[cfg(feature = "flash")]
    flash: Option<crate::flash::Sequences>,
}

impl Attention {
    fn forward(&self, x: &Tensor, step: &Step<'_>, store: &kv_store::Layer) -> Result<Tensor> {
        let products = step.rows.products;
        let project = |linear: &Linear| linear.forward_rows(x, products);
        let q = self.rotate(&self.split_heads(&project(&self.q)?, self.heads)?, &step.rotary)?;
        let k = self.rotate(&self.split_heads(&project(&self.k)?, self.kv_heads)?, &step.rotary)?;
        let k = k.transpose(0, 1)?.contiguous()?.flatten_from(1)?;
        let v = project(&self.v)?.contiguous()?;
        if let Some(places) = &step.places {
            store.write_all(places, &k, &v)?;
        }
        #[cfg(feature = "flash")]
        if let Some(sequences) = &step.flash {
            let mixed = sequences.attention(&q, store, self.kv_heads)?;
            return self.o.forward_rows(&mixed, products);
        }
        let mut start = 0;
        let mut mixed = Vec::with_capacity(step.rows.spans.len());
        for span in step.rows.spans {
            if step.places.is_none() {
                let of_span = |t: &Tensor| t.narrow(0, start, span.rows);
                store.write(*span, &of_span(&k)?, &of_span(&v)?)?;
            }
            let q = q.narrow(1, start, span.rows)?.contiguous()?;
            mixed.push(self.attend(&q, *span, step, store)?);
            start += span.rows;
        }
        self.o.forward_rows(&Tensor::cat(&mixed, 0)?, products)
    }

    /// On the CPU one row is bound by reading its keys, so they are read where they lie; many rows are worth a copy of
    /// the keys and matrix products, unless a row must not depend on the others.
    fn attend(&self, q: &Tensor, span: Span<'_>, step: &Step<'_>, store: &kv_store::Layer) -> Result<Tensor> {
        let alone = step.rows.products == Products::OfFixedRows || span.rows == 1;
        if step.kernels == Kernels::Cpu && alone {
            return paged_attention(q, store, self.kv_heads, span);
        }
        let (keys, values) = store.gather(span, self.kv_heads)?;
        attention(q, &keys, &values, Visible::Causal { past: span.past })
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
    fn forward(&self, x: &Tensor, products: Products) -> Result<Tensor> {
        let gate_up = self.gate_up.forward_rows(x, products)?;
        let width = gate_up.dim(1)? / 2;
        let gate = gate_up.narrow(1, 0, width)?.silu()?;
        self.down.forward_rows(&(gate_up.narrow(1, width, width)? * gate)?, products)
    }
}
