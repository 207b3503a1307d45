//! Is this study fit to be read?
//!
//! ```text
//!  study.acquired ─▶ each instance ─▶ does the purpose apply? ─ no ─▶ not applicable, with the code that says why
//!                                         │ yes
//!                                         ▼
//!                    header checks (frames, frame rate, duration): a reject here costs no decoding
//!                                         ▼
//!                    one pass over the frames: thumbnails of all (static?), 8 kept for the picture checks
//!                                         ▼
//!                    fan, colour, sharpness, exposure, motion
//!
//!  study: accept if one instance is accepted, caution if the fit ones all carry warnings, else reject
//! ```
//!
//! Purposes: ejection fraction from an apical B-mode loop (echo), reading a field of view (pathology).
//!
//! Invariants:
//! - Every check reports value, unit, threshold and verdict, also when it passes.
//! - Definitions are those of the measurements behind the thresholds; sharpness is OpenCV's, verified against it.
//! - At most [`Config::sampled_frames`] frames are held at once, whatever the length of the clip.
//! - What is wrong with an instance is a verdict; what is wrong with the machinery is a `StageError`.

mod applicability;
mod checks;
mod config;
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

pub use config::{Config, EchoLimits, PathologyLimits};
pub use rule::{Limits, Range};
pub use study::QualityGate;
