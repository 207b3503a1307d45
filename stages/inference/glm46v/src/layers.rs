//! The few layers both towers are made of. Activations are 2-D and contiguous, `[rows, width]`: rows of several
//! sequences may lie behind each other, and no layer here mixes rows.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Result, Tensor};
use candle_nn::ops;

use crate::checkpoint::TensorSource;
use crate::error::LoadError;

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
            Self::Float(weight) => x.matmul(&weight.t()?),
            Self::Quantised(weight) => x.apply_op1_no_bwd(weight.as_ref()),
        }
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
        let y = self.weight.product(x)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }

    /// The same for rows of several sequences.
    pub(crate) fn forward_rows(&self, x: &Tensor, products: Products) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        match products {
            Products::Whole => self.forward(x),
            Products::OfFixedRows => {
                let padding = rows.next_multiple_of(FIXED_ROWS) - rows;
                let padded = match padding {
                    0 => x.clone(),
                    _ => Tensor::cat(&[x, &Tensor::zeros((padding, width), x.dtype(), x.device())?], 0)?,
                };
                let products = (0..padded.dim(0)?)
                    .step_by(FIXED_ROWS)
                    .map(|start| self.forward(&padded.narrow(0, start, FIXED_ROWS)?))
                    .collect::<Result<Vec<_>>>()?;
                Tensor::cat(&products, 0)?.narrow(0, 0, rows)
            }
        }
    }
}

/// Rows of one matrix product of [`Products::OfFixedRows`].
const FIXED_ROWS: usize = 16;

/// How a step's rows are multiplied. A matrix library chooses its kernel by the number of rows, and kernels round
/// differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Products {
    /// All rows at once: fastest.
    Whole,
    /// Always the same number of rows, the last ones padded: a row's result does not depend on the rows beside it.
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
