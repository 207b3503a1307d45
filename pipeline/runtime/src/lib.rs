//! Runs any stage, and any sink, over Kafka: written once, with the pipeline's delivery guarantee.
//!
//! One run has these threads and queues. Each queue is bounded; its capacity stands at its arrow.
//!
//! ```text
//!  broker                                     ┌──────────── commands: 16 ─────────────┐
//!    │ fetched ahead: 2,000 records a         ▼                                        │
//!    │ partition, 16 MiB in all                                                        │
//!    └────────▶ poller ──urgent:  4 chunks──▶ coordinator ──orders: 1 each──▶ worker 0…n
//!               (owns the  ─routine: 4 chunks▶ (owns all    ◀─────events────── (owns a stage or sink)
//!                consumer)                     state)       ◀─events─┐          │ outputs: 100,000 records,
//!               stash a lane:                  in flight a lane:     │          ▼ 64 MiB
//!               4 × in flight, 8 MiB           256 records, 32 MiB   └─ producer ─▶ broker
//!
//!  chunk: a quarter of the records in flight, at most 64; events: 2 × (in flight + one chunk) + 4 a worker + 64;
//!  rebalance notices to the poller: 64
//! ```
//!
//! Invariants:
//! - An offset is committed only after everything its record asked for is acknowledged, and never beyond a record for
//!   which that is not so.
//! - An output's id is derived from its input's: doing a record again changes nothing but `ce_time`.
//! - Records of one key are worked on one at a time, in order.
//! - The poller never waits for work, so that slow work never costs the group membership.
//! - A record that cannot be processed ends on its dead-letter topic, and its partition goes on.
//! - A dependency that is down pauses the stage and never makes a dead letter.
//! - Workers execute, the coordinator decides.
//!
//! Outputs go on with their input's trace (W3C Trace Context); [`trace`] tells of each step. A heartbeat (`prescreen_class`)
//! is worked on like any record, but without the memo, and not at all once it has waited too long to say anything.
//!
//! This crate names no stage, table or page, and is the only one that speaks Kafka as a client.

mod attempts;
mod batcher;
pub mod bounded;
mod client;
mod coordinator;
mod dead_letter;
mod dispatch;
mod drain;
mod event;
mod flight;
pub mod lag;
mod limiter;
mod log_key;
mod membership;
mod memo;
mod metrics;
mod offline;
mod offsets;
mod pause;
mod poller;
mod producer;
mod publisher;
mod record;
mod retry;
mod run;
mod settings;
mod shutdown;
mod sink_work;
mod stage_work;
mod stash;
mod suspect;
mod tail;
pub mod topics;
pub mod trace;
mod watchdog;
mod window;
mod worker;

pub use attempts::StateError;
pub use client::{Client, ClientError};
pub use dispatch::LaneShare;
pub use limiter::DeadLetterLimit;
pub use log_key::LogKey;
pub use metrics::Metrics;
pub use offline::{Answer, Given, OfflineParts, OfflineStage, Trouble};
pub use pause::PauseSwitch;
pub use publisher::{Acknowledged, PublishError, Publisher};
pub use record::{Headers, Record};
pub use retry::RetryPolicy;
pub use run::{Run, SinkRun, StageRun, inputs_of, run_sink, run_stage};
pub use settings::{DeadLetters, Exit, Input, Memo, RunSettings};
pub use shutdown::{Phase, Shutdown};
pub use sink_work::{OpenSink, Sink};
pub use stage_work::MakeConfig;
pub use suspect::Solitude;
pub use tail::{Begin, Tail, TailError};
pub use window::InFlight;
