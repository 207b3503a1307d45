//! Memory-mapped safetensors files, one or many, as one set of named tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;

use crate::error::LoadError;

/// All tensors of a checkpoint. A damaged header or a file cut short fails in [`Weights::open`].
pub(crate) struct Weights {
    files: Vec<WeightFile>,
    tensors: BTreeMap<String, Stored>,
}

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
        let mut weights = Self { files: Vec::new(), tensors: BTreeMap::new() };
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
        match stored.dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(()),
            other => Err(LoadError::TensorDtype { name: name.to_owned(), dtype: format!("{other:?}") }),
        }
    }

    /// The tensors below `prefix`, as f32 on `device`.
    pub(crate) fn source<'a>(&'a self, device: &'a Device, prefix: &str) -> TensorSource<'a> {
        TensorSource { weights: self, device, prefix: prefix.to_owned() }
    }

    fn find(&self, name: &str) -> Result<&Stored, LoadError> {
        self.tensors
            .get(name)
            .ok_or_else(|| LoadError::TensorsMissing { names: crate::error::Names(vec![name.to_owned()]) })
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

/// A place in the tree of tensor names, from which modules take their weights.
pub(crate) struct TensorSource<'a> {
    weights: &'a Weights,
    device: &'a Device,
    prefix: String,
}

impl TensorSource<'_> {
    /// The subtree `name`.
    pub(crate) fn below(&self, name: impl std::fmt::Display) -> Self {
        Self { prefix: format!("{}.{name}", self.prefix), ..*self }
    }

    /// One tensor as f32; bf16 and f16 are widened, which is exact.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor, LoadError> {
        let name = format!("{}.{name}", self.prefix);
        let stored = self.weights.find(&name)?;
        let file =
            self.weights.files.get(stored.file).ok_or_else(|| LoadError::TensorsMissing {
                names: crate::error::Names(vec![name.clone()]),
            })?;
        let wrap = |source| LoadError::Weights { path: file.path.clone(), source };
        file.map.load(&name, self.device).and_then(|t| t.to_dtype(DType::F32)).map_err(wrap)
    }
}
