//! Picture arithmetic that the stages share: grey planes, masks, thresholds, distances, watersheds, and the ultrasound
//! fan.
//!
//! It knows no study and no verdict. Invariants:
//! - A [`Plane`] or [`Mask`] always holds exactly `width * height` samples; neither side is 0 unless both are.
//! - Everything is sequential integer or `f32` arithmetic in a fixed order, so the same picture gives the same
//!   numbers on every machine and in every thread.
//! - Definitions follow OpenCV 4 where it has one (`cvtColor`, `INTER_AREA`, `GaussianBlur` with
//!   `BORDER_REFLECT_101`, Otsu), else scipy and scikit-image (distance transform, h-maxima, watershed), so that each
//!   can be checked against it.

mod distance;
mod fan;
mod gaussian;
mod mask;
mod otsu;
mod plane;
mod relief;
mod sharpness;
pub mod testing;

pub use distance::squared_distances;
pub use fan::fan;
pub use gaussian::{Kernel, reflect};
pub use mask::Mask;
pub use otsu::{Split, histogram, otsu};
pub use plane::{Plane, Window};
pub use relief::Relief;
pub use sharpness::{laplacian_variance, reblur};
