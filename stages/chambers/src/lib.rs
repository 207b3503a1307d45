//! Heart chambers in apical ultrasound, without weights: blood is dark, wall is bright, and each chamber is a pool.
//!
//! ```text
//!  planes ─▶ smoothed ─▶ blood occupancy, 0 to 1 ─▶ pools > 0.5, opened ─▶ distance to the wall ─▶ summits (seeds)
//!            (Gaussian)   (soft Otsu threshold;       (3x3)                                           │
//!                          mean over time or one frame)                             watershed between them ─▶ blobs
//!  blobs ─▶ by place: left and right ventricle, left and right atrium ─▶ keypoints, plausibility of the view
//! ```
//!
//! It knows no study and no verdict: the gate asks it whether a clip looks like four chambers, the keyframes how large
//! the left ventricle is in one frame.
//!
//! Invariants:
//! - Points and lengths are pixels of the planes given; the probe is at the top. The constants are meant for a fan
//!   [`HEIGHT`] pixels high.
//! - The same planes give the same blobs, in the same order, on every machine and in every thread.
//! - Nothing found is an empty list or `None`, never a guess.

mod blob;
mod blood;
mod four;
mod pools;

pub use blob::{Blob, Point};
pub use blood::Blood;
pub use four::{Chambers, Keypoints};
pub use pools::{segment, segment_clip, segment_from};

/// Height of the fan, in pixels, that the constants of this crate are meant for.
pub const HEIGHT: usize = 128;
