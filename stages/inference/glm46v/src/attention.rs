//! Scaled dot-product attention of one sequence, by plain matrix products in blocks of queries.
//!
//! Grouped queries share keys and values without copying them: the heads of a group are folded into the rows,
//! `[kv, group · rows, d] · [kv, d, keys]`. Blocks bound the score matrix: a 7500-token picture has 30 000 patches,
//! whose full matrix would be 40 GB.

use candle_core::{Result, Tensor};
use candle_nn::ops::softmax_last_dim;

/// Queries of one block.
const BLOCK: usize = 512;

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
    let mut blocks = Vec::with_capacity(rows.div_ceil(BLOCK));
    for start in (0..rows).step_by(BLOCK) {
        let block = BLOCK.min(rows - start);
        let seen = match visible {
            Visible::All => keys,
            Visible::Causal { past } => past + start + block,
        };
        let q = q.narrow(1, start, block)?.contiguous()?.reshape((kv_heads, group * block, d))?;
        let scores = q.matmul(&k.narrow(1, 0, seen)?.transpose(1, 2)?)?;
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
        let mixed = softmax_last_dim(&scores)?.matmul(&v.narrow(1, 0, seen)?)?;
        blocks.push(mixed.reshape((heads, block, d))?.transpose(0, 1)?.reshape((block, heads * d))?);
    }
    if blocks.len() == 1 { blocks.remove(0).contiguous() } else { Tensor::cat(&blocks, 0) }
}

/// 0 where query `past + row` may see a key, -∞ behind it; `[rows, keys]`.
fn causal_mask(past: usize, rows: usize, keys: usize, like: &Tensor) -> Result<Tensor> {
    let values: Vec<f32> = (0..rows)
        .flat_map(|row| (0..keys).map(move |key| if key <= past + row { 0.0 } else { f32::NEG_INFINITY }))
        .collect();
    Tensor::from_vec(values, (rows, keys), like.device())?.to_dtype(like.dtype())
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
        let rows = BLOCK + 70;
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
