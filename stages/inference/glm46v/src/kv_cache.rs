//! Keys and values of one sequence, all layers.
//!
//! ```text
//! per layer   k, v: [kv heads, capacity, head dim]      ████████████░░░░░░
//!                                                       len         capacity, doubled when full
//! ```
//!
//! A step appends the same rows to every layer and then [`KvCache::commit`]s them once. The cache is the only state of
//! a sequence inside the model, so sequences can be interleaved, kept and dropped freely.

use candle_core::{DType, Device, Result, Tensor};

use crate::config::TextConfig;

const FIRST_CAPACITY: usize = 256;

/// The past of one sequence.
pub(crate) struct KvCache {
    layers: Vec<Layer>,
    len: usize,
}

struct Layer {
    k: Tensor,
    v: Tensor,
}

impl KvCache {
    pub(crate) fn new(config: &TextConfig, device: &Device) -> Result<Self> {
        let shape = (config.kv_heads, FIRST_CAPACITY, config.head_dim);
        let layers = (0..config.layers).map(|_| {
            Ok(Layer {
                k: Tensor::zeros(shape, DType::F32, device)?,
                v: Tensor::zeros(shape, DType::F32, device)?,
            })
        });
        Ok(Self { layers: layers.collect::<Result<_>>()?, len: 0 })
    }

    /// Committed tokens.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Writes `k` and `v` `[kv heads, rows, head dim]` behind the committed rows of a layer and returns all rows.
    pub(crate) fn append(&mut self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let total = self.len + k.dim(1)?;
        let len = self.len;
        let Some(layer) = self.layers.get_mut(layer) else {
            candle_core::bail!("the cache has no layer {layer}")
        };
        layer.k = write(&layer.k, k, len)?;
        layer.v = write(&layer.v, v, len)?;
        Ok((layer.k.narrow(1, 0, total)?, layer.v.narrow(1, 0, total)?))
    }

    /// Makes the rows that were appended to every layer part of the past.
    pub(crate) fn commit(&mut self, rows: usize) {
        self.len += rows;
    }
}

/// `store` with `rows` at `offset`, in place where they fit, else in a store of twice the need.
fn write(store: &Tensor, rows: &Tensor, offset: usize) -> Result<Tensor> {
    let (heads, capacity, width) = store.dims3()?;
    let needed = offset + rows.dim(1)?;
    let store = if needed <= capacity {
        store.clone()
    } else {
        let larger =
            Tensor::zeros((heads, needed.next_power_of_two(), width), store.dtype(), store.device())?;
        if offset > 0 {
            larger.slice_set(&store.narrow(1, 0, offset)?.contiguous()?, 1, 0)?;
        }
        larger
    };
    store.slice_set(&rows.contiguous()?, 1, offset)?;
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TextRope;

    #[test]
    fn rows_survive_growth_in_order() {
        let config = TextConfig {
            vocab_size: 1,
            hidden_size: 4,
            intermediate_size: 1,
            layers: 2,
            heads: 2,
            kv_heads: 2,
            head_dim: 2,
            rms_norm_eps: 1e-5,
            max_position_embeddings: 4096,
            rope: TextRope { theta: 1e4, rotary_dim: 2, sections: vec![1] },
        };
        let mut cache = KvCache::new(&config, &Device::Cpu).unwrap();
        let mut all: Vec<Tensor> = Vec::new();
        for rows in [200, 56, 1, 1, 700] {
            let new = Tensor::randn(0f32, 1.0, (2, rows, 2), &Device::Cpu).unwrap();
            all.push(new.clone());
            let wanted = Tensor::cat(&all, 1).unwrap();
            for layer in 0..2 {
                let (k, v) = cache.append(layer, &new, &(&new * 2.0).unwrap()).unwrap();
                let same = |a: &Tensor, b: &Tensor| (a - b).unwrap().abs().unwrap().max_all().unwrap();
                assert_eq!(same(&k, &wanted).to_scalar::<f32>().unwrap(), 0.0);
                assert_eq!(same(&v, &(&wanted * 2.0).unwrap()).to_scalar::<f32>().unwrap(), 0.0);
            }
            cache.commit(rows);
        }
        assert_eq!(cache.len(), 958);
        assert!(cache.append(2, &all[0], &all[0]).is_err());
    }
}
