//! Products of a few rows with a weight, on the CPU: the steps in which answers grow by one token each.
//!
//! A matrix library copies the weight into panels first, which is more work than so few rows are worth. Here the weight is
//! read once, as it lies, and each of its rows meets all rows of the activations while it is in the cache:
//!
//! ```text
//!   weight [out, in]   one row ─────▶ · row 0 … 7 of the activations ─▶ eight sums, side by side
//!                      (L1 cache)  └▶ · row 8 …15                    ─▶ eight more
//! ```
//!
//! A sum is taken along the row in the order of the numbers, one vector after the other, whatever rows stand beside it:
//! so a row's result depends on the row and the weight alone.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined there is compiled for the processor's vectors"
)]

use candle_core::{Device, Result, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::slices::with_cpu_slices;

/// Rows up to which the weight is better read as it lies.
pub(crate) const FEW: usize = 16;
/// Sums kept in registers at the same time.
const SIDE_BY_SIDE: usize = 8;
/// Multiplications that are worth waking another thread for: some ten microseconds.
const WORTH_A_THREAD: usize = 1 << 18;

/// `x · Wᵀ` of `x` `[rows, in]` and `weight` `[out, in]`, both contiguous f32 on the CPU; the result is `[rows, out]`.
pub(crate) fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let ((rows, width), (out, weight_width)) = (x.dims2()?, weight.dims2()?);
    if width != weight_width || width == 0 {
        candle_core::bail!("rows of {width} cannot be multiplied by a weight of rows of {weight_width}");
    }
    with_cpu_slices([x, weight], |[x, weight]| {
        let arch = Arch::new();
        // By output first, so that each thread writes memory of its own.
        let mut sums = vec![0.0; out * rows];
        let outs_of_a_task = WORTH_A_THREAD.div_ceil(width * rows.max(1));
        let task =
            |(weight, sums): (&[f32], &mut [f32])| arch.dispatch(Task { weight, x, sums, width, rows });
        let (weights, sums_of_task) = (outs_of_a_task * width, (outs_of_a_task * rows).max(1));
        if outs_of_a_task >= out || rayon::current_num_threads() == 1 {
            weight.chunks(weights).zip(sums.chunks_mut(sums_of_task)).for_each(task);
        } else {
            weight.par_chunks(weights).zip(sums.par_chunks_mut(sums_of_task)).for_each(task);
        }
        Tensor::from_vec(sums, (out, rows), &Device::Cpu)?.t()?.contiguous()
    })
}

/// Some rows of the weight with all rows of the activations.
struct Task<'a> {
    /// `[outs, width]`
    weight: &'a [f32],
    /// `[rows, width]`
    x: &'a [f32],
    /// `[outs, rows]`
    sums: &'a mut [f32],
    width: usize,
    rows: usize,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weight, x, sums, width, rows } = self;
        for (weight, sums) in weight.chunks_exact(width).zip(sums.chunks_exact_mut(rows)) {
            for (x, sums) in x.chunks(width * SIDE_BY_SIDE).zip(sums.chunks_mut(SIDE_BY_SIDE)) {
                if let Ok(sums) = sums.try_into() {
                    eight(simd, weight, x, sums);
                } else {
                    for (x, sum) in x.chunks_exact(width).zip(sums) {
                        let [one] = dots(simd, weight, [x]);
                        *sum = one;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn eight<S: Simd>(simd: S, weight: &[f32], x: &[f32], sums: &mut [f32; SIDE_BY_SIDE]) {
    let mut rows = x.chunks_exact(weight.len());
    *sums = dots(simd, weight, std::array::from_fn(|_| rows.next().unwrap_or_default()));
}

/// The products of a row with `N` others of its length.
#[inline(always)]
fn dots<S: Simd, const N: usize>(simd: S, weight: &[f32], x: [&[f32]; N]) -> [f32; N] {
    let (weight, weight_rest) = S::as_simd_f32s(weight);
    let x = x.map(S::as_simd_f32s);
    let mut sums = [simd.splat_f32s(0.0); N];
    for (at, weight) in weight.iter().enumerate() {
        for (sum, (x, _)) in sums.iter_mut().zip(&x) {
            if let Some(x) = x.get(at) {
                *sum = simd.mul_add_e_f32s(*weight, *x, *sum);
            }
        }
    }
    let mut totals = sums.map(|sum| simd.reduce_sum_f32s(sum));
    for (total, (_, x_rest)) in totals.iter_mut().zip(&x) {
        *total += weight_rest.iter().zip(*x_rest).map(|(weight, x)| weight * x).sum::<f32>();
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(shape: (usize, usize)) -> Tensor {
        Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn it_is_the_matrix_product() {
        for (rows, width, out) in [(1, 5, 3), (2, 64, 7), (8, 100, 1), (9, 33, 40), (16, 768, 2000)] {
            let (x, weight) = (random((rows, width)), random((out, width)));
            let ours = product(&x, &weight).unwrap();
            let theirs = x.matmul(&weight.t().unwrap()).unwrap();
            let gap = (ours - theirs).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            assert!(gap.to_scalar::<f32>().unwrap() < 1e-3, "{rows} rows of {width} to {out}");
        }
        assert!(product(&random((2, 4)), &random((3, 5))).is_err());
    }

    #[test]
    fn a_row_comes_out_the_same_whatever_rows_stand_beside_it() {
        let (x, weight) = (random((19, 200)), random((300, 200)));
        let all = product(&x, &weight).unwrap().to_vec2::<f32>().unwrap();
        for (row, expected) in all.iter().enumerate() {
            let alone = product(&x.narrow(0, row, 1).unwrap(), &weight).unwrap();
            assert_eq!(&alone.to_vec2::<f32>().unwrap()[0], expected);
        }
    }
}
