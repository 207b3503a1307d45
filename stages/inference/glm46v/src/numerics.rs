//! Where an engine computes, and in which number formats.
//!
//! ```text
//! device                 activations   residual stream   why
//! CPU                    f32           f32               half-precision products widen whole weights on every call
//! CUDA, sm_80 and later  bf16          bf16              tensor cores; the range of f32
//! CUDA, sm_70 and sm_75  f16           f32               no bf16 there; sums over 40 layers may exceed f16's 65 504
//! CUDA, older            f32           f32               no tensor cores: half precision would gain nothing
//! ```
//!
//! Softmax, rotary angles and the scores of tokens are f32 everywhere.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};

use crate::error::LoadError;

/// A device, by the operator's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// The CUDA card of this number, from 0. Needs feature `cuda`.
    Cuda(usize),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

/// A text that names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device is {found:?}; expected \"cpu\" or \"cuda:\" and the card's number, such as \"cuda:0\"")]
pub struct UnknownDevice {
    found: String,
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        let unknown = || UnknownDevice { found: text.to_owned() };
        match text.strip_prefix("cuda:") {
            // The standard library would also read "+1".
            Some(ordinal) if ordinal.bytes().all(|byte| byte.is_ascii_digit()) => {
                ordinal.parse().map(Self::Cuda).map_err(|_| unknown())
            }
            None if text == "cpu" => Ok(Self::Cpu),
            _ => Err(unknown()),
        }
    }
}

/// How the weights of linear layers and the embedding table are held in memory.
///
/// The language model's linear layers have the format's name. The vision tower and the embedding table, through which
/// all that is seen and read goes, are a sixth of the weights and have 8 bits in both quantised formats. Norms, biases
/// and tables are never quantised. Rows whose length a format's blocks do not divide get the next wider one: `Q4K`
/// (256) falls to `Q8_0` (32), and that to floating point; [`crate::ComputeInfo::kept_float`] names the latter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightFormat {
    /// As the device computes: [`Numerics::compute`].
    #[default]
    Float,
    /// GGML's `Q8_0`, 8.5 bits a weight: products within about 1 % of floating point.
    Q8_0,
    /// GGML's `Q4_K`, 4.5 bits a weight: products within about 8 %. Judge the answers before use.
    Q4K,
}

impl WeightFormat {
    /// All of them, largest first.
    pub const ALL: [Self; 3] = [Self::Float, Self::Q8_0, Self::Q4K];
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4k",
        })
    }
}

/// A floating-point format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits with the exponent of f32.
    Bf16,
    /// 16 bits of IEEE 754; largest value 65 504.
    F16,
}

impl Precision {
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// Bytes of one number.
    pub(crate) fn bytes(self) -> u64 {
        self.dtype().size_in_bytes() as u64
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

/// What decides the number formats of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A processor.
    Cpu,
    /// A CUDA card.
    Cuda {
        /// Its compute capability, major and minor: (8, 0) for sm_80.
        compute_capability: (u32, u32),
    },
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("the CPU"),
            Self::Cuda { compute_capability: (major, minor) } => write!(f, "CUDA sm_{major}{minor}"),
        }
    }
}

/// The number formats of a running model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numerics {
    /// Activations, keys and values, and weights that are not quantised.
    pub compute: Precision,
    /// The sum that every layer adds to.
    pub residual: Precision,
}

impl Numerics {
    /// The formats for a device: those of the table above, or those that follow from `wanted` where the device has them.
    pub fn of(kind: DeviceKind, wanted: Option<Precision>) -> Result<Self, LoadError> {
        use Precision::{Bf16, F16, F32};
        let (usual, possible): (Precision, &[Precision]) = match kind {
            DeviceKind::Cuda { compute_capability: (8.., _) } => (Bf16, &[F32, Bf16, F16]),
            DeviceKind::Cuda { compute_capability: (7, _) } => (F16, &[F32, F16]),
            DeviceKind::Cpu | DeviceKind::Cuda { .. } => (F32, &[F32]),
        };
        let compute = wanted.unwrap_or(usual);
        if !possible.contains(&compute) {
            return Err(LoadError::PrecisionUnsupported { wanted: compute, device: kind, possible });
        }
        let residual = match compute {
            F32 | F16 => F32,
            Bf16 => Bf16,
        };
        Ok(Self { compute, residual })
    }
}

impl fmt::Display for Numerics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.compute)?;
        if self.residual == self.compute { Ok(()) } else { write!(f, "+{}", self.residual) }
    }
}

/// An opened device.
pub(crate) struct Opened {
    pub(crate) device: Device,
    pub(crate) kind: DeviceKind,
    /// Bytes that are free on it, where the device says so.
    pub(crate) free: Option<u64>,
}

impl DeviceChoice {
    pub(crate) fn open(self) -> Result<Opened, LoadError> {
        match self {
            Self::Cpu => Ok(Opened { device: Device::Cpu, kind: DeviceKind::Cpu, free: None }),
            Self::Cuda(ordinal) => open_cuda(ordinal),
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(ordinal: usize) -> Result<Opened, LoadError> {
    Err(LoadError::BuiltWithoutCuda { ordinal })
}

/// One stream for all work, whichever thread asks for it: the thread that loads the model is not the one that runs it, and
/// candle's usual device has a stream for each thread.
#[cfg(feature = "cuda")]
fn open_cuda(ordinal: usize) -> Result<Opened, LoadError> {
    use candle_core::cuda_backend::WrapErr as _;

    let open = || -> candle_core::Result<Opened> {
        let device = Device::new_cuda_with_stream(ordinal)?;
        let cuda = device.as_cuda_device()?;
        track_no_events(cuda);
        let stream = cuda.cuda_stream();
        let context = stream.context();
        let (major, minor) = context.compute_capability().w()?;
        let (free, _) = context.mem_get_info().w()?;
        let compute_capability = (major.unsigned_abs(), minor.unsigned_abs());
        Ok(Opened { device, kind: DeviceKind::Cuda { compute_capability }, free: Some(free as u64) })
    };
    open().map_err(|source| LoadError::Device { device: DeviceChoice::Cuda(ordinal), source })
}

/// Spares two events for every tensor, of which a step of decoding makes thousands.
#[cfg(feature = "cuda")]
#[expect(unsafe_code, reason = "candle cannot know that there is one stream")]
fn track_no_events(device: &candle_core::CudaDevice) {
    // SAFETY: events order the use of a tensor by several streams. This device was opened just now, with a stream of its
    // own, and everything that the engine does goes through this device; no tensor is shared with another one.
    unsafe { device.disable_event_tracking() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(major: u32, minor: u32) -> DeviceKind {
        DeviceKind::Cuda { compute_capability: (major, minor) }
    }

    #[test]
    fn every_device_has_the_formats_of_the_table() {
        use Precision::{Bf16, F16, F32};
        let of = |kind| {
            let Numerics { compute, residual } = Numerics::of(kind, None).unwrap();
            (compute, residual)
        };
        assert_eq!(of(DeviceKind::Cpu), (F32, F32));
        for (major, minor) in [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)] {
            assert_eq!(of(card(major, minor)), (Bf16, Bf16), "sm_{major}{minor}");
        }
        assert_eq!(of(card(7, 5)), (F16, F32));
        assert_eq!(of(card(7, 0)), (F16, F32));
        assert_eq!(of(card(6, 1)), (F32, F32));
    }

    #[test]
    fn a_wish_is_granted_where_the_device_has_it_and_refused_by_name_where_not() {
        use Precision::{Bf16, F16, F32};
        let of = |kind, wanted| Numerics::of(kind, Some(wanted));
        assert_eq!(of(card(8, 0), F16).unwrap(), Numerics { compute: F16, residual: F32 });
        assert_eq!(of(card(9, 0), F32).unwrap(), Numerics { compute: F32, residual: F32 });
        assert_eq!(of(DeviceKind::Cpu, F32).unwrap(), Numerics { compute: F32, residual: F32 });
        for (kind, wanted) in
            [(card(7, 5), Bf16), (DeviceKind::Cpu, Bf16), (DeviceKind::Cpu, F16), (card(6, 1), F16)]
        {
            let refusal = of(kind, wanted).unwrap_err().to_string();
            assert!(
                refusal.contains(&wanted.to_string()) && refusal.contains(&kind.to_string()),
                "{refusal}"
            );
        }
        let refusal = of(card(7, 5), Bf16).unwrap_err().to_string();
        assert_eq!(refusal, "bf16 cannot be computed on CUDA sm_75; expected f32 or f16");
    }

    #[test]
    fn devices_are_read_as_they_are_written() {
        for device in [DeviceChoice::Cpu, DeviceChoice::Cuda(0), DeviceChoice::Cuda(11)] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        for text in
            ["", "gpu", "cuda", "cuda:", "cuda:x", "cuda:+1", "cuda:-1", "CPU", "cuda:99999999999999999999"]
        {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_card_is_refused_by_a_build_without_cuda() {
        let refusal = DeviceChoice::Cuda(0).open().err().unwrap();
        assert!(matches!(refusal, LoadError::BuiltWithoutCuda { ordinal: 0 }), "{refusal}");
    }
}
