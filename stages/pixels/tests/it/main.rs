//! Tests through the public door. Run with `cargo test -p pixels`; nothing is fetched.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot set itself up must fail loudly"
)]

mod access;
mod burned_in;
mod codings;
mod colour;
mod corpus;
mod header;
mod hostile;
mod hostile_objects;
mod mask;
mod prescan;
mod properties;
mod slide;
mod slide_tiff;
mod still;
mod support;
