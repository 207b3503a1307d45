//! Attention by its definition, on the CPU: each query's scores, their exponentials over the largest, the weighted sum.

use candle_core::{CpuStorage, Layout, Result, Shape, bail};
use half::bf16;

use crate::{Attention, HEAD_DIM, Mask};

/// A tensor of rows, heads and values.
struct View<'a> {
    values: &'a [bf16],
    row_stride: usize,
    head_stride: usize,
}

impl<'a> View<'a> {
    /// Of the last three dimensions; a fourth before them, the page, must continue the rows.
    fn new(storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        let CpuStorage::BF16(values) = storage else { bail!("attention takes bf16") };
        let (row_stride, head_stride) = match (layout.dims(), layout.stride()) {
            ([_, _, _], [row, head, 1]) => (*row, *head),
            ([_, page, _, _], [next, row, head, 1]) if *next == page * row => (*row, *head),
            _ => bail!("attention takes rows, heads and contiguous values"),
        };
        Ok(Self { values: values.get(layout.start_offset()..).unwrap_or_default(), row_stride, head_stride })
    }

    fn head(&self, row: usize, head: usize) -> Result<&'a [bf16]> {
        let start = row * self.row_stride + head * self.head_stride;
        match self.values.get(start..start + HEAD_DIM) {
            Some(values) => Ok(values),
            None => bail!("row {row} lies outside of the tensor"),
        }
    }
}

pub(crate) fn attention(
    call: &Attention,
    [(q, q_layout), (k, k_layout), (v, v_layout)]: [(&CpuStorage, &Layout); 3],
) -> Result<(CpuStorage, Shape)> {
    let (rows, heads, _) = q_layout.shape().dims3()?;
    let group = heads / k_layout.dims().iter().rev().nth(1).copied().unwrap_or(heads);
    let page = k_layout.dims().get(1).copied().unwrap_or(1);
    let (q, k, v) = (View::new(q, q_layout)?, View::new(k, k_layout)?, View::new(v, v_layout)?);
    let table = call.table.as_ref().map(candle_core::Tensor::to_vec2::<u32>).transpose()?;
    let scale = 1.0 / (HEAD_DIM as f32).sqrt();

    let mut out = Vec::with_capacity(rows * heads * HEAD_DIM);
    let (mut row, mut first_key) = (0, 0);
    for (sequence, (queries, keys)) in call.query_lengths().into_iter().zip(&call.keys.lengths).enumerate() {
        let place = |key: usize| match &table {
            None => Ok(first_key + key),
            Some(table) => match table.get(sequence).and_then(|pages| pages.get(key / page)) {
                Some(at) => Ok(*at as usize * page + key % page),
                None => bail!("key {key} of sequence {sequence} has no page"),
            },
        };
        let places = (0..*keys).map(place).collect::<Result<Vec<_>>>()?;
        for query in 0..queries {
            let seen = match call.mask {
                Mask::All => *keys,
                Mask::Causal => keys - queries + query + 1,
            };
            for head in 0..heads {
                let asked = q.head(row, head)?;
                let mut scores = Vec::with_capacity(seen);
                for place in places.iter().take(seen) {
                    scores.push(dot(asked, k.head(*place, head / group)?) * scale);
                }
                let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let weights: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
                let sum: f32 = weights.iter().sum();
                let mut mixed = [0.0; HEAD_DIM];
                for (place, weight) in places.iter().zip(&weights) {
                    for (mixed, value) in mixed.iter_mut().zip(v.head(*place, head / group)?) {
                        *mixed += weight / sum * value.to_f32();
                    }
                }
                out.extend(mixed.map(bf16::from_f32));
            }
            row += 1;
        }
        first_key += keys;
    }
    Ok((CpuStorage::BF16(out), q_layout.shape().clone()))
}

fn dot(a: &[bf16], b: &[bf16]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a.to_f32() * b.to_f32()).sum()
}
