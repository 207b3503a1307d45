//! Starting a run: its threads, its queues, its end.

use std::{
    fs,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Sender, bounded};
use schemas::{Message, Priority};
use stage::{Blobs, Frames, Services, Source, Stage};

use crate::{
    attempts::{Attempts, StateError},
    client::Client,
    coordinator::{Coordinator, Parts, Queues},
    event::{Event, Order},
    log_key::LogKey,
    metrics::Metrics,
    pause::PauseSwitch,
    poller::{self, LANE_CHUNKS},
    producer::Outputs,
    settings::{DeadLetters, Exit, Input, RunSettings},
    shutdown::Shutdown,
    sink_work::{OpenSink, Sink, SinkWork},
    stage_work::{MakeConfig, StageParts, StageWork},
    stash::CHUNK_RECORDS,
    suspect::{self, Solitude},
    topics,
    worker::{self, Desk, Hands, Work},
};

/// Commands on their way to the poller.
const COMMANDS: usize = 16;
/// How long the threads of an ended run may take to end.
const THREADS_END: Duration = Duration::from_secs(2);

/// What every run needs.
pub struct Run {
    /// How the broker is reached.
    pub client: Client,
    /// Consumer group.
    pub group: String,
    /// Where long dead letters are put, and what stages read and memoise.
    pub blobs: Arc<dyn Blobs>,
    /// How the run behaves.
    pub settings: RunSettings,
    /// Where it counts.
    pub metrics: Metrics,
    /// How it names studies in logs.
    pub log_key: LogKey,
    /// Who may stop it.
    pub shutdown: Shutdown,
    /// Who may hold it back.
    pub pause: PauseSwitch,
    /// One for each process, shared by all its runs.
    pub solitude: Solitude,
}

/// A stage to be run over the topics of its input.
pub struct StageRun<S: Stage> {
    /// What every run needs.
    pub run: Run,
    /// The stage's configuration, made once for each instance.
    pub config: MakeConfig<S::Config>,
    /// Handles shared by all instances.
    pub services: Services,
    /// Pictures.
    pub frames: Arc<dyn Frames>,
}

/// A sink to be run over the topics it names.
pub struct SinkRun<K: Sink> {
    /// What every run needs.
    pub run: Run,
    /// Metric label and folder of its state, in snake case.
    pub name: String,
    /// The topics it reads.
    pub inputs: Vec<Input>,
    /// Opens the sink on its thread.
    pub open: OpenSink<K>,
}

/// Both lanes of a message's topic, with its dead letters.
pub fn inputs_of<M: Message>() -> Vec<Input> {
    [Priority::Urgent, Priority::Routine]
        .into_iter()
        .map(|lane| Input {
            topic: topics::lane(&M::TOPIC, lane).into(),
            lane,
            dead_letters: DeadLetters::To(M::TOPIC.dead_letters()),
        })
        .collect()
}

/// Runs a stage until it is asked to stop or cannot go on. Blocks.
pub fn run_stage<S: Stage>(stage: StageRun<S>) -> Exit {
    let StageRun { run, config, services, frames } = stage;
    let metrics = Arc::new(run.metrics.stage(S::NAME));
    let parts = (0..run.settings.workers.max(1))
        .map(|_| StageParts::<S> {
            config: Arc::clone(&config),
            services: services.clone(),
            blobs: Arc::clone(&run.blobs),
            frames: Arc::clone(&frames),
            memo: run.settings.memo,
            metrics: Arc::clone(&metrics),
        })
        .collect();
    end(S::NAME, start::<StageWork<S>>(run, S::NAME, inputs_of::<S::In>(), parts))
}

/// Runs a sink until it is asked to stop or cannot go on. Blocks. A sink has one worker, whatever the settings say.
pub fn run_sink<K: Sink>(sink: SinkRun<K>) -> Exit {
    let SinkRun { run, name, inputs, open } = sink;
    end(&name, start::<SinkWork<K>>(run, &name, inputs, vec![open]))
}

fn end(name: &str, exit: Result<Exit, Source>) -> Exit {
    let exit = exit.unwrap_or_else(|source| Exit::Fatal { stage: name.to_owned(), source });
    match &exit {
        Exit::Fatal { source, .. } => {
            tracing::error!(
                stage = name,
                error = crate::dead_letter::chain(source.as_ref()),
                "run ended: {exit}"
            );
        }
        Exit::BrokerFatal { source, .. } => {
            tracing::error!(stage = name, error = %source, "run ended: {exit}");
        }
        Exit::DeadLetterLimit { .. } => tracing::error!(stage = name, "run ended: {exit}"),
        Exit::Drained | Exit::Aborted => tracing::info!(stage = name, "run ended: {exit}"),
    }
    exit
}

fn start<W: Work + 'static>(
    run: Run,
    name: &str,
    inputs: Vec<Input>,
    parts: Vec<W::Parts>,
) -> Result<Exit, Source>
where
    W::Parts: 'static,
{
    let Run { client, group, blobs, settings, metrics, log_key, shutdown, pause, solitude } = run;
    let metrics = Arc::new(metrics.stage(name));
    let name: Arc<str> = name.into();
    let inputs: Arc<[Input]> = inputs.into();

    let state_dir = settings.state_dir.join(&*name);
    fs::create_dir_all(&state_dir).map_err(StateError::io("create", &state_dir))?;
    let suspects_path = state_dir.join("suspects");
    let (suspects, left) = suspect::open(&suspects_path).map_err(StateError::io("open", &suspects_path))?;
    let mut attempts = Attempts::open(state_dir.join("attempts.json"))?;
    if !left.is_empty() {
        tracing::warn!(stage = %name, suspects = left.len(), "process died while records were being processed");
        attempts.died(&left)?;
    }
    suspects.clear().map_err(StateError::io("clear", &suspects_path))?;

    // Each record in flight has at most one acknowledgement on its way, so nobody ever waits to tell an event.
    let in_flight = 2 * (settings.in_flight.records + CHUNK_RECORDS);
    let (events, told) = bounded(in_flight + 4 * parts.len() + 64);
    let (urgent_out, urgent) = bounded(LANE_CHUNKS);
    let (routine_out, routine) = bounded(LANE_CHUNKS);
    let (commands, commanded) = bounded(COMMANDS);

    let mut threads = Threads::default();
    let outputs = Arc::new(Outputs::connect(&client, events.clone(), shutdown.clone())?);
    let setup = poller::Setup {
        client,
        group,
        inputs: Arc::clone(&inputs),
        position_stall: settings.position_stall,
        window: settings.in_flight.records,
        urgent: urgent_out,
        routine: routine_out,
        commands: commanded,
        events: events.clone(),
        metrics: Arc::clone(&metrics),
    };
    threads.spawn(format!("{name}-poll"), events.clone(), move || poller::run(setup))?;
    let mut orders = Vec::new();
    for (index, parts) in parts.into_iter().enumerate() {
        let (order, ordered) = bounded::<Order>(1);
        orders.push(order);
        let desk = Desk { index, orders: ordered, events: events.clone(), suspects: suspects.clone() };
        let hands = Hands {
            name: Arc::clone(&name),
            inputs: Arc::clone(&inputs),
            outputs: Arc::clone(&outputs),
            blobs: Arc::clone(&blobs),
            metrics: Arc::clone(&metrics),
            retry: settings.retry,
            shutdown: shutdown.clone(),
            spans: settings.spans.clone(),
            blocked: Duration::ZERO,
        };
        let work = move || worker::run::<W>(desk, parts, hands);
        threads.spawn(format!("{name}-work-{index}"), events.clone(), work)?;
    }
    drop(events);
    let queues = Queues { events: told, urgent, routine, commands, orders };
    let parts =
        Parts { name, inputs, settings, metrics, log_key, shutdown, pause, solitude, attempts, queues };
    let exit = Coordinator::new(parts).run();
    // The coordinator has dropped its ends of the queues: the threads end.
    threads.end(Instant::now() + THREADS_END);
    Ok(exit)
}

/// The threads of one run.
#[derive(Default)]
struct Threads(Vec<JoinHandle<()>>);

/// Tells the coordinator when its thread unwinds.
struct Unwinding(Sender<Event>);

impl Drop for Unwinding {
    fn drop(&mut self) {
        if thread::panicking() {
            let failure = crate::event::Failure::Fatal("a thread of the run panicked".into());
            drop(self.0.try_send(Event::Stopped(failure)));
        }
    }
}

impl Threads {
    fn spawn(
        &mut self,
        name: String,
        events: Sender<Event>,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), Source> {
        let guarded = move || {
            let _unwinding = Unwinding(events);
            body();
        };
        self.0.push(thread::Builder::new().name(name).spawn(guarded)?);
        Ok(())
    }

    /// Joins the threads that end in time. One that is stuck in a stage is left to itself: whatever it still sends
    /// carries ids that are known already.
    fn end(self, deadline: Instant) {
        for thread in self.0 {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                // It cannot have panicked unnoticed: the coordinator was told.
                drop(thread.join());
            } else {
                tracing::warn!(
                    thread = thread.thread().name(),
                    "thread did not end in time and is left to itself"
                );
            }
        }
    }
}
