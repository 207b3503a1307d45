//! What a broker is started with, and what a topic may be created with.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When written data is forced from the page cache to the disk. A killed *process* loses nothing either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Left to the operating system: a power cut may lose the last seconds.
    Never,
    /// Before every acknowledgement, of records and of committed offsets.
    EveryBatch,
}

/// How a broker is started. `Config::new` holds the defaults; every field is public.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything is kept; created if missing; locked while the broker runs.
    pub data_dir: PathBuf,
    /// TCP port on 127.0.0.1; 0 picks a free one.
    pub port: u16,
    /// Partitions of a topic created with -1 partitions, or by auto-creation.
    pub default_partitions: u32,
    /// Whether a metadata request for an unknown topic creates it.
    pub auto_create_topics: bool,
    /// Settings of a topic that does not say otherwise.
    pub topic_defaults: TopicSettings,
    /// Largest request accepted on a connection, in bytes; a larger one closes the connection.
    pub max_request_bytes: u32,
    /// Bytes of requests held in memory over all connections; further requests wait for room.
    pub request_memory_bytes: u32,
    /// Most bytes in one fetch response, whatever the client asks for; the first batch always fits.
    pub max_fetch_bytes: u32,
    /// Connections at one time; a further one is closed at once.
    pub max_connections: usize,
    /// When written data is forced to the disk.
    pub sync: SyncPolicy,
    /// How often old segments are looked for.
    pub retention_check_interval: Duration,
    /// Session timeouts a group member may ask for.
    pub session_timeouts: RangeInclusive<Duration>,
    /// An idempotent producer silent for longer is forgotten.
    pub producer_expiry: Duration,
    /// Threads of the broker's own runtime.
    pub worker_threads: usize,
}

impl Config {
    /// The defaults: a free port, one partition, a week of retention, 1 MiB messages, no auto-creation, no fsync.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Config {
            data_dir: data_dir.into(),
            port: 0,
            default_partitions: 1,
            auto_create_topics: false,
            topic_defaults: TopicSettings::default(),
            max_request_bytes: 100 << 20,
            request_memory_bytes: 256 << 20,
            max_fetch_bytes: 16 << 20,
            max_connections: 1024,
            sync: SyncPolicy::Never,
            retention_check_interval: Duration::from_secs(30),
            session_timeouts: Duration::from_secs(6)..=Duration::from_mins(30),
            producer_expiry: Duration::from_hours(24),
            worker_threads: 2,
        }
    }

    /// The first field whose value cannot work, with what would.
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        let wrong = |field, fix| Err(InvalidConfig { field, fix });
        if self.default_partitions == 0 || self.default_partitions > MAX_PARTITIONS {
            return wrong("default_partitions", "1 to 10000");
        }
        if self.worker_threads == 0 {
            return wrong("worker_threads", "at least 1");
        }
        if self.request_memory_bytes < self.max_request_bytes {
            return wrong("request_memory_bytes", "at least max_request_bytes");
        }
        if self.topic_defaults.max_message_bytes > self.max_request_bytes {
            return wrong("topic_defaults.max_message_bytes", "at most max_request_bytes");
        }
        if self.topic_defaults.segment_bytes < MIN_SEGMENT_BYTES {
            return wrong("topic_defaults.segment_bytes", "at least 1024");
        }
        if self.retention_check_interval.is_zero() {
            return wrong("retention_check_interval", "more than zero");
        }
        Ok(())
    }
}

/// A field of [`Config`] with a value that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("config field {field} is out of range: use {fix}")]
pub struct InvalidConfig {
    /// The field's path in [`Config`].
    pub field: &'static str,
    /// The values that work.
    pub fix: &'static str,
}

/// Most partitions of one topic: each keeps a file open.
pub(crate) const MAX_PARTITIONS: u32 = 10_000;
const MIN_SEGMENT_BYTES: u64 = 1024;

/// How a topic's partitions are kept. Set at creation, then fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicSettings {
    /// `retention.ms`: a segment whose newest record is older is deleted; `None` keeps it for ever.
    pub retention_ms: Option<u64>,
    /// `retention.bytes` per partition: the oldest segments beyond it are deleted.
    pub retention_bytes: Option<u64>,
    /// `segment.bytes`: a segment is closed before it grows beyond this.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment is closed when its first and its next record are further apart.
    pub segment_ms: u64,
    /// `max.message.bytes`: largest record batch, as sent (compressed).
    pub max_message_bytes: u32,
    /// `cleanup.policy`.
    pub cleanup: Cleanup,
}

/// `cleanup.policy` of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cleanup {
    /// Old segments are deleted by time and size.
    Delete,
    /// Kafka may drop records superseded by a newer one of the same key, and never the newest. This broker drops none.
    Compact,
}

impl Default for TopicSettings {
    fn default() -> Self {
        TopicSettings {
            retention_ms: Some(7 * 24 * 3600 * 1000),
            retention_bytes: None,
            segment_bytes: 64 << 20,
            segment_ms: 7 * 24 * 3600 * 1000,
            max_message_bytes: 1_048_588,
            cleanup: Cleanup::Delete,
        }
    }
}

/// Settings that clients write although only one value works here; any other is refused.
const FIXED: [(&str, &str); 4] = [
    ("compression.type", "producer"),
    ("message.timestamp.type", "CreateTime"),
    ("min.insync.replicas", "1"),
    ("unclean.leader.election.enable", "false"),
];

impl TopicSettings {
    /// Applies one setting of a CreateTopics request; the error text names the setting, its value and what works.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = |fix: &str| format!("topic setting {name}={value} is not possible here: use {fix}");
        let number = |least: u64| value.parse::<u64>().ok().filter(|number| *number >= least);
        let optional = || if value == "-1" { Some(None) } else { number(0).map(Some) };
        match name {
            "retention.ms" => self.retention_ms = optional().ok_or_else(|| wrong("-1 or milliseconds"))?,
            "retention.bytes" => self.retention_bytes = optional().ok_or_else(|| wrong("-1 or bytes"))?,
            "segment.bytes" => {
                self.segment_bytes = number(MIN_SEGMENT_BYTES).ok_or_else(|| wrong("at least 1024"))?;
            }
            "segment.ms" => self.segment_ms = number(1).ok_or_else(|| wrong("at least 1"))?,
            "max.message.bytes" => {
                self.max_message_bytes = value.parse().map_err(|_| wrong("bytes, below 4 GiB"))?;
            }
            "cleanup.policy" => {
                self.cleanup = match value {
                    "delete" => Cleanup::Delete,
                    "compact" => Cleanup::Compact,
                    _ => return Err(wrong("delete or compact")),
                }
            }
            _ => match FIXED.iter().find(|(fixed, _)| *fixed == name) {
                Some((_, only)) if *only == value => {}
                Some((_, only)) => return Err(wrong(only)),
                None => return Err(format!("topic setting {name} is not known here")),
            },
        }
        Ok(())
    }

    /// The settings as DescribeConfigs gives them.
    pub(crate) fn entries(&self) -> Vec<(&'static str, String)> {
        let optional = |value: Option<u64>| value.map_or_else(|| "-1".to_owned(), |value| value.to_string());
        let cleanup = match self.cleanup {
            Cleanup::Delete => "delete",
            Cleanup::Compact => "compact",
        };
        let mut entries = vec![
            ("cleanup.policy", cleanup.to_owned()),
            ("max.message.bytes", self.max_message_bytes.to_string()),
            ("retention.bytes", optional(self.retention_bytes)),
            ("retention.ms", optional(self.retention_ms)),
            ("segment.bytes", self.segment_bytes.to_string()),
            ("segment.ms", self.segment_ms.to_string()),
        ];
        entries.extend(FIXED.iter().map(|(name, value)| (*name, (*value).to_owned())));
        entries
    }
}
