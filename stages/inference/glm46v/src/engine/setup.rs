//! What an engine's options mean for one checkpoint: device, number formats and memory, decided before anything is loaded.

use candle_core::{DType, Device};

use super::pictures::VISION_PATCHES;
use super::{Determinism, EngineOptions};
use crate::checkpoint::{CacheUse, Checkpoint, Loader, Plan};
use crate::error::LoadError;
use crate::kv_store::KvStore;
use crate::memory::{Demand, MemoryNeed};
use crate::model::Model;
use crate::numerics::{DeviceChoice, DeviceKind, Numerics, Opened, WeightFormat};

/// Rows of a step whose scores are wanted at most, beside one for each running request: continuations that are scored
/// together, such as the numbers from 0 to 100.
pub(super) const SCORED_TOGETHER: usize = 101;

/// Where an engine computes, in which number formats, and in how much memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComputeInfo {
    /// The device.
    pub device: DeviceChoice,
    /// How weights are held.
    pub weights: WeightFormat,
    /// Types of activations and of the residual stream.
    pub numerics: Numerics,
    /// Matrices that the weight format could not take, because its blocks do not divide their rows.
    pub kept_float: Vec<String>,
    /// Where quantised weights came from.
    pub cache: CacheUse,
    /// Memory, as it was reckoned before loading.
    pub memory: MemoryNeed,
    /// Bytes that there were for it, where that is known.
    pub available: Option<u64>,
}

impl ComputeInfo {
    /// The number formats in one word: `f32`, `bf16`, `f16+f32`, or with quantised weights `q8_0/f32`.
    pub fn dtype(&self) -> String {
        match self.weights {
            WeightFormat::Float => self.numerics.to_string(),
            format => format!("{format}/{}", self.numerics),
        }
    }
}

pub(super) struct Setup {
    device: Device,
    choice: DeviceChoice,
    plan: Plan,
    memory: MemoryNeed,
    available: Option<u64>,
    /// Blocks of the key-value store.
    pub(super) blocks: u32,
}

impl Setup {
    pub(super) fn new(checkpoint: &Checkpoint, options: &EngineOptions) -> Result<Self, LoadError> {
        let Opened { device, kind, free } = options.device.open()?;
        if options.determinism == Determinism::Exact && kind != DeviceKind::Cpu {
            return Err(LoadError::ExactNeedsCpu);
        }
        let numerics = Numerics::of(kind, options.precision)?;
        let plan = Plan { format: options.weights, numerics, device: kind };
        let block_bytes = KvStore::block_bytes(&checkpoint.config.text, plan.numerics.compute);
        let blocks = u32::try_from(options.kv_bytes / block_bytes).unwrap_or(u32::MAX);
        if blocks == 0 {
            return Err(LoadError::StoreTooSmall { given: options.kv_bytes, least: block_bytes });
        }
        let picture_patches = largest_picture(checkpoint);
        let step_rows = options.step_rows.max(options.running);
        let demand = Demand {
            config: &checkpoint.config,
            manifest: &checkpoint.manifest,
            stored: &|name| checkpoint.weights.dtype(name).unwrap_or(DType::F32),
            plan,
            kv_bytes: options.kv_bytes,
            vision_cache_bytes: options.vision_cache_bytes,
            step_rows,
            scored_rows: step_rows.min(options.running + SCORED_TOGETHER),
            pass_patches: picture_patches.max(VISION_PATCHES),
            picture_patches,
        };
        let memory = demand.need();
        let available = options.memory_bytes.or(free);
        match available {
            Some(available) if memory.total() > available => Err(LoadError::MemoryTooSmall {
                need: Box::new(memory),
                available,
                would_fit: demand.would_fit(available),
            }),
            _ => Ok(Self { device, choice: options.device, plan, memory, available, blocks }),
        }
    }

    pub(super) fn load(&self, checkpoint: &Checkpoint) -> Result<(Model, ComputeInfo), LoadError> {
        let loader = Loader::new(checkpoint, &self.device, self.plan)?;
        let model = Model::load(&checkpoint.config, &loader, &self.device)?;
        let compute = ComputeInfo {
            device: self.choice,
            weights: self.plan.format,
            numerics: self.plan.numerics,
            kept_float: loader.kept_float(),
            cache: loader.cache(),
            memory: self.memory,
            available: self.available,
        };
        Ok((model, compute))
    }
}

/// Patches of the largest picture that the processor makes. A frame of a video is one picture, and a clip has at least
/// one pair of them.
fn largest_picture(checkpoint: &Checkpoint) -> usize {
    let pictures = &checkpoint.pictures;
    let patches = |config: &crate::picture_config::PictureConfig| {
        let values = (config.temporal_patch_size * config.patch_size * config.patch_size) as u64;
        config.max_pixels / values.max(1)
    };
    usize::try_from(patches(&pictures.image).max(patches(&pictures.video.picture))).unwrap_or(usize::MAX)
}
