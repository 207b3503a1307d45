//! The topics there are, on the disk and in memory.
//!
//! `topics.json` is the truth: it is replaced after a new topic's directories exist and before a deleted topic's go, so
//! a crash leaves at most directories that no topic owns. Such are removed when their name is next needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::{fs, io};

use kafka_protocol::error::ResponseError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::{MAX_PARTITIONS, TopicSettings};
use crate::error::StartError;
use crate::files;
use crate::locks::{hold, hold_read, hold_write};
use crate::log::partition::Partition;

/// A name longer than this does not fit a file name with its partition (Kafka's own limit).
const MAX_NAME_BYTES: usize = 249;

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) settings: TopicSettings,
    /// Locked because producers, consumers and retention meet here; held for one batch's write, never for a wait.
    partitions: Vec<Arc<Mutex<Partition>>>,
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<MutexGuard<'_, Partition>> {
        self.partitions.get(usize::try_from(index).ok()?).map(|partition| hold(partition))
    }

    pub(crate) fn partition_count(&self) -> i32 {
        self.partitions.len() as i32
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = MutexGuard<'_, Partition>> {
        self.partitions.iter().map(|partition| hold(partition))
    }
}

/// Why a topic is not created, grown or deleted: the protocol's code and a text for the operator.
#[derive(Debug)]
pub(crate) struct TopicRefused {
    pub(crate) code: ResponseError,
    pub(crate) message: String,
}

fn refused<T>(code: ResponseError, message: impl Into<String>) -> Result<T, TopicRefused> {
    Err(TopicRefused { code, message: message.into() })
}

impl From<io::Error> for TopicRefused {
    fn from(error: io::Error) -> Self {
        TopicRefused { code: ResponseError::KafkaStorageError, message: format!("cannot write: {error}") }
    }
}

impl From<StartError> for TopicRefused {
    fn from(error: StartError) -> Self {
        TopicRefused { code: ResponseError::KafkaStorageError, message: error.to_string() }
    }
}

#[derive(Debug)]
pub(crate) struct Topics {
    data_dir: PathBuf,
    pub(crate) cluster_id: Uuid,
    /// Read by every request, written by the rare creation and deletion, which hold it over their file work.
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    cluster_id: Uuid,
    topics: BTreeMap<String, StoredTopic>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredTopic {
    partitions: u32,
    settings: TopicSettings,
}

impl Topics {
    pub(crate) fn open(data_dir: &Path, now_ms: i64) -> Result<Topics, StartError> {
        let path = data_dir.join("topics.json");
        let stored = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| StartError::Damaged {
                path: path.clone(),
                position: error.column() as u64,
                reason: error.to_string(),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Stored { cluster_id: Uuid::new_v4(), topics: BTreeMap::new() }
            }
            Err(error) => return Err(StartError::storage(path)(error)),
        };
        let mut by_name = BTreeMap::new();
        for (name, topic) in stored.topics {
            let partitions = open_partitions(data_dir, &name, 0..topic.partitions, topic.settings, now_ms)?;
            by_name.insert(name.clone(), Arc::new(Topic { name, settings: topic.settings, partitions }));
        }
        let topics = Topics {
            data_dir: data_dir.to_owned(),
            cluster_id: stored.cluster_id,
            by_name: RwLock::new(by_name),
        };
        topics.save(&hold_read(&topics.by_name)).map_err(StartError::storage(path))?;
        Ok(topics)
    }

    fn save(&self, by_name: &BTreeMap<String, Arc<Topic>>) -> io::Result<()> {
        let topics = by_name
            .iter()
            .map(|(name, topic)| {
                let partitions = topic.partitions.len() as u32;
                (name.clone(), StoredTopic { partitions, settings: topic.settings })
            })
            .collect();
        let stored = serde_json::to_vec(&Stored { cluster_id: self.cluster_id, topics })?;
        files::replace(&self.data_dir.join("topics.json"), &stored)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        hold_read(&self.by_name).get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        hold_read(&self.by_name).values().cloned().collect()
    }

    /// Whether a topic of this name and size could be created.
    pub(crate) fn check(&self, name: &str, partitions: u32) -> Result<(), TopicRefused> {
        check_name(name)?;
        check_partitions(partitions)?;
        if hold_read(&self.by_name).contains_key(name) {
            return refused(ResponseError::TopicAlreadyExists, format!("topic {name} exists"));
        }
        Ok(())
    }

    pub(crate) fn create(
        &self,
        name: &str,
        partitions: u32,
        settings: TopicSettings,
        now_ms: i64,
    ) -> Result<Arc<Topic>, TopicRefused> {
        check_name(name)?;
        check_partitions(partitions)?;
        let mut by_name = hold_write(&self.by_name);
        if by_name.contains_key(name) {
            return refused(ResponseError::TopicAlreadyExists, format!("topic {name} exists"));
        }
        prepare_dirs(&self.data_dir, name, 0..partitions)?;
        let opened = open_partitions(&self.data_dir, name, 0..partitions, settings, now_ms)?;
        let topic = Arc::new(Topic { name: name.to_owned(), settings, partitions: opened });
        by_name.insert(name.to_owned(), Arc::clone(&topic));
        if let Err(error) = self.save(&by_name) {
            by_name.remove(name);
            return Err(error.into());
        }
        Ok(topic)
    }

    /// Raises the number of partitions to `count`; what is there stays where it is.
    pub(crate) fn grow(
        &self,
        name: &str,
        count: u32,
        only_check: bool,
        now_ms: i64,
    ) -> Result<(), TopicRefused> {
        check_partitions(count)?;
        let mut by_name = hold_write(&self.by_name);
        let Some(topic) = by_name.get(name).cloned() else {
            return refused(ResponseError::UnknownTopicOrPartition, format!("there is no topic {name}"));
        };
        let have = topic.partitions.len() as u32;
        if count <= have {
            let message = format!("topic {name} has {have} partitions: ask for more than that");
            return refused(ResponseError::InvalidPartitions, message);
        }
        if only_check {
            return Ok(());
        }
        prepare_dirs(&self.data_dir, name, have..count)?;
        let mut partitions = topic.partitions.clone();
        partitions.extend(open_partitions(&self.data_dir, name, have..count, topic.settings, now_ms)?);
        let grown = Topic { name: name.to_owned(), settings: topic.settings, partitions };
        by_name.insert(name.to_owned(), Arc::new(grown));
        if let Err(error) = self.save(&by_name) {
            by_name.insert(name.to_owned(), topic);
            return Err(error.into());
        }
        Ok(())
    }

    pub(crate) fn delete(&self, name: &str) -> Result<(), TopicRefused> {
        let mut by_name = hold_write(&self.by_name);
        let Some(topic) = by_name.remove(name) else {
            return refused(ResponseError::UnknownTopicOrPartition, format!("there is no topic {name}"));
        };
        if let Err(error) = self.save(&by_name) {
            by_name.insert(name.to_owned(), topic);
            return Err(error.into());
        }
        for mut partition in topic.partitions() {
            partition.close();
        }
        remove_unowned(&self.data_dir, name, 0..topic.partitions.len() as u32)?;
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), TopicRefused> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty()
        || name.len() > MAX_NAME_BYTES
        || name == "."
        || name == ".."
        || !name.bytes().all(legal)
    {
        return refused(
            ResponseError::InvalidTopicException,
            "a topic's name is 1 to 249 of a-z A-Z 0-9 . _ - and neither . nor ..",
        );
    }
    Ok(())
}

fn check_partitions(partitions: u32) -> Result<(), TopicRefused> {
    if partitions == 0 || partitions > MAX_PARTITIONS {
        return refused(
            ResponseError::InvalidPartitions,
            format!("{partitions} partitions: use 1 to {MAX_PARTITIONS}"),
        );
    }
    Ok(())
}

fn partition_dir(data_dir: &Path, topic: &str, index: u32) -> PathBuf {
    data_dir.join("topics").join(format!("{topic}-{index}"))
}

fn open_partitions(
    data_dir: &Path,
    topic: &str,
    indexes: std::ops::Range<u32>,
    settings: TopicSettings,
    now_ms: i64,
) -> Result<Vec<Arc<Mutex<Partition>>>, StartError> {
    indexes
        .map(|index| {
            let partition = Partition::open(&partition_dir(data_dir, topic, index), settings, now_ms)?;
            Ok(Arc::new(Mutex::new(partition)))
        })
        .collect()
}

/// Empty directories for partitions that do not exist yet.
fn prepare_dirs(data_dir: &Path, topic: &str, indexes: std::ops::Range<u32>) -> io::Result<()> {
    remove_unowned(data_dir, topic, indexes.clone())?;
    indexes.into_iter().try_for_each(|index| fs::create_dir_all(partition_dir(data_dir, topic, index)))
}

/// Removes directories that no topic owns: of a topic just deleted, or left by a crash between directory and list.
fn remove_unowned(data_dir: &Path, topic: &str, indexes: std::ops::Range<u32>) -> io::Result<()> {
    for index in indexes {
        match fs::remove_dir_all(partition_dir(data_dir, topic, index)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
