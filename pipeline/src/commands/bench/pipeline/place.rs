//! Where it is measured: a broker with the bench's own topics, and a scratch folder.

use std::{path::Path, time::Duration};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
};
use runtime::{Client, topics};
use tempfile::TempDir;

use crate::{
    config::{BrokerKind, Config},
    exit::Failure,
};

use super::relay::{Accepted, Acquired, Extracted, Inferred, Report};

/// How long the broker may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Records of a bench that was killed are gone from a shared broker after so long.
const RETENTION: Duration = Duration::from_hours(1);

/// The broker, its topics, and a folder for state. Dropped in this order.
pub(super) struct Place {
    #[cfg(feature = "embedded")]
    embedded: Option<embedded_broker::Broker>,
    scratch: TempDir,
    /// How the broker is reached.
    pub(super) client: Client,
    /// Partitions of each topic.
    pub(super) partitions: u32,
    /// Which broker, in words.
    pub(super) broker: String,
    topics: Vec<String>,
    /// Part of every group's name, so that two benches never share one.
    run: String,
}

impl Place {
    /// Starts the embedded broker in a scratch folder, or goes to the configured Kafka, and makes the topics.
    pub(super) fn prepare(config: &Config) -> Result<Self, Failure> {
        let scratch = tempfile::Builder::new().prefix("prescreen-bench-").tempdir()?;
        #[cfg(feature = "embedded")]
        let embedded = match config.broker.kind {
            BrokerKind::Embedded => {
                Some(crate::embedded::start_broker(scratch.path(), config.topics.partitions_embedded)?)
            }
            BrokerKind::Kafka => None,
        };
        #[cfg(feature = "embedded")]
        let address = embedded.as_ref().map(embedded_broker::Broker::bootstrap);
        #[cfg(not(feature = "embedded"))]
        let address: Option<String> = None;
        let (bootstrap, partitions, replication, broker) = match (config.broker.kind, address) {
            (BrokerKind::Kafka, _) => {
                let topics = &config.topics;
                (config.broker.bootstrap.clone(), topics.partitions, topics.replication, "kafka")
            }
            (BrokerKind::Embedded, Some(address)) => {
                (address, config.topics.partitions_embedded, 1, "embedded")
            }
            (BrokerKind::Embedded, None) => {
                return Err(Failure::usage("this build has no embedded broker; set broker.kind = \"kafka\""));
            }
        };
        let client = Client { bootstrap, properties: config.broker.properties.clone() };
        let cleanup = topics::Cleanup::Delete { retention: Some(RETENTION) };
        let names = [
            topics::of::<Acquired>(),
            topics::of::<Accepted>(),
            topics::of::<Extracted>(),
            topics::of::<Inferred>(),
            topics::of::<Report>(),
        ]
        .concat();
        let specs: Vec<_> = names
            .iter()
            .map(|name| topics::TopicSpec { name: name.clone(), partitions, replication, cleanup })
            .collect();
        topics::ensure(&client, &specs)?;
        Ok(Self {
            #[cfg(feature = "embedded")]
            embedded,
            scratch,
            client,
            partitions,
            broker: broker.to_owned(),
            topics: names,
            run: uuid::Uuid::new_v4().simple().to_string(),
        })
    }

    /// Removes the bench's topics from a shared broker; a scratch broker goes as a whole.
    pub(super) fn leave(self) -> Result<(), Failure> {
        #[cfg(feature = "embedded")]
        if self.embedded.is_some() {
            return Ok(());
        }
        let admin: AdminClient<DefaultClientContext> = self.librdkafka().create()?;
        let names: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        for deleted in runtime.block_on(admin.delete_topics(&names, &AdminOptions::new()))? {
            deleted.map_err(|(topic, error)| {
                Failure::from(format!("topic {topic} was not deleted: {error}; delete it by hand"))
            })?;
        }
        Ok(())
    }

    /// A folder for state that is measured with.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// librdkafka with its own defaults.
    pub(super) fn librdkafka(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.client.bootstrap);
        for (name, value) in &self.client.properties {
            config.set(name, value);
        }
        config
    }

    /// A consumer that belongs to no group's members.
    pub(super) fn observer(&self) -> Result<BaseConsumer, Failure> {
        Ok(self.librdkafka().set("group.id", format!("prescreen-bench.{}.observer", self.run)).create()?)
    }

    /// The end of each partition of `topic`: everything before it is acknowledged.
    pub(super) fn ends(&self, topic: &str) -> Result<Vec<i64>, Failure> {
        self.ends_by(&self.observer()?, topic)
    }

    /// The same, by an observer that is there already.
    pub(super) fn ends_by(&self, observer: &BaseConsumer, topic: &str) -> Result<Vec<i64>, Failure> {
        (0..self.partitions)
            .map(|partition| Ok(observer.fetch_watermarks(topic, partition as i32, ANSWER)?.1))
            .collect()
    }

    /// A new group that reads `topic` from `start`.
    pub(super) fn group(&self, purpose: &str, topic: &str, start: &[i64]) -> Result<String, Failure> {
        let group = format!("prescreen-bench.{}.{purpose}.{}", self.run, uuid::Uuid::new_v4().simple());
        let consumer: BaseConsumer = self.librdkafka().set("group.id", &group).create()?;
        consumer.commit(&positions(topic, start)?, CommitMode::Sync)?;
        Ok(group)
    }
}

/// Every partition of a topic at its offset of `offsets`.
pub(super) fn positions(topic: &str, offsets: &[i64]) -> Result<TopicPartitionList, Failure> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets.iter().enumerate() {
        list.add_partition_offset(topic, partition as i32, Offset::Offset(*offset))?;
    }
    Ok(list)
}
