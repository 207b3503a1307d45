//! The runtime over the embedded broker: what a stage, a sink and an operator may rely on.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod bounded;
mod crash;
mod delivery;
mod failures;
mod flow;
mod heartbeat;
mod observation;
mod poison;
mod scripted;
mod sink;
mod trace;
mod world;
