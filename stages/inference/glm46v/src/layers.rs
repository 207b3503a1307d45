//! The few layers both towers are made of. Activations are 2-D and contiguous, `[rows, width]`: rows of several
//! sequences may lie behind each other, and no layer here mixes rows.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Result, Tensor};
use candle_nn::ops;

use crate::checkpoint::TensorSource;
use crate::error::LoadError;
use crate::few_rows::{self, FEW};

/// A matrix `[out, in]`, in floating point or in blocks of few bits.
#[derive(Clone)]
pub(crate) enum Weight {
    Float(Tensor),
    Quantised(Arc<QTensor>),
}

impl Weight {
    /// `x · Wᵀ` of `x` `[rows, in]`, in the type of `x`.
    fn product(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Float(weight) if (2..=FEW).contains(&x.dim(0)?) && is_plain(x) => {
                few_rows::product(x, weight)
            }
            Self::Float(weight) => x.matmul(&weight.t()?),
            Self::Quantised(weight) => x.apply_op1_no_bwd(weight.as_ref()),
        }
    }

    /// The same in blocks of [`FEW`] rows, so that a row's result does not depend on the rows beside it.
    fn product_of_blocks(&self, x: &Tensor) -> Result<Tensor> {
        let rows = x.dim(0)?;
        let block = |start: usize| {
            let few = x.narrow(0, start, FEW.min(rows - start))?;
            match self {
                Self::Float(weight) if is_plain(&few) => few_rows::product(&few, weight),
                // Kernels of a matrix library are chosen by the number of rows, and round differently.
                _ => self.product(&few.pad_with_zeros(0, 0, FEW - few.dim(0)?)?)?.narrow(0, 0, few.dim(0)?),
            }
        };
        Tensor::cat(&(0..rows).step_by(FEW).map(block).collect::<Result<Vec<_>>>()?, 0)
    }

    /// Chosen rows, `[ids, in]`, in fresh memory.
    pub(crate) fn rows(&self, ids: &Tensor, dtype: DType) -> Result<Tensor> {
        match self {
            Self::Float(weight) => weight.index_select(ids, 0)?.to_dtype(dtype),
            Self::Quantised(weight) => weight.embedding(ids)?.to_dtype(dtype),
        }
    }
}

/// `x · Wᵀ (+ b)`, with W stored as `[out, in]`.
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn new(weight: Weight) -> Self {
        Self { weight, bias: None }
    }

    pub(crate) fn load(source: &TensorSource<'_>, name: &str) -> std::result::Result<Self, LoadError> {
        Ok(Self::new(source.below(name).matrix("weight")?))
    }

    pub(crate) fn load_with_bias(
        source: &TensorSource<'_>,
        name: &str,
    ) -> std::result::Result<Self, LoadError> {
        let source = source.below(name);
        Ok(Self { weight: source.matrix("weight")?, bias: Some(source.tensor("bias")?) })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_rows(x, Products::Whole)
    }

    /// The same for rows of several sequences.
    pub(crate) fn forward_rows(&self, x: &Tensor, products: Products) -> Result<Tensor> {
        let y = match products {
            Products::Whole => self.weight.product(x)?,
            Products::OfFixedRows => self.weight.product_of_blocks(x)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// Whether products of `x` are ours to compute: f32 on the CPU.
fn is_plain(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// How a step's rows are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Products {
    /// All rows at once: fastest.
    Whole,
    /// In blocks of few rows: a row's result does not depend on the rows beside it.
    OfFixedRows,
}

/// `x / sqrt(mean(x²) + eps) · weight`, per row, in the type of the residual stream.
pub(crate) struct RmsNorm {
    weight: Tensor,
    eps: f32,
    to: DType,
}

/// What reads a norm's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Normed {
    /// Matrices, which work in the type of the activations.
    ForMatrices,
    /// The residual stream.
    ForResidual,
}

impl RmsNorm {
    pub(crate) fn load(
        source: &TensorSource<'_>,
        name: &str,
        (eps, normed): (f64, Normed),
    ) -> std::result::Result<Self, LoadError> {
        let numerics = source.plan().numerics;
        let to = match normed {
            Normed::ForMatrices => numerics.compute,
            Normed::ForResidual => numerics.residual,
        };
        Ok(Self { weight: source.below(name).tensor("weight")?, eps: eps as f32, to: to.dtype() })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::rms_norm(&x.to_dtype(self.weight.dtype())?, &self.weight, self.eps)?.to_dtype(self.to)
    }
}

/// `down( silu(gate x) · up x )` with separate projections, as in the vision tower.
pub(crate) struct GatedMlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl GatedMlp {
    pub(crate) fn load(source: &TensorSource<'_>) -> std::result::Result<Self, LoadError> {
        Ok(Self {
            gate: Linear::load(source, "gate_proj")?,
            up: Linear::load(source, "up_proj")?,
            down: Linear::load(source, "down_proj")?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.down.forward(&(self.gate.forward(x)?.silu()? * self.up.forward(x)?)?)
    }
}
