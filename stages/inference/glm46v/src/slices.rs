//! The numbers of tensors in memory, for kernels of our own.

use candle_core::{CpuStorage, Result, Storage, Tensor};

/// Calls `f` with the values of contiguous f32 tensors on the CPU.
pub(crate) fn with_cpu_slices<const N: usize, T>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> Result<T>,
) -> Result<T> {
    let held = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for ((storage, layout), slice) in held.iter().zip(&mut slices) {
        let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) =
            (&**storage, layout.contiguous_offsets())
        else {
            candle_core::bail!("expected contiguous f32 tensors on the CPU")
        };
        *slice = values.get(start..end).unwrap_or_default();
    }
    f(slices)
}
