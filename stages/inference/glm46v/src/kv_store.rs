//! Keys and values of all sequences, all layers, in blocks that the scheduler hands out.
//!
//! ```text
//! per layer   k, v: [blocks · BLOCK, kv heads · head dim]
//!
//!   sequence's blocks    7          2          5
//!   its rows          0 … 31    32 … 63    64 … 80
//!   rows of the store 224 … 255  64 … 95   160 … 176
//! ```
//!
//! The store is made once, so that no step asks for memory: what fits is decided when a sequence is admitted. Keys and
//! values have the type of the activations.

use candle_core::{DType, Device, Result, Tensor};

use crate::config::TextConfig;
use crate::numerics::Precision;
use crate::scheduler::{BLOCK, BlockId};

/// Where the rows of one sequence lie: those of earlier steps and those of this one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span<'a> {
    /// Tokens of earlier steps.
    pub(crate) past: usize,
    /// Tokens of this step.
    pub(crate) rows: usize,
    /// Blocks of all of them.
    pub(crate) blocks: &'a [BlockId],
}

impl Span<'_> {
    /// Tokens up to the end of this step.
    pub(crate) fn total(&self) -> usize {
        self.past + self.rows
    }

    /// The store's row of a token.
    fn row(&self, token: usize) -> Result<usize> {
        match self.blocks.get(token / BLOCK) {
            Some(block) => Ok(block.0 as usize * BLOCK + token % BLOCK),
            None => candle_core::bail!("token {token} has no block"),
        }
    }
}

/// The store of one engine.
pub(crate) struct KvStore {
    layers: Vec<Layer>,
}

/// Keys and values of one layer.
pub(crate) struct Layer {
    pub(crate) k: Tensor,
    pub(crate) v: Tensor,
}

impl KvStore {
    pub(crate) fn new(config: &TextConfig, blocks: u32, dtype: DType, device: &Device) -> Result<Self> {
        let shape = (blocks as usize * BLOCK, config.kv_heads * config.head_dim);
        let layers = (0..config.layers).map(|_| {
            Ok(Layer { k: Tensor::zeros(shape, dtype, device)?, v: Tensor::zeros(shape, dtype, device)? })
        });
        Ok(Self { layers: layers.collect::<Result<_>>()? })
    }

    /// Bytes of one block, all layers.
    pub(crate) fn block_bytes(config: &TextConfig, precision: Precision) -> u64 {
        (2 * config.layers * BLOCK * config.kv_heads * config.head_dim) as u64 * precision.bytes()
    }

    pub(crate) fn layer(&self, layer: usize) -> Result<&Layer> {
        match self.layers.get(layer) {
            Some(layer) => Ok(layer),
            None => candle_core::bail!("the store has no layer {layer}"),
        }
    }

    /// Copies a block, all layers, so that a sequence can go on from it in a way of its own.
    pub(crate) fn copy(&self, from: BlockId, to: BlockId) -> Result<()> {
        let (from, to) = (from.0 as usize * BLOCK, to.0 as usize * BLOCK);
        for layer in &self.layers {
            for store in [&layer.k, &layer.v] {
                // In memory of its own first: a tensor cannot be written from itself. (`copy` would take the whole store along.)
                store.slice_set(&store.narrow(0, from, BLOCK)?.force_contiguous()?, 0, to)?;
            }
        }
        Ok(())
    }
}

/// Rows of the store that the rows of a step go to, for devices on which every copy is a launch: rows that stay behind
/// each other go in one, all others together in another.
pub(crate) struct Places {
    /// First row of the step, first row of the store, and how many.
    runs: Vec<(usize, usize, usize)>,
    others: Option<Others>,
}

struct Others {
    /// Rows of the step; `None` for all of them.
    from: Option<Tensor>,
    /// The store's row of each, once for every number of it: `[rows, kv heads · head dim]`.
    to: Tensor,
}

/// Rows from which on a copy of their own is faster: the other kernel writes one row after another.
const LEAST_RUN: usize = 4;

impl Places {
    /// The places of the rows of `spans`, which lie behind each other.
    pub(crate) fn new(spans: &[Span<'_>], config: &TextConfig, device: &Device) -> Result<Self> {
        let mut targets = Vec::new();
        for span in spans {
            for token in span.past..span.total() {
                targets.push(span.row(token)?);
            }
        }
        let (mut runs, mut from, mut to) = (Vec::new(), Vec::new(), Vec::new());
        let mut row = 0;
        for run in targets.chunk_by(|row, next| row + 1 == *next) {
            match run {
                [first, ..] if run.len() >= LEAST_RUN => runs.push((row, *first, run.len())),
                _ => {
                    from.extend((row as u32..).take(run.len()));
                    to.extend(run.iter().map(|target| *target as u32));
                }
            }
            row += run.len();
        }
        if to.is_empty() {
            return Ok(Self { runs, others: None });
        }
        let shape = (to.len(), config.kv_heads * config.head_dim);
        let others = Others {
            from: if runs.is_empty() { None } else { Some(Tensor::new(from, device)?) },
            to: Tensor::from_vec(to, (shape.0, 1), device)?.broadcast_as(shape)?.contiguous()?,
        };
        Ok(Self { runs, others: Some(others) })
    }
}

impl Layer {
    /// Writes the rows of a whole step, `k` and `v` `[rows, kv heads · head dim]`.
    pub(crate) fn write_all(&self, places: &Places, k: &Tensor, v: &Tensor) -> Result<()> {
        for (store, rows) in [(&self.k, k.contiguous()?), (&self.v, v.contiguous()?)] {
            for (from, to, count) in &places.runs {
                store.slice_set(&rows.narrow(0, *from, *count)?, 0, *to)?;
            }
            if let Some(Others { from, to }) = &places.others {
                let rows = match from {
                    Some(from) => rows.index_select(from, 0)?,
                    None => rows,
                };
                store.scatter_set(to, &rows, 0)?;
            }
        }
        Ok(())
    }

    /// Writes the rows of a step, `k` and `v` `[rows, kv heads · head dim]`, behind the sequence's past.
    pub(crate) fn write(&self, span: Span<'_>, k: &Tensor, v: &Tensor) -> Result<()> {
        let mut done = 0;
        while done < span.rows {
            let token = span.past + done;
            let rows = (BLOCK - token % BLOCK).min(span.rows - done);
            let row = span.row(token)?;
            self.k.slice_set(&k.narrow(0, done, rows)?, 0, row)?;
            self.v.slice_set(&v.narrow(0, done, rows)?, 0, row)?;
            done += rows;
        }
        Ok(())
    }

    /// Copies of all keys and values of a sequence, each `[kv heads, tokens, head dim]`.
    pub(crate) fn gather(&self, span: Span<'_>, kv_heads: usize) -> Result<(Tensor, Tensor)> {
        let rows = (0..span.total()).map(|token| Ok(span.row(token)? as u32)).collect::<Result<Vec<_>>>()?;
        let index = Tensor::new(rows, self.k.device())?;
        let gather = |store: &Tensor| {
            let rows = store.index_select(&index, 0)?;
            rows.reshape((span.total(), kv_heads, ()))?.transpose(0, 1)?.contiguous()
        };
        Ok((gather(&self.k)?, gather(&self.v)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TextRope;

    fn config() -> TextConfig {
        TextConfig {
            vocab_size: 1,
            hidden_size: 4,
            intermediate_size: 1,
            layers: 1,
            heads: 2,
            kv_heads: 2,
            head_dim: 2,
            rms_norm_eps: 1e-5,
            max_position_embeddings: 4096,
            rope: TextRope { theta: 1e4, rotary_dim: 2, sections: vec![1] },
        }
    }

    #[test]
    fn rows_come_back_in_order_wherever_their_blocks_lie() {
        let config = config();
        let store = KvStore::new(&config, 8, DType::F32, &Device::Cpu).unwrap();
        assert!(store.layer(1).is_err());
        let layer = store.layer(0).unwrap();
        let blocks = [BlockId(6), BlockId(1), BlockId(4)];
        let k = Tensor::arange(0f32, 80.0 * 4.0, &Device::Cpu).unwrap().reshape((80, 4)).unwrap();
        let v = (&k * 2.0).unwrap();
        let mut past = 0;
        for rows in [20, 30, 1, 29] {
            let span = Span { past, rows, blocks: &blocks };
            layer.write(span, &k.narrow(0, past, rows).unwrap(), &v.narrow(0, past, rows).unwrap()).unwrap();
            past += rows;
        }
        let span = Span { past: 79, rows: 1, blocks: &blocks };
        let (keys, values) = layer.gather(span, 2).unwrap();
        let wanted = k.reshape((80, 2, 2)).unwrap().transpose(0, 1).unwrap();
        let all = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(all(keys), all(wanted.contiguous().unwrap()));
        assert_eq!(all(values), all((wanted * 2.0).unwrap()));
        let beyond = Span { past: 96, rows: 1, blocks: &blocks };
        assert!(layer.gather(beyond, 2).is_err());
    }

    #[test]
    fn all_sequences_at_once_are_written_where_each_would_be() {
        let config = config();
        let stores = [(); 2].map(|()| KvStore::new(&config, 8, DType::F32, &Device::Cpu).unwrap());
        let [one_by_one, at_once] = stores.each_ref().map(|store| store.layer(0).unwrap());
        let (first, second, third) = ([BlockId(3), BlockId(5)], [BlockId(0)], [BlockId(6), BlockId(7)]);
        let all = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        // Prompts beside single tokens, then single tokens alone.
        for (rows, spans) in [
            (
                46,
                [
                    Span { past: 30, rows: 5, blocks: &first },
                    Span { past: 7, rows: 1, blocks: &second },
                    Span { past: 0, rows: 40, blocks: &third },
                ],
            ),
            (
                3,
                [
                    Span { past: 35, rows: 1, blocks: &first },
                    Span { past: 8, rows: 1, blocks: &second },
                    Span { past: 40, rows: 1, blocks: &third },
                ],
            ),
        ] {
            let k = Tensor::arange(1f32, (rows * 4 + 1) as f32, &Device::Cpu).unwrap();
            let k = k.reshape((rows, 4)).unwrap();
            let v = (&k * 2.0).unwrap();
            let mut start = 0;
            for span in spans {
                let rows = |t: &Tensor| t.narrow(0, start, span.rows).unwrap();
                one_by_one.write(span, &rows(&k), &rows(&v)).unwrap();
                start += span.rows;
            }
            at_once.write_all(&Places::new(&spans, &config, &Device::Cpu).unwrap(), &k, &v).unwrap();
            assert_eq!(all(&at_once.k), all(&one_by_one.k));
            assert_eq!(all(&at_once.v), all(&one_by_one.v));
        }
        assert!(all(&at_once.k).contains(&184.0));
    }
}
