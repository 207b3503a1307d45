//! `replay`: a candidate configuration on a fixed range of topics, beside the live system, and a verdict on what changes.
//!
//! ```text
//!   topics ──manual assignment──▶ inputs ─▶ for each arm: start stage ─▶ … ─▶ last stage, in this process
//!   blobs  ◀── content-addressed puts ──────────┘            │ a row for each step
//!                                                            ▼
//!   the running system's API: status (makes way), rows, reports, promotion
//! ```
//!
//! Invariants:
//! - No group of the live system is joined, no topic is made or written, no table is written but through the API's replay
//!   routes. What a replay puts into the blob store is named by its content, so nothing there changes.
//! - The memo is not there: neither arm can answer from it or add to it.
//! - Nothing is delivered, reviewed, calibrated or alerted: rows of a replay are read by `diff` and the replay pages alone.

mod chain;
mod diff;
mod input;
mod live;
mod plan;
mod promote;
mod run;
mod step;
mod workshop;

use jiff::Timestamp;
use runtime::Client;

use crate::{
    cli::{Options, Replay},
    config::{BrokerKind, Config},
    data_dir::read_entry,
    exit::{Exit, Failure},
    system::{Entry, client, entries},
};

pub(crate) fn run(step: &Replay, options: &Options, config: &Config) -> Result<Exit, Failure> {
    match step {
        Replay::Plan(arguments) => plan::run(arguments, options, config),
        Replay::Run(arguments) => run::run(arguments, options, config),
        Replay::Diff(arguments) => diff::run(arguments, options, config),
        Replay::Promote(arguments) => promote::run(arguments, options, config),
    }
}

/// The broker that the running system uses.
fn broker(config: &Config) -> Result<Client, Failure> {
    let bootstrap = match config.broker.kind {
        BrokerKind::Kafka => config.broker.bootstrap.clone(),
        BrokerKind::Embedded => read_entry(&config.data_dir)?.broker,
    };
    client(config, bootstrap)
}

/// The stages from `start` on. A stage is named as in the configuration or, with hyphens, as a role.
fn chain_from(start: &str) -> Result<Vec<Entry>, Failure> {
    let all = entries();
    let first = all.iter().position(|entry| entry.name == start.replace('-', "_"));
    let Some(first) = first else {
        let names: Vec<&str> = all.iter().map(|entry| entry.name).collect();
        return Err(Failure::usage(format!(
            "--start-stage {start:?} is no stage; the stages are {}",
            names.join(", ")
        )));
    };
    Ok(all.into_iter().skip(first).collect())
}

/// A line for whoever watches, on standard error, so that standard output is the answer alone.
fn say(line: &str) {
    let time = Timestamp::now().strftime("%H:%M:%S");
    // Nobody watches any more: the work goes on.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{time} {line}\n"));
}
