//! How the broker is reached, and the settings that the delivery guarantee rests on.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
};

/// The consumer leaves its group when it was not polled for so long. Polling never waits for work.
const MAX_POLL_INTERVAL: Duration = Duration::from_mins(2);
/// An output not acknowledged for so long is reported, and its record is done again.
const DELIVERY_TIMEOUT: Duration = Duration::from_mins(2);

/// A client could not be made from its settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kafka {kind} for {bootstrap} cannot be made; check the kafka properties")]
pub struct ClientError {
    /// What was to be made.
    pub kind: &'static str,
    /// The address given.
    pub bootstrap: String,
    /// What librdkafka says.
    pub source: KafkaError,
}

/// How to reach the broker.
#[derive(Clone, Default)]
pub struct Client {
    /// `host:port`, comma-separated.
    pub bootstrap: String,
    /// Further librdkafka properties: security, `client.id`, `group.instance.id`. They come last, so they win.
    pub properties: BTreeMap<String, String>,
}

impl std::fmt::Debug for Client {
    /// Properties may hold passwords: names only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.properties.keys().collect();
        f.debug_struct("Client").field("bootstrap", &self.bootstrap).field("properties", &names).finish()
    }
}

impl Client {
    /// A client of the broker at `bootstrap`, without further properties.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into(), properties: BTreeMap::new() }
    }

    fn config(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config.set("reconnect.backoff.max.ms", "2000");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }

    pub(crate) fn error(&self, kind: &'static str) -> impl FnOnce(KafkaError) -> ClientError {
        let bootstrap = self.bootstrap.clone();
        move |source| ClientError { kind, bootstrap, source }
    }

    pub(crate) fn admin(&self) -> ClientConfig {
        self.config(&[])
    }

    /// Acknowledged by all replicas, in order, once each. `timeout` bounds the wait for an acknowledgement.
    pub(crate) fn producer(&self, timeout: Option<Duration>) -> ClientConfig {
        self.config(&[
            ("acks", "all"),
            ("enable.idempotence", "true"),
            // As the Java client does, so that a study has the same partition whoever writes it.
            ("partitioner", "murmur2_random"),
            ("linger.ms", "2"),
            ("message.timeout.ms", &timeout.unwrap_or(DELIVERY_TIMEOUT).as_millis().to_string()),
            ("queue.buffering.max.kbytes", "65536"),
        ])
    }

    /// A member of `group`. Offsets are committed by hand, and a group without any begins at the start.
    pub(crate) fn consumer(&self, group: &str) -> ClientConfig {
        self.config(&[
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "earliest"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("max.poll.interval.ms", &MAX_POLL_INTERVAL.as_millis().to_string()),
            ("session.timeout.ms", "15000"),
            ("heartbeat.interval.ms", "1000"),
            // Little is fetched ahead: a pause throws it away, and an urgent record would queue behind it.
            ("queued.min.messages", "2000"),
            ("queued.max.messages.kbytes", "16384"),
            // The default of a second would make a fast stage wait each time that little was fetched.
            ("fetch.queue.backoff.ms", "5"),
            ("fetch.wait.max.ms", "100"),
            ("fetch.max.bytes", "16777216"),
            ("isolation.level", "read_committed"),
        ])
    }

    /// A reader of whole ranges that belongs to no group, commits nothing and is told where a partition ends.
    pub(crate) fn bounded_reader(&self) -> ClientConfig {
        self.config(&[
            ("group.id", "prescreen-reader"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
            ("fetch.wait.max.ms", "50"),
            ("queued.max.messages.kbytes", "16384"),
            ("isolation.level", "read_committed"),
        ])
    }

    /// A reader of chosen offsets that belongs to no group and commits nothing.
    pub(crate) fn reader(&self) -> ClientConfig {
        self.config(&[
            ("group.id", "prescreen-reader"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "earliest"),
            ("queued.min.messages", "1"),
            ("fetch.message.max.bytes", "65536"),
            ("fetch.wait.max.ms", "50"),
        ])
    }
}

/// Whether the client that met this error can never work again.
pub(crate) fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::Fenced))
}

/// librdkafka's own log lines: brokers and threads, no payload.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    use RDKafkaLogLevel as Level;
    match level {
        Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
            tracing::error!(target: "librdkafka", facility, message);
        }
        Level::Warning => tracing::warn!(target: "librdkafka", facility, message),
        Level::Notice | Level::Info => tracing::info!(target: "librdkafka", facility, message),
        Level::Debug => tracing::debug!(target: "librdkafka", facility, message),
    }
}

/// A client context that only logs.
pub(crate) struct Logging;

impl ClientContext for Logging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(target: "librdkafka", %error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Logging {}
