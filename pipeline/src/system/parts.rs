//! The parts that roles talk to: broker, database, blobs, decode workers, model.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use glm46v::{
    CacheUse, Checkpoint, ComputeInfo, Determinism, DeviceChoice, Engine, EngineOptions, Gigabytes, Names,
    WeightFormat,
};
use inference_metrics::{EngineMetrics, RemoteMetrics};
use prometheus::Registry;
use runtime::Client;
use services::{DecodePool, DecodePoolConfig, EngineBackend, ObjectBlobs, OpenAiBackend, OpenAiConfig};
use stage::ModelBackend;

#[cfg(feature = "embedded")]
use crate::embedded::{self, EmbeddedDatabase};
use crate::{
    carried_model::Carried,
    config::{BlobsKind, BrokerKind, Config, DatabaseKind, ModelKind, Secret, Weights},
    exit::Failure,
    memory,
    store::{self, Database},
    system::topics,
};

/// How to reach the parts, embedded or not.
pub(crate) struct Parts {
    pub(crate) client: Client,
    pub(crate) database: Database,
    #[cfg(feature = "embedded")]
    _embedded_database: Option<EmbeddedDatabase>,
    #[cfg(feature = "embedded")]
    _embedded_broker: Option<embedded_broker::Broker>,
}

impl Parts {
    /// Starts embedded parts and connects to the others.
    pub(crate) fn start(config: &Config, data_dir: &Path) -> Result<Self, Failure> {
        #[cfg(feature = "embedded")]
        let embedded_broker = match config.broker.kind {
            BrokerKind::Embedded => {
                Some(embedded::start_broker(data_dir, config.topics.partitions_embedded)?)
            }
            BrokerKind::Kafka => None,
        };
        #[cfg(feature = "embedded")]
        let embedded_database = match config.database.kind {
            DatabaseKind::Embedded => Some(EmbeddedDatabase::start(data_dir)?),
            DatabaseKind::Postgres => None,
        };
        #[cfg(not(feature = "embedded"))]
        if config.is_embedded() {
            return Err(Failure::usage(
                "this build has no embedded parts; set broker.kind and database.kind",
            ));
        }
        let bootstrap = match config.broker.kind {
            BrokerKind::Kafka => config.broker.bootstrap.clone(),
            #[cfg(feature = "embedded")]
            BrokerKind::Embedded => {
                embedded_broker.as_ref().map(embedded_broker::Broker::bootstrap).unwrap_or_default()
            }
            #[cfg(not(feature = "embedded"))]
            BrokerKind::Embedded => String::new(),
        };
        let url = match config.database.kind {
            DatabaseKind::Postgres => config.database.url.read().map_err(Failure::usage)?,
            #[cfg(feature = "embedded")]
            DatabaseKind::Embedded => {
                embedded_database.as_ref().map(|one| one.url().to_owned()).unwrap_or_default()
            }
            #[cfg(not(feature = "embedded"))]
            DatabaseKind::Embedded => String::new(),
        };
        let client = client(config, bootstrap)?;
        // The parser's own message may repeat a part of the password.
        let reach = url.parse().map_err(|_| {
            Failure::usage(
                "database.url is no PostgreSQL URL such as postgres://user:password@host:5432/name; signs like @ or / in the password are written %40, %2F",
            )
        })?;
        let database = Database::start(reach, config.database.statement_timeout.0)?;
        Ok(Self {
            client,
            database,
            #[cfg(feature = "embedded")]
            _embedded_database: embedded_database,
            #[cfg(feature = "embedded")]
            _embedded_broker: embedded_broker,
        })
    }
}

/// A client of the broker at `bootstrap`, with the properties of `config`.
pub(crate) fn client(config: &Config, bootstrap: String) -> Result<Client, Failure> {
    let mut properties = config.broker.properties.clone();
    for (name, secret) in &config.broker.secrets {
        properties.insert(name.clone(), secret.read().map_err(Failure::usage)?);
    }
    Ok(Client { bootstrap, properties })
}

/// The topics with their settings under `config`.
pub(crate) fn topic_specs(config: &Config) -> Vec<runtime::topics::TopicSpec> {
    let (partitions, replication) = match config.broker.kind {
        BrokerKind::Embedded => (config.topics.partitions_embedded, 1),
        BrokerKind::Kafka => (config.topics.partitions, config.topics.replication),
    };
    let topics = topics();
    let names = topics.iter().flat_map(|topic| [topic.name.to_owned(), topic.urgent(), topic.dead_letters()]);
    let control = runtime::topics::TopicSpec {
        name: schemas::CONTROL_TOPIC.to_owned(),
        // One order of what operators ask for.
        partitions: 1,
        replication,
        cleanup: runtime::topics::Cleanup::Compact,
    };
    names
        .map(|name| runtime::topics::TopicSpec {
            name,
            partitions,
            replication,
            cleanup: runtime::topics::Cleanup::Delete { retention: Some(config.topics.retention.0) },
        })
        .chain([control])
        .collect()
}

/// The blob store of `config`.
pub(crate) fn open_blobs(config: &Config, data_dir: &Path) -> Result<Arc<ObjectBlobs>, Failure> {
    match config.blobs.kind {
        BlobsKind::Folder => {
            let folder = match config.blobs.folder.as_str() {
                "" => data_dir.join("blobs"),
                folder => PathBuf::from(folder),
            };
            Ok(Arc::new(ObjectBlobs::folder(&folder)?))
        }
        #[cfg(feature = "s3")]
        BlobsKind::S3 => {
            let s3 = &config.blobs.s3;
            let bucket = services::S3Config {
                bucket: s3.bucket.clone(),
                region: s3.region.clone(),
                endpoint: Some(s3.endpoint.clone()).filter(|endpoint| !endpoint.is_empty()),
                access_key_id: s3.access_key.read().map_err(Failure::usage)?,
                secret_access_key: s3.secret_key.read().map_err(Failure::usage)?,
            };
            let cache = services::CacheConfig { folder: data_dir.join("blob-cache"), bytes: s3.cache.0 };
            Ok(Arc::new(ObjectBlobs::s3(&bucket, &cache)?))
        }
        #[cfg(not(feature = "s3"))]
        BlobsKind::S3 => {
            Err(Failure::usage("blobs.kind is s3, but this build lacks feature s3; build with --features s3"))
        }
    }
}

/// The stages' decode workers.
pub(crate) fn decode_pool(config: &Config, blobs: &Arc<ObjectBlobs>) -> Result<DecodePool, Failure> {
    decode_workers(config, blobs, config.decode.workers)
}

/// Decode workers: processes of this same binary, started when they are needed.
pub(crate) fn decode_workers(
    config: &Config,
    blobs: &Arc<ObjectBlobs>,
    workers: usize,
) -> Result<DecodePool, Failure> {
    let settings = DecodePoolConfig {
        program: std::env::current_exe()?,
        args: vec!["decode-worker".into()],
        workers,
        request_timeout: config.decode.timeout.0,
        memory_bytes: config.decode.memory.0,
    };
    Ok(DecodePool::new(blobs.clone(), settings))
}

/// The model of `config`, wherever it runs.
pub(crate) struct Model {
    pub(crate) backend: Arc<dyn ModelBackend>,
    /// Where the model is in this process. Dropped, it stops.
    pub(crate) engine: Option<Engine>,
}

impl Model {
    /// Loads the engine, or asks the server what it serves.
    pub(crate) fn start(config: &Config, data_dir: &Path) -> Result<Self, Failure> {
        Self::begin(config, data_dir, None)
    }

    /// The same, with what is asked of it counted on `registry`.
    pub(crate) fn counted(config: &Config, data_dir: &Path, registry: &Registry) -> Result<Self, Failure> {
        Self::begin(config, data_dir, Some(registry))
    }

    fn begin(config: &Config, data_dir: &Path, registry: Option<&Registry>) -> Result<Self, Failure> {
        match config.model.kind {
            ModelKind::Engine => {
                let (engine, name) = start_engine(config, data_dir)?;
                let mut backend = EngineBackend::new(engine.handle(), name);
                if let Some(registry) = registry {
                    backend = backend.with_metrics(EngineMetrics::register(registry, engine.handle())?);
                    watch_card(config, registry);
                }
                Ok(Self { backend: Arc::new(backend), engine: Some(engine) })
            }
            ModelKind::OpenAi => {
                let server = &config.model.openai;
                if server.url.is_empty() || server.model.is_empty() {
                    return Err(Failure::usage(
                        "model.kind is openai: set model.openai.url and model.openai.model",
                    ));
                }
                let mut backend = OpenAiBackend::connect(OpenAiConfig {
                    url: server.url.clone(),
                    model: server.model.clone(),
                    key: server.key.as_ref().map(Secret::read).transpose().map_err(Failure::usage)?,
                    request_timeout: server.request_timeout.0,
                    breaker_failures: server.breaker_failures,
                    breaker_pause: server.breaker_pause.0,
                    top_logprobs: server.top_logprobs,
                })?;
                if let Some(registry) = registry {
                    backend = backend.with_metrics(RemoteMetrics::register(registry)?);
                }
                Ok(Self { backend: Arc::new(backend), engine: None })
            }
        }
    }
}

/// Declares what the driver tells of the engine's card. A system that runs must not stop because nobody can watch it.
#[cfg(feature = "cuda")]
fn watch_card(config: &Config, registry: &Registry) {
    let DeviceChoice::Cuda(ordinal) = config.model.device.0 else { return };
    let Ok(ordinal) = u32::try_from(ordinal) else { return };
    if let Err(error) = inference_metrics::gpu::register(registry, ordinal) {
        let error = Failure::from(error).chain();
        tracing::warn!(%error, "no metrics of the card");
    }
}

#[cfg(not(feature = "cuda"))]
fn watch_card(_: &Config, _: &Registry) {}

/// The engine over the checkpoint of `config`, and what reports call it.
pub(crate) fn start_engine(config: &Config, data_dir: &Path) -> Result<(Engine, String), Failure> {
    let model = &config.model;
    let folder = match Carried::named(&model.path) {
        Some(carried) => carried.unpack(data_dir)?,
        None => PathBuf::from(&model.path),
    };
    let options = EngineOptions {
        queue: model.queue,
        running: model.running,
        step_rows: model.step_rows,
        kv_bytes: model.kv_memory.0,
        vision_cache_bytes: model.vision_cache.0,
        aging: model.aging.0,
        determinism: if model.deterministic { Determinism::Exact } else { Determinism::Fast },
        weights: match model.weights {
            Weights::Float => WeightFormat::Float,
            Weights::Q8_0 => WeightFormat::Q8_0,
            Weights::Q4K => WeightFormat::Q4K,
        },
        device: model.device.0,
        precision: None,
        // A card tells the engine itself what is free.
        memory_bytes: match model.device.0 {
            DeviceChoice::Cpu => memory::available(),
            DeviceChoice::Cuda(_) => None,
        },
    };
    let cache = match model.weight_cache.as_str() {
        "" => data_dir.join("weights"),
        path => PathBuf::from(path),
    };
    let mut checkpoint = Checkpoint::open(&folder)?.with_weight_cache(cache);
    let mut name = folder_name(&folder);
    if !model.adapter.is_empty() {
        let adapter = PathBuf::from(&model.adapter);
        checkpoint = checkpoint.with_adapter(&adapter)?;
        name = format!("{name}+{}", folder_name(&adapter));
    }
    let engine = Engine::start(checkpoint, options)?;
    announce(&engine.handle().info().compute);
    Ok((engine, name))
}

fn folder_name(folder: &Path) -> String {
    folder.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn announce(compute: &ComputeInfo) {
    let ComputeInfo { device, memory, available, kept_float, cache, .. } = compute;
    let there = available.map_or_else(String::new, |bytes| format!(", {device} has {}", Gigabytes(bytes)));
    tracing::info!(%device, dtype = compute.dtype(), "the model {memory}{there}");
    if !kept_float.is_empty() {
        let matrices = Names(kept_float.clone());
        tracing::info!(%matrices, "these matrices do not fit the weight format and stay floating point");
    }
    if let CacheUse::Replaced(why) = cache {
        tracing::warn!(%why, "the weight cache could not be used and was made again");
    }
}

/// Embedded tables are brought up to date by themselves; a site's database is migrated by its operator.
pub(crate) fn prepare_tables(config: &Config, database: &Database) -> Result<(), Failure> {
    match config.database.kind {
        DatabaseKind::Embedded => {
            store::migrate(database)?;
            Ok(())
        }
        DatabaseKind::Postgres => {
            let pending = store::pending(database)?;
            if pending.is_empty() {
                return Ok(());
            }
            Err(Failure::usage(format!(
                "the database lacks {}; run `prescreen migrate` first",
                pending.join(", ")
            )))
        }
    }
}
