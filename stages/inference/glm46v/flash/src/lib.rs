//! FlashAttention-2 for `head_dim` 128 in bf16: packed sequences without padding, keys and values in pages.
//!
//! ```text
//! packed   rows of sequence 0 │ rows of sequence 1 │ …                       vision tower, prompts without a past
//! paged    queries packed, keys and values in pages [pages, page, heads, d]  prompts in chunks
//! decode   one query a sequence, keys and values in pages                     every later token
//! ```
//!
//! On a card the kernels of `kernels/` do the work (feature `cuda`). On the CPU the same call is answered by the
//! definition, row by row in f32: slow, and what the kernels are compared with.
//!
//! A row's result depends on its own sequence alone. Its last bits also depend on [`Splits`], so whoever wants the same
//! bits in every company keeps to [`Splits::One`].

mod definition;
#[cfg(feature = "cuda")]
mod launch;
mod splits;

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, bail};

pub use splits::Splits;

/// Values of a query, a key and a value. The kernels are compiled for no other.
pub const HEAD_DIM: usize = 128;

/// The kernels read this many rows of a page at once: a page is a multiple of it.
pub const PAGE_ROWS: usize = 32;

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// All of its sequence.
    All,
    /// Those up to its own place; the last query stands at the last key.
    Causal,
}

/// How many rows each sequence has; the rows lie behind each other.
#[derive(Debug, Clone)]
pub struct Packed {
    /// u32 `[sequences + 1]`: rows before each sequence, then the number of rows.
    starts: Tensor,
    lengths: Vec<usize>,
}

impl Packed {
    /// Makes the table on the device once, for all layers of a step.
    pub fn new(lengths: &[usize], device: &Device) -> Result<Self> {
        let mut starts = Vec::with_capacity(lengths.len() + 1);
        let mut rows = 0u32;
        starts.push(rows);
        for length in lengths {
            // The kernels count rows in i32.
            let next = u32::try_from(*length).ok().and_then(|length| rows.checked_add(length));
            rows = match next {
                Some(rows) if i32::try_from(rows).is_ok() => rows,
                _ => bail!("{length} rows behind {rows} are more than attention can count"),
            };
            starts.push(rows);
        }
        Ok(Self { starts: Tensor::new(starts, device)?, lengths: lengths.to_vec() })
    }

    /// Sequences.
    pub fn sequences(&self) -> usize {
        self.lengths.len()
    }

    /// Rows of all sequences.
    pub fn rows(&self) -> usize {
        self.lengths.iter().sum()
    }

    fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }
}

/// Keys and values in pages.
#[derive(Debug, Clone, Copy)]
pub struct Pages<'a> {
    /// `[pages, page, key heads, 128]`, a page being a multiple of [`PAGE_ROWS`].
    pub keys: &'a Tensor,
    /// As the keys.
    pub values: &'a Tensor,
    /// Keys of each sequence.
    pub lengths: &'a Packed,
    /// u32 `[sequences, most pages of a sequence]`: where a sequence's pages are. What stands behind its last is not read.
    pub table: &'a Tensor,
}

/// Attention of `q` `[rows, heads, 128]` on `k` and `v` `[keys, key heads, 128]`, scaled by 1/√128. The result has the
/// shape of `q`.
pub fn packed(q: &Tensor, [k, v]: [&Tensor; 2], [queries, keys]: [&Packed; 2], mask: Mask) -> Result<Tensor> {
    let attention = Attention {
        queries: Queries::Packed(queries.clone()),
        keys: keys.clone(),
        table: None,
        mask,
        splits: Splits::One,
    };
    attention.check(q, [k, v])?;
    q.apply_op3_no_bwd(k, v, &attention)
}

/// Causal attention of `q` `[rows, heads, 128]` on keys and values in pages. The result has the shape of `q`.
pub fn paged(q: &Tensor, pages: Pages<'_>, queries: &Packed) -> Result<Tensor> {
    let attention = Attention {
        queries: Queries::Packed(queries.clone()),
        keys: pages.lengths.clone(),
        table: Some(pages.table.clone()),
        mask: Mask::Causal,
        splits: Splits::One,
    };
    attention.check(q, [pages.keys, pages.values])?;
    q.apply_op3_no_bwd(pages.keys, pages.values, &attention)
}

/// Attention of one query a sequence, `q` `[sequences, heads, 128]`, on all its keys and values. The heads that share
/// keys are answered together, so that a key is read once. The result has the shape of `q`.
pub fn decode(q: &Tensor, pages: Pages<'_>, splits: Splits) -> Result<Tensor> {
    let attention = Attention {
        queries: Queries::OneEach,
        keys: pages.lengths.clone(),
        table: Some(pages.table.clone()),
        mask: Mask::All,
        splits,
    };
    attention.check(q, [pages.keys, pages.values])?;
    q.apply_op3_no_bwd(pages.keys, pages.values, &attention)
}

enum Queries {
    Packed(Packed),
    OneEach,
}

/// One call, without its queries, keys and values.
struct Attention {
    queries: Queries,
    keys: Packed,
    table: Option<Tensor>,
    mask: Mask,
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "the definition has no parts"))]
    splits: Splits,
}

impl Attention {
    /// Everything the kernels take for granted: what they would otherwise read lies outside of the tensors.
    fn check(&self, q: &Tensor, [k, v]: [&Tensor; 2]) -> Result<()> {
        let (rows, heads, d) = q.dims3()?;
        if rows == 0 {
            bail!("attention of no queries");
        }
        for (name, tensor) in [("q", q), ("k", k), ("v", v)] {
            if tensor.dtype() != DType::BF16 {
                bail!("attention takes bf16, and {name} is {:?}", tensor.dtype());
            }
            if tensor.stride().last() != Some(&1) {
                bail!("the last dimension of {name} is not contiguous");
            }
            if !tensor.device().same_device(self.keys.starts.device()) {
                bail!("{name} is not on the device of the lengths");
            }
        }
        if k.shape() != v.shape() {
            bail!("keys {:?} and values {:?} differ in shape", k.shape(), v.shape());
        }
        let kv_heads = match &self.table {
            None => {
                let (keys, kv_heads, _) = k.dims3()?;
                if keys != self.keys.rows() {
                    bail!("{keys} rows of keys for {} by their lengths", self.keys.rows());
                }
                kv_heads
            }
            Some(table) => {
                let (_, page, kv_heads, _) = k.dims4()?;
                let (sequences, most) = table.dims2()?;
                if page == 0 || page % PAGE_ROWS != 0 {
                    bail!("a page of {page} rows is not a multiple of {PAGE_ROWS}");
                }
                if sequences != self.keys.sequences() || most * page < self.keys.longest() {
                    bail!(
                        "a table of {sequences} × {most} pages of {page} rows for {} sequences of up to {} keys",
                        self.keys.sequences(),
                        self.keys.longest()
                    );
                }
                if table.dtype() != DType::U32 || !table.is_contiguous() {
                    bail!("the table of pages is not contiguous u32");
                }
                if !table.device().same_device(self.keys.starts.device()) {
                    bail!("the table of pages is not on the device of the lengths");
                }
                kv_heads
            }
        };
        let k_dim = k.dims().last().copied().unwrap_or(0);
        if d != HEAD_DIM || k_dim != HEAD_DIM {
            bail!("attention takes heads of {HEAD_DIM} values, not {d} and {k_dim}");
        }
        if kv_heads == 0 || heads % kv_heads != 0 {
            bail!("{heads} heads cannot share {kv_heads} key heads");
        }
        match &self.queries {
            Queries::OneEach if rows != self.keys.sequences() => {
                bail!("{rows} queries for {} sequences of one each", self.keys.sequences())
            }
            Queries::Packed(queries) if rows != queries.rows() => {
                bail!("{rows} queries for {} by their lengths", queries.rows())
            }
            Queries::Packed(queries) if queries.sequences() != self.keys.sequences() => {
                bail!("{} sequences of queries for {} of keys", queries.sequences(), self.keys.sequences())
            }
            Queries::Packed(queries) if self.mask == Mask::Causal => {
                let short = queries.lengths.iter().zip(&self.keys.lengths).position(|(q, k)| q > k);
                match short {
                    Some(sequence) => bail!("sequence {sequence} has more queries than keys"),
                    None => Ok(()),
                }
            }
            _ if self.keys.lengths.contains(&0) => bail!("a sequence has no keys"),
            _ => Ok(()),
        }
    }

    fn query_lengths(&self) -> Vec<usize> {
        match &self.queries {
            Queries::Packed(queries) => queries.lengths.clone(),
            Queries::OneEach => vec![1; self.keys.sequences()],
        }
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "flash-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        definition::attention(self, [(q, q_layout), (k, k_layout), (v, v_layout)])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        q: &candle_core::CudaStorage,
        q_layout: &Layout,
        k: &candle_core::CudaStorage,
        k_layout: &Layout,
        v: &candle_core::CudaStorage,
        v_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        launch::attention(self, [(q, q_layout), (k, k_layout), (v, v_layout)])
    }
}
