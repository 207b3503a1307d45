//! Whether a device computes what it should, piece by piece and before a model is loaded; and how fast its matrix products
//! and copies are, which the roofline is drawn with.

use std::time::{Duration, Instant};

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Device, Module as _, Result, Tensor};
use glm46v::DeviceChoice;
use serde_json::{Value, json};

use crate::{Failure, print};

pub(crate) fn run(device: &str) -> std::result::Result<(), Failure> {
    let device = match device.parse()? {
        DeviceChoice::Cpu => Device::Cpu,
        DeviceChoice::Cuda(ordinal) => Device::new_cuda(ordinal)?,
    };
    let mut checks = quantised(&device)?;
    checks.extend(attention(&device)?);
    let failed = checks.iter().filter(|check| check["within"] == json!(false)).count();
    print(&json!({
        "gemm_tflops": gemm_tflops(&device)?,
        "copy_tb_per_s": copy_tb_per_s(&device)?,
        "checks": checks,
    }));
    if failed == 0 { Ok(()) } else { Err(format!("{failed} checks failed").into()) }
}

/// A difference, relative to the length of what it differs from, and what is allowed.
fn check(name: &str, ours: &Tensor, wanted: &Tensor, allowed: f64) -> Result<Value> {
    let on_cpu = |t: &Tensor| t.to_device(&Device::Cpu)?.to_dtype(DType::F32);
    let (ours, wanted) = (on_cpu(ours)?, on_cpu(wanted)?);
    let length = |t: &Tensor| t.sqr()?.sum_all()?.to_scalar::<f32>().map(|sum| f64::from(sum).sqrt());
    let error = length(&(&ours - &wanted)?)? / length(&wanted)?;
    // A NaN is not within anything.
    Ok(json!({ "check": name, "error": error, "allowed": allowed, "within": error <= allowed }))
}

fn random(shape: &[usize]) -> Result<Tensor> {
    Tensor::randn(0f32, 1.0, shape, &Device::Cpu)
}

/// Mean of some runs after some that do not count.
fn timed(device: &Device, run: impl Fn() -> Result<Tensor>) -> Result<Duration> {
    const RUNS: u32 = 10;
    for _ in 0..3 {
        run()?;
    }
    device.synchronize()?;
    let start = Instant::now();
    for _ in 0..RUNS {
        run()?;
    }
    device.synchronize()?;
    Ok(start.elapsed() / RUNS)
}

/// bf16 on a card, f32 on the CPU.
fn gemm_tflops(device: &Device) -> Result<f64> {
    let (n, dtype) = if device.is_cuda() { (8192, DType::BF16) } else { (512, DType::F32) };
    let matrix = || Tensor::randn(0f32, 1.0, (n, n), device)?.to_dtype(dtype);
    let (a, b) = (matrix()?, matrix()?.t()?);
    let time = timed(device, || a.matmul(&b))?;
    Ok(2.0 * (n as f64).powi(3) / time.as_secs_f64() / 1e12)
}

/// Bytes read and written.
fn copy_tb_per_s(device: &Device) -> Result<f64> {
    let values = if device.is_cuda() { 1 << 30 } else { 1 << 24 };
    let source = Tensor::zeros(values, DType::F32, device)?;
    let time = timed(device, || source.copy())?;
    Ok(2.0 * 4.0 * values as f64 / time.as_secs_f64() / 1e12)
}

/// Q8_0 products with few rows and many, which have kernels of their own, against f32 on the CPU.
fn quantised(device: &Device) -> Result<Vec<Value>> {
    let weight = random(&[1024, 4096])?;
    let held = QMatMul::from_qtensor(QTensor::quantize(&weight.to_device(device)?, GgmlDType::Q8_0)?)?;
    [1, 8, 64]
        .into_iter()
        .map(|rows| {
            let x = random(&[rows, 4096])?;
            let ours = held.forward(&x.to_device(device)?)?;
            check(&format!("Q8_0 product of {rows} rows"), &ours, &x.matmul(&weight.t()?)?, 0.02)
        })
        .collect()
}

#[cfg(not(feature = "flash"))]
#[expect(clippy::unnecessary_wraps, reason = "the kernels may fail")]
fn attention(_: &Device) -> Result<Vec<Value>> {
    Ok(vec![json!({ "check": "FlashAttention", "skipped": "this build has no feature `flash`" })])
}

/// FlashAttention's kernels against the definition: heads as in the model, lengths that end inside of tiles and pages.
#[cfg(feature = "flash")]
fn attention(device: &Device) -> Result<Vec<Value>> {
    use glm46v_flash::{HEAD_DIM, Mask, PAGE_ROWS, Packed, Pages, Splits, decode, packed, paged};

    const ALLOWED: f64 = 0.01;
    let (heads, kv_heads) = (32, 2);
    let bf16 = |shape: &[usize]| random(shape)?.to_dtype(DType::BF16);
    let both = |run: &dyn Fn(&Device) -> Result<Tensor>| {
        Ok::<_, candle_core::Error>((run(device)?, run(&Device::Cpu)?))
    };
    let mut checks = Vec::new();

    // Pictures, then prompts without a past.
    let lengths = [1, 130, 64, 37];
    let rows = lengths.iter().sum();
    let (q, k, v) = (
        bf16(&[rows, heads, HEAD_DIM])?,
        bf16(&[rows, kv_heads, HEAD_DIM])?,
        bf16(&[rows, kv_heads, HEAD_DIM])?,
    );
    for (name, mask) in [("packed, all keys", Mask::All), ("packed, causal", Mask::Causal)] {
        let (ours, wanted) = both(&|device| {
            let rows = Packed::new(&lengths, device)?;
            let on = |t: &Tensor| t.to_device(device);
            packed(&on(&q)?, [&on(&k)?, &on(&v)?], [&rows, &rows], mask)
        })?;
        checks.push(check(&format!("attention, {name}"), &ours, &wanted, ALLOWED)?);
    }

    // A chunk of each prompt on a past of its own, and one more token of each.
    let keys = [100, 33, 300, 64];
    let most = 300usize.div_ceil(PAGE_ROWS);
    let pages = 64;
    let table: Vec<u32> = (0..keys.len() * most).map(|i| (i * 23 % pages) as u32).collect();
    let table = Tensor::from_vec(table, (keys.len(), most), &Device::Cpu)?;
    let store =
        [bf16(&[pages, PAGE_ROWS, kv_heads, HEAD_DIM])?, bf16(&[pages, PAGE_ROWS, kv_heads, HEAD_DIM])?];
    let queries = [70, 33, 1, 5];
    let chunk = bf16(&[queries.iter().sum(), heads, HEAD_DIM])?;
    let one_each = bf16(&[keys.len(), heads, HEAD_DIM])?;
    let ask = |device: &Device, splits: Option<Splits>| {
        let [k, v] = [store[0].to_device(device)?, store[1].to_device(device)?];
        let (lengths, table) = (Packed::new(&keys, device)?, table.to_device(device)?);
        let pages = Pages { keys: &k, values: &v, lengths: &lengths, table: &table };
        match splits {
            None => paged(&chunk.to_device(device)?, pages, &Packed::new(&queries, device)?),
            Some(splits) => decode(&one_each.to_device(device)?, pages, splits),
        }
    };
    for (name, splits) in [
        ("chunks on pages", None),
        ("one query each on pages", Some(Splits::One)),
        ("one query each on pages, in parts", Some(Splits::FillCard)),
    ] {
        let (ours, wanted) = both(&|device| ask(device, splits))?;
        checks.push(check(&format!("attention, {name}"), &ours, &wanted, ALLOWED)?);
    }
    Ok(checks)
}
