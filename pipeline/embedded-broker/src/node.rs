//! Everything one running broker owns, shared by its connections and its timers.

use std::fs::{self, File};
use std::sync::Mutex;
use std::time::Instant;

use crate::config::{Config, SyncPolicy};
use crate::error::StartError;
use crate::faults::Faults;
use crate::group::coordinator::{Coordinator, CoordinatorConfig};
use crate::locks::hold;
use crate::log::segment::SealJob;
use crate::producer_ids::ProducerIds;
use crate::topics::Topics;

/// This node's id, and every partition's leader.
pub(crate) const NODE_ID: i32 = 1;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    /// The port in use.
    pub(crate) port: u16,
    pub(crate) topics: Topics,
    /// Locked because members of one group come over different connections; held for one request's decision.
    pub(crate) groups: Mutex<Coordinator>,
    /// Locked because producers come over different connections; held for one id.
    pub(crate) producer_ids: Mutex<ProducerIds>,
    pub(crate) faults: Faults,
    /// Keeps a second broker off the data directory.
    _lock: File,
}

impl Node {
    /// Takes the data directory and brings it to the state before the last stop or crash.
    pub(crate) fn open(config: Config, port: u16) -> Result<Node, StartError> {
        let dir = &config.data_dir;
        fs::create_dir_all(dir).map_err(StartError::storage(dir))?;
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).map_err(StartError::storage(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StartError::InUse { path: dir.clone() }),
            Err(fs::TryLockError::Error(source)) => {
                return Err(StartError::Storage { path: lock_path, source });
            }
        }
        let topics = Topics::open(dir, now_ms())?;
        let groups = CoordinatorConfig {
            journal: &dir.join("groups.journal"),
            session_timeouts: config.session_timeouts.clone(),
            sync: config.sync == SyncPolicy::EveryBatch,
        };
        let groups = Mutex::new(Coordinator::open(groups, Instant::now())?);
        let producer_ids = Mutex::new(ProducerIds::open(&dir.join("producer-ids"))?);
        Ok(Node { port, topics, groups, producer_ids, faults: Faults::new(), _lock: lock, config })
    }

    /// Deletes what retention allows, forgets silent producers, makes sealed segments durable.
    pub(crate) fn maintain(&self) {
        let now = now_ms();
        for topic in self.topics.all() {
            for mut partition in topic.partitions() {
                partition.expire_producers(now, self.config.producer_expiry);
                let maintained = partition.enforce_retention(now).and_then(|_| partition.seal_jobs());
                drop(partition);
                let done = maintained.and_then(|jobs| jobs.into_iter().try_for_each(SealJob::run));
                if let Err(error) = done {
                    tracing::error!(topic = %topic.name, %error, "cannot maintain a partition; tried again later");
                }
            }
        }
    }

    pub(crate) fn expire_groups(&self) {
        hold(&self.groups).expire(Instant::now());
    }
}

/// Milliseconds since the epoch: what retention compares record timestamps with.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
