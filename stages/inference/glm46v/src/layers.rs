//! The few layers both towers are made of. Activations are 2-D and contiguous, `[rows, width]`: rows of several
//! sequences may lie behind each other, and no layer here mixes rows.

use candle_core::{Result, Tensor};
use candle_nn::ops;

use crate::checkpoint::TensorSource;
use crate::error::LoadError;

/// `x · Wᵀ (+ b)`, with W stored as `[out, in]`.
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    pub(crate) fn load(source: &TensorSource<'_>, name: &str) -> std::result::Result<Self, LoadError> {
        Ok(Self::new(source.below(name).tensor("weight")?, None))
    }

    pub(crate) fn load_with_bias(
        source: &TensorSource<'_>,
        name: &str,
    ) -> std::result::Result<Self, LoadError> {
        let source = source.below(name);
        Ok(Self::new(source.tensor("weight")?, Some(source.tensor("bias")?)))
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.matmul(&self.weight.t()?)?;
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

/// `x / sqrt(mean(x²) + eps) · weight`, per row.
pub(crate) struct RmsNorm {
    weight: Tensor,
    eps: f32,
}

impl RmsNorm {
    pub(crate) fn load(
        source: &TensorSource<'_>,
        name: &str,
        eps: f64,
    ) -> std::result::Result<Self, LoadError> {
        Ok(Self { weight: source.below(name).tensor("weight")?, eps: eps as f32 })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::rms_norm(x, &self.weight, self.eps)
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
