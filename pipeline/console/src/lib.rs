//! The web pages and their API, served by axum with everything embedded: no CDN, no build step, works air-gapped.
//!
//! ```text
//!   browser ──▶ pages  ─┐
//!   scripts ──▶ api    ─┼─▶ Site (blocking, off the asynchronous threads) ──▶ database, intake, lag
//!   Prometheus ▶ /metrics┘
//! ```
//!
//! Invariants:
//! - Reading is open on loopback; whatever changes something needs the bearer token.
//! - A page never shows a name or patient id: this crate has no access to them.
//! - A UID stands in a path, never a patient's data; access is not logged with UIDs.

mod api;
mod error;
mod pages;
mod server;
pub mod site;

pub use server::{Console, ConsoleError, Token};
