//! Attention by FlashAttention-2 on CUDA: one call for all pictures of a pass, one for all sequences of a step.
//!
//! ```text
//! pictures    q, k, v [heads, rows, d], seen as [rows, heads, d]
//! sequences   q       [heads, rows, d], seen as [rows, heads, d]
//!             k, v    the store as it lies: [blocks, BLOCK, kv heads, d]
//!             table   [sequences, most blocks of one], filled up with block 0, which no query reaches
//! ```
//!
//! The kernels are for bf16 and heads of [`HEAD_DIM`], which both towers of the published model have; other models go by
//! matrix products ([`crate::attention::Kernels::of`]). Tables are made once a pass and used by all of its layers.

use candle_core::{Device, Result, Tensor};
pub(crate) use glm46v_flash::HEAD_DIM;
use glm46v_flash::{Mask, Packed, Pages, Splits, decode, packed, paged};

use crate::kv_store::{Layer, Span};
use crate::scheduler::BLOCK;

/// The sequences of a step.
pub(crate) struct Sequences {
    queries: Packed,
    keys: Packed,
    table: Tensor,
    /// Whether each sequence has one row.
    one_row_each: bool,
}

impl Sequences {
    pub(crate) fn new(spans: &[Span<'_>], device: &Device) -> Result<Self> {
        let rows: Vec<usize> = spans.iter().map(|span| span.rows).collect();
        let totals: Vec<usize> = spans.iter().map(Span::total).collect();
        let most = totals.iter().copied().max().unwrap_or(0).div_ceil(BLOCK);
        let mut table = Vec::with_capacity(spans.len() * most);
        for span in spans {
            let own = span.blocks.iter().map(|block| block.0).take(span.total().div_ceil(BLOCK));
            table.extend(own.chain(std::iter::repeat(0)).take(most));
        }
        Ok(Self {
            one_row_each: rows.iter().all(|rows| *rows == 1),
            queries: Packed::new(&rows, device)?,
            keys: Packed::new(&totals, device)?,
            table: Tensor::from_vec(table, (spans.len(), most), device)?,
        })
    }

    /// Attention of `q` `[heads, rows, d]` on the store, in which the rows of this step are written; each query sees the
    /// past and the rows up to its own. The result is `[rows, heads · d]`.
    pub(crate) fn attention(&self, q: &Tensor, store: &Layer, kv_heads: usize) -> Result<Tensor> {
        let as_pages = |t: &Tensor| {
            let (rows, width) = t.dims2()?;
            t.reshape((rows / BLOCK, BLOCK, kv_heads, width / kv_heads))
        };
        let (keys, values) = (as_pages(&store.k)?, as_pages(&store.v)?);
        let pages = Pages { keys: &keys, values: &values, lengths: &self.keys, table: &self.table };
        let q = q.transpose(0, 1)?;
        let mixed = if self.one_row_each {
            decode(&q, pages, Splits::FillCard)?
        } else {
            paged(&q, pages, &self.queries)?
        };
        mixed.flatten_from(1)
    }
}

/// Attention of `q`, `k` and `v` `[heads, rows, d]` inside each segment of rows; the result is `[rows, heads · d]`.
pub(crate) fn within_segments(q: &Tensor, k: &Tensor, v: &Tensor, segments: &Packed) -> Result<Tensor> {
    let (q, k, v) = (q.transpose(0, 1)?, k.transpose(0, 1)?, v.transpose(0, 1)?);
    packed(&q, [&k, &v], [segments, segments], Mask::All)?.flatten_from(1)
}
