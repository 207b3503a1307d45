//! The heartbeat: a synthetic study that goes the way of every study, so that a way that is not free is noticed before a
//! patient's study is missed.
//!
//! ```text
//!   pulse (in the intake role, each `heartbeat.every`):
//!     phantom with a fresh seed ─▶ blob put ─▶ study.acquired.v1.urgent, run `heartbeat`, class heartbeat
//!                                                │ every stage, without the memo; older than 10 min: passed over
//!   store: rows of run `heartbeat` ◀─────────────┘ and prescreen_heartbeat_age_seconds{stage}
//!   pulse, after each beat: rows older than a day and blobs older than two hours go
//! ```
//! Invariants:
//! - It touches neither spool nor identity: a full disk or a database that is down do not stop it, and show in its age.
//! - Run and class go through every stage. Whatever counts, calibrates, watches drift, replays, reviews, delivers or lists
//!   looks at run `live` only ([`schemas::Envelope::is_clinical`]).
//! - An age begins at the start of the process: a heartbeat that never comes is missed too.
//! - A phantom's pixels come from a seed that nobody else has, so no other study refers to its blobs; one that somebody
//!   took in by hand keeps them.
//!
//! Each process with the intake role beats: with three of them there are three beats each time, which costs little and
//! needs no leader. Each process with the store role tells the ages of what it has stored itself; of several, the least is
//! the truth (`min by (stage)`).

mod ages;
mod phantom;
mod pulse;

pub(crate) use ages::HeartbeatAges;
pub(crate) use pulse::{Pulse, PulseParts};
