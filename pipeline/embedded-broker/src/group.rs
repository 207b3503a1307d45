//! Consumer groups: who reads which partition, and how far.

pub(crate) mod coordinator;
pub(crate) mod member;
pub(crate) mod offsets;
mod protocols;
mod rebalance;
pub(crate) mod state;
