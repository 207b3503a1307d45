//! The stage through its public door: what is asked, what is believed, and how sure the model is found to be.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

mod believing;
mod building;
mod evidence;
mod pathology;
mod questions;
mod variations;
mod world;
