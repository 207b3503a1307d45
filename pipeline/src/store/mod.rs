//! The result store: PostgreSQL behind one door.
//!
//! ```text
//!   report.issued, instance.gated, …, *.dlq ──▶ row ──▶ StoreWriter ──────────┐ writes (bounded, 4)
//!   console, API, CLI ────────────────────────────────────────▶ queries ──────┤ reads  (bounded, 64)
//!                                                                              ▼
//!                                                        Database thread ──▶ one connection
//! ```
//!
//! Invariants:
//! - One thread owns the connection: the `postgres` crate blocks and must not run inside tokio, and the embedded
//!   PostgreSQL serves one connection at a time.
//! - Every job is one transaction under one role, with a statement timeout.
//! - The first write of (run, study, revision) wins; writing the same record again changes nothing but a counter.
//! - A provisional word (`instance.gated`), living or dead, touches no study.
//! - A Kafka offset is committed after the transaction that stored its record.

mod calibration;
mod database;
mod migrations;
mod queries;
mod row;
mod statements;
#[cfg(all(test, feature = "embedded"))]
mod tests;
mod timeline;
mod writer;

pub(crate) use calibration::{calibrated_reports, confirmed_studies, keep_set};
pub(crate) use database::{Database, DatabaseError, Role};
pub(crate) use migrations::{migrate, pending};
pub(crate) use queries::{
    IdentityRow, TerminalState, arrivals, identity_upsert, senders, state_counts, studies, study_report,
    terminal_state,
};
pub(crate) use timeline::timeline;
pub(crate) use writer::{StoreMetrics, StoreWriter};
