//! What talks to the outside: DICOM port, arrival gate, publisher, console; on one asynchronous runtime and a few threads.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use console::{Console, Token};
use crossbeam_channel::{Sender, bounded};
use intake::{Backoff, CompletionTimes, Intake, IntakeConfig, IntakeMetrics, Publisher, scp};
use jiff::Timestamp;
use prometheus::Registry;
use quality_gate::QualityGate;
use schemas::{Priority, RunId};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch, task::JoinHandle};

use super::{Roles, Shared, parts::decode_workers, stage_config};
use crate::{
    announce::LiveAnnounce,
    arrival::{ArrivalGate, GateParts},
    backlog::Backlog,
    config::Config,
    data_dir::{ApiEntry, DataDir},
    exit::Failure,
    heartbeat::{Pulse, PulseParts},
    site::{LiveSite, Promotions, SiteMetrics, exposition},
    store::Database,
    truth::Truth,
};

/// How long open connections may take to finish when the ports close.
const CLOSE: Duration = Duration::from_secs(15);

/// The open ports and what stands behind them.
pub(super) struct Edge {
    runtime: Runtime,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    publisher: Option<(Sender<()>, thread::JoinHandle<()>)>,
    arrivals: Option<ArrivalGate>,
    pulse: Option<Pulse>,
    /// Owns spool and journal; ends when the last handle of `intake` is gone.
    spool: Option<thread::JoinHandle<()>>,
    backlog: Option<Backlog>,
    truth: Option<Truth>,
    pub(super) intake: Option<Intake>,
    pub(super) dicom: Option<SocketAddr>,
    pub(super) console: Option<SocketAddr>,
}

impl Edge {
    /// Opens the ports of `roles`. Called last, so that nothing comes in before it can be kept.
    pub(super) fn open(
        shared: &Shared,
        roles: &Roles,
        registry: &Registry,
        database: &Database,
        data_dir: &DataDir,
    ) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("edge")
            .enable_all()
            .build()?;
        let mut edge = Self {
            runtime,
            stop: watch::channel(false).0,
            tasks: Vec::new(),
            publisher: None,
            arrivals: None,
            pulse: None,
            spool: None,
            backlog: None,
            truth: None,
            intake: None,
            dicom: None,
            console: None,
        };
        if roles.intake {
            edge.open_intake(shared, registry, database, data_dir)?;
        }
        if roles.console {
            edge.open_console(shared, registry, database, data_dir)?;
        } else {
            let registry = registry.clone();
            let bind = Console::bind_metrics(shared.config.console.listen, move || exposition(&registry));
            let metrics = edge.runtime.block_on(bind)?;
            tracing::info!(address = %metrics.address()?, "metrics served");
            edge.serve(metrics);
        }
        Ok(edge)
    }

    fn open_intake(
        &mut self,
        shared: &Shared,
        registry: &Registry,
        database: &Database,
        data_dir: &DataDir,
    ) -> Result<(), Failure> {
        let config = &shared.config.intake;
        let intake_config = IntakeConfig {
            directory: data_dir.path().join("spool"),
            min_free: config.min_free.0,
            max_object: config.max_object.0,
            completion: CompletionTimes { quiet: config.quiet_time.0, cap: config.hard_cap.0 },
            remember: shared.config.topics.retention.0,
        };
        let (intake, spool) = Intake::start(intake_config, IntakeMetrics::new(registry)?, Timestamp::now())?;
        self.spool = Some(spool);
        let publisher = Publisher {
            intake: intake.clone(),
            announce: LiveAnnounce::new(
                shared.client.clone(),
                database.clone(),
                shared.blobs.clone(),
                shared.spans.clone(),
            ),
            blobs: shared.blobs.clone(),
            run: RunId::live(),
            backoff: Backoff {
                first: shared.config.runtime.backoff_first.0,
                longest: shared.config.runtime.backoff_most.0,
            },
        };
        let (stop, stopped) = bounded(1);
        self.publisher = Some((stop, publisher.start(stopped)?));
        if config.arrival_gates > 0 {
            let parts = GateParts {
                config: stage_config::<QualityGate>(&mut shared.config.stages.clone())?,
                blobs: shared.blobs.clone(),
                frames: Arc::new(
                    decode_workers(&shared.config, &shared.blobs, config.arrival_gates)?
                        .with_metrics(shared.frame_metrics.clone()),
                ),
                client: shared.client.clone(),
                spans: shared.spans.clone(),
                threads: config.arrival_gates,
                queue: config.arrival_queue,
            };
            self.arrivals = Some(ArrivalGate::start(&intake, parts, registry)?);
        }
        if let Some(every) = shared.config.heartbeat.interval() {
            self.pulse = Some(Pulse::start(PulseParts {
                every,
                client: shared.client.clone(),
                spans: shared.spans.clone(),
                blobs: shared.blobs.clone(),
                database: database.clone(),
            })?);
        }
        let listener = self.runtime.block_on(TcpListener::bind(config.listen)).map_err(|error| {
            Failure::from(format!("cannot listen on {} for DICOM (intake.listen): {error}", config.listen))
        })?;
        self.dicom = Some(listener.local_addr()?);
        let serving = scp::serve(listener, scp_config(&shared.config), intake.clone(), self.stop.subscribe());
        self.tasks.push(self.runtime.spawn(serving));
        self.intake = Some(intake);
        Ok(())
    }

    fn open_console(
        &mut self,
        shared: &Shared,
        registry: &Registry,
        database: &Database,
        data_dir: &DataDir,
    ) -> Result<(), Failure> {
        let switches = shared.switches.clone();
        let backlog = Backlog::start(&shared.client, shared.metrics.clone(), registry.clone(), switches)?;
        let deadline = shared.config.truth.deadline.0;
        let truth = Truth::start(database, registry, deadline)?;
        let uploads = data_dir.path().join("uploads");
        // What a killed owner left there was never acknowledged, and it may show a patient.
        match std::fs::remove_dir_all(&uploads) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => std::fs::create_dir(&uploads)?,
        }
        let site = LiveSite {
            database: database.clone(),
            intake: self.intake.clone(),
            blobs: shared.blobs.clone(),
            registry: registry.clone(),
            metrics: SiteMetrics::register(registry)?,
            promotions: Promotions::new(shared.config.clone(), data_dir.path().to_owned()),
            backlog: backlog.latest(),
            client: shared.client.clone(),
            log_key: shared.log_key.clone(),
            switches: shared.switches.clone(),
            redriving: Mutex::default(),
            deadline,
        };
        let secret = uuid::Uuid::new_v4().simple().to_string() + &uuid::Uuid::new_v4().simple().to_string();
        let token = Token::new(&secret).ok_or("the API token is too short")?;
        let listen = shared.config.console.listen;
        let console = self.runtime.block_on(Console::bind(listen, Arc::new(site), token, uploads))?;
        let address = console.address()?;
        self.serve(console);
        data_dir.announce(&ApiEntry {
            pid: std::process::id(),
            url: format!("http://{address}"),
            token: secret,
            broker: shared.client.bootstrap.clone(),
            dicom: self.dicom,
        })?;
        self.console = Some(address);
        self.backlog = Some(backlog);
        self.truth = Some(truth);
        Ok(())
    }

    fn serve(&mut self, console: Console) {
        let stopped = self.stop.subscribe();
        self.tasks.push(self.runtime.spawn(async move {
            if let Err(error) = console.serve(stopped).await {
                tracing::error!(%error, "console ended");
            }
        }));
    }

    /// What has ended although nobody asked for it.
    pub(super) fn ended(&self) -> Option<&'static str> {
        let finished = |thread: &thread::JoinHandle<()>| thread.is_finished();
        if self.spool.as_ref().is_some_and(finished) {
            return Some("intake");
        }
        if self.publisher.as_ref().is_some_and(|(_, thread)| finished(thread)) {
            return Some("intake's publisher");
        }
        self.tasks.iter().any(JoinHandle::is_finished).then_some("a port")
    }

    /// Closes the ports, then arrival gate and publisher; what was not published stays in the spool. `hurry` says, asked again and
    /// again, that there is no more time.
    pub(super) fn close(mut self, hurry: &mut dyn FnMut() -> bool) {
        self.backlog = None;
        self.truth = None;
        // Nobody is left to receive only when both ports have ended already.
        let _ = self.stop.send(true);
        // A connection that does not end in time is cut below.
        wait(|| self.tasks.iter().all(JoinHandle::is_finished), hurry);
        let mut steps = self.arrivals.take().map(ArrivalGate::stop).unwrap_or_default();
        steps.extend(self.pulse.take().map(Pulse::stop));
        wait(|| steps.iter().all(thread::JoinHandle::is_finished), hurry);
        if let Some((stop, publisher)) = self.publisher.take() {
            drop(stop);
            wait(|| publisher.is_finished(), hurry);
            if !publisher.is_finished() {
                tracing::warn!("publisher is left to itself; what it is at is done again at the next start");
            } else if publisher.join().is_err() {
                tracing::error!("publisher panicked");
            }
        }
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

/// Waits until `done`, at most for [`CLOSE`], and not at all in a `hurry`.
fn wait(done: impl Fn() -> bool, hurry: &mut dyn FnMut() -> bool) {
    let deadline = Instant::now() + CLOSE;
    while !done() && !hurry() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
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
