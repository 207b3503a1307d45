//! Tensors on their way from the checkpoint into a model: each is converted, or quantised, as the [`Plan`] says.
//!
//! ```text
//! Weights::read ─ amend ─┬─ quantised: as matrix ─ blocks of rows in parallel ─ QTensor ─┬─▶ Loader::quantised
//!                        │                             weight cache ─ whole, checked ────┘
//!                        └─ floating point: when the model asks for it ─────────────────────▶ TensorSource
//! ```
//!
//! Quantising works on a few rows at a time, so that no f32 copy of a large matrix is made, and gives the same bytes
//! whatever the number of threads.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Result as TensorResult, Tensor};
use rayon::prelude::*;

use super::Checkpoint;
use super::plan::{Held, Plan};
use super::weight_cache::{self, CacheUse, Mark};
use crate::error::{LoadError, Names};
use crate::layers::Weight;

/// Numbers that are converted to f32 at once while a matrix is quantised, per thread: 16 MiB.
const AT_ONCE: usize = 4 << 20;

/// What a model takes its weights from.
pub(crate) struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    device: &'a Device,
    plan: Plan,
    quantised: BTreeMap<String, Arc<QTensor>>,
    cache: CacheUse,
}

impl<'a> Loader<'a> {
    /// Quantises what the plan asks for, or takes it from the cache; what is not quantised is read later.
    pub(crate) fn new(checkpoint: &'a Checkpoint, device: &'a Device, plan: Plan) -> Result<Self, LoadError> {
        let wanted: BTreeMap<String, Wanted> = checkpoint
            .manifest
            .entries()
            .filter_map(|(name, entry)| {
                let dtype = plan.quantised(entry)?;
                Some((name.to_owned(), Wanted { dtype, shape: entry.matrix() }))
            })
            .collect();
        let mut loader = Self { checkpoint, device, plan, quantised: BTreeMap::new(), cache: CacheUse::Off };
        if wanted.is_empty() {
            return Ok(loader);
        }
        let Some(folder) = &checkpoint.cache else {
            loader.quantised = loader.quantise(&wanted)?;
            return Ok(loader);
        };
        let mark = Mark { checkpoint: checkpoint.digest(), format: plan.format };
        let path = mark.path_in(folder);
        let found = weight_cache::read(&path, &mark, &wanted, device)?;
        (loader.quantised, loader.cache) = match found {
            weight_cache::Found::Whole(tensors) => (tensors, CacheUse::Read),
            weight_cache::Found::None => (loader.make(&wanted, &path, &mark)?, CacheUse::Written),
            weight_cache::Found::Faulty(why) => {
                (loader.make(&wanted, &path, &mark)?, CacheUse::Replaced(why))
            }
        };
        Ok(loader)
    }

    /// Where the quantised weights came from.
    pub(crate) fn cache(&self) -> CacheUse {
        self.cache
    }

    /// Matrices that the format could not take.
    pub(crate) fn kept_float(&self) -> Vec<String> {
        let entries = self.checkpoint.manifest.entries();
        entries.filter(|(_, entry)| self.plan.is_kept_float(entry)).map(|(name, _)| name.to_owned()).collect()
    }

    /// The tensors below `prefix`.
    pub(crate) fn source(&self, prefix: &str) -> TensorSource<'_> {
        TensorSource { loader: self, prefix: prefix.to_owned() }
    }

    fn make(
        &self,
        wanted: &BTreeMap<String, Wanted>,
        path: &std::path::Path,
        mark: &Mark,
    ) -> Result<BTreeMap<String, Arc<QTensor>>, LoadError> {
        let tensors = self.quantise(wanted)?;
        weight_cache::write(path, mark, &tensors)?;
        Ok(tensors)
    }

    fn quantise(
        &self,
        wanted: &BTreeMap<String, Wanted>,
    ) -> Result<BTreeMap<String, Arc<QTensor>>, LoadError> {
        let quantise = |(name, wanted): (&String, &Wanted)| {
            let matrix = self.matrix(name)?;
            Ok((name.clone(), Arc::new(quantise(&matrix, wanted.dtype, self.device)?)))
        };
        wanted.iter().map(quantise).collect()
    }

    /// A tensor as the matrix that it is multiplied as, on the CPU and as it is stored.
    fn matrix(&self, name: &str) -> Result<Tensor, LoadError> {
        let tensor = self.checkpoint.weights.read(name)?;
        match self.checkpoint.manifest.get(name) {
            Some(entry) => Ok(entry.to_matrix(tensor)?),
            None => Err(unknown(name)),
        }
    }

    /// The type of a tensor that is not quantised.
    fn dtype(&self, name: &str) -> Result<DType, LoadError> {
        let weights = &self.checkpoint.weights;
        match (self.checkpoint.manifest.get(name), weights.dtype(name)) {
            (Some(entry), Some(stored)) => match self.plan.held(entry, stored) {
                Held::Float(dtype) => Ok(dtype),
                Held::Quantised(_) => Err(unknown(name)),
            },
            _ => Err(unknown(name)),
        }
    }
}

fn unknown(name: &str) -> LoadError {
    LoadError::TensorsMissing { names: Names(vec![name.to_owned()]) }
}

/// A matrix that is to be quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) dtype: GgmlDType,
    pub(super) shape: (usize, usize),
}

fn quantise(matrix: &Tensor, dtype: GgmlDType, device: &Device) -> TensorResult<QTensor> {
    let (rows, row) = matrix.dims2()?;
    let rows_at_once = (AT_ONCE / row.max(1)).max(1);
    let parts = (0..rows)
        .step_by(rows_at_once)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|start| {
            let part = matrix.narrow(0, start, rows_at_once.min(rows - start))?;
            let part = QTensor::quantize(&part.to_dtype(DType::F32)?.contiguous()?, dtype)?;
            Ok(part.data()?.into_owned())
        })
        .collect::<TensorResult<Vec<Vec<u8>>>>()?;
    QTensor::new(QStorage::from_data(Cow::Owned(parts.concat()), device, dtype)?, (rows, row))
}

/// A place in the tree of tensor names, from which modules take their weights.
pub(crate) struct TensorSource<'a> {
    loader: &'a Loader<'a>,
    prefix: String,
}

impl TensorSource<'_> {
    /// The subtree `name`.
    pub(crate) fn below(&self, name: impl std::fmt::Display) -> Self {
        Self { prefix: format!("{}.{name}", self.prefix), loader: self.loader }
    }

    /// A matrix to multiply with, `[out, in]`.
    pub(crate) fn matrix(&self, name: &str) -> Result<Weight, LoadError> {
        let name = format!("{}.{name}", self.prefix);
        let loader = self.loader;
        if let Some(quantised) = loader.quantised.get(&name) {
            return Ok(Weight::Quantised(quantised.clone()));
        }
        let matrix = loader.matrix(&name)?.to_device(loader.device)?;
        Ok(Weight::Float(matrix.to_dtype(loader.dtype(&name)?)?))
    }

    /// Any other tensor: norms in the type of the residual stream, biases in that of the activations.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor, LoadError> {
        let name = format!("{}.{name}", self.prefix);
        let loader = self.loader;
        let tensor = loader.checkpoint.weights.read(&name)?.to_device(loader.device)?;
        Ok(tensor.to_dtype(loader.dtype(&name)?)?)
    }

    /// A tensor for arithmetic of ours: f32 on the CPU.
    pub(crate) fn table(&self, name: &str) -> Result<Tensor, LoadError> {
        let name = format!("{}.{name}", self.prefix);
        Ok(self.loader.checkpoint.weights.read(&name)?.to_dtype(DType::F32)?)
    }

    /// Where and in which formats the model computes.
    pub(crate) fn plan(&self) -> Plan {
        self.loader.plan
    }
}
