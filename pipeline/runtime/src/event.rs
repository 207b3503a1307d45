//! What the threads of a run tell the coordinator, and what it tells them.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::Sender;
use rdkafka::error::KafkaError;
use schemas::Priority;
use stage::{BatchLimits, Source};

use crate::{
    dead_letter::Death,
    metrics::Finished,
    offsets::Commit,
    record::{Partition, Record},
};

/// A record as the poller hands it over.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) record: Record,
    pub(crate) partition: Partition,
    pub(crate) epoch: u64,
}

/// Told to the coordinator.
#[derive(Debug)]
pub(crate) enum Event {
    /// A worker has built its stage.
    Ready {
        worker: usize,
        limits: BatchLimits,
    },
    /// A worker did an order; one verdict for each of its tickets.
    Worked {
        worker: usize,
        verdicts: Vec<(usize, Verdict)>,
        slowest: Duration,
    },
    /// An output was acknowledged, or will not be.
    Acked {
        ticket: usize,
        result: Result<(), KafkaError>,
    },
    /// Partitions are being taken away. Everything of them up to `epoch` is stale; the poller waits for what may still
    /// be committed.
    Revoked {
        partitions: Vec<Partition>,
        epoch: u64,
        reply: Sender<Vec<Commit>>,
    },
    CommitFailed(Vec<Partition>),
    /// A thread of the run cannot go on.
    Stopped(Failure),
    /// The poller has left the group.
    Closed,
}

/// Told to the poller.
#[derive(Debug)]
pub(crate) enum Command {
    Commit(Vec<Commit>),
    /// Read nothing more, but stay in the group.
    Stop,
    /// Commit these and leave.
    Close(Vec<Commit>),
}

/// Told to a worker.
#[derive(Debug)]
pub(crate) enum Order {
    Process(Vec<Job>),
    Bury(Job, Death),
}

#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) ticket: usize,
    pub(crate) record: Arc<Record>,
    pub(crate) lane: Priority,
    pub(crate) input: usize,
    /// How often it was handed out so far, this time included.
    pub(crate) attempt: u32,
}

/// What a worker says of one record.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// An output is on its way; its acknowledgement finishes the record.
    Sent(Finished),
    /// Nothing more to wait for.
    Done(Finished),
    /// Not begun: a record before it took too long.
    Untouched,
    Failed(Failure),
}

/// Why a record was not processed; the coordinator decides what follows.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It never can be.
    Dead(Death),
    /// `Scope::Record`.
    Record(String),
    /// `Scope::Dependency`.
    Dependency(String),
    /// The worker cannot go on.
    Fatal(Source),
    /// Neither can the Kafka client.
    Broker(KafkaError),
    /// The run was asked to leave at once.
    Aborted,
}
