//! Attention of one sequence straight on the blocks of the store, on the CPU.
//!
//! Each query is answered by itself: all scores first, then their exponentials over the largest, then the weighted sum of
//! the values, always in the order of the keys. So a row's result depends on nothing but the row and the sequence's
//! keys and values: not on the chunk it came in, on the blocks' places, on other sequences or on the number of threads.
//! One query reads each key once; for many queries at once, matrix products over gathered keys are faster
//! ([`crate::attention`]), and equal within rounding.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined there is compiled for the processor's vectors"
)]

use candle_core::{Result, Tensor};
use pulp::Arch;
use rayon::prelude::*;

use crate::kv_store::{Layer, Span};
use crate::scheduler::BLOCK;
use crate::slices::with_cpu_slices;

/// Sums kept apart, so that the compiler can keep them in one vector register.
const LANES: usize = 16;

/// Multiplications that are worth waking another thread for: some ten microseconds.
const WORTH_A_THREAD: usize = 1 << 16;

/// Attention of `q` `[heads, rows, d]` on the keys and values of `span`, whose last `rows` are these; query `i` sees the
/// past and rows up to `i`. The result is `[rows, heads · d]`.
pub(crate) fn paged_attention(q: &Tensor, layer: &Layer, kv_heads: usize, span: Span<'_>) -> Result<Tensor> {
    let (heads, rows, d) = q.dims3()?;
    if kv_heads == 0 || heads % kv_heads != 0 || rows != span.rows || span.blocks.len() * BLOCK < span.total()
    {
        candle_core::bail!(
            "attention of {heads} heads and {rows} rows does not fit {kv_heads} key heads, {} rows and {} blocks",
            span.rows,
            span.blocks.len()
        );
    }
    with_cpu_slices([q, &layer.k, &layer.v], |[q, k, v]| {
        let shape = Shape { kv_heads, d, scale: 1.0 / (d as f32).sqrt() };
        let mut out = vec![0.0; rows * heads * d];
        // The widest vectors of this processor; additions stay in the order written, so that all give the same.
        let arch = Arch::new();
        let answer = |scores: &mut Vec<f32>, (at, out): (usize, &mut [f32])| {
            let (row, head) = (at / heads, at % heads);
            let query = q.chunks_exact(d).nth(head * rows + row).unwrap_or_default();
            let seen = span.past + row + 1;
            arch.dispatch(
                #[inline(always)]
                || shape.answer(query, head / (heads / kv_heads), [k, v], (span, seen), scores, out),
            );
        };
        let heads_of_a_task = (WORTH_A_THREAD / (2 * span.total() * d).max(1)).max(1);
        if heads_of_a_task >= rows * heads {
            let mut scores = Vec::new();
            out.chunks_mut(d).enumerate().for_each(|of| answer(&mut scores, of));
        } else {
            out.par_chunks_mut(d)
                .with_min_len(heads_of_a_task)
                .enumerate()
                .for_each_init(Vec::new, |scores, of| answer(scores, of));
        }
        Tensor::from_vec(out, (rows, heads * d), &candle_core::Device::Cpu)
    })
}

#[derive(Clone, Copy)]
struct Shape {
    kv_heads: usize,
    d: usize,
    scale: f32,
}

impl Shape {
    /// One head of one query.
    #[inline(always)]
    fn answer(
        self,
        query: &[f32],
        kv_head: usize,
        [k, v]: [&[f32]; 2],
        (span, seen): (Span<'_>, usize),
        scores: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        scores.clear();
        for key in self.rows_of(k, kv_head, span, seen) {
            scores.push(dot(query, key) * self.scale);
        }
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for score in scores.iter_mut() {
            *score = (*score - largest).exp();
            sum += *score;
        }
        for (value, weight) in self.rows_of(v, kv_head, span, seen).zip(scores.iter()) {
            let weight = weight / sum;
            for (out, value) in out.iter_mut().zip(value) {
                *out += weight * value;
            }
        }
    }

    /// One head's part of the first `seen` rows of a sequence, in order.
    #[inline(always)]
    fn rows_of<'a>(
        self,
        store: &'a [f32],
        kv_head: usize,
        span: Span<'a>,
        seen: usize,
    ) -> impl Iterator<Item = &'a [f32]> {
        let width = self.kv_heads * self.d;
        let blocks = span.blocks.iter().map(move |block| {
            let start = block.0 as usize * BLOCK * width;
            store.get(start..start + BLOCK * width).unwrap_or_default()
        });
        let part = kv_head * self.d..(kv_head + 1) * self.d;
        blocks
            .flat_map(move |block| block.chunks_exact(width))
            .take(seen)
            .filter_map(move |row| row.get(part.clone()))
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::attention::{Visible, attention};
    use crate::config::{TextConfig, TextRope};
    use crate::kv_store::KvStore;
    use crate::scheduler::BlockId;

    fn values(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn blocks_give_the_attention_of_contiguous_keys_and_chunks_do_not_matter() {
        let (heads, kv_heads, head_dim, tokens) = (4, 2, 24, 75);
        let config = TextConfig {
            vocab_size: 1,
            hidden_size: 4,
            intermediate_size: 1,
            layers: 1,
            heads,
            kv_heads,
            head_dim,
            rms_norm_eps: 1e-5,
            max_position_embeddings: 4096,
            rope: TextRope { theta: 1e4, rotary_dim: 2, sections: vec![1] },
        };
        let random = |shape: &[usize]| Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap();
        let (q, k, v) = (
            random(&[heads, tokens, head_dim]),
            random(&[tokens, kv_heads * head_dim]),
            random(&[tokens, kv_heads * head_dim]),
        );
        let answer = |blocks: &[u32], chunks: &[usize]| {
            let blocks: Vec<BlockId> = blocks.iter().map(|id| BlockId(*id)).collect();
            let store = KvStore::new(&config, 8, candle_core::DType::F32, &Device::Cpu).unwrap();
            let layer = store.layer(0).unwrap();
            let mut past = 0;
            let mut parts = Vec::new();
            for rows in chunks.iter().copied() {
                let span = Span { past, rows, blocks: &blocks };
                let rows_of = |t: &Tensor| t.narrow(0, past, rows).unwrap();
                layer.write(span, &rows_of(&k), &rows_of(&v)).unwrap();
                let q = q.narrow(1, past, rows).unwrap().contiguous().unwrap();
                parts.extend(values(&paged_attention(&q, layer, kv_heads, span).unwrap()));
                past += rows;
            }
            parts
        };
        let whole = answer(&[0, 1, 2], &[75]);
        assert_eq!(whole, answer(&[5, 0, 3], &[1, 40, 33, 1]));

        let contiguous = |t: &Tensor| {
            t.reshape((tokens, kv_heads, head_dim)).unwrap().transpose(0, 1).unwrap().contiguous().unwrap()
        };
        let wanted =
            values(&attention(&q, &contiguous(&k), &contiguous(&v), Visible::Causal { past: 0 }).unwrap());
        let worst = whole.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{worst}");
    }
}
