//! The whole system in one process on embedded parts: nothing has to be installed for these.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]
#![expect(
    clippy::print_stdout,
    reason = "a test that fails shows what its processes said, and what was measured"
)]

mod arrivals;
mod calibrate;
mod command_line;
mod demo;
mod determinism;
mod heartbeat;
mod hostile;
mod inspect;
mod kills;
mod masking;
mod metrics;
mod poison;
mod privacy;
mod replay;
mod served_model;
mod signals;
mod traces;
mod watch;

#[path = "../harness/mod.rs"]
mod harness;
