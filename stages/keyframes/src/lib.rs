//! Which frames carry the finding?
//!
//! ```text
//!  study.accepted ─▶ each fit instance
//!     echo:      frames, one at a time ─▶ 128 px planes ─▶ ventricular blood signal A(t)
//!                  ─▶ period (autocorrelation) ─▶ peaks = end-diastole, valleys = end-systole ─▶ beats
//!                  R waves, where the header has them, say end-diastole instead
//!     pathology: the whole picture
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
mod config;
mod curve;
mod peaks;
mod picture;
mod study;

pub use config::Config;
pub use study::Keyframes;
