//! Stages and store: each a run of the runtime on a thread of its own.

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use calibration::CalibrationSet;
use crossbeam_channel::Sender;
use jiff::Timestamp;
use prometheus::Registry;
use reporting::ReportingStage;
use runtime::{DeadLetters, Exit, Input, MakeConfig, Phase, SinkRun, StageRun, run_sink, run_stage};
use schemas::{Priority, RunId, Topic};
use stage::{Frames, Services, Stage, StageError, Visitor};

use super::{
    Ended, STORE, Shared,
    catalogue::{entries, topics},
};
use crate::{
    calibration_set,
    config::Config,
    drift::{self, Drift, DriftMetrics},
    exit::Failure,
    heartbeat::HeartbeatAges,
    prompts,
    store::{self, Database, DatabaseError, StoreMetrics, StoreWriter},
};

/// A role and its thread.
pub(super) type RoleThread = (&'static str, thread::JoinHandle<()>);

/// The stages' tables of the configuration, unread.
pub(crate) type Tables = BTreeMap<String, toml::Table>;

/// Takes the table of `S` out of `tables`, with the files it names in place of their names.
pub(crate) fn resolved_table<S: Stage>(tables: &mut Tables) -> Result<toml::Table, Failure> {
    let mut table = tables.remove(S::NAME).unwrap_or_default();
    prompts::resolve(&mut table).map_err(Failure::usage)?;
    calibration_set::resolve(&mut table).map_err(Failure::usage)?;
    Ok(table)
}

/// Reads the table of `S` and gives a maker of its configuration. Tables that no stage takes stay in `tables`.
pub(crate) fn stage_config<S: Stage>(tables: &mut Tables) -> Result<MakeConfig<S::Config>, Failure> {
    let table = resolved_table::<S>(tables)?;
    let read = move || table.clone().try_into::<S::Config>();
    read().map_err(|error| Failure::usage(format!("[stages.{}]: {error}", S::NAME)))?;
    #[expect(clippy::expect_used, reason = "the same table was read right above")]
    Ok(Arc::new(move || read().expect("a table that was read before")))
}

/// Walks the catalogue until something fails.
struct UntilFailure<F> {
    each: F,
    failed: Option<Failure>,
}

/// What is done with each stage; a trait, because a closure cannot be generic.
trait Each {
    fn stage<S: Stage>(&mut self) -> Result<(), Failure>;
}

impl<F: Each> Visitor for UntilFailure<F> {
    fn stage<S: Stage>(&mut self) {
        if self.failed.is_none()
            && let Err(failure) = self.each.stage::<S>()
        {
            self.failed = Some(failure);
        }
    }
}

fn each_stage<F: Each>(each: F) -> Result<F, Failure> {
    let mut walk = UntilFailure { each, failed: None };
    stages::visit(&mut walk);
    match walk.failed {
        Some(failure) => Err(failure),
        None => Ok(walk.each),
    }
}

struct Check(Tables);

impl Each for Check {
    fn stage<S: Stage>(&mut self) -> Result<(), Failure> {
        stage_config::<S>(&mut self.0).map(drop)
    }
}

/// Reads every stage's table without starting anything; what belongs to no stage is an error.
pub(crate) fn check_stages(config: &Config) -> Result<(), Failure> {
    let Check(left) = each_stage(Check(config.stages.clone()))?;
    read_calibration_set(&config.stages)?;
    if let Some(unknown) = left.keys().next() {
        return Err(Failure::usage(format!(
            "[stages.{unknown}] belongs to no stage; remove it or mend its name"
        )));
    }
    let mut workers = config.runtime.workers.keys();
    match workers.find(|name| !entries().iter().any(|entry| entry.name == **name)) {
        Some(unknown) => Err(Failure::usage(format!(
            "runtime.workers.{unknown} belongs to no stage; remove it or mend its name"
        ))),
        None => Ok(()),
    }
}

/// What the stages of this process share.
pub(super) struct StageParts {
    pub(super) shared: Arc<Shared>,
    pub(super) services: Services,
    pub(super) frames: Arc<dyn Frames>,
    pub(super) report: Sender<Ended>,
}

struct Start<'a> {
    parts: StageParts,
    tables: Tables,
    wanted: &'a [&'static str],
    started: Vec<RoleThread>,
}

impl Each for Start<'_> {
    fn stage<S: Stage>(&mut self) -> Result<(), Failure> {
        if !self.wanted.contains(&S::NAME) {
            return Ok(());
        }
        let config = stage_config::<S>(&mut self.tables)?;
        // A value that the stage refuses is a configuration error, told before the first record is touched.
        S::build(config(), &self.parts.services)
            .map_err(|error| Failure::usage(format!("stages.{}.{error}", S::NAME)))?;
        let StageParts { shared, services, frames, report } = &self.parts;
        let (shared, services, frames) = (Arc::clone(shared), services.clone(), Arc::clone(frames));
        let report = report.clone();
        let thread = thread::Builder::new().name(S::NAME.to_owned()).spawn(move || {
            let exit = again_with_a_new_client(&shared, S::NAME, || {
                run_stage(StageRun::<S> {
                    run: shared.run(S::NAME),
                    config: Arc::clone(&config),
                    services: services.clone(),
                    frames: Arc::clone(&frames),
                })
            });
            tell(&report, S::NAME, exit);
        })?;
        self.started.push((S::NAME, thread));
        Ok(())
    }
}

/// Starts the `wanted` stages of the catalogue.
pub(super) fn start_stages(
    parts: StageParts,
    tables: &Tables,
    wanted: &[&'static str],
) -> Result<Vec<RoleThread>, Failure> {
    each_stage(Start { parts, tables: tables.clone(), wanted, started: Vec::new() })
        .map(|start| start.started)
}

/// The calibration set of `[stages.reporting]`, checked, with its file's text.
fn read_calibration_set(tables: &Tables) -> Result<Option<(CalibrationSet, String)>, Failure> {
    let Some(file) = stage_config::<ReportingStage>(&mut tables.clone())?().calibration_set else {
        return Ok(None);
    };
    let wrong = |error| Failure::usage(format!("stages.reporting.calibration_set {} {error}", file.path));
    let set = CalibrationSet::read(&file.text).map_err(wrong)?;
    Ok(Some((set, file.text)))
}

/// Starts the store: the sink of every topic.
pub(super) fn start_store(
    shared: Arc<Shared>,
    database: &Database,
    registry: &Registry,
    report: Sender<Ended>,
) -> Result<RoleThread, Failure> {
    let database = database.clone();
    let metrics = StoreMetrics::register(registry)?;
    let watched = match read_calibration_set(&shared.config.stages)? {
        Some((set, text)) => {
            store::keep_set(&database, &set, &text, Timestamp::now())?;
            Some((set, DriftMetrics::register(registry)?))
        }
        None => None,
    };
    let ages = match shared.config.heartbeat.interval() {
        Some(_) => {
            let stages = entries().into_iter().map(|entry| entry.name);
            Some(HeartbeatAges::register(registry, stages, Timestamp::now())?)
        }
        None => None,
    };
    // Read anew whenever the store begins again: what it had seen and not stored comes again too.
    let begin_drift = |database: &Database, (set, metrics): &(CalibrationSet, DriftMetrics)| {
        let reports = store::calibrated_reports(database, &RunId::live(), set.digest(), drift::REMEMBERED)?;
        Ok::<_, DatabaseError>(Drift::begin(set, metrics.clone(), &reports))
    };
    let thread = thread::Builder::new().name(STORE.to_owned()).spawn(move || {
        let exit = again_with_a_new_client(&shared, STORE, || {
            let (database, metrics, watched) = (database.clone(), metrics.clone(), watched.clone());
            let ages = ages.clone();
            run_sink(SinkRun {
                run: shared.run(STORE),
                name: STORE.to_owned(),
                inputs: topics().iter().flat_map(store_inputs).collect(),
                open: Box::new(move || {
                    let drift = watched.as_ref().map(|watched| begin_drift(&database, watched)).transpose();
                    let drift = drift.map_err(StageError::dependency)?;
                    let writer = StoreWriter::new(database.clone(), metrics.clone(), drift);
                    Ok(writer.with_heartbeats(ages.clone()))
                }),
            })
        });
        tell(&report, STORE, exit);
    })?;
    Ok((STORE, thread))
}

/// Both lanes of a topic, and its dead letters. What a stage reads too, that stage answers for: the store only looks
/// on, so that one bad record makes one dead letter.
fn store_inputs(topic: &Topic) -> Vec<Input> {
    let answered_for = entries().iter().any(|entry| entry.input == *topic);
    let lane = |name: String, lane| Input {
        topic: name.into(),
        lane,
        dead_letters: if answered_for {
            DeadLetters::Terminal
        } else {
            DeadLetters::To(topic.dead_letters())
        },
    };
    vec![
        lane(topic.urgent(), Priority::Urgent),
        lane(topic.name.to_owned(), Priority::Routine),
        Input {
            topic: topic.dead_letters().into(),
            lane: Priority::Routine,
            dead_letters: DeadLetters::Terminal,
        },
    ]
}

/// How long a run rests before it is begun again with a new client.
const REST: Duration = Duration::from_secs(1);

/// Begins a run again whose Kafka client is beyond repair: a broker that comes back after an outage may have fenced
/// it. What was not committed is done again.
fn again_with_a_new_client(shared: &Shared, role: &str, mut run: impl FnMut() -> Exit) -> Exit {
    loop {
        let exit = run();
        if !matches!(exit, Exit::BrokerFatal { .. }) || shared.shutdown.phase() != Phase::Running {
            return exit;
        }
        tracing::warn!(role, "beginning again with a new kafka client");
        thread::sleep(REST);
    }
}

/// A role that ended as asked is no news; any other end is told once.
fn tell(report: &Sender<Ended>, role: &'static str, exit: Exit) {
    if !matches!(exit, Exit::Drained | Exit::Aborted) {
        // Whoever waited has stopped waiting when the process is already ending.
        let _ = report.try_send(Ended { role, exit });
    }
}
