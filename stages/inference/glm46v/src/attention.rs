//! Scaled dot-product attention of one sequence, by plain matrix products in blocks of queries.
//!
//! Grouped queries share keys and values without copying them: the heads of a group are folded into the rows,
//! `[kv, group · rows, d] · [kv, d, keys]`. Blocks bound the score matrix: a 7500-token picture has 30 000 patches,
//! whose full matrix would be 40 GB. On a CUDA device the products are cuBLAS's. Softmax is f32 whatever the type of the
//! products.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use crate::checkpoint::Plan;
use crate::numerics::{DeviceKind, Precision};

/// Queries of one block, at most.
const QUERIES_AT_ONCE: usize = 512;
/// Scores of one block: fewer queries of very long sequences are answered at once, so that a block takes at most 2 GB.
const SCORES_AT_ONCE: usize = 1 << 27;

fn queries_at_once(heads: usize, keys: usize) -> usize {
    (SCORES_AT_ONCE / (heads * keys).max(1)).clamp(1, QUERIES_AT_ONCE)
}

/// What computes attention on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// f32 on the CPU: single queries where their keys lie ([`crate::paged_attention`]), many by matrix products.
    Cpu,
    /// Matrix products alone, on any device and in any type.
    Products,
    /// FlashAttention-2, for all sequences or pictures at once.
    #[cfg(feature = "flash")]
    Flash,
}

impl Kernels {
    /// The fastest that there is for a device, a type and a width of heads.
    #[cfg_attr(not(feature = "flash"), expect(unused_variables, reason = "only FlashAttention has a width"))]
    pub(crate) fn of(plan: Plan, head_dim: usize) -> Self {
        match (plan.device, plan.numerics.compute) {
            (DeviceKind::Cpu, Precision::F32) => Self::Cpu,
            #[cfg(feature = "flash")]
            (DeviceKind::Cuda { .. }, Precision::Bf16) if head_dim == crate::flash::HEAD_DIM => Self::Flash,
            _ => Self::Products,
        }
    }

    /// Queries of one sequence whose scores are in memory at the same time.
    pub(crate) fn queries_at_once(self, heads: usize, keys: usize) -> usize {
        match self {
            Self::Cpu | Self::Products => queries_at_once(heads, keys),
            #[cfg(feature = "flash")]
            Self::Flash => 0,
        }
    }
}

/// Rows of pictures behind each other; none sees another's.
pub(crate) struct Segments {
    lengths: Vec<usize>,
    #[cfg(feature = "flash")]
    flash: Option<glm46v_flash::Packed>,
}

impl Segments {
    #[cfg_attr(
        not(feature = "flash"),
        expect(
            unused_variables,
            clippy::unnecessary_wraps,
            reason = "only FlashAttention's lie on the device"
        )
    )]
    pub(crate) fn new(lengths: Vec<usize>, kernels: Kernels, device: &Device) -> Result<Self> {
        Ok(Self {
            #[cfg(feature = "flash")]
            flash: match kernels {
                Kernels::Flash => Some(glm46v_flash::Packed::new(&lengths, device)?),
                _ => None,
            },
            lengths,
        })
    }

    /// Attention of `q`, `k` and `v` `[heads, rows, d]` inside each segment; the result is `[rows, heads · d]`.
    pub(crate) fn attention(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        #[cfg(feature = "flash")]
        if let Some(segments) = &self.flash {
            return crate::flash::within_segments(q, k, v, segments);
        }
        let mut start = 0;
        let mut mixed = Vec::with_capacity(self.lengths.len());
        for length in &self.lengths {
            let of_segment = |t: &Tensor| t.narrow(1, start, *length);
            mixed.push(attention(&of_segment(q)?, &of_segment(k)?, &of_segment(v)?, Visible::All)?);
            start += length;
        }
        Tensor::cat(&mixed, 0)
    }
}

/// Which keys a query sees.
#[derive(Clone, Copy)]
pub(crate) enum Visible {
    /// All of them.
    All,
    /// Those up to its own position; the first query of the call is number `past`.
    Causal {
        /// Keys before the first query.
        past: usize,
    },
}

/// Attention of `q` `[heads, rows, d]` on `k` and `v` `[kv heads, keys, d]`; the result is `[rows, heads · d]`.
pub(crate) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, visible: Visible) -> Result<Tensor> {
    let (heads, rows, d) = q.dims3()?;
    let (kv_heads, keys, _) = k.dims3()?;
    let group = heads / kv_heads;
    let q = (q * (1.0 / (d as f64).sqrt()))?;
    let at_once = queries_at_once(heads, keys);
    let mut blocks = Vec::with_capacity(rows.div_ceil(at_once));
    for start in (0..rows).step_by(at_once) {
        let block = at_once.min(rows - start);
        let seen = match visible {
            Visible::All => keys,
            Visible::Causal { past } => past + start + block,
        };
        let q = q.narrow(1, start, block)?.contiguous()?.reshape((kv_heads, group * block, d))?;
        let scores = q.matmul(&k.narrow(1, 0, seen)?.transpose(1, 2)?)?.to_dtype(DType::F32)?;
        let scores = match visible {
            Visible::Causal { past } if block > 1 => {
                let mask = causal_mask(past + start, block, seen, &scores)?;
                scores.reshape((heads, block, seen))?.broadcast_add(&mask)?.reshape((
                    kv_heads,
                    group * block,
                    seen,
                ))?
            }
            _ => scores,
        };
        let mixed = softmax_last_dim(&scores)?.to_dtype(v.dtype())?.matmul(&v.narrow(1, 0, seen)?)?;
        blocks.push(mixed.reshape((heads, block, d))?.transpose(0, 1)?.reshape((block, heads * d))?);
    }
    if blocks.len() == 1 { blocks.remove(0).contiguous() } else { Tensor::cat(&blocks, 0) }
}

/// 0 where query `past + row` may see a key, -∞ behind it; `[rows, keys]`.
fn causal_mask(past: usize, rows: usize, keys: usize, like: &Tensor) -> Result<Tensor> {
    let values: Vec<f32> = (0..rows)
        .flat_map(|row| (0..keys).map(move |key| if key <= past + row { 0.0 } else { f32::NEG_INFINITY }))
        .collect();
    Tensor::from_vec(values, (rows, keys), like.device())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Attention by its definition, one query at a time.
    fn by_definition(q: &Tensor, k: &Tensor, v: &Tensor, past: Option<usize>) -> Vec<f32> {
        let (heads, rows, d) = q.dims3().unwrap();
        let (kv_heads, keys, _) = k.dims3().unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (q, k, v) = (flat(q), flat(k), flat(v));
        let mut out = vec![0.0; rows * heads * d];
        for head in 0..heads {
            let kv = head / (heads / kv_heads);
            for row in 0..rows {
                let seen = past.map_or(keys, |past| past + row + 1);
                let at = |t: &[f32], h: usize, n: usize, i: usize, c: usize| t[(h * n + i) * d + c];
                let scores: Vec<f32> = (0..seen)
                    .map(|key| {
                        (0..d).map(|c| at(&q, head, rows, row, c) * at(&k, kv, keys, key, c)).sum::<f32>()
                    })
                    .map(|score| (score / (d as f32).sqrt()).exp())
                    .collect();
                let sum: f32 = scores.iter().sum();
                for c in 0..d {
                    out[row * heads * d + head * d + c] =
                        (0..seen).map(|key| scores[key] / sum * at(&v, kv, keys, key, c)).sum();
                }
            }
        }
        out
    }

    #[test]
    fn blocks_and_groups_give_attention_by_its_definition() {
        let rows = QUERIES_AT_ONCE + 70;
        let past = 5;
        let random = |h, n| Tensor::randn(0f32, 1.0, (h, n, 8), &Device::Cpu).unwrap();
        let (q, k, v) = (random(4, rows), random(2, rows + past), random(2, rows + past));
        for (visible, past) in [(Visible::All, None), (Visible::Causal { past }, Some(past))] {
            let ours =
                attention(&q, &k, &v, visible).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let wanted = by_definition(&q, &k, &v, past);
            let worst = ours.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "{worst}");
        }
    }
}
