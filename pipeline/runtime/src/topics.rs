//! Topics: what they are called, and making those that are missing.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
    time::Duration,
};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    error::{KafkaError, RDKafkaErrorCode},
};
use schemas::{Message, Priority, Topic};

use crate::client::{Client, ClientError, Logging};

const TIMEOUT: Duration = Duration::from_secs(30);

/// The topic of one lane.
pub fn lane(topic: &Topic, lane: Priority) -> String {
    match lane {
        Priority::Urgent => topic.urgent(),
        Priority::Routine => topic.name.to_owned(),
    }
}

/// Every topic that belongs to a message type: both lanes and the dead letters.
pub fn of<M: Message>() -> [String; 3] {
    [M::TOPIC.name.to_owned(), M::TOPIC.urgent(), M::TOPIC.dead_letters()]
}

/// What happens to old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Deleted by age; `None` keeps them for ever.
    Delete {
        /// How old they may get.
        retention: Option<Duration>,
    },
    /// Only the newest of each key is kept.
    Compact,
}

/// A topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name.
    pub name: String,
    /// Partitions.
    pub partitions: u32,
    /// Copies of each partition.
    pub replication: u16,
    /// What happens to old records.
    pub cleanup: Cleanup,
}

/// What [`ensure`] found or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// Made now.
    Created,
    /// There already; its settings were left alone.
    Existed,
}

/// Why topics could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The broker did not answer.
    #[error("broker did not answer the creation of {count} topics within {}s", TIMEOUT.as_secs())]
    Unanswered {
        /// How many were asked for.
        count: usize,
        /// Why.
        source: KafkaError,
    },
    /// The broker refused one.
    #[error("topic {topic} cannot be created")]
    Refused {
        /// Which.
        topic: String,
        /// Why.
        source: RDKafkaErrorCode,
    },
}

/// Makes the topics that are missing, and says of each what was done. Doing it again changes nothing.
pub fn ensure(client: &Client, topics: &[TopicSpec]) -> Result<Vec<Ensured>, TopicError> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let admin: AdminClient<Logging> =
        client.admin().create_with_context(Logging).map_err(client.error("admin client"))?;
    let retention: Vec<String> = topics
        .iter()
        .map(|topic| match topic.cleanup {
            Cleanup::Delete { retention: Some(retention) } => retention.as_millis().to_string(),
            Cleanup::Delete { retention: None } | Cleanup::Compact => "-1".to_owned(),
        })
        .collect();
    let wanted: Vec<NewTopic<'_>> = topics
        .iter()
        .zip(&retention)
        .map(|(topic, retention)| {
            let replication = TopicReplication::Fixed(i32::from(topic.replication));
            let policy = match topic.cleanup {
                Cleanup::Delete { .. } => "delete",
                Cleanup::Compact => "compact",
            };
            let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
            NewTopic::new(&topic.name, partitions, replication)
                .set("cleanup.policy", policy)
                .set("retention.ms", retention)
        })
        .collect();
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
    let results = block_on(admin.create_topics(&wanted, &options))
        .map_err(|source| TopicError::Unanswered { count: topics.len(), source })?;
    results
        .into_iter()
        .map(|result| match result {
            Ok(_) => Ok(Ensured::Created),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => Ok(Ensured::Existed),
            Err((topic, source)) => Err(TopicError::Refused { topic, source }),
        })
        .collect()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for one future: the admin client has no other interface, and a thread of its own completes it.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
