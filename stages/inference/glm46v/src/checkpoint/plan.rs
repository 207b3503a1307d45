//! In which type each tensor is held in memory, from its role and its shape alone. The loader and the memory budget
//! both go by it.

use candle_core::DType;
use candle_core::quantized::GgmlDType;

use super::manifest::{Entry, Role};
use crate::numerics::{DeviceKind, Numerics, WeightFormat};

/// The decision for a whole model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) format: WeightFormat,
    pub(crate) numerics: Numerics,
    pub(crate) device: DeviceKind,
}

/// The type of one tensor in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    Float(DType),
    Quantised(GgmlDType),
}

impl Held {
    /// Bytes of a tensor held so.
    pub(crate) fn bytes(self, entry: &Entry) -> u64 {
        let elements = entry.elements() as u64;
        match self {
            Self::Float(dtype) => elements * dtype.size_in_bytes() as u64,
            Self::Quantised(dtype) => elements / dtype.block_size() as u64 * dtype.type_size() as u64,
        }
    }
}

impl Plan {
    /// `stored` is the tensor's type in the file.
    pub(crate) fn held(self, entry: &Entry, stored: DType) -> Held {
        if let Some(dtype) = self.quantised(entry) {
            return Held::Quantised(dtype);
        }
        let Numerics { compute, residual } = self.numerics;
        Held::Float(match entry.role {
            Role::Norm => residual.dtype(),
            // Its rows are widened after they are chosen, which is exact and spares half of the table.
            Role::Embedding { tied: false } if compute.dtype() == DType::F32 => stored,
            _ => compute.dtype(),
        })
    }

    /// The block format of a tensor, if it is quantised.
    pub(crate) fn quantised(self, entry: &Entry) -> Option<GgmlDType> {
        let widths: &[GgmlDType] = match (self.format, entry.role) {
            (WeightFormat::Float, _) | (_, Role::Norm | Role::Other) => &[],
            (WeightFormat::Q4K, Role::TextLinear) => &[GgmlDType::Q4K, GgmlDType::Q8_0],
            (_, Role::TextLinear | Role::VisionLinear | Role::Embedding { .. }) => &[GgmlDType::Q8_0],
        };
        let (_, row) = entry.matrix();
        widths.iter().copied().find(|dtype| row > 0 && row.is_multiple_of(dtype.block_size()))
    }

    /// Whether the format would quantise the tensor, were its rows long enough for whole blocks.
    pub(crate) fn is_kept_float(self, entry: &Entry) -> bool {
        let fits = Entry { shape: vec![1, 256], role: entry.role };
        self.quantised(&fits).is_some() && self.quantised(entry).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_blocks_do_not_divide_get_the_next_wider_format() {
        use WeightFormat::{Float, Q4K, Q8_0};
        let device = DeviceKind::Cpu;
        let plan = |format| Plan { format, numerics: Numerics::of(device, None).unwrap(), device };
        let of = |format, role, row| plan(format).quantised(&Entry { shape: vec![16, row], role });
        let tied = Role::Embedding { tied: true };
        assert_eq!(of(Float, Role::TextLinear, 4096), None);
        assert_eq!(of(Q8_0, Role::TextLinear, 4096), Some(GgmlDType::Q8_0));
        assert_eq!(of(Q4K, Role::TextLinear, 4096), Some(GgmlDType::Q4K));
        // down_proj of the 9B model: 53.5 blocks of 256, 428 of 32.
        assert_eq!(of(Q4K, Role::TextLinear, 13_696), Some(GgmlDType::Q8_0));
        // patch_embed: 36.75 blocks of 32.
        assert_eq!(of(Q4K, Role::VisionLinear, 1176), None);
        for role in [Role::VisionLinear, tied] {
            assert_eq!(of(Q4K, role, 4096), Some(GgmlDType::Q8_0));
        }
        for role in [Role::Norm, Role::Other] {
            assert_eq!(of(Q8_0, role, 4096), None);
        }
        let kept = |format, role, row| plan(format).is_kept_float(&Entry { shape: vec![16, row], role });
        assert!(kept(Q8_0, Role::VisionLinear, 1176) && !kept(Float, Role::VisionLinear, 1176));
        assert!(!kept(Q8_0, Role::Norm, 1176) && !kept(Q8_0, Role::TextLinear, 64));
    }
}
