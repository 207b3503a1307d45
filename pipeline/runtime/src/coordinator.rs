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

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, never, select};
use jiff::Timestamp;
use prometheus::IntGauge;
use rdkafka::error::KafkaError;
use schemas::{Cause, Priority};

use crate::{
    attempts::{Attempts, MAX_DEATHS},
    batcher::Batcher,
    dead_letter::Death,
    dispatch::Dispatch,
    event::{Command, Event, Failure, Fetched, Job, Order, Verdict},
    flight::{Flight, Flights, Stage},
    limiter::Limiter,
    log_key::LogKey,
    metrics::{Finished, StageMetrics},
    offsets::{Offsets, Receipt},
    producer,
    record::Partition,
    retry::{Delayed, Outage, Permit},
    settings::{DeadLetters, Exit, Input, RunSettings},
    shutdown::{Phase, Shutdown},
    suspect::Solitude,
    window::Window,
};

/// How often a run looks at its shutdown token when nothing else happens.
const TICK: Duration = Duration::from_millis(50);
/// How long a suspect waits when another one is being processed.
const SOLITUDE_TAKEN: Duration = Duration::from_millis(50);
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
            parts,
        }
    }

    /// Runs until asked to stop or unable to go on, then commits what is finished and closes the consumer.
    pub(crate) fn run(mut self) -> Exit {
        let exit = self.work().unwrap_or_else(|exit| exit);
        let patience = if matches!(exit, Exit::Drained) { Duration::from_secs(10) } else { Duration::from_secs(3) };
        self.close(Instant::now() + patience);
        self.parts.metrics.in_flight.set(0);
        self.parts.metrics.paused.set(0);
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
            if drain_until.is_none() {
                self.hand_out(now)?;
            }
            self.commit(now)?;
            self.wait(now, drain_until.is_none())?;
        }
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
                let commits = partitions.iter().filter_map(|partition| self.offsets.revoke(*partition, epoch)).collect();
                drop(reply.send(commits));
                self.drop_stale();
            }
            Event::CommitFailed(partitions) => {
                partitions.iter().for_each(|partition| self.offsets.commit_failed(*partition));
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
            let deaths = match self.parts.attempts.is_empty() {
                true => 0,
                false => self.parts.attempts.deaths(&record.position()),
            };
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

    /// Gives work to idle workers.
    fn hand_out(&mut self, now: Instant) -> Result<(), Exit> {
        while let Some(ticket) = self.delayed.pop_due(now) {
            if let Some(flight) = self.flights.get(ticket) {
                self.dispatch.put_back(flight.waiting(ticket));
            }
        }
        let wall = Timestamp::now();
        while let Some(worker) = self.idle.last().copied() {
            if let Some(ticket) = self.alone {
                let begun = self.flights.get(ticket).is_none_or(|flight| !matches!(flight.stage, Stage::Waiting));
                if !begun && self.busy == 0 {
                    self.order(worker, &[ticket], now)?;
                }
                return Ok(());
            }
            let room = match self.outage.permit(now) {
                Permit::All => usize::MAX,
                Permit::Probe => 1,
                Permit::None => return Ok(()),
            };
            let Some(batcher) = &mut self.batcher else { return Ok(()) };
            let wanted = batcher.release(self.dispatch.ready(), now).min(room);
            let batch = self.take(wanted, wall, now);
            if batch.is_empty() {
                // Either nothing is due, or a suspect was taken: then once more round.
                if self.alone.is_some() {
                    continue;
                }
                return Ok(());
            }
            if room == 1 {
                self.outage.probe_sent();
                if let Some(flight) = batch.first().and_then(|ticket| self.flights.get_mut(*ticket)) {
                    flight.probe = true;
                }
            }
            self.order(worker, &batch, now)?;
        }
        Ok(())
    }

    /// Takes up to `wanted` records that go together. A dead one and a suspect go by themselves.
    fn take(&mut self, wanted: usize, wall: Timestamp, now: Instant) -> Vec<usize> {
        let mut batch = Vec::with_capacity(wanted);
        while batch.len() < wanted {
            let Some(waiting) = self.dispatch.take(wall) else { break };
            let Some(flight) = self.flights.get_mut(waiting.ticket) else { continue };
            let suspect = flight.death.is_none()
                && !self.parts.attempts.is_empty()
                && self.parts.attempts.deaths(&flight.record.position()) > 0;
            if !suspect && flight.death.is_none() {
                batch.push(waiting.ticket);
                continue;
            }
            if !batch.is_empty() {
                self.dispatch.put_back(waiting);
                break;
            }
            if !suspect {
                batch.push(waiting.ticket);
                break;
            }
            match self.parts.solitude.enter() {
                Some(alone) => {
                    flight.alone = Some(alone);
                    self.alone = Some(waiting.ticket);
                    break;
                }
                None => self.delayed.push(now + SOLITUDE_TAKEN, waiting.ticket),
            }
        }
        batch
    }

    fn order(&mut self, worker: usize, tickets: &[usize], now: Instant) -> Result<(), Exit> {
        let mut jobs = Vec::with_capacity(tickets.len());
        let mut death = None;
        for ticket in tickets {
            let Some(flight) = self.flights.get_mut(*ticket) else { continue };
            flight.stage = Stage::Working { acked: None };
            death = flight.death.clone();
            let wait = now.saturating_duration_since(flight.received);
            self.parts.metrics.queue_wait.observe(wait.as_secs_f64());
            jobs.push(Job {
                ticket: *ticket,
                record: Arc::clone(&flight.record),
                lane: flight.lane,
                input: flight.partition.input,
            });
        }
        self.busy += jobs.len();
        self.parts.metrics.batch_size.observe(jobs.len() as f64);
        let order = match (death, jobs.pop()) {
            (Some(death), Some(job)) => Order::Bury(job, death),
            (None, Some(job)) => {
                jobs.push(job);
                Order::Process(jobs)
            }
            (_, None) => return Ok(()),
        };
        self.idle.pop();
        // A worker that is idle has an empty queue of one: this never waits.
        match self.parts.queues.orders.get(worker).map(|orders| orders.send(order)) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.stop(Failure::Fatal("a worker thread has ended".into()))),
        }
    }

    fn verdict(&mut self, ticket: usize, verdict: Verdict) -> Result<(), Exit> {
        let failure = match verdict {
            Verdict::Done(finished) => {
                self.busy = self.busy.saturating_sub(1);
                self.finish(ticket, finished)?;
                return Ok(());
            }
            Verdict::Sent(finished) => {
                let Some(flight) = self.flights.get_mut(ticket) else { return Ok(()) };
                let acked = match std::mem::replace(&mut flight.stage, Stage::Sent(finished)) {
                    Stage::Working { acked } => acked,
                    Stage::Waiting | Stage::Sent(_) => None,
                };
                return acked.map_or(Ok(()), |result| self.acked(ticket, result));
            }
            Verdict::Untouched => {
                self.busy = self.busy.saturating_sub(1);
                let Some(flight) = self.flights.get_mut(ticket) else { return Ok(()) };
                flight.stage = Stage::Waiting;
                if self.offsets.is_stale(flight.partition, flight.epoch) {
                    self.forget(ticket);
                } else {
                    self.dispatch.put_back(flight.waiting(ticket));
                }
                return Ok(());
            }
            Verdict::Failed(failure) => failure,
        };
        self.busy = self.busy.saturating_sub(1);
        self.failed(ticket, failure)
    }

    fn acked(&mut self, ticket: usize, result: Result<(), KafkaError>) -> Result<(), Exit> {
        let Some(flight) = self.flights.get_mut(ticket) else { return Ok(()) };
        match &mut flight.stage {
            Stage::Working { acked } => {
                *acked = Some(result);
                Ok(())
            }
            Stage::Waiting => Ok(()),
            Stage::Sent(finished) => {
                let finished = *finished;
                self.busy = self.busy.saturating_sub(1);
                match result {
                    Ok(()) => self.finish(ticket, finished),
                    Err(error) => {
                        self.parts.metrics.retries_delivery.inc();
                        self.failed(ticket, producer::failure(error))
                    }
                }
            }
        }
    }

    /// A record failed; it is not with a worker any more.
    fn failed(&mut self, ticket: usize, failure: Failure) -> Result<(), Exit> {
        let now = Instant::now();
        let Some(flight) = self.flights.get_mut(ticket) else {
            return if matches!(failure, Failure::Fatal(_) | Failure::Broker(_)) { Err(self.stop(failure)) } else { Ok(()) };
        };
        flight.stage = Stage::Waiting;
        let probe = std::mem::take(&mut flight.probe);
        if self.alone == Some(ticket) {
            flight.alone = None;
            self.alone = None;
        }
        let position = flight.record.position();
        let jitter = self.keys.hash_one((position.partition, position.offset, flight.outages));
        let stale = self.offsets.is_stale(flight.partition, flight.epoch);
        if probe && !matches!(failure, Failure::Dependency(_)) {
            self.outage.probe_said_nothing();
        }
        match failure {
            Failure::Fatal(_) | Failure::Broker(_) | Failure::Aborted => Err(self.stop(failure)),
            _ if stale && !matches!(failure, Failure::Dependency(_)) => {
                self.forget(ticket);
                Ok(())
            }
            Failure::Dead(death) => self.condemn(ticket, death),
            Failure::Record(detail) => {
                let failures = match self.parts.attempts.failed(&position) {
                    Ok(failures) => failures,
                    Err(error) => return Err(self.stop(Failure::Fatal(error.into()))),
                };
                tracing::warn!(stage = %self.parts.name, %position, failures, detail, "record failed");
                if failures >= self.parts.settings.retry.record_budget {
                    let detail = format!("failed {failures} times, last: {detail}");
                    let death = Death { cause: Cause::RetriesExhausted, detail, attempts: failures };
                    return self.condemn(ticket, death);
                }
                self.parts.metrics.retries_record.inc();
                self.delayed.push(now + self.parts.settings.retry.backoff(failures, jitter), ticket);
                Ok(())
            }
            Failure::Dependency(detail) => {
                flight.outages = flight.outages.saturating_add(1);
                let wait = self.parts.settings.retry.backoff(flight.outages, jitter);
                if let Some(failures) = self.outage.failed(&self.parts.settings.retry, now, jitter) {
                    let stage = &*self.parts.name;
                    tracing::warn!(stage, failures, detail, "stage is paused: something it depends on is down");
                }
                self.parts.metrics.paused.set(1);
                if stale {
                    self.forget(ticket);
                    return Ok(());
                }
                self.parts.metrics.retries_dependency.inc();
                self.delayed.push(now + wait, ticket);
                Ok(())
            }
        }
    }

    /// Decides what becomes of a record that can never be processed.
    fn condemn(&mut self, ticket: usize, death: Death) -> Result<(), Exit> {
        let Some(flight) = self.flights.get_mut(ticket) else { return Ok(()) };
        let key = flight.record.key.as_deref().map(|key| self.parts.log_key.hash(key)).unwrap_or_default();
        let (stage, position, cause) = (&*self.parts.name, flight.record.position(), death.cause);
        let terminal = match self.parts.inputs.get(flight.partition.input) {
            Some(input) => input.dead_letters == DeadLetters::Terminal,
            None => true,
        };
        self.parts.metrics.dead_letter(cause);
        if terminal {
            tracing::error!(stage, %position, study.uid_hash = key, %cause, "dead letter cannot be used; discarded");
            return self.finish(ticket, Finished::Discarded);
        }
        tracing::warn!(stage, %position, study.uid_hash = key, %cause, "dead letter");
        if let Err(reached) = self.limiter.dead(Instant::now()) {
            let stage = self.parts.name.to_string();
            return Err(Exit::DeadLetterLimit { stage, dead: reached.dead, records: reached.records });
        }
        flight.death = Some(death);
        let waiting = flight.waiting(ticket);
        self.dispatch.put_back(waiting);
        Ok(())
    }

    fn finish(&mut self, ticket: usize, finished: Finished) -> Result<(), Exit> {
        let Some(flight) = self.forget(ticket) else { return Ok(()) };
        self.offsets.complete(flight.partition, flight.epoch, flight.record.offset);
        self.parts.metrics.finished(finished, Timestamp::now());
        if finished != Finished::DeadLettered {
            self.limiter.alive(Instant::now());
        }
        if flight.probe && self.outage.succeeded() {
            tracing::info!(stage = %self.parts.name, "stage goes on");
            self.parts.metrics.paused.set(0);
        }
        if !self.parts.attempts.is_empty()
            && let Err(error) = self.parts.attempts.finished(&flight.record.position())
        {
            return Err(self.stop(Failure::Fatal(error.into())));
        }
        Ok(())
    }

    /// Takes a record out of flight; the next of its key may go.
    fn forget(&mut self, ticket: usize) -> Option<Flight> {
        let flight = self.flights.remove(ticket)?;
        self.window(flight.lane).leave(flight.record.size());
        self.dispatch.release(flight.key);
        self.gauge();
        if self.alone == Some(ticket) {
            self.alone = None;
        }
        Some(flight)
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
            !keep(*ticket) && flights.get(*ticket).is_some_and(|flight| matches!(flight.stage, Stage::Waiting))
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
            partitions.iter().for_each(|partition| self.offsets.commit_failed(*partition));
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
