//! Bounded replay: the same input through other stages, in isolation, and a verdict on what changed.
//!
//! ```text
//!   plan ──▶ plan.json: fixed offsets, input hashes, pins of baseline and candidate
//!    │
//!   run  ──▶ for each study and arm: start stage ─▶ … ─▶ reporting, in process ──▶ StageResult rows
//!    │
//!   diff ──▶ pairs by (study, stage): noise floor, then candidate ──▶ Verdict, JSON, HTML, JUnit
//!    │
//!   promote ─▶ candidate becomes current, with the report's hash in the audit log
//! ```

pub mod diff;
pub mod margins;
pub mod pace;
pub mod pairs;
pub mod plan;
pub mod report;
pub mod result;
pub mod statistics;
pub mod verdict;
