//! Is this study fit to be read?
//!
//! ```text
//!  study.acquired ─▶ each instance ─▶ does the purpose apply? ─ no ─▶ not applicable, with the code that says why
//!                                         │ yes
//!                                         ▼
//!                    header checks (frames, frame rate, duration): a reject here costs no decoding
//!                                         ▼
//!                    one pass over the frames: a thumbnail of each, 8 kept whole
//!                                         ▼
//!                    fan ─▶ colour ─▶ of the 8: sharpness, exposure; of the thumbnails: motion, drift, dropout, view
//!
//!  study: accept if one instance is accepted, caution if the fit ones all carry warnings, else reject
//! ```
//!
//! Purposes: ejection fraction from an apical B-mode loop (echo), reading a field of view (pathology).
//!
//! Invariants:
//! - Every check reports value, unit, threshold and verdict, also when it passes.
//! - Definitions are those of the measurements behind the thresholds; sharpness is OpenCV's, verified against it.
//! - At most [`Config::sampled_frames`] whole frames are held at once, and 22 kB of each of [`Config::max_frames`].
//! - What is wrong with an instance is a verdict; what is wrong with the machinery is a `StageError`.

mod applicability;
mod beat;
mod checks;
mod config;
mod drift;
mod dropout;
mod echo;
mod exposure;
mod gate;
#[cfg(test)]
mod golden;
mod motion;
mod pathology;
mod rule;
mod sharpness;
mod study;
mod sweep;
mod view;
mod work;

pub use config::{Config, EchoLimits};
pub use pathology::PathologyLimits;
pub use rule::{Limits, Range};
pub use study::{Judged, QualityGate};
