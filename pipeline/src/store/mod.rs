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

pub(crate) mod audit;
mod calibration;
mod database;
mod dead_letters;
mod heartbeats;
mod metrics;
mod migrations;
mod queries;
mod replays;
mod row;
mod standing;
mod statements;
#[cfg(all(test, feature = "embedded"))]
mod tests;
mod timeline;
mod writer;

pub(crate) use calibration::{calibrated_reports, confirmed_studies, keep_set};
pub(crate) use database::{Database, DatabaseError, Role};
pub(crate) use dead_letters::{
    Redrove, Settled, Waiting, Wanted, dead_letters, settle_letters, waiting_letters,
};
pub(crate) use heartbeats::{expired_heartbeat_blobs, forget_heartbeats};
pub(crate) use metrics::StoreMetrics;
pub(crate) use migrations::{migrate, pending};
pub(crate) use queries::{
    IdentityRow, TerminalState, arrivals, identity_upsert, senders, state_counts, studies, study_report,
    terminal_state,
};
pub(crate) use replays::{
    Promotion, ReplayStoreError, begin_replay, done_steps, end_replay, keep_report, keep_results,
    live_results, promoted, replay_plan, replay_report, replay_results, replay_run, replay_runs,
};
pub(crate) use standing::{Standing, standing};
pub(crate) use timeline::timeline;
pub(crate) use writer::StoreWriter;
