//! Everything that runs in one process, started in order and stopped in reverse.
//!
//! ```text
//!   start:  data directory ▶ broker ▶ topics ▶ database, tables ▶ blobs, decode workers ▶ model ▶ roles ▶ API
//!   stop:   API and DICOM port ▶ publisher ▶ stages and store (drain, deadline) ▶ database ▶ broker
//! ```
//!
//! Invariants:
//! - Each role is one named thread that reports how it ended; a role that fails stops the process with an exit code.
//! - Embedded parts outlive every role that talks to them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use console::{Console, Token};
use crossbeam_channel::{Receiver, Sender, bounded};
use glm46v::{Checkpoint, Engine, EngineOptions};
use intake::{Backoff, CompletionTimes, Intake, IntakeConfig, IntakeMetrics, Publisher, scp};
use jiff::Timestamp;
use prometheus::Registry;
use runtime::{
    Client, DeadLetters, Exit, InFlight, Input, LogKey, Memo, Metrics, RetryPolicy, Run, RunSettings, Shutdown, SinkRun,
    Solitude, StageRun, inputs_of, run_sink, run_stage,
};
use schemas::{
    FindingsInferred, KeyframesExtracted, Message, Priority, ReportIssued, RunId, StudyAccepted, StudyAcquired,
    StudyRejected, Topic,
};
use services::{DecodePool, DecodePoolConfig, EngineBackend, ObjectBlobs};
use stage::{Services, Stage, Visitor};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    announce::LiveAnnounce,
    backlog::Backlog,
    build_info,
    cli::Role,
    config::{BlobsKind, BrokerKind, Config, DatabaseKind},
    data_dir::{ApiEntry, DataDir},
    exit::Failure,
    prompts,
    site::LiveSite,
    store::{self, Database, StoreMetrics, StoreWriter},
    untrained,
};
#[cfg(feature = "embedded")]
use crate::embedded::{self, EmbeddedDatabase};

/// Every topic of the data's way.
pub(crate) const TOPICS: [Topic; 6] = [
    StudyAcquired::TOPIC,
    StudyAccepted::TOPIC,
    StudyRejected::TOPIC,
    KeyframesExtracted::TOPIC,
    FindingsInferred::TOPIC,
    ReportIssued::TOPIC,
];

/// The store's name as a consumer: metric label and part of its group.
const STORE: &str = "store";

/// The consumer group of a stage or sink.
pub(crate) fn group(name: &str) -> String {
    format!("prescreen.{name}")
}

/// How a role ended.
struct Ended {
    role: &'static str,
    exit: Exit,
}

/// A running system.
pub(crate) struct System {
    shutdown: Shutdown,
    ended: Receiver<Ended>,
    runs: Vec<(&'static str, thread::JoinHandle<()>)>,
    edge: Option<Edge>,
    pub(crate) intake: Option<Intake>,
    pub(crate) database: Database,
    pub(crate) console: Option<SocketAddr>,
    pub(crate) dicom: Option<SocketAddr>,
    backlog: Option<Backlog>,
    drain_deadline: Duration,
    // Dropped in this order, after everything above.
    _engine: Option<Engine>,
    #[cfg(feature = "embedded")]
    _embedded_database: Option<EmbeddedDatabase>,
    #[cfg(feature = "embedded")]
    _embedded_broker: Option<embedded_broker::Broker>,
    _data_dir: DataDir,
}

/// What talks to the outside: DICOM port, API, publisher; on one asynchronous runtime and one thread.
struct Edge {
    runtime: tokio::runtime::Runtime,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    publisher: Option<(Sender<()>, thread::JoinHandle<()>)>,
}

/// How to reach the parts, embedded or not.
pub(crate) struct Parts {
    pub(crate) client: Client,
    pub(crate) database: Database,
    #[cfg(feature = "embedded")]
    embedded_database: Option<EmbeddedDatabase>,
    #[cfg(feature = "embedded")]
    embedded_broker: Option<embedded_broker::Broker>,
}

impl Parts {
    /// Starts embedded parts and connects to the others.
    pub(crate) fn start(config: &Config, data_dir: &Path) -> Result<Self, Failure> {
        #[cfg(feature = "embedded")]
        let embedded_broker = match config.broker.kind {
            BrokerKind::Embedded => Some(embedded::start_broker(data_dir, config.topics.partitions_embedded)?),
            BrokerKind::Kafka => None,
        };
        #[cfg(feature = "embedded")]
        let embedded_database = match config.database.kind {
            DatabaseKind::Embedded => Some(EmbeddedDatabase::start(data_dir)?),
            DatabaseKind::Postgres => None,
        };
        #[cfg(not(feature = "embedded"))]
        if config.is_embedded() {
            return Err(Failure::usage("this build has no embedded parts; set broker.kind and database.kind"));
        }
        let bootstrap = match config.broker.kind {
            BrokerKind::Kafka => config.broker.bootstrap.clone(),
            #[cfg(feature = "embedded")]
            BrokerKind::Embedded => embedded_broker.as_ref().map(embedded_broker::Broker::bootstrap).unwrap_or_default(),
            #[cfg(not(feature = "embedded"))]
            BrokerKind::Embedded => String::new(),
        };
        let url = match config.database.kind {
            DatabaseKind::Postgres => config.database.url.read().map_err(Failure::usage)?,
            #[cfg(feature = "embedded")]
            DatabaseKind::Embedded => embedded_database.as_ref().map(|one| one.url().to_owned()).unwrap_or_default(),
            #[cfg(not(feature = "embedded"))]
            DatabaseKind::Embedded => String::new(),
        };
        let client = Client { bootstrap, properties: config.broker.properties.clone() };
        let database = Database::start(url, config.database.statement_timeout.0)?;
        Ok(Self {
            client,
            database,
            #[cfg(feature = "embedded")]
            embedded_database,
            #[cfg(feature = "embedded")]
            embedded_broker,
        })
    }
}

/// The topics with their settings under `config`.
pub(crate) fn topic_specs(config: &Config) -> Vec<runtime::topics::TopicSpec> {
    let (partitions, replication) = match config.broker.kind {
        BrokerKind::Embedded => (config.topics.partitions_embedded, 1),
        BrokerKind::Kafka => (config.topics.partitions, config.topics.replication),
    };
    let names = TOPICS.iter().flat_map(|topic| [topic.name.to_owned(), topic.urgent(), topic.dead_letters()]);
    names
        .map(|name| runtime::topics::TopicSpec {
            name,
            partitions,
            replication,
            cleanup: runtime::topics::Cleanup::Delete { retention: Some(config.topics.retention.0) },
        })
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
        BlobsKind::S3 => Err(Failure::usage("blobs.kind is s3, but this build lacks feature s3; build with --features s3")),
    }
}

/// The decode workers: processes of this same binary.
pub(crate) fn decode_pool(config: &Config, blobs: &Arc<ObjectBlobs>) -> Result<DecodePool, Failure> {
    let settings = DecodePoolConfig {
        program: std::env::current_exe()?,
        args: vec!["decode-worker".into()],
        workers: config.decode.workers,
        request_timeout: config.decode.timeout.0,
        address_space_bytes: config.decode.memory.0,
    };
    Ok(DecodePool::new(blobs.clone(), settings))
}

/// The model of `config` and the engine that owns it.
pub(crate) fn start_engine(config: &Config, data_dir: &Path) -> Result<(Engine, EngineBackend), Failure> {
    let folder = match config.model.path.as_str() {
        "" => untrained::unpack(data_dir)?,
        path => PathBuf::from(path),
    };
    let engine = Engine::start(Checkpoint::open(&folder)?, EngineOptions { queue: config.model.queue })?;
    let name = folder.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
    let backend = EngineBackend::new(engine.handle(), name);
    Ok((engine, backend))
}

/// Reads the table of `S`. The tables that no stage takes stay in `tables`.
pub(crate) fn stage_config<S: Stage>(
    tables: &mut std::collections::BTreeMap<String, toml::Table>,
) -> Result<impl Fn() -> Result<S::Config, toml::de::Error> + use<S>, Failure> {
    let mut table = tables.remove(S::NAME).unwrap_or_default();
    prompts::resolve(&mut table).map_err(Failure::usage)?;
    let make = move || table.clone().try_into::<S::Config>();
    make().map_err(|error| Failure::usage(format!("[stages.{}]: {error}", S::NAME)))?;
    Ok(make)
}

impl System {
    /// Starts `roles`. Returns once every part answers and the ports are open.
    pub(crate) fn start(config: &Config, roles: &[Role]) -> Result<Self, Failure> {
        if config.is_embedded() && roles.len() < ALL_ROLES.len() {
            return Err(Failure::usage(
                "--only needs a broker and a database that other processes can reach; set broker.kind = \"kafka\" and database.kind = \"postgres\"",
            ));
        }
        let data_dir = DataDir::take(&config.data_dir)?;
        let root = data_dir.path().to_owned();
        let parts = Parts::start(config, &root)?;
        runtime::topics::ensure(&parts.client, &topic_specs(config))?;
        prepare_tables(config, &parts.database)?;

        let registry = Registry::new();
        build_info::register(&registry)?;
        let metrics = Metrics::register(&registry)?;
        let shutdown = Shutdown::new();
        let (report, ended) = bounded(16);
        let blobs = open_blobs(config, &root)?;
        let token = uuid::Uuid::new_v4().simple().to_string() + &uuid::Uuid::new_v4().simple().to_string();
        let shared = Shared {
            config: config.clone(),
            client: parts.client.clone(),
            blobs: blobs.clone(),
            metrics,
            // A new key for each start: hashes in logs lead from line to line, never back to a study.
            log_key: LogKey::new(uuid::Uuid::new_v4().as_bytes()),
            shutdown: shutdown.clone(),
            solitude: Solitude::default(),
            state_dir: root.join("runtime"),
        };

        let mut runs = Vec::new();
        let mut engine = None;
        let stage_roles: Vec<&str> = roles.iter().filter_map(|role| stage_name(*role)).collect();
        let mut tables = config.stages.clone();
        if stage_roles.is_empty() {
            CheckStages::check(&mut tables)?;
        } else {
            let (started, backend) = start_engine(config, &root)?;
            engine = Some(started);
            let mut starter = StartStages {
                shared: &shared,
                tables: &mut tables,
                wanted: &stage_roles,
                services: Services { model: Arc::new(backend) },
                frames: Arc::new(decode_pool(config, &blobs)?),
                report: report.clone(),
                runs: &mut runs,
                failed: None,
            };
            stages::visit(&mut starter);
            if let Some(failure) = starter.failed {
                return Err(failure);
            }
        }
        if let Some(unknown) = tables.keys().next() {
            return Err(Failure::usage(format!("[stages.{unknown}] belongs to no stage; remove it or mend its name")));
        }
        if roles.contains(&Role::Store) {
            runs.push(start_store(&shared, &parts.database, StoreMetrics::register(&registry)?, report)?);
        }

        let mut system = Self {
            shutdown,
            ended,
            runs,
            edge: None,
            intake: None,
            database: parts.database.clone(),
            console: None,
            dicom: None,
            backlog: None,
            drain_deadline: config.runtime.drain_deadline.0,
            _engine: engine,
            #[cfg(feature = "embedded")]
            _embedded_database: parts.embedded_database,
            #[cfg(feature = "embedded")]
            _embedded_broker: parts.embedded_broker,
            _data_dir: data_dir,
        };
        system.start_edge(&shared, roles, &registry, token)?;
        Ok(system)
    }

    /// Opens the ports: DICOM, console. Last, so that nothing comes in before it can be kept.
    fn start_edge(&mut self, shared: &Shared, roles: &[Role], registry: &Registry, token: String) -> Result<(), Failure> {
        let config = &shared.config;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("edge")
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let mut edge = Edge { runtime, stop, tasks: Vec::new(), publisher: None };
        if roles.contains(&Role::Intake) {
            let (intake, publisher) = self.start_intake(shared, registry)?;
            edge.publisher = Some(publisher);
            let listener = edge.runtime.block_on(TcpListener::bind(config.intake.listen)).map_err(|error| {
                Failure::from(format!("cannot listen on {} for DICOM (intake.listen): {error}", config.intake.listen))
            })?;
            self.dicom = Some(listener.local_addr()?);
            let serving = scp::serve(listener, scp_config(config), intake.clone(), stopped.clone());
            edge.tasks.push(edge.runtime.spawn(serving));
            self.intake = Some(intake);
        }
        if roles.contains(&Role::Console) {
            let backlog = Backlog::start(&shared.client, shared.metrics.clone(), registry.clone())?;
            let uploads = self._data_dir.path().join("uploads");
            std::fs::create_dir_all(&uploads)?;
            let site = LiveSite {
                database: self.database.clone(),
                intake: self.intake.clone(),
                blobs: shared.blobs.clone(),
                registry: registry.clone(),
                backlog: backlog.latest(),
                deadline: config.truth.deadline.0,
            };
            let token_text = token.clone();
            let token = Token::new(&token).ok_or("the API token is too short")?;
            let console = edge.runtime.block_on(Console::bind(config.console.listen, Arc::new(site), token, uploads))?;
            let address = console.address()?;
            self.console = Some(address);
            let pid = std::process::id();
            self._data_dir.announce(&ApiEntry { pid, url: format!("http://{address}"), token: token_text })?;
            edge.tasks.push(edge.runtime.spawn(async move {
                if let Err(error) = console.serve(stopped).await {
                    tracing::error!(%error, "console ended");
                }
            }));
            self.backlog = Some(backlog);
        }
        self.edge = Some(edge);
        Ok(())
    }

    fn start_intake(
        &self,
        shared: &Shared,
        registry: &Registry,
    ) -> Result<(Intake, (Sender<()>, thread::JoinHandle<()>)), Failure> {
        let config = &shared.config.intake;
        let intake_config = IntakeConfig {
            directory: self._data_dir.path().join("spool"),
            min_free: config.min_free.0,
            max_object: config.max_object.0,
            completion: CompletionTimes { quiet: config.quiet_time.0, cap: config.hard_cap.0 },
            remember: shared.config.topics.retention.0,
        };
        let (intake, _owner) = Intake::start(intake_config, IntakeMetrics::new(registry)?, Timestamp::now())?;
        let publisher = Publisher {
            intake: intake.clone(),
            announce: LiveAnnounce::new(shared.client.clone(), self.database.clone()),
            blobs: shared.blobs.clone(),
            run: RunId::live(),
            backoff: Backoff {
                first: shared.config.runtime.backoff_first.0,
                longest: shared.config.runtime.backoff_most.0,
            },
        };
        let (stop, stopped) = bounded(1);
        Ok((intake, (stop, publisher.start(stopped)?)))
    }

    /// Waits until a role ends by itself or `interrupts` says so; then drains. A second interrupt aborts.
    ///
    /// # Errors
    /// How the first role failed.
    pub(crate) fn wait(mut self, interrupts: &Receiver<()>) -> Result<(), Failure> {
        let first = crossbeam_channel::select! {
            recv(self.ended) -> ended => ended.ok(),
            recv(interrupts) -> _ => None,
        };
        self.stop(Some(interrupts));
        match first {
            Some(Ended { role, exit }) => Err(failure_of(role, exit)),
            None => Ok(()),
        }
    }

    /// Drains and stops everything, in reverse order.
    pub(crate) fn shut_down(mut self) {
        self.stop(None);
    }

    fn stop(&mut self, interrupts: Option<&Receiver<()>>) {
        tracing::info!("draining");
        if let Some(mut edge) = self.edge.take() {
            // Nobody is left to receive only when both ports have ended already.
            let _ = edge.stop.send(true);
            let tasks = std::mem::take(&mut edge.tasks);
            edge.runtime.block_on(async {
                for task in tasks {
                    let _ = tokio::time::timeout(Duration::from_secs(15), task).await;
                }
            });
            if let Some((stop, publisher)) = edge.publisher.take() {
                drop(stop);
                if publisher.join().is_err() {
                    tracing::error!("publisher panicked");
                }
            }
            edge.runtime.shutdown_timeout(Duration::from_secs(1));
        }
        self.backlog = None;
        self.shutdown.drain();
        let deadline = std::time::Instant::now() + self.drain_deadline + Duration::from_secs(5);
        for (role, run) in self.runs.drain(..) {
            while !run.is_finished() {
                if interrupts.is_some_and(|interrupts| interrupts.try_recv().is_ok()) || std::time::Instant::now() > deadline {
                    tracing::warn!(role, "aborting; what is not finished is done again at the next start");
                    self.shutdown.abort();
                }
                thread::sleep(Duration::from_millis(10));
            }
            if run.join().is_err() {
                tracing::error!(role, "role panicked");
            }
        }
        tracing::info!("stopped");
    }
}

fn failure_of(role: &str, exit: Exit) -> Failure {
    match exit {
        Exit::Fatal { source, .. } => Failure::from(format!("{role} cannot go on: {}", Failure::from(source).chain())),
        other => Failure::from(format!("{role} ended: {other}")),
    }
}

/// Every role, in the order of the data's way.
pub(crate) const ALL_ROLES: [Role; 7] = [
    Role::Intake,
    Role::QualityGate,
    Role::Keyframes,
    Role::Inference,
    Role::Reporting,
    Role::Store,
    Role::Console,
];

/// The stage that a role runs.
fn stage_name(role: Role) -> Option<&'static str> {
    match role {
        Role::QualityGate => Some("quality_gate"),
        Role::Keyframes => Some("keyframes"),
        Role::Inference => Some("inference"),
        Role::Reporting => Some("reporting"),
        Role::Intake | Role::Store | Role::Console => None,
    }
}

/// What every role needs.
struct Shared {
    config: Config,
    client: Client,
    blobs: Arc<ObjectBlobs>,
    metrics: Metrics,
    log_key: LogKey,
    shutdown: Shutdown,
    solitude: Solitude,
    state_dir: PathBuf,
}

impl Shared {
    fn run(&self, name: &str) -> Run {
        let options = &self.config.runtime;
        let settings = RunSettings {
            workers: options.workers.get(name).copied().unwrap_or(1),
            in_flight: InFlight { records: options.in_flight, ..InFlight::default() },
            retry: RetryPolicy {
                first: options.backoff_first.0,
                longest: options.backoff_most.0,
                record_budget: options.record_attempts,
            },
            memo: if options.memo { Memo::On } else { Memo::Off },
            drain_deadline: options.drain_deadline.0,
            position_stall: options.position_stall.0,
            ..RunSettings::new(&self.state_dir)
        };
        Run {
            client: self.client.clone(),
            group: group(name),
            blobs: self.blobs.clone(),
            settings,
            metrics: self.metrics.clone(),
            log_key: self.log_key.clone(),
            shutdown: self.shutdown.clone(),
            solitude: self.solitude.clone(),
        }
    }
}

/// Starts the wanted stages of the catalogue, each on a thread of its own.
struct StartStages<'a> {
    shared: &'a Shared,
    tables: &'a mut std::collections::BTreeMap<String, toml::Table>,
    wanted: &'a [&'a str],
    services: Services,
    frames: Arc<dyn stage::Frames>,
    report: Sender<Ended>,
    runs: &'a mut Vec<(&'static str, thread::JoinHandle<()>)>,
    failed: Option<Failure>,
}

impl Visitor for StartStages<'_> {
    fn stage<S: Stage>(&mut self) {
        if self.failed.is_none()
            && let Err(failure) = self.start::<S>()
        {
            self.failed = Some(failure);
        }
    }
}

impl StartStages<'_> {
    fn start<S: Stage>(&mut self) -> Result<(), Failure> {
        let make = stage_config::<S>(self.tables)?;
        if !self.wanted.contains(&S::NAME) {
            return Ok(());
        }
        S::build(make().map_err(Failure::usage)?, &self.services)
            .map_err(|error| Failure::usage(format!("stages.{}.{error}", S::NAME)))?;
        #[expect(clippy::expect_used, reason = "the same table was read right above")]
        let config = Arc::new(move || make().expect("a table that was read before"));
        let run = StageRun::<S> {
            run: self.shared.run(S::NAME),
            config,
            services: self.services.clone(),
            frames: self.frames.clone(),
        };
        let report = self.report.clone();
        let thread = thread::Builder::new().name(S::NAME.to_owned()).spawn(move || {
            let exit = run_stage(run);
            tell(&report, S::NAME, exit);
        })?;
        self.runs.push((S::NAME, thread));
        Ok(())
    }
}

/// Reads every stage's table without starting anything.
pub(crate) struct CheckStages<'a> {
    tables: &'a mut std::collections::BTreeMap<String, toml::Table>,
    failed: Option<Failure>,
}

impl<'a> CheckStages<'a> {
    /// Reads and removes the table of every stage; what is left belongs to none.
    pub(crate) fn check(tables: &'a mut std::collections::BTreeMap<String, toml::Table>) -> Result<(), Failure> {
        let mut check = Self { tables, failed: None };
        stages::visit(&mut check);
        check.failed.map_or(Ok(()), Err)
    }
}

impl Visitor for CheckStages<'_> {
    fn stage<S: Stage>(&mut self) {
        if self.failed.is_none()
            && let Err(failure) = stage_config::<S>(self.tables)
        {
            self.failed = Some(failure);
        }
    }
}

/// A role that ended as asked is no news; any other end is told once.
fn tell(report: &Sender<Ended>, role: &'static str, exit: Exit) {
    if !matches!(exit, Exit::Drained | Exit::Aborted) {
        // Whoever waited has stopped waiting when the process is already ending.
        let _ = report.try_send(Ended { role, exit });
    }
}

fn start_store(
    shared: &Shared,
    database: &Database,
    metrics: StoreMetrics,
    report: Sender<Ended>,
) -> Result<(&'static str, thread::JoinHandle<()>), Failure> {
    let mut inputs = [
        inputs_of::<StudyAcquired>(),
        inputs_of::<StudyAccepted>(),
        inputs_of::<StudyRejected>(),
        inputs_of::<KeyframesExtracted>(),
        inputs_of::<FindingsInferred>(),
        inputs_of::<ReportIssued>(),
    ]
    .concat();
    inputs.extend(TOPICS.iter().map(|topic| Input {
        topic: topic.dead_letters().into(),
        lane: Priority::Routine,
        dead_letters: DeadLetters::Terminal,
    }));
    let database = database.clone();
    let sink = SinkRun {
        run: shared.run(STORE),
        name: STORE.to_owned(),
        inputs,
        open: Box::new(move || Ok(StoreWriter::new(database.clone(), metrics.clone()))),
    };
    let thread = thread::Builder::new().name(STORE.to_owned()).spawn(move || {
        let exit = run_sink(sink);
        tell(&report, STORE, exit);
    })?;
    Ok((STORE, thread))
}

/// Embedded tables are brought up to date by themselves; a site's database is migrated by its operator.
fn prepare_tables(config: &Config, database: &Database) -> Result<(), Failure> {
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
            Err(Failure::usage(format!("the database lacks {}; run `prescreen migrate` first", pending.join(", "))))
        }
    }
}

fn scp_config(config: &Config) -> scp::ScpConfig {
    let intake = &config.intake;
    let peers = intake.peers.iter().map(|peer| scp::Peer {
        ae_title: peer.ae_title.clone(),
        address: peer.address,
        access: scp::Access::Store,
        priority: if peer.urgent { Priority::Urgent } else { Priority::Routine },
    });
    scp::ScpConfig {
        max_associations: intake.associations,
        idle_timeout: intake.idle_timeout.0,
        ..scp::ScpConfig::new(intake.ae_title.clone(), peers.collect())
    }
}
