//! Memory-mapped safetensors files, one or many, as one set of named tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;

use crate::error::{LoadError, Names};

/// All tensors of a checkpoint. A damaged header or a file cut short fails in [`Weights::open`].
pub(crate) struct Weights {
    files: Vec<WeightFile>,
    tensors: BTreeMap<String, Stored>,
    /// What is done to a tensor after it is read and before it is converted or quantised, by name. It gets the tensor as
    /// it is stored, on the CPU, and may return another type of the same shape. Whoever sets it also changes the
    /// checkpoint's digest, under which converted weights are cached.
    pub(crate) amend: Option<Amend>,
}

/// A change of tensors while they are loaded; those that it does not know it returns as they are.
pub(crate) type Amend = Box<dyn Fn(&str, Tensor) -> Result<Tensor, LoadError> + Send + Sync>;

struct WeightFile {
    path: PathBuf,
    map: MmapedSafetensors,
}

/// Where a tensor is and how it is stored.
pub(crate) struct Stored {
    file: usize,
    shape: Vec<usize>,
    dtype: Dtype,
}

impl Weights {
    /// Maps the files and reads their headers. safetensors itself checks that headers and data agree with the length
    /// of the file.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, LoadError> {
        let mut weights = Self { files: Vec::new(), tensors: BTreeMap::new(), amend: None };
        for path in paths {
            weights.add(map(path)?)?;
        }
        Ok(weights)
    }

    fn add(&mut self, file: WeightFile) -> Result<(), LoadError> {
        let index = self.files.len();
        for (name, view) in file.map.tensors() {
            let stored = Stored { file: index, shape: view.shape().to_vec(), dtype: view.dtype() };
            if let Some(other) = self.tensors.insert(name.clone(), stored) {
                return Err(LoadError::TensorTwice {
                    name,
                    first: self.files.get(other.file).unwrap_or(&file).path.clone(),
                    second: file.path,
                });
            }
        }
        self.files.push(file);
        Ok(())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(super) fn stored(&self, name: &str) -> Option<&Stored> {
        self.tensors.get(name)
    }

    /// Checks shape and type of a tensor that is there.
    pub(super) fn check(&self, name: &str, expected: &[usize]) -> Result<(), LoadError> {
        let stored = self.find(name)?;
        if stored.shape != expected {
            return Err(LoadError::TensorShape {
                name: name.to_owned(),
                found: stored.shape.clone(),
                expected: expected.to_vec(),
            });
        }
        match readable(stored.dtype) {
            Some(_) => Ok(()),
            None => {
                Err(LoadError::TensorDtype { name: name.to_owned(), dtype: format!("{:?}", stored.dtype) })
            }
        }
    }

    /// The type in which a tensor is stored, if it is one that can be read.
    pub(crate) fn dtype(&self, name: &str) -> Option<DType> {
        readable(self.stored(name)?.dtype)
    }

    /// One tensor on the CPU, as it is stored, or as [`Weights::amend`] makes it.
    pub(crate) fn read(&self, name: &str) -> Result<Tensor, LoadError> {
        let stored = self.find(name)?;
        let file = self.files.get(stored.file).ok_or_else(|| missing(name))?;
        let tensor = file
            .map
            .load(name, &Device::Cpu)
            .map_err(|source| LoadError::Weights { path: file.path.clone(), source })?;
        match &self.amend {
            Some(amend) => amend(name, tensor),
            None => Ok(tensor),
        }
    }

    fn find(&self, name: &str) -> Result<&Stored, LoadError> {
        self.tensors.get(name).ok_or_else(|| missing(name))
    }
}

fn missing(name: &str) -> LoadError {
    LoadError::TensorsMissing { names: Names(vec![name.to_owned()]) }
}

fn readable(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        _ => None,
    }
}

#[expect(unsafe_code, reason = "memory maps: 20 GB of weights are not copied before they are converted")]
fn map(path: &Path) -> Result<WeightFile, LoadError> {
    // SAFETY: a map is sound while nobody truncates or rewrites the file under it. Checkpoint folders are read-only
    // by contract (the digest would be meaningless otherwise), the map is never written through, and it is dropped as
    // soon as the tensors are converted, before the first request.
    let map = unsafe { MmapedSafetensors::new(path) }
        .map_err(|source| LoadError::Weights { path: path.to_owned(), source })?;
    Ok(WeightFile { path: path.to_owned(), map })
}
