//! The kernels on a card. All checks have been made by [`crate::Attention::check`].

use core::ffi::{c_int, c_void};
use core::ops::Deref;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DevicePtr, DevicePtrMut, DeviceRepr};
use candle_core::{CudaDevice, CudaStorage, Layout, Result, Shape, Storage, Tensor, bail};
use half::bf16;

use crate::{Attention, HEAD_DIM, Mask, Queries};

/// As `Call` of kernels/attention.cu, which says what the fields mean.
#[repr(C)]
struct Call {
    q: *const c_void,
    k: *const c_void,
    v: *const c_void,
    out: *mut c_void,
    log_sum: *mut f32,
    split_out: *mut f32,
    split_log_sum: *mut f32,
    starts_q: *const i32,
    starts_k: *const i32,
    block_table: *const i32,
    q_strides: Strides,
    k_strides: Strides,
    v_strides: Strides,
    out_strides: Strides,
    block_table_stride: i64,
    batch: i32,
    heads: i32,
    kv_heads: i32,
    total_q: i32,
    longest_q: i32,
    longest_k: i32,
    page: i32,
    splits: i32,
    causal: i32,
    scale: f32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Strides {
    batch: i64,
    row: i64,
    head: i64,
}

#[expect(unsafe_code, reason = "the entry point of kernels/attention.cu")]
unsafe extern "C" {
    fn glm46v_flash_attention(call: *const Call, stream: *mut c_void) -> c_int;
}

pub(crate) fn attention(
    attention: &Attention,
    [(q, q_layout), (k, k_layout), (v, v_layout)]: [(&CudaStorage, &Layout); 3],
) -> Result<(CudaStorage, Shape)> {
    let device = q.device();
    let stream = device.cuda_stream();
    let (rows, heads, _) = q_layout.shape().dims3()?;
    let shape = q_layout.shape().clone();
    let (kv_heads, page) = match k_layout.dims() {
        [_, page, kv_heads, _] => (*kv_heads, *page),
        [_, kv_heads, _] => (*kv_heads, 0),
        _ => bail!("keys have {} dimensions", k_layout.dims().len()),
    };
    let batch = attention.keys.sequences();

    // One query a sequence: its heads that share keys take the places of rows, and each key head stands for a head.
    let group = heads / kv_heads;
    let head_dim = HEAD_DIM as i64;
    let contiguous = Strides { batch: 0, row: (heads * HEAD_DIM) as i64, head: head_dim };
    let folded = |strides: Strides| Strides {
        batch: strides.row,
        row: strides.head,
        head: strides.head * group as i64,
    };
    let q_strides = strides(q_layout);
    let (seen_heads, longest_q, q_strides, out_strides) = match &attention.queries {
        Queries::Packed(queries) => (heads, queries.longest(), q_strides, contiguous),
        Queries::OneEach => (kv_heads, group, folded(q_strides), folded(contiguous)),
    };
    let longest_k = attention.keys.longest();
    let splits = match &attention.queries {
        Queries::Packed(_) => 1,
        Queries::OneEach => {
            let multiprocessors = stream.context().attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT).w()?;
            attention.splits.count(batch * kv_heads, longest_k, usize::try_from(multiprocessors).unwrap_or(1))
        }
    };

    // Every value of the result is written by a kernel, and so are the sums; the padding covers whole tiles of 64 rows.
    let sums = rows * heads + 64;
    let split_sums = if splits > 1 { splits * rows * heads + 64 } else { 1 };
    let mut out = uninitialised::<bf16>(device, rows * heads * HEAD_DIM)?;
    let mut log_sum = uninitialised::<f32>(device, sums)?;
    let mut split_log_sum = uninitialised::<f32>(device, split_sums)?;
    let mut split_out = uninitialised::<f32>(device, if splits > 1 { split_sums * HEAD_DIM } else { 1 })?;

    let (q, k, v) = (view(q, q_layout)?, view(k, k_layout)?, view(v, v_layout)?);
    let starts_q = match &attention.queries {
        Queries::Packed(queries) => Some(queries.starts.storage_and_layout()),
        Queries::OneEach => None,
    };
    let starts_q = starts_q.as_ref().map(table).transpose()?;
    let starts_k = attention.keys.starts.storage_and_layout();
    let starts_k = table(&starts_k)?;
    let block_table = attention.table.as_ref().map(Tensor::storage_and_layout);
    let block_table = block_table.as_ref().map(table).transpose()?;
    let block_table_stride = attention.table.as_ref().map_or(Ok(0), |table| table.dim(1))? as i64;

    // The guards order this stream's work behind whatever still writes the operands; they are held until the launch.
    let status = {
        let (q_at, _q) = q.device_ptr(&stream);
        let (k_at, _k) = k.device_ptr(&stream);
        let (v_at, _v) = v.device_ptr(&stream);
        let (out_at, _out) = out.device_ptr_mut(&stream);
        let (log_sum_at, _log_sum) = log_sum.device_ptr_mut(&stream);
        let (split_out_at, _split_out) = split_out.device_ptr_mut(&stream);
        let (split_log_sum_at, _split_log_sum) = split_log_sum.device_ptr_mut(&stream);
        let starts_q_at = starts_q.as_ref().map(|table| table.device_ptr(&stream));
        let (starts_k_at, _starts_k) = starts_k.device_ptr(&stream);
        let block_table_at = block_table.as_ref().map(|table| table.device_ptr(&stream));
        let call = Call {
            q: q_at as *const c_void,
            k: k_at as *const c_void,
            v: v_at as *const c_void,
            out: out_at as *mut c_void,
            log_sum: log_sum_at as *mut f32,
            split_out: split_out_at as *mut f32,
            split_log_sum: split_log_sum_at as *mut f32,
            starts_q: starts_q_at.as_ref().map_or(core::ptr::null(), |(at, _)| *at as *const i32),
            starts_k: starts_k_at as *const i32,
            block_table: block_table_at.as_ref().map_or(core::ptr::null(), |(at, _)| *at as *const i32),
            q_strides,
            k_strides: strides(k_layout),
            v_strides: strides(v_layout),
            out_strides,
            block_table_stride,
            batch: batch as i32,
            heads: seen_heads as i32,
            kv_heads: kv_heads as i32,
            total_q: rows as i32,
            longest_q: longest_q as i32,
            longest_k: longest_k as i32,
            page: page as i32,
            splits: splits as i32,
            causal: i32::from(attention.mask == Mask::Causal),
            scale: 1.0 / (HEAD_DIM as f32).sqrt(),
        };
        #[expect(unsafe_code, reason = "a launch of kernels compiled elsewhere")]
        // SAFETY: the pointers are the operands', alive through their guards, on this stream's device; `check` has
        // compared their shapes with the lengths and the table, whose entries the caller vouches for.
        unsafe {
            glm46v_flash_attention(&raw const call, stream.cu_stream().cast())
        }
    };
    if status != 0 {
        bail!("flash attention failed to launch: CUDA runtime error {status}");
    }
    Ok((CudaStorage::wrap_cuda_slice(out, device.clone()), shape))
}

/// Of the last three dimensions, and of the one before them.
fn strides(layout: &Layout) -> Strides {
    let from_the_end = |i: usize| layout.stride().iter().rev().nth(i).copied().unwrap_or(0) as i64;
    Strides { batch: from_the_end(3), row: from_the_end(2), head: from_the_end(1) }
}

fn view<'a>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, bf16>> {
    Ok(storage.as_cuda_slice::<bf16>()?.slice(layout.start_offset()..))
}

fn uninitialised<T: DeviceRepr>(device: &CudaDevice, values: usize) -> Result<CudaSlice<T>> {
    #[expect(unsafe_code, reason = "memory that the kernels fill")]
    // SAFETY: f32 and bf16 have no invalid values, and nothing is read before a kernel has written it.
    unsafe {
        device.alloc::<T>(values)
    }
}

/// A table of u32 on the card; the tensor stays locked for reading as long as `tensor`'s guard lives.
fn table<'a, S: Deref<Target = Storage>>((storage, layout): &'a (S, &Layout)) -> Result<CudaView<'a, u32>> {
    match (&**storage, layout.contiguous_offsets()) {
        (Storage::Cuda(storage), Some((first, end))) => Ok(storage.as_cuda_slice::<u32>()?.slice(first..end)),
        _ => bail!("a table of rows is not contiguous u32 on the card"),
    }
}
