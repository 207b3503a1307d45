//! Everything that runs in one process, started in order and stopped in reverse.
//!
//! ```text
//!   start:  data directory ▶ broker ▶ topics ▶ database, tables ▶ pauses ▶ blobs, decode workers ▶ model ▶ stages, store ▶ ports
//!   stop:   ports ▶ publisher, while stages and store drain (deadline) ▶ model ▶ database ▶ broker
//! ```
//!
//! Invariants:
//! - Each stage and the store is one named thread that reports how it ended; one that fails stops the process with an
//!   exit code.
//! - Embedded parts outlive everything that talks to them.

mod catalogue;
mod edge;
mod parts;
mod stages;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};
use glm46v::Engine;
use intake::Intake;
use prometheus::Registry;
use runtime::{
    Client, Exit, InFlight, LogKey, Memo, Metrics, RetryPolicy, Run, RunSettings, Shutdown, Solitude,
    trace::Spans,
};
use services::{FrameMetrics, ObjectBlobs};
use stage::Services;

use crate::{
    build_info,
    config::{BlobsKind, Config},
    control::{Control, Switches},
    data_dir::DataDir,
    exit::Failure,
    store::Database,
    trace::Tracing,
};
pub(crate) use catalogue::{Entry, Roles, entries, topics};
use edge::Edge;
pub(crate) use parts::{Model, Parts, client, decode_pool, open_blobs, start_engine, topic_specs};
use stages::{RoleThread, StageParts, start_stages, start_store};
pub(crate) use stages::{Tables, check_stages, resolved_table, stage_config};

/// The store's name as a consumer: metric label and part of its group.
pub(crate) const STORE: &str = "store";

/// Runs that may report their end while nobody looks: more than there are.
const ENDINGS: usize = 16;

/// How often a running system looks whether its ports and its spool still work.
const WATCH: Duration = Duration::from_millis(500);

/// The consumer group of a stage or sink.
pub(crate) fn group(name: &str) -> String {
    format!("prescreen.{name}")
}

/// How a stage or the store ended.
struct Ended {
    role: &'static str,
    exit: Exit,
}

/// A running system. Fields are dropped in order: whoever talks to a part goes before it.
pub(crate) struct System {
    edge: Option<Edge>,
    runs: Vec<RoleThread>,
    ended: Receiver<Ended>,
    shutdown: Shutdown,
    drain_deadline: Duration,
    _control: Control,
    _engine: Option<Engine>,
    /// After whoever makes spans.
    _tracing: Option<Tracing>,
    parts: Parts,
    _data_dir: DataDir,
}

/// What every run needs.
struct Shared {
    config: Config,
    client: Client,
    blobs: Arc<ObjectBlobs>,
    metrics: Metrics,
    frame_metrics: FrameMetrics,
    log_key: LogKey,
    spans: Spans,
    shutdown: Shutdown,
    switches: Switches,
    solitude: Solitude,
    state_dir: PathBuf,
    /// This process among its like; the same after a restart.
    instance: String,
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
            spans: self.spans.clone(),
            ..RunSettings::new(&self.state_dir)
        };
        let mut client = self.client.clone();
        // A static member: killed and started again, it takes its partitions back at once.
        client.properties.entry("group.instance.id".to_owned()).or_insert_with(|| self.instance.clone());
        Run {
            client,
            group: group(name),
            blobs: self.blobs.clone(),
            settings,
            metrics: self.metrics.clone(),
            log_key: self.log_key.clone(),
            shutdown: self.shutdown.clone(),
            pause: self.switches.of(name),
            solitude: self.solitude.clone(),
        }
    }
}

impl System {
    /// Starts `roles`. Returns once every part answers and the ports are open.
    pub(crate) fn start(config: &Config, roles: &Roles) -> Result<Self, Failure> {
        if config.is_embedded() && *roles != Roles::all() {
            return Err(Failure::usage(
                "--only needs a broker and a database that other processes can reach; set broker.kind = \"kafka\" and database.kind = \"postgres\"",
            ));
        }
        if *roles != Roles::all() && config.blobs.kind == BlobsKind::Folder && config.blobs.folder.is_empty()
        {
            return Err(Failure::usage(
                "--only needs blobs that other processes can reach; set blobs.folder to a shared folder, or blobs.kind = \"s3\"",
            ));
        }
        check_stages(config)?;
        let data_dir = DataDir::take(&config.data_dir)?;
        let root = data_dir.path();
        let parts = Parts::start(config, root)?;
        runtime::topics::ensure(&parts.client, &topic_specs(config))?;
        parts::prepare_tables(config, &parts.database)?;

        let control = Control::start(&parts.client)?;

        let registry = Registry::new();
        parts.database.declare(&registry)?;
        // A new key for each start: hashes in logs and spans lead from line to line, never back to a study.
        let log_key = LogKey::new(uuid::Uuid::new_v4().as_bytes());
        let instance = data_dir.instance()?;
        let (tracing, spans) = match config.trace.otlp.as_str() {
            "" => (None, Spans::off()),
            otlp => {
                let (tracing, spans) = Tracing::start(otlp, &instance, log_key.clone(), &registry)?;
                (Some(tracing), spans)
            }
        };
        let shared = Arc::new(Shared {
            config: config.clone(),
            client: parts.client.clone(),
            blobs: open_blobs(config, root)?,
            metrics: Metrics::register(&registry)?,
            frame_metrics: FrameMetrics::register(&registry)?,
            log_key,
            spans,
            shutdown: Shutdown::new(),
            switches: control.switches(),
            solitude: Solitude::default(),
            state_dir: root.join("runtime"),
            instance,
        });

        let (report, ended) = bounded(ENDINGS);
        let mut runs = Vec::new();
        let (mut model, mut model_digest) = (None, None);
        if !roles.stages.is_empty() {
            let Model { backend, engine } = Model::counted(config, root, &registry)?;
            model = engine;
            model_digest = Some(backend.identity().digest.to_string());
            let parts = StageParts {
                shared: Arc::clone(&shared),
                services: Services { model: backend },
                frames: Arc::new(
                    decode_pool(config, &shared.blobs)?.with_metrics(shared.frame_metrics.clone()),
                ),
                report: report.clone(),
            };
            runs = start_stages(parts, &config.stages, &roles.stages)?;
        }
        if roles.store {
            runs.push(start_store(Arc::clone(&shared), &parts.database, &registry, report)?);
        }
        build_info::register(&registry, config, model_digest)?;
        let edge = Edge::open(&shared, roles, &registry, &parts.database, &data_dir)?;
        Ok(Self {
            edge: Some(edge),
            runs,
            ended,
            shutdown: shared.shutdown.clone(),
            drain_deadline: config.runtime.drain_deadline.0,
            _control: control,
            _engine: model,
            _tracing: tracing,
            parts,
            _data_dir: data_dir,
        })
    }

    /// Where DICOM associations are taken, if this process takes any.
    pub(crate) fn dicom(&self) -> Option<SocketAddr> {
        self.edge.as_ref().and_then(|edge| edge.dicom)
    }

    /// Where pages and API are served, if this process serves them.
    pub(crate) fn console(&self) -> Option<SocketAddr> {
        self.edge.as_ref().and_then(|edge| edge.console)
    }

    /// Intake's handle, if this process takes studies in.
    pub(crate) fn intake(&self) -> Option<&Intake> {
        self.edge.as_ref().and_then(|edge| edge.intake.as_ref())
    }

    /// The result store.
    pub(crate) fn database(&self) -> &Database {
        &self.parts.database
    }

    /// Waits until a role ends by itself or `interrupts` says so; then drains. A second interrupt aborts.
    ///
    /// # Errors
    /// How the first role failed.
    pub(crate) fn wait(mut self, interrupts: &Receiver<()>) -> Result<(), Failure> {
        let failure = loop {
            crossbeam_channel::select! {
                recv(self.ended) -> ended => break ended.ok().map(|Ended { role, exit }| failure_of(role, exit)),
                recv(interrupts) -> _ => break None,
                default(WATCH) => {}
            }
            if let Some(role) = self.edge.as_ref().and_then(Edge::ended) {
                break Some(Failure::from(format!("{role} ended by itself; the log has the cause")));
            }
        };
        self.stop(Some(interrupts));
        failure.map_or(Ok(()), Err)
    }

    /// Drains and stops everything, in reverse order.
    pub(crate) fn shut_down(mut self) {
        self.stop(None);
    }

    fn stop(&mut self, interrupts: Option<&Receiver<()>>) {
        tracing::info!("draining");
        // Nothing is lost when stages drain while the ports still close: what comes out of the spool now stays in Kafka.
        self.shutdown.drain();
        // The runtime keeps the deadline itself; this one is for a run that does not.
        let deadline = Instant::now() + self.drain_deadline + Duration::from_secs(5);
        let mut aborted = false;
        let shutdown = self.shutdown.clone();
        let mut abort = || {
            let interrupted = interrupts.is_some_and(|interrupts| interrupts.try_recv().is_ok());
            if !aborted && (interrupted || Instant::now() > deadline) {
                aborted = true;
                tracing::warn!("aborting; what is not finished is done again at the next start");
                shutdown.abort();
            }
            aborted
        };
        if let Some(edge) = self.edge.take() {
            edge.close(&mut abort);
        }
        for (role, run) in self.runs.drain(..) {
            while !run.is_finished() {
                abort();
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
        Exit::Fatal { source, .. } => {
            Failure::from(format!("{role} cannot go on: {}", Failure::from(source).chain()))
        }
        other => Failure::from(format!("{role} ended: {other}")),
    }
}
