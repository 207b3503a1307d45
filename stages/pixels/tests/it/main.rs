//! Tests through the public door. Run with `cargo test -p pixels`; nothing is fetched.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot set itself up must fail loudly"
)]

mod access;
mod colour;
mod header;
mod hostile;
mod mask;
mod prescan;
mod properties;
mod still;
mod support;
