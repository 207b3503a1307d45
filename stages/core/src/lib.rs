//! The heart: what a stage is, what it may answer, and the whole of the outside world it may see.
//!
//! ```text
//!   input message ──▶ Stage::process ──▶ Ok(Emit(message))   on to the next topic
//!                          │             Ok(Reject(reasons)) study.rejected.v1: clinical, expected
//!                          │             Err(Invalid)        dead letter: this record can never work
//!                          ▼             Err(Transient)      tried again: by scope, see `Scope`
//!                    Ctx: blobs, frames, Err(Fatal)          the worker stops, exit code not 0
//!                    the record's time
//! ```
//!
//! Invariants:
//! - A stage is a function of its input, its configuration and [`Ctx`]. It has no clock, randomness, environment or
//!   network; what it needs of those comes in.
//! - A stage is synchronous and owned by one worker thread: `&mut self`, no `Sync`.
//! - Doing the same input twice gives the same output; whatever a stage stores is addressed by content.

mod backend;
mod blobs;
mod ctx;
mod error;
mod frames;
mod stage;
pub mod testing;

pub use backend::{BackendError, Generation, ModelBackend, ModelRequest, NoModel, Picture, Presentation};
pub use blobs::{BlobError, Blobs, MemoKey};
pub use ctx::{Ctx, Services};
pub use error::{ConfigError, Scope, Source, StageError};
pub use frames::{
    ClipHeader, EcgStrip, Frame, FrameError, Frames, Image, MaskSource, SlideHeader, SlideLevel, Thumbnail,
    TilePosition,
};
pub use stage::{BatchLimits, Outcome, Stage, Visitor};
