//! A slide seen through its tiles. Shared by the gate and the keyframes; it knows no verdict.
//!
//! ```text
//!  instances of a series ─▶ Pyramid: their levels, finest first ─▶ Overview, read tile by tile ─▶ tissue mask
//!                                │                                                                  │
//!                                └─▶ Grid: 512 px at 0.5 µm/px ◀── which places hold tissue ◀───────┘
//!                                      └─▶ region (raw tiles put together, reduced) ─▶ Appearance
//! ```
//!
//! Invariants:
//! - Memory is bounded by one raw tile, one region and the overview (at most [`OVERVIEW_SIDE`] a side), never by the
//!   slide.
//! - Reading is sequential and in a fixed order: the same slide gives the same numbers.
//! - A tile that a sparse slide does not hold is glass. A tile that does not decode is counted, never guessed.

mod appearance;
mod grid;
mod overview;
mod pyramid;
pub mod testing;
mod tissue;

pub use appearance::{Appearance, is_pen, reduced};
pub use grid::{Grid, Place};
pub use overview::{OVERVIEW_SIDE, Overview};
pub use pyramid::{Level, Part, Pyramid, pyramids};
pub use tissue::{Tissue, tissue};
