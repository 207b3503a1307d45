//! The one owner of a run's state: what is in flight, what is next, what may be committed. Runs on the caller's thread
//! and never blocks on anything but its own queues.
//!
//! ```text
//!              Waiting ──order──▶ Working ──sent──▶ Sent ──acked──▶ finished ─▶ offset complete
//!                 ▲                  │               │
//!   Dependency ───┤ (stage pauses)   │ failed        │ not delivered
//!   Record ───────┤ (budget left) ◀──┴───────────────┘
//!   dead ─────────┘ (ordered again: to be buried)
//! ```

mod hand_out;
mod outcome;

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, never, select};
use prometheus::IntGauge;
use schemas::{Cause, Priority};

use crate::{
    attempts::{Attempts, MAX_DEATHS},
    batcher::Batcher,
    dead_letter::Death,
    dispatch::Dispatch,
    event::{Command, Event, Failure, Fetched, Order},
    flight::{Flight, Flights, Stage},
    limiter::Limiter,
    log_key::LogKey,
    metrics::StageMetrics,
    offsets::{Offsets, Receipt},
    pause::PauseSwitch,
    record::Partition,
    retry::{Delayed, Outage},
    settings::{Exit, Input, RunSettings},
    shutdown::{Phase, Shutdown},
    suspect::Solitude,
    window::Window,
};

/// How often a run looks at its shutdown token when nothing else happens.
const TICK: Duration = Duration::from_millis(50);
/// Events taken before work is handed out again.
const EVENTS_AT_ONCE: usize = 1024;

/// The queues between the coordinator and the other threads.
pub(crate) struct Queues {
    pub(crate) events: Receiver<Event>,
    pub(crate) urgent: Receiver<Vec<Fetched>>,
    pub(crate) routine: Receiver<Vec<Fetched>>,
    pub(crate) commands: Sender<Command>,
    pub(crate) orders: Vec<Sender<Order>>,
}

/// What a coordinator is made of.
pub(crate) struct Parts {
    pub(crate) name: Arc<str>,
    pub(crate) inputs: Arc<[Input]>,
    pub(crate) settings: RunSettings,
    pub(crate) metrics: Arc<StageMetrics>,
    pub(crate) log_key: LogKey,
    pub(crate) shutdown: Shutdown,
    pub(crate) pause: PauseSwitch,
    pub(crate) solitude: Solitude,
    pub(crate) attempts: Attempts,
    pub(crate) queues: Queues,
}

/// How full the lanes' windows are.
struct Buffers {
    urgent: IntGauge,
    routine: IntGauge,
}

pub(crate) struct Coordinator {
    parts: Parts,
    flights: Flights,
    offsets: Offsets,
    dispatch: Dispatch,
    urgent: Window,
    routine: Window,
    batcher: Option<Batcher>,
    outage: Outage,
    delayed: Delayed,
    limiter: Limiter,
    idle: Vec<usize>,
    /// Flights that are with a worker or whose output is on its way.
    busy: usize,
    /// A suspect that has been taken and waits for everything else to finish, or is being processed.
    alone: Option<usize>,
    keys: RandomState,
    buffers: Buffers,
    last_commit: Instant,
    draining: bool,
    held: bool,
}

impl Coordinator {
    pub(crate) fn new(parts: Parts) -> Self {
        let now = Instant::now();
        let settings = &parts.settings;
        Self {
            flights: Flights::default(),
            offsets: Offsets::default(),
            dispatch: Dispatch::new(settings.lanes),
            urgent: Window::new(settings.in_flight),
            routine: Window::new(settings.in_flight),
            batcher: None,
            outage: Outage::default(),
            delayed: Delayed::default(),
            limiter: Limiter::new(settings.dead_letters, now),
            idle: Vec::new(),
            busy: 0,
            alone: None,
            keys: RandomState::new(),
            buffers: Buffers {
                urgent: parts.metrics.buffer("urgent_in_flight", settings.in_flight.records),
                routine: parts.metrics.buffer("routine_in_flight", settings.in_flight.records),
            },
            last_commit: now,
            draining: false,
            held: false,
            parts,
        }
    }

    /// Runs until asked to stop or unable to go on, then commits what is finished and closes the consumer.
    pub(crate) fn run(mut self) -> Exit {
        let exit = self.work().unwrap_or_else(|exit| exit);
        let patience =
            if matches!(exit, Exit::Drained) { Duration::from_secs(10) } else { Duration::from_secs(3) };
        self.close(Instant::now() + patience);
        self.parts.metrics.in_flight.set(0);
        self.parts.metrics.paused.set(0);
        self.parts.metrics.held.set(0);
        exit
    }

    fn work(&mut self) -> Result<Exit, Exit> {
        let mut drain_until = None;
        loop {
            let now = Instant::now();
            match self.parts.shutdown.phase() {
                Phase::Running => {}
                Phase::Aborting => return Ok(Exit::Aborted),
                Phase::Draining => {
                    let until = *drain_until.get_or_insert(now + self.parts.settings.drain_deadline);
                    if !self.draining {
                        self.draining = self.parts.queues.commands.try_send(Command::Stop).is_ok();
                    }
                    if self.busy == 0 {
                        return Ok(Exit::Drained);
                    }
                    if now >= until {
                        tracing::warn!(stage = %self.parts.name, busy = self.busy, "drain took too long");
                        return Ok(Exit::Aborted);
                    }
                }
            }
            let held = self.held();
            if drain_until.is_none() && !held {
                self.hand_out(now)?;
            }
            self.commit(now)?;
            self.wait(now, drain_until.is_none())?;
        }
    }

    /// Whether an operator holds the run back: then no record is begun, and what was read waits in its lane.
    fn held(&mut self) -> bool {
        let held = self.parts.pause.is_on();
        if held != self.held {
            self.held = held;
            self.parts.metrics.held.set(i64::from(held));
            let (stage, does) = (&*self.parts.name, if held { "pauses" } else { "goes on" });
            tracing::info!(stage, "stage {does}: an operator asked for it");
        }
        held
    }

    /// Waits for something to happen, and takes it in.
    fn wait(&mut self, now: Instant, taking: bool) -> Result<(), Exit> {
        let timers = [
            Some(self.last_commit + self.parts.settings.commit_every),
            self.delayed.next_due(),
            self.outage.until(),
            self.batcher.as_ref().and_then(Batcher::deadline),
        ];
        // A timer that is due was looked at just now: it waits for a worker, and that is an event.
        let next = timers.into_iter().flatten().filter(|at| *at > now).min();
        let timeout = next.map_or(TICK, |at| at.saturating_duration_since(now).min(TICK));
        let closed = never();
        let queues = &self.parts.queues;
        let urgent = if taking && self.urgent.is_open() { &queues.urgent } else { &closed };
        let routine = if taking && self.routine.is_open() { &queues.routine } else { &closed };
        let ended = || Failure::Fatal("a thread of the run has ended".into());
        select! {
            recv(queues.events) -> event => match event {
                Ok(event) => self.event(event)?,
                Err(_) => return Err(self.stop(ended())),
            },
            recv(urgent) -> chunk => match chunk {
                Ok(chunk) => self.receive(chunk),
                // The poller says why it ended in its last event.
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            },
            recv(routine) -> chunk => match chunk {
                Ok(chunk) => self.receive(chunk),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            },
            default(timeout) => {}
        }
        for _ in 0..EVENTS_AT_ONCE {
            let Ok(event) = self.parts.queues.events.try_recv() else { break };
            self.event(event)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event) -> Result<(), Exit> {
        match event {
            Event::Ready { worker, limits } => {
                self.batcher.get_or_insert_with(|| Batcher::new(limits));
                self.idle.push(worker);
            }
            Event::Worked { worker, verdicts, slowest } => {
                if let Some(batcher) = &mut self.batcher {
                    batcher.worked(slowest);
                }
                self.idle.push(worker);
                // Backwards: what goes back to the front of its lane keeps its order there.
                for (ticket, verdict) in verdicts.into_iter().rev() {
                    self.verdict(ticket, verdict)?;
                }
            }
            Event::Acked { ticket, result } => self.acked(ticket, result)?,
            Event::Revoked { partitions, epoch, reply } => {
                let commits = partitions
                    .iter()
                    .filter_map(|partition| self.offsets.revoke(*partition, epoch))
                    .collect();
                drop(reply.send(commits));
                self.drop_stale();
            }
            Event::CommitFailed(partitions) => {
                for partition in partitions {
                    self.offsets.commit_failed(partition);
                }
            }
            Event::Stopped(failure) => return Err(self.stop(failure)),
            Event::Closed => return Err(self.stop(Failure::Fatal("the poller has ended".into()))),
        }
        Ok(())
    }

    fn window(&mut self, lane: Priority) -> &mut Window {
        match lane {
            Priority::Urgent => &mut self.urgent,
            Priority::Routine => &mut self.routine,
        }
    }

    fn receive(&mut self, chunk: Vec<Fetched>) {
        let received = Instant::now();
        for Fetched { record, partition, epoch } in chunk {
            if self.offsets.receive(partition, epoch, record.offset) == Receipt::Stale {
                continue;
            }
            self.parts.metrics.received.inc();
            let lane = self.parts.inputs.get(partition.input).map_or(Priority::Routine, |input| input.lane);
            self.window(lane).enter(record.size());
            let known = !self.parts.attempts.is_empty();
            let deaths = if known { self.parts.attempts.deaths(&record.position()) } else { 0 };
            let death = (deaths >= MAX_DEATHS).then(|| Death {
                cause: Cause::WorkerCrash,
                detail: format!("it was being processed at {deaths} deaths of the process"),
                attempts: deaths,
            });
            let key = record.key.as_ref().map(|key| self.keys.hash_one(key));
            let flight = Flight {
                record: Arc::new(record),
                partition,
                epoch,
                lane,
                key,
                received,
                stage: Stage::Waiting,
                attempts: 0,
                death: None,
                outages: 0,
                probe: false,
                alone: None,
            };
            let ticket = self.flights.insert(flight);
            match death {
                Some(death) => self.condemn_new(ticket, death),
                None => self.push(ticket),
            }
        }
        self.gauge();
    }

    fn gauge(&self) {
        self.parts.metrics.in_flight.set(self.flights.len() as i64);
        self.buffers.urgent.set(self.urgent.used().records as i64);
        self.buffers.routine.set(self.routine.used().records as i64);
    }

    fn push(&mut self, ticket: usize) {
        if let Some(flight) = self.flights.get(ticket) {
            self.dispatch.push(flight.waiting(ticket));
        }
    }

    /// A record that was dead when it came: it waits for its turn like any other, and is buried then.
    fn condemn_new(&mut self, ticket: usize, death: Death) {
        if let Some(flight) = self.flights.get_mut(ticket) {
            flight.death = Some(death);
        }
        self.push(ticket);
    }

    /// Drops what waits and belongs to a revoked assignment. What is being worked on ends by itself.
    fn drop_stale(&mut self) {
        let (flights, offsets) = (&self.flights, &self.offsets);
        let keep = |ticket: usize| {
            flights.get(ticket).is_some_and(|flight| !offsets.is_stale(flight.partition, flight.epoch))
        };
        let waiting = self.dispatch.retain(keep);
        let delayed = self.delayed.retain(keep);
        let alone = self.alone.filter(|ticket| {
            !keep(*ticket)
                && flights.get(*ticket).is_some_and(|flight| matches!(flight.stage, Stage::Waiting))
        });
        for ticket in waiting {
            // `retain` has released its key already.
            if let Some(flight) = self.flights.remove(ticket) {
                self.window(flight.lane).leave(flight.record.size());
            }
        }
        delayed.into_iter().chain(alone).for_each(|ticket| drop(self.forget(ticket)));
    }

    fn commit(&mut self, now: Instant) -> Result<(), Exit> {
        if now.saturating_duration_since(self.last_commit) < self.parts.settings.commit_every {
            return Ok(());
        }
        self.last_commit = now;
        let commits = self.offsets.take_commits();
        if commits.is_empty() {
            return Ok(());
        }
        if !self.parts.attempts.is_empty() {
            for commit in &commits {
                let Some(input) = self.parts.inputs.get(commit.partition.input) else { continue };
                if let Err(error) =
                    self.parts.attempts.committed(&input.topic, commit.partition.number, commit.next)
                {
                    return Err(self.stop(Failure::Fatal(error.into())));
                }
            }
        }
        let partitions: Vec<Partition> = commits.iter().map(|commit| commit.partition).collect();
        if let Err(TrySendError::Full(_)) = self.parts.queues.commands.try_send(Command::Commit(commits)) {
            // The poller is busy with the broker; these are handed out again next time.
            for partition in partitions {
                self.offsets.commit_failed(partition);
            }
        }
        Ok(())
    }

    fn stop(&self, failure: Failure) -> Exit {
        let stage = self.parts.name.to_string();
        match failure {
            Failure::Fatal(source) => Exit::Fatal { stage, source },
            Failure::Broker(source) => Exit::BrokerFatal { stage, source },
            Failure::Aborted => Exit::Aborted,
            Failure::Dead(Death { detail, .. }) | Failure::Record(detail) | Failure::Dependency(detail) => {
                Exit::Fatal { stage, source: detail.into() }
            }
        }
    }

    /// Commits what is finished and waits until the poller has left the group.
    fn close(&mut self, deadline: Instant) {
        let commits = self.offsets.take_commits();
        let left = || deadline.saturating_duration_since(Instant::now());
        if self.parts.queues.commands.send_timeout(Command::Close(commits), left()).is_err() {
            return;
        }
        while let Ok(event) = self.parts.queues.events.recv_timeout(left()) {
            match event {
                Event::Closed | Event::Stopped(Failure::Broker(_)) => return,
                // Committed by the close already.
                Event::Revoked { reply, .. } => drop(reply.send(Vec::new())),
                _ => {}
            }
        }
        tracing::warn!(stage = %self.parts.name, "consumer did not leave its group in time; the broker will notice");
    }
}
