//! How much memory an engine will need, from the checkpoint's headers and the options alone, before anything is loaded.
//!
//! ```text
//! need = weights, each tensor as the plan holds it (and on x86 the copy that candle repacks for its kernels)
//!      + key-value store + cache of vision tokens
//!      + the larger of: the largest pass of the vision tower, the largest step of the language model
//!      + what the device takes for itself
//! ```
//!
//! Passes and steps are counted as the tensors that live at the same time in `vision.rs`, `text.rs` and `attention.rs`;
//! they never run at once. Gigabytes are 10⁹ bytes.

use std::fmt;

use candle_core::DType;
use candle_core::quantized::GgmlDType;

use crate::attention::Kernels;
use crate::checkpoint::{Entry, Held, Manifest, Plan, Role};
use crate::config::{ModelConfig, TextConfig, VisionConfig};
use crate::kv_store::KvStore;
use crate::numerics::{DeviceKind, Precision, WeightFormat};
use crate::scheduler::BLOCK;

/// CUDA's context, cuBLAS' workspaces, kernels and the pool's slack, on cards of compute capability 7.5 to 9.0: NVML shows
/// about 0.5 GB for the context alone.
const CUDA_FIXED: u64 = 700 << 20;
/// Tokenizer, grammar tables and threads.
const CPU_FIXED: u64 = 128 << 20;

/// Memory that an engine needs on its device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// All weights as they are held.
    pub weights: u64,
    /// The key-value store.
    pub keys_and_values: u64,
    /// The cache of vision tokens.
    pub vision_cache: u64,
    /// The largest pass of the vision tower.
    pub vision_pass: u64,
    /// The largest step of the language model.
    pub step: u64,
    /// What the device and its libraries take for themselves.
    pub fixed: u64,
}

impl MemoryNeed {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.without_store() + self.keys_and_values
    }

    fn without_store(&self) -> u64 {
        self.weights + self.vision_cache + self.vision_pass.max(self.step) + self.fixed
    }
}

impl fmt::Display for MemoryNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "needs {} (weights {}, keys and values {}, vision cache {}, largest pass {}, device {})",
            Gigabytes(self.total()),
            Gigabytes(self.weights),
            Gigabytes(self.keys_and_values),
            Gigabytes(self.vision_cache),
            Gigabytes(self.vision_pass.max(self.step)),
            Gigabytes(self.fixed)
        )
    }
}

/// Bytes as 10⁹ bytes with one decimal, or as 10⁶ bytes below that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gigabytes(pub u64);

impl fmt::Display for Gigabytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..50_000_000 => write!(f, "{:.1} MB", self.0 as f64 / 1e6),
            _ => write!(f, "{:.1} GB", self.0 as f64 / 1e9),
        }
    }
}

/// What would fit where the choice does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WouldFit {
    /// Smaller formats that fit with the same options, and what they need.
    pub formats: Vec<(WeightFormat, u64)>,
    /// The largest key-value store that fits with the chosen format, if any does.
    pub kv_bytes: Option<u64>,
}

impl fmt::Display for WouldFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut any = false;
        for (format, need) in &self.formats {
            write!(f, "{}weights {format} need {}", if any { "; " } else { "" }, Gigabytes(*need))?;
            any = true;
        }
        if let Some(bytes) = self.kv_bytes {
            write!(f, "{}or give keys and values at most {}", if any { "; " } else { "" }, Gigabytes(bytes))?;
            any = true;
        }
        if any { Ok(()) } else { f.write_str("no format fits; take a device with more memory") }
    }
}

/// What an engine is asked to hold and to do.
#[derive(Clone, Copy)]
pub(crate) struct Demand<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) manifest: &'a Manifest,
    /// Type of a tensor in the files.
    pub(crate) stored: &'a dyn Fn(&str) -> DType,
    pub(crate) plan: Plan,
    pub(crate) kv_bytes: u64,
    pub(crate) vision_cache_bytes: u64,
    /// Rows of the largest step, and those of them whose scores are wanted.
    pub(crate) step_rows: usize,
    pub(crate) scored_rows: usize,
    /// Patches of the largest pass of the vision tower, and of the largest picture in it.
    pub(crate) pass_patches: usize,
    pub(crate) picture_patches: usize,
}

impl Demand<'_> {
    pub(crate) fn need(&self) -> MemoryNeed {
        MemoryNeed {
            weights: self.manifest.entries().map(|(name, entry)| self.weight(name, entry)).sum(),
            keys_and_values: self.kv_bytes,
            vision_cache: self.vision_cache_bytes,
            vision_pass: self.vision_pass(&self.config.vision),
            step: self.step(&self.config.text),
            fixed: match self.plan.device {
                DeviceKind::Cpu => CPU_FIXED,
                DeviceKind::Cuda { .. } => CUDA_FIXED,
            },
        }
    }

    /// What fits `available` bytes where this demand does not.
    pub(crate) fn would_fit(&self, available: u64) -> WouldFit {
        let with = |format| Self { plan: Plan { format, ..self.plan }, ..*self }.need().total();
        let formats = WeightFormat::ALL.into_iter().skip_while(|format| *format != self.plan.format).skip(1);
        let formats = formats.map(|format| (format, with(format))).filter(|(_, need)| *need <= available);
        let rest = available.saturating_sub(self.need().without_store());
        let least = KvStore::block_bytes(&self.config.text, self.plan.numerics.compute);
        WouldFit { formats: formats.collect(), kv_bytes: (rest >= least).then_some(rest) }
    }

    fn weight(&self, name: &str, entry: &Entry) -> u64 {
        let held = self.plan.held(entry, (self.stored)(name));
        held.bytes(entry) + self.repacked(held, entry)
    }

    /// candle keeps a second copy of a quantised matrix in the order of its x86 kernels, from the first product on:
    /// tiles of 16 rows by 256 of `Q8_0` (as large) or of `Q4_K` (scales widened to f32: 3072 bytes instead of 2304; with AMX
    /// a third copy of that size).
    fn repacked(&self, held: Held, entry: &Entry) -> u64 {
        let (rows, row) = entry.matrix();
        let multiplied = entry.role != Role::Embedding { tied: false };
        let tiled = rows.is_multiple_of(16) && row.is_multiple_of(256);
        let x86 = self.plan.device == DeviceKind::Cpu && cfg!(target_arch = "x86_64");
        match held {
            Held::Quantised(_) if !(multiplied && tiled && x86) => 0,
            Held::Quantised(GgmlDType::Q4K) => entry.elements() as u64 / 4096 * 3072 * 2,
            Held::Quantised(_) => held.bytes(entry),
            Held::Float(_) => 0,
        }
    }

    fn vision_pass(&self, c: &VisionConfig) -> u64 {
        let (f, r) = self.widths();
        let patches = self.pass_patches as u64;
        let [hidden, out, inner] = [c.hidden_size, c.out_hidden_size, c.intermediate_size].map(|n| n as u64);
        let input = patches * c.patch_len() as u64 * (4 + f);
        // The stream before and after an addition.
        let stream = 2 * patches * hidden * r;
        let turned = 2 * patches * hidden * (f + if f == 4 { 0 } else { 8 });
        let attention = patches * hidden * f * (1 + 3 + 3 + 2)
            + turned
            + self.scores((c.heads, c.head_dim), self.picture_patches as u64);
        let mlp = patches * f * (hidden + 4 * out);
        let tokens = patches / c.patches_per_token().max(1) as u64;
        let merger = patches * hidden * f + tokens * f * (2 * out + 4 * inner);
        input + stream + attention.max(mlp).max(merger)
    }

    fn step(&self, c: &TextConfig) -> u64 {
        let (f, r) = self.widths();
        let rows = self.step_rows as u64;
        let [hidden, inner] = [c.hidden_size, c.intermediate_size].map(|n| n as u64);
        let [queries, keys] = [c.heads, c.kv_heads].map(|heads| (heads * c.head_dim) as u64);
        let stored =
            self.kv_bytes / KvStore::block_bytes(c, self.plan.numerics.compute).max(1) * BLOCK as u64;
        let longest = stored.min(c.max_position_embeddings as u64);
        let attention = rows * f * (hidden + 4 * queries + 8 * keys)
            + 4 * longest * keys * f
            + self.scores((c.heads, c.head_dim), longest);
        // The int8 kernels of CUDA take and give f32.
        let widened = match (self.plan.device, self.plan.format) {
            (DeviceKind::Cuda { .. }, WeightFormat::Q8_0 | WeightFormat::Q4K) if f != 4 => {
                rows * 4 * (2 * inner).max(hidden)
            }
            _ => 0,
        };
        let mlp = rows * f * (hidden + 4 * inner) + widened;
        let scores = self.scored_rows as u64 * c.vocab_size as u64 * (f + 4);
        2 * rows * hidden * r + attention.max(mlp).max(scores)
    }

    /// Attention's scores of one block of queries: the product, its f32 copy, the mask and the masked copy, softmax, and
    /// that in the type of the values.
    fn scores(&self, (heads, head_dim): (usize, usize), keys: u64) -> u64 {
        let (f, _) = self.widths();
        let copies = 4 + 4 + f + if f == 4 { 0 } else { 4 + f };
        let at_once = Kernels::of(self.plan, head_dim).queries_at_once(heads, keys as usize);
        let rows = keys.min(at_once as u64);
        heads as u64 * rows * keys * copies + rows * keys * 4
    }

    /// Bytes of an activation and of a number of the residual stream.
    fn widths(&self) -> (u64, u64) {
        let bytes = Precision::bytes;
        (bytes(self.plan.numerics.compute), bytes(self.plan.numerics.residual))
    }
}

#[cfg(test)]
mod tests;
