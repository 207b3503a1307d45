//! Which frames carry the finding?
//!
//! ```text
//!  study.accepted ─▶ each fit instance
//!     echo:      frames, one at a time ─▶ 128 px planes ─▶ ventricular blood signal A(t)
//!                  ─▶ period (autocorrelation) ─▶ peaks = end-diastole, valleys = end-systole ─▶ beats
//!                  R waves, where the header has them, say end-diastole instead
//!     pathology: overview of the slide ─▶ candidate tiles ─▶ the best, spread over the tissue, also with their stains
//!                  normalised; a field of view is one tile
//!  ─▶ the chosen frames again, masked, as PNG in area `frames` ─▶ keyframes.extracted
//! ```
//!
//! Invariants:
//! - Doubt is said: a clip whose phases are not certain carries `PHASE_UNRELIABLE`; where timing is unknown no time is
//!   given.
//! - Only the 128 px planes of a clip are held, never its frames.
//! - The same clip gives the same keyframes on every machine.

mod beats;
mod blood;
mod cine;
mod clock;
mod component;
mod config;
mod curve;
mod drift;
mod ecg;
mod eigen;
mod geometry;
mod pathology;
mod peaks;
mod phases;
mod picture;
mod study;
mod trace;

pub use config::{Config, GeometryRules, PhaseRules};
pub use pathology::TileRules;
pub use study::Keyframes;
pub use trace::{Mark, Trace, Traced, trace};
