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
//! The store is made once, so that no step asks for memory: what fits is decided when a sequence is admitted.

use candle_core::{DType, Device, Result, Tensor};

use crate::config::TextConfig;
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
    pub(crate) fn new(config: &TextConfig, blocks: u32, device: &Device) -> Result<Self> {
        let shape = (blocks as usize * BLOCK, config.kv_heads * config.head_dim);
        let layers = (0..config.layers).map(|_| {
            Ok(Layer {
                k: Tensor::zeros(shape, DType::F32, device)?,
                v: Tensor::zeros(shape, DType::F32, device)?,
            })
        });
        Ok(Self { layers: layers.collect::<Result<_>>()? })
    }

    /// Bytes of one block, all layers, in f32.
    pub(crate) fn block_bytes(config: &TextConfig) -> u64 {
        (2 * config.layers * BLOCK * config.kv_heads * config.head_dim * size_of::<f32>()) as u64
    }

    pub(crate) fn layer(&self, layer: usize) -> Result<&Layer> {
        match self.layers.get(layer) {
            Some(layer) => Ok(layer),
            None => candle_core::bail!("the store has no layer {layer}"),
        }
    }
}

impl Layer {
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

    #[test]
    fn rows_come_back_in_order_wherever_their_blocks_lie() {
        let config = TextConfig {
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
        };
        let store = KvStore::new(&config, 8, &Device::Cpu).unwrap();
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
}
