//! `control.v1`: what operators ask of stages. Compacted: the latest record of a key holds, and a process that starts reads
//! what holds from the beginning.
//!
//! No message of a study: its key is the stage, it has one partition, so that there is one order, and no lanes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The topic's name.
pub const CONTROL_TOPIC: &str = "control.v1";

/// Whether a stage may begin records. The record's key is the stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageControl {
    /// It begins none, in any process.
    pub paused: bool,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}
