//! How a run behaves, and how it ends.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rdkafka::error::KafkaError;
use schemas::Priority;
use stage::Source;

use crate::{
    dispatch::LaneShare, limiter::DeadLetterLimit, retry::RetryPolicy, trace::Spans, window::InFlight,
};

/// Whether expensive answers are taken from and put into the memo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memo {
    /// Read and written: live redelivery is cheap.
    On,
    /// Neither: heartbeats, and replays whose noise, latency or cost is measured.
    Off,
}

/// How a run behaves. [`RunSettings::new`] holds the defaults.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// Worker threads, each with a stage of its own.
    pub workers: usize,
    /// Records read and not finished, in each lane.
    pub in_flight: InFlight,
    /// How the lanes share the workers.
    pub lanes: LaneShare,
    /// How failures are tried again.
    pub retry: RetryPolicy,
    /// When too many records die for the run to go on.
    pub dead_letters: DeadLetterLimit,
    /// Whether the memo is used.
    pub memo: Memo,
    /// How often offsets are committed.
    pub commit_every: Duration,
    /// How long a drain may take.
    pub drain_deadline: Duration,
    /// Silence after which a consumer with records waiting counts as stalled and is made anew.
    pub position_stall: Duration,
    /// Where it tells what became of each record.
    pub spans: Spans,
    /// Folder for what must survive a death of this process: suspects and attempts. One for each process.
    pub state_dir: PathBuf,
}

impl RunSettings {
    /// The defaults: one worker, memo on, commits every 200 ms, half a minute to drain or to count as stalled,
    /// no spans.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            workers: 1,
            in_flight: InFlight::default(),
            lanes: LaneShare::default(),
            retry: RetryPolicy::default(),
            dead_letters: DeadLetterLimit::default(),
            memo: Memo::On,
            commit_every: Duration::from_millis(200),
            drain_deadline: Duration::from_secs(30),
            position_stall: Duration::from_secs(30),
            spans: Spans::off(),
            state_dir: state_dir.into(),
        }
    }
}

/// Where records go that cannot be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetters {
    /// To this topic.
    To(String),
    /// Nowhere: the input is a dead-letter topic itself. Such a record is counted and logged.
    Terminal,
}

/// One topic a run reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Name, lane included.
    pub topic: Arc<str>,
    /// Its lane.
    pub lane: Priority,
    /// Where its dead records go.
    pub dead_letters: DeadLetters,
}

/// How a run ended. Everything but [`Exit::Drained`] and [`Exit::Aborted`] is a failure of the run.
#[derive(Debug)]
pub enum Exit {
    /// As asked: what was begun is finished and committed.
    Drained,
    /// As asked, or because the drain took too long: what was finished is committed, the rest is done again.
    Aborted,
    /// The worker cannot go on: its configuration, its state on disk, or the stage said so.
    Fatal {
        /// Which run.
        stage: String,
        /// Why.
        source: Source,
    },
    /// Too many records died: most likely a bad deploy. The record that reached the limit is not lost.
    DeadLetterLimit {
        /// Which run.
        stage: String,
        /// Dead letters within the limit's window.
        dead: u64,
        /// Of so many records.
        records: u64,
    },
    /// The Kafka client met an error that it cannot recover from. A new run makes a new client.
    BrokerFatal {
        /// Which run.
        stage: String,
        /// What it says.
        source: KafkaError,
    },
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Drained => f.write_str("drained"),
            Self::Aborted => f.write_str("aborted"),
            Self::Fatal { stage, .. } => write!(f, "{stage} cannot go on"),
            Self::DeadLetterLimit { stage, dead, records } => {
                write!(f, "{stage} stopped: {dead} of the last {records} records are dead letters")
            }
            Self::BrokerFatal { stage, .. } => write!(f, "{stage} lost its kafka client for good"),
        }
    }
}
