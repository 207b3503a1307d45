//! The consumer's side of rebalances: epochs, and the handshake that commits what is done before a partition goes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::{Sender, bounded};
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance},
    error::{KafkaError, KafkaResult},
};

use crate::{
    client, event::Event, metrics::StageMetrics, offsets::Commit, record::Partition, settings::Input,
};

/// How long a revocation waits for the coordinator, which never waits for anything itself.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// A change of the assignment, told to the poller's loop by the callbacks that run inside its `poll`.
#[derive(Debug)]
pub(crate) enum Notice {
    Assigned { partitions: Vec<Partition>, epoch: u64 },
    Revoked(Vec<Partition>),
}

pub(crate) struct Membership {
    pub(crate) inputs: Arc<[Input]>,
    pub(crate) notices: Sender<Notice>,
    pub(crate) events: Sender<Event>,
    pub(crate) metrics: Arc<StageMetrics>,
    /// Atomic only because the callbacks take `&self`: written and read on the poller's thread. Shared by the
    /// consumers that follow each other in a run, so that it always rises.
    pub(crate) epoch: Arc<AtomicU64>,
    /// Set before the consumer is dropped for good: its last commit has been made.
    pub(crate) closing: AtomicBool,
}

pub(crate) type GroupConsumer = BaseConsumer<Membership>;

impl Membership {
    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let known = |topic: &str| self.inputs.iter().position(|input| *input.topic == *topic);
        list.elements()
            .iter()
            .filter_map(|element| {
                Some(Partition { input: known(element.topic())?, number: element.partition() })
            })
            .collect()
    }

    pub(crate) fn list(&self, commits: &[Commit]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(commits.len());
        for commit in commits {
            if let Some(input) = self.inputs.get(commit.partition.input) {
                // Fails for offsets below zero only, and a commit follows a record.
                drop(list.add_partition_offset(
                    &input.topic,
                    commit.partition.number,
                    Offset::Offset(commit.next),
                ));
            }
        }
        list
    }

    fn revoke(&self, consumer: &GroupConsumer, partitions: Vec<Partition>) {
        let (reply, replied) = bounded(1);
        let epoch = self.epoch.load(Ordering::Relaxed);
        if self.events.send(Event::Revoked { partitions, epoch, reply }).is_err() {
            return;
        }
        let Ok(commits) = replied.recv_timeout(HANDSHAKE) else { return };
        // A lost assignment belongs to somebody else already; what is not committed is done again.
        if commits.is_empty() || consumer.assignment_lost() {
            return;
        }
        if let Err(error) = consumer.commit(&self.list(&commits), CommitMode::Sync) {
            self.metrics.commit_failures.inc();
            tracing::warn!(%error, "offsets of revoked partitions are not committed; their last records come again");
        }
    }
}

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(target: "librdkafka", %error, reason);
    }
}

impl ConsumerContext for Membership {
    fn pre_rebalance(&self, consumer: &GroupConsumer, rebalance: &Rebalance<'_>) {
        self.metrics.rebalances.inc();
        match rebalance {
            Rebalance::Assign(list) => {
                let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
                let partitions = self.partitions(list);
                tracing::info!(partitions = partitions.len(), epoch, "partitions assigned");
                drop(self.notices.send(Notice::Assigned { partitions, epoch }));
            }
            Rebalance::Revoke(list) => {
                let partitions = self.partitions(list);
                tracing::info!(partitions = partitions.len(), "partitions revoked");
                if !self.closing.load(Ordering::Relaxed) {
                    self.revoke(consumer, partitions.clone());
                    drop(self.notices.send(Notice::Revoked(partitions)));
                }
            }
            Rebalance::Error(error) => tracing::error!(%error, "rebalance failed"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Err(error) = result {
            self.metrics.commit_failures.inc();
            tracing::warn!(%error, "offsets are not committed; tried again");
            drop(self.events.send(Event::CommitFailed(self.partitions(offsets))));
        }
    }
}
