//! Colours of haematoxylin and eosin, without their differences between laboratories.
//!
//! ```text
//!  pixels ─▶ optical density ─▶ Macenko: the two stains ─▶ guard ─ fine ──▶ Plan::Own ───────┐
//!              −ln((v+1)/240)     and how strong they are     │                              ▼
//!                                                             ├ doubtful ▶ Plan::Reference ▶ Normaliser ─▶ pixels
//!                                                             └ no tissue ▶ Plan::Unchanged ─┘
//! ```
//!
//! It knows no study, no slide and no verdict: pictures are 8-bit RGB, row by row. Invariants:
//! - Any picture has a [`Plan`] and any plan a [`Normaliser`]: blank, black and single-stain pictures give a stated
//!   fallback, never a number that is not finite, never invented tissue.
//! - Sequential arithmetic in a fixed order, so the same picture gives the same bytes in every thread.
//! - [`Macenko::TORCHSTAIN`] with [`exact`] equals the numpy backend of torchstain 1.4 byte for byte;
//!   `tests/oracle/compare.py` holds both side by side. [`Normaliser`] stays within one grey level of [`exact`].

mod density;
mod eigen;
mod macenko;
mod normalise;
mod percentile;
mod sample;
mod staining;

pub use density::{GLASS, density, mean_density};
pub use macenko::{Degenerate, Estimate, Macenko, MaskRule};
pub use normalise::{Normaliser, Plan, Rounding, exact};
pub use percentile::Percentile;
pub use sample::{MAX_SAMPLE, sample};
pub use staining::{Concentrations, REFERENCE, Reference, Staining, Stains};
