//! The web pages and their API, served by axum with everything embedded: no CDN, no build step, works air-gapped.
//!
//! ```text
//!   browser ──▶ pages  ─┐
//!   scripts ──▶ api    ─┼─▶ Site (blocking, off the asynchronous threads) ──▶ database, intake, lag
//!   Prometheus ▶ /metrics┤
//!   browser ◀─ events ─ live: the status every two seconds, while somebody listens
//! ```
//!
//! Invariants:
//! - Reading is open on loopback; whatever changes something needs the bearer token, and nothing changes by GET.
//! - A page never shows a name or patient id: this crate has no access to them.
//! - A UID stands in a path, never a patient's data; access is not logged with UIDs.

mod api;
mod assets;
mod error;
mod live;
mod pages;
mod reader;
mod server;
pub mod site;
mod words;

pub use server::{Console, ConsoleError, Token};
