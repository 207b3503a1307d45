//! The library through its public door, in one binary. Reference values come from transformers and Pillow, by
//! `fixtures/make_fixtures.py`.

#![expect(clippy::unwrap_used, reason = "a fixture that is not as expected fails the test")]

mod adapter;
mod agreement;
mod batching;
mod case;
mod damaged_folder;
mod grammar;
mod numerics;
mod parity;
mod preprocessing;
mod requests;
mod scoring;
mod support;
mod wide;
