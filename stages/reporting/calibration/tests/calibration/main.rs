//! The crate through its public door: the numbers others give, the promises it makes, and what it refuses.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

mod drift;
mod golden;
mod guarantee;
mod properties;
mod set;
mod world;
