//! How far reports let a number be believed: intervals, certainty, doubts and abstentions, through the stage's public door.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

mod abstention;
mod certainty;
mod interval;
mod text;
mod world;
