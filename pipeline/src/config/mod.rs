//! What an operator may set: raw layers first ([`layers`]), then types that cannot be wrong.
//!
//! Every default stands in `config/default.toml` and nowhere else; an unknown key is an error.

mod layers;
pub(crate) mod promoted;
mod values;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use replay::margins::Margins;

use serde::Deserialize;
use toml::Table;

pub(crate) use layers::{LayerError, Layers};
pub(crate) use values::{Device, Secret, Size, Span};

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) broker: Broker,
    pub(crate) topics: Topics,
    pub(crate) database: Database,
    pub(crate) blobs: Blobs,
    pub(crate) intake: Intake,
    pub(crate) decode: Decode,
    pub(crate) model: Model,
    pub(crate) model_server: ModelServer,
    pub(crate) runtime: Runtime,
    pub(crate) console: Console,
    pub(crate) truth: Truth,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) trace: Trace,
    pub(crate) log: Log,
    pub(crate) replay: Replay,
    /// One table for each stage, handed to it unread.
    pub(crate) stages: BTreeMap<String, Table>,
    #[serde(skip)]
    origin: Origin,
}

/// How a configuration came about; no part of it, and never printed: an environment may hold anything.
#[derive(Clone, Default)]
struct Origin {
    layers: Layers,
    table: Table,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// Which implementation of a part is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BrokerKind {
    Embedded,
    Kafka,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Broker {
    pub(crate) kind: BrokerKind,
    pub(crate) bootstrap: String,
    pub(crate) properties: BTreeMap<String, String>,
    /// Properties whose values are secrets, such as `sasl.password`.
    pub(crate) secrets: BTreeMap<String, Secret>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Topics {
    pub(crate) partitions: u32,
    pub(crate) partitions_embedded: u32,
    pub(crate) replication: u16,
    pub(crate) retention: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DatabaseKind {
    Embedded,
    Postgres,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    pub(crate) kind: DatabaseKind,
    pub(crate) url: Secret,
    pub(crate) statement_timeout: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BlobsKind {
    Folder,
    S3,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Blobs {
    pub(crate) kind: BlobsKind,
    pub(crate) folder: String,
    pub(crate) s3: S3,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "s3"), expect(dead_code, reason = "checked in every build, used with feature s3"))]
pub(crate) struct S3 {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) bucket: String,
    pub(crate) allow_http: bool,
    pub(crate) access_key: Secret,
    pub(crate) secret_key: Secret,
    pub(crate) cache: Size,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Intake {
    pub(crate) listen: SocketAddr,
    pub(crate) ae_title: String,
    pub(crate) peers: Vec<Peer>,
    pub(crate) associations: usize,
    pub(crate) idle_timeout: Span,
    pub(crate) max_object: Size,
    pub(crate) min_free: Size,
    pub(crate) quiet_time: Span,
    pub(crate) hard_cap: Span,
    pub(crate) arrival_gates: usize,
    pub(crate) arrival_queue: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    pub(crate) ae_title: String,
    #[serde(default)]
    pub(crate) address: Option<std::net::IpAddr>,
    #[serde(default)]
    pub(crate) urgent: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decode {
    pub(crate) workers: usize,
    pub(crate) memory: Size,
    pub(crate) timeout: Span,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Model {
    pub(crate) kind: ModelKind,
    /// A folder, or the name of a checkpoint that the binary carries; empty: the one trained on phantoms.
    pub(crate) path: String,
    /// Empty: none.
    pub(crate) adapter: String,
    pub(crate) weights: Weights,
    /// Empty: `weights` in the data directory.
    pub(crate) weight_cache: String,
    pub(crate) device: Device,
    pub(crate) queue: usize,
    pub(crate) running: usize,
    pub(crate) step_rows: usize,
    pub(crate) kv_memory: Size,
    pub(crate) vision_cache: Size,
    pub(crate) aging: Span,
    pub(crate) deterministic: bool,
    pub(crate) openai: OpenAi,
}

/// How the engine holds its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Weights {
    #[serde(rename = "float")]
    Float,
    #[serde(rename = "q8_0")]
    Q8_0,
    #[serde(rename = "q4k")]
    Q4K,
}

/// Where the model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ModelKind {
    Engine,
    OpenAi,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenAi {
    pub(crate) url: String,
    pub(crate) model: String,
    #[serde(default)]
    pub(crate) key: Option<Secret>,
    pub(crate) request_timeout: Span,
    pub(crate) breaker_failures: u32,
    pub(crate) breaker_pause: Span,
    pub(crate) top_logprobs: u32,
}

/// `serve-model`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelServer {
    pub(crate) listen: SocketAddr,
    pub(crate) name: String,
    pub(crate) keys: Vec<Secret>,
    pub(crate) max_body: Size,
    pub(crate) max_pixels: u64,
    pub(crate) default_tokens: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Runtime {
    pub(crate) workers: BTreeMap<String, usize>,
    pub(crate) in_flight: usize,
    pub(crate) record_attempts: u32,
    pub(crate) backoff_first: Span,
    pub(crate) backoff_most: Span,
    pub(crate) drain_deadline: Span,
    pub(crate) position_stall: Span,
    pub(crate) memo: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Console {
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Truth {
    pub(crate) deadline: Span,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heartbeat {
    /// Zero: none.
    pub(crate) every: Span,
}

impl Heartbeat {
    /// From one beat to the next, if there are any.
    pub(crate) fn interval(&self) -> Option<Duration> {
        Some(self.every.0).filter(|every| !every.is_zero())
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trace {
    /// Base URL of an OTLP receiver over HTTP; empty: none.
    pub(crate) otlp: String,
}

/// How a replay makes way for the live system, and by what it is judged.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replay {
    pub(crate) live_oldest_age: Span,
    pub(crate) give_up_after: Span,
    pub(crate) margins: Margins,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

/// Why the configuration cannot be used. Each variant names the key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A layer cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A key is unknown, missing or of the wrong type.
    #[error("configuration is not valid: {0}")]
    Shape(String),
    /// A value contradicts another.
    #[error("{key}: {problem}")]
    Contradiction {
        /// The key.
        key: &'static str,
        /// What is wrong and how to mend it.
        problem: String,
    },
}

impl Config {
    /// Reads and checks all layers.
    pub(crate) fn load(layers: &Layers) -> Result<Self, ConfigError> {
        Self::of(layers.clone(), layers.merge()?)
    }

    /// The same with what was promoted in the data directory, which the layers name.
    pub(crate) fn in_effect(mut layers: Layers) -> Result<Self, ConfigError> {
        let config = Self::load(&layers)?;
        layers.promoted = promoted::read(&config.data_dir)?;
        if layers.promoted.is_none() { Ok(config) } else { Self::load(&layers) }
    }

    /// What would be in effect if `overlay` were what was promoted.
    pub(crate) fn if_promoted(&self, overlay: Table) -> Result<Self, ConfigError> {
        Self::load(&Layers { promoted: Some(overlay), ..self.origin.layers.clone() })
    }

    /// This configuration with `overlay` on top of it.
    pub(crate) fn with(&self, overlay: Table) -> Result<Self, ConfigError> {
        Self::of(self.origin.layers.clone(), promoted::merged(self.origin.table.clone(), overlay))
    }

    /// The tables that may decide an answer.
    pub(crate) fn judged(&self) -> Table {
        promoted::judged(&self.origin.table)
    }

    fn of(layers: Layers, table: Table) -> Result<Self, ConfigError> {
        let mut config: Self = table
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError::Shape(error.to_string()))?;
        config.check()?;
        config.origin = Origin { layers, table };
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, problem: &str| Err(ConfigError::Contradiction { key, problem: problem.to_owned() });
        if self.broker.kind == BrokerKind::Kafka && self.broker.bootstrap.is_empty() {
            return wrong("broker.bootstrap", "is empty; name at least one broker as host:port");
        }
        if let Some(name) = self.broker.properties.keys().find(|name| is_secret(name)) {
            return wrong("broker.properties", &format!("holds {name} in clear; give it in broker.secrets"));
        }
        if self.blobs.kind == BlobsKind::S3 && self.blobs.s3.bucket.is_empty() {
            return wrong("blobs.s3.bucket", "is empty; name the bucket");
        }
        if self.topics.partitions == 0 || self.topics.partitions_embedded == 0 {
            return wrong("topics.partitions", "is 0; a topic has at least one partition");
        }
        if self.intake.ae_title.is_empty()
            || self.intake.ae_title.len() > 16
            || !self.intake.ae_title.is_ascii()
        {
            return wrong("intake.ae_title", "is not 1 to 16 ASCII characters (DICOM PS3.8)");
        }
        if !self.console.listen.ip().is_loopback() {
            return wrong(
                "console.listen",
                "is not a loopback address; the console has no accounts yet, put a proxy with authentication before it",
            );
        }
        for (key, number) in [
            ("decode.workers", self.decode.workers),
            ("runtime.in_flight", self.runtime.in_flight),
            ("runtime.record_attempts", self.runtime.record_attempts as usize),
            ("model.queue", self.model.queue),
            ("intake.associations", self.intake.associations),
            ("intake.arrival_queue", self.intake.arrival_queue),
        ] {
            if number == 0 {
                return wrong(key, "is 0; nothing would ever be done");
            }
        }
        if let Err(error) = self.replay.margins.check() {
            return wrong("replay.margins", &error.to_string());
        }
        if self.heartbeat.interval().is_some_and(|every| every < Duration::from_secs(1)) {
            return wrong("heartbeat.every", "is shorter than 1s; \"0s\" is none");
        }
        if !self.trace.otlp.is_empty() && !self.trace.otlp.starts_with("http://") {
            return wrong(
                "trace.otlp",
                "is no http:// URL; let a collector on this machine or network take the spans, and send them on by TLS",
            );
        }
        let day = Duration::from_hours(24);
        for (key, Span(span)) in [
            // PostgreSQL takes 0 for "no limit".
            ("database.statement_timeout", self.database.statement_timeout),
            ("runtime.backoff_first", self.runtime.backoff_first),
            ("runtime.backoff_most", self.runtime.backoff_most),
        ] {
            if !(Duration::from_millis(1)..=day).contains(&span) {
                return wrong(key, "is not between 1ms and 1day");
            }
        }
        if self.truth.deadline.0 > 365 * day {
            return wrong("truth.deadline", "is longer than 365days");
        }
        Ok(())
    }

    /// Whether any part runs inside this process.
    pub(crate) fn is_embedded(&self) -> bool {
        self.broker.kind == BrokerKind::Embedded || self.database.kind == DatabaseKind::Embedded
    }

    /// The effective configuration for the log. Secrets are references only ([`Config::check`]), so nothing needs hiding.
    pub(crate) fn redacted(&self) -> String {
        format!("{self:?}")
    }
}

/// Properties of librdkafka that hold a password or a key.
fn is_secret(property: &str) -> bool {
    ["password", "secret", "key.pem", "oauthbearer.config"].iter().any(|part| property.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(assignments: &[&str]) -> Result<Config, ConfigError> {
        let assignments = assignments.iter().map(|text| (*text).to_owned()).collect();
        Config::load(&Layers { assignments, ..Layers::default() })
    }

    #[test]
    fn the_built_in_defaults_are_valid() {
        let config = load(&[]).expect("defaults");
        assert!(config.is_embedded());
    }

    #[test]
    fn the_margins_are_those_that_come_with_their_reasons() {
        let standard: Margins = toml::from_str(replay::margins::STANDARD).expect("margins");
        assert_eq!(load(&[]).expect("defaults").replay.margins, standard);
        let error = load(&["replay.margins.alpha=0.9"]).expect_err("an alpha of 0.9").to_string();
        assert!(error.contains("replay.margins.alpha is 0.9"), "{error}");
    }

    #[test]
    fn what_was_promoted_lies_between_the_defaults_and_the_operators_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = format!("data_dir={:?}", folder.path());
        let site = folder.path().join("site.toml");
        std::fs::write(&site, "[stages.keyframes]\nmax_beats = 4").expect("written");
        let layers = || Layers {
            files: vec![site.clone()],
            assignments: vec![data_dir.clone(), "model.queue=3".to_owned()],
            ..Layers::default()
        };
        let judged = |layers| Config::in_effect(layers).expect("a configuration").judged();
        let before = judged(layers());
        let write = |text: &str| std::fs::write(promoted::path(folder.path()), text).expect("written");
        write("[stages.keyframes]\nmax_frames = 99\nmax_beats = 2\n[model]\nqueue = 7");
        let after = judged(layers());
        assert_eq!(
            promoted::differences(&before, &after),
            ["stages.keyframes.max_frames"],
            "the site's own word stands"
        );

        write("[broker]\nkind = \"kafka\"");
        let error = Config::in_effect(layers()).expect_err("a broker").to_string();
        assert!(error.contains("broker") && error.contains("current.toml"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let error = load(&["console.lisen=127.0.0.1:1"]).expect_err("a typo");
        assert!(error.to_string().contains("lisen"), "{error}");
    }

    #[test]
    fn a_literal_secret_is_refused() {
        for literal in [
            "database.url=postgres://user:hunter2@host/db",
            "broker.properties={ \"sasl.password\" = \"hunter2\" }",
        ] {
            let error = load(&[literal]).expect_err("a literal");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert!(load(&["database.url={ env = \"DATABASE_URL\" }"]).is_ok());
    }

    #[test]
    fn contradictions_are_found_before_anything_starts() {
        for wrong in [
            "broker.kind=\"kafka\"",
            "console.listen=0.0.0.0:80",
            "decode.workers=0",
            "topics.partitions=0",
            "runtime.in_flight=0",
            "heartbeat.every=\"100ms\"",
            "trace.otlp=\"https://127.0.0.1:4318\"",
            "database.statement_timeout=\"0s\"",
            "truth.deadline=\"1000years\"",
        ] {
            assert!(matches!(load(&[wrong]), Err(ConfigError::Contradiction { .. })), "{wrong}");
        }
    }
}
