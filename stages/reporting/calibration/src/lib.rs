//! Measured uncertainty: how far a model's number may be from the truth, with a guarantee, and whether that still holds.
//!
//! ```text
//!   cases (prediction, confirmed truth) ─▶ fit ─▶ CalibrationSet, a file ─▶ interval of the next study
//!                                                     │
//!                                              reference samples ─▶ drift::Monitor ◀─ reports
//! ```
//!
//! Invariants:
//! - Pure and deterministic: no clock, no chance; what must be drawn is passed in.
//! - No set, no interval: nothing here gives one by default.

pub mod conformal;
pub mod drift;
pub mod fit;
pub mod groups;
pub mod metrics;
pub mod set;
pub mod temperature;

pub use conformal::{Alpha, AlphaError, Prediction, Score};
pub use fit::{Case, FitError, Fitted, Plan, fit, studies_needed};
pub use groups::{Key, Traits};
pub use set::{Asked, CalibrationSet, Contents, Group, Interval, Refusal, SetError};
