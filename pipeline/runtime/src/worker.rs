//! A worker thread: takes orders, does the work, says what became of each record. It decides nothing.
//!
//! A panic is caught here and nowhere else. Work that panicked is made anew with the same services; its records then
//! go one by one, and one that panics again is a dead letter.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use jiff::Timestamp;
use prometheus::Counter;
use schemas::Cause;
use stage::{BatchLimits, Blobs, Scope, StageError};

use crate::{
    batcher::CHUNK,
    dead_letter::{self, Death, chain},
    event::{Event, Failure, Job, Order, Verdict},
    metrics::StageMetrics,
    producer::{Output, Outputs},
    retry::RetryPolicy,
    settings::{DeadLetters, Input},
    shutdown::{Phase, Shutdown},
    suspect::{Slots, SuspectFile},
    trace::Spans,
};

/// What is done with records: by a stage, or by a sink.
pub(crate) trait Work: Sized {
    /// What it is made of. Outlives a panic.
    type Parts: Send;
    /// What it found out about one record.
    type Answer;

    fn build(parts: &mut Self::Parts) -> Result<Self, StageError>;
    fn limits(&self) -> BatchLimits;
    /// One answer for each job, in order. May panic; nothing has left this thread then.
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Self::Answer, Failure>>;
    /// Sends what an answer asks for.
    fn conclude(&self, job: &Job, answer: Self::Answer, hands: &mut Hands) -> Verdict;
}

/// What every worker has besides its work.
pub(crate) struct Hands {
    pub(crate) name: Arc<str>,
    pub(crate) inputs: Arc<[Input]>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) metrics: Arc<StageMetrics>,
    pub(crate) retry: RetryPolicy,
    pub(crate) shutdown: Shutdown,
    pub(crate) spans: Spans,
    /// Time spent waiting for room in the producer's queue during the present order.
    pub(crate) blocked: Duration,
}

impl Hands {
    pub(crate) fn send<'h>(
        &mut self,
        ticket: usize,
        output: Output<'_, impl Iterator<Item = (&'h str, &'h [u8])>>,
    ) -> Result<(), Failure> {
        self.blocked += self.outputs.send(output, ticket)?;
        Ok(())
    }

    /// Puts a record on its dead-letter topic.
    fn bury(&mut self, job: &Job, death: &Death) -> Verdict {
        let Some(DeadLetters::To(topic)) = self.inputs.get(job.input).map(|input| input.dead_letters.clone())
        else {
            return Verdict::Failed(Failure::Fatal("record of a terminal topic was to be buried".into()));
        };
        let blobs = Arc::clone(&self.blobs);
        let letter =
            match dead_letter::write(&job.record, death, &self.name, Timestamp::now(), blobs.as_ref()) {
                Ok(letter) => letter,
                Err(error) => return Verdict::Failed(Failure::Dependency(chain(&error))),
            };
        let output = Output {
            topic: &topic,
            key: letter.key,
            headers: letter.headers.iter(),
            payload: &letter.payload,
        };
        match self.send(job.ticket, output) {
            Ok(()) => Verdict::Sent(crate::metrics::Finished::DeadLettered),
            // Anything but this would bury it again and again.
            Err(Failure::Dead(death)) => {
                Verdict::Failed(Failure::Fatal(format!("dead letter for {topic}: {}", death.detail).into()))
            }
            Err(failure) => Verdict::Failed(failure),
        }
    }
}

pub(crate) struct Worker<W: Work> {
    index: usize,
    parts: W::Parts,
    work: W,
    hands: Hands,
    slots: Slots,
    /// Time of the slowest answer of the present order.
    slowest: Duration,
}

/// Where a worker's orders come from, where its verdicts go, and where it notes its suspects.
pub(crate) struct Desk {
    pub(crate) index: usize,
    pub(crate) orders: Receiver<Order>,
    pub(crate) events: Sender<Event>,
    pub(crate) suspects: SuspectFile,
}

/// How often a worker that waits counts its waiting.
const COUNTED: Duration = Duration::from_secs(1);

/// Works until the orders end.
pub(crate) fn run<W: Work>(desk: Desk, mut parts: W::Parts, hands: Hands) {
    let Desk { index, orders, events, suspects } = desk;
    let work = match build::<W>(&mut parts, &hands) {
        Ok(work) => work,
        Err(failure) => return drop(events.send(Event::Stopped(failure))),
    };
    let limits = work.limits();
    let slots = suspects.slots(index, limits.items.max(1));
    let mut worker = Worker { index, parts, work, hands, slots, slowest: Duration::ZERO };
    drop(events.send(Event::Ready { worker: index, limits }));
    while let Some((order, started)) = next(&orders, &worker.hands.metrics.idle) {
        let event = worker.work(order, started);
        if events.send(event).is_err() {
            return;
        }
    }
}

/// The next order and when it came; `None` when there are no more. Waiting is counted while it lasts, so that a share of the
/// last minute is one of that minute.
fn next(orders: &Receiver<Order>, idle: &Counter) -> Option<(Order, Instant)> {
    let mut since = Instant::now();
    loop {
        let order = orders.recv_timeout(COUNTED);
        let now = Instant::now();
        idle.inc_by(now.saturating_duration_since(since).as_secs_f64());
        match order {
            Ok(order) => return Some((order, now)),
            Err(RecvTimeoutError::Timeout) => since = now,
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// Makes the work. What it needs may be down at first: then it is tried again, as long as the run goes on.
fn build<W: Work>(parts: &mut W::Parts, hands: &Hands) -> Result<W, Failure> {
    let mut failures = 0;
    loop {
        let built = guarded(|| W::build(parts));
        let Some(built) = built else { return Err(Failure::Fatal("it panicked while it was made".into())) };
        match built.map_err(failure) {
            Ok(work) => return Ok(work),
            Err(Failure::Dependency(detail) | Failure::Record(detail)) => {
                failures += 1;
                tracing::warn!(stage = %hands.name, failures, detail, "stage cannot be made yet; tried again");
                let until = Instant::now() + hands.retry.backoff(failures, u64::MAX);
                while Instant::now() < until {
                    if hands.shutdown.phase() != Phase::Running {
                        return Err(Failure::Aborted);
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            Err(Failure::Dead(death)) => return Err(Failure::Fatal(death.detail.into())),
            Err(failure) => return Err(failure),
        }
    }
}

/// The one place where a panic is caught. Its message may hold anything and is not looked at.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// What follows from an error of a stage or sink.
pub(crate) fn failure(error: StageError) -> Failure {
    match error {
        StageError::Invalid(source) => Failure::Dead(Death::invalid(&source)),
        StageError::Transient { scope: Scope::Record, source } => Failure::Record(chain(source.as_ref())),
        StageError::Transient { scope: Scope::Dependency, source } => {
            Failure::Dependency(chain(source.as_ref()))
        }
        StageError::Fatal(source) => Failure::Fatal(source),
    }
}

impl<W: Work> Worker<W> {
    fn work(&mut self, order: Order, started: Instant) -> Event {
        self.hands.blocked = Duration::ZERO;
        self.slowest = Duration::ZERO;
        let mut verdicts = match order {
            Order::Process(jobs) => self.process(&jobs),
            Order::Bury(job, death) => {
                let begun = self.hands.spans.begin();
                let verdict = self.hands.bury(&job, &death);
                self.hands.spans.concluded(&self.hands.name, &job, begun, &verdict);
                vec![(job.ticket, verdict)]
            }
        };
        if let Err(error) = self.slots.clear() {
            verdicts.extend(
                verdicts.last().map(|(ticket, _)| *ticket).map(|ticket| (ticket, suspects_lost(error))),
            );
        }
        self.hands.metrics.worked(started.elapsed(), self.hands.blocked);
        Event::Worked { worker: self.index, verdicts, slowest: self.slowest }
    }

    fn process(&mut self, jobs: &[Job]) -> Vec<(usize, Verdict)> {
        let mut verdicts = Vec::with_capacity(jobs.len());
        let mut spent = Duration::ZERO;
        for group in jobs.chunks(self.work.limits().items.max(1)) {
            if spent > CHUNK {
                verdicts.extend(group.iter().map(|job| (job.ticket, Verdict::Untouched)));
                continue;
            }
            let begun = self.hands.spans.begin();
            let started = Instant::now();
            let answers = self.answer(group);
            let took = started.elapsed();
            spent += took;
            self.slowest = self.slowest.max(took);
            self.hands.metrics.duration.observe(took.as_secs_f64());
            let begun = self.hands.spans.answered(&self.hands.name, group, begun);
            for (job, answer) in group.iter().zip(answers) {
                let verdict = match answer {
                    Ok(answer) => self.work.conclude(job, answer, &mut self.hands),
                    Err(failure) => Verdict::Failed(failure),
                };
                self.hands.spans.concluded(&self.hands.name, job, begun, &verdict);
                verdicts.push((job.ticket, verdict));
            }
        }
        verdicts
    }

    fn answer(&mut self, group: &[Job]) -> Vec<Result<W::Answer, Failure>> {
        for (slot, job) in group.iter().enumerate() {
            if let Err(error) = self.slots.enter(slot, &job.record) {
                return vec![Err(Failure::Fatal(error.into()))];
            }
        }
        match guarded(|| self.work.answer(group)) {
            Some(answers) if answers.len() == group.len() => answers,
            Some(answers) => {
                let error = format!("{} inputs were answered with {} results", group.len(), answers.len());
                vec![Err(Failure::Fatal(error.into()))]
            }
            None => self.answer_one_by_one(group),
        }
    }

    fn answer_one_by_one(&mut self, group: &[Job]) -> Vec<Result<W::Answer, Failure>> {
        let mut answers = Vec::with_capacity(group.len());
        let mut panicked = true;
        for job in group {
            if std::mem::take(&mut panicked) {
                self.hands.metrics.panics.inc();
                tracing::error!(stage = %self.hands.name, position = %job.record.position(), "panic; made anew");
                match build(&mut self.parts, &self.hands) {
                    Ok(work) => self.work = work,
                    Err(failure) => {
                        answers.push(Err(failure));
                        return answers;
                    }
                }
            }
            // The others have not been touched yet, or are done: only this one is suspect.
            if let Err(error) = self.slots.clear().and_then(|()| self.slots.enter(0, &job.record)) {
                answers.push(Err(Failure::Fatal(error.into())));
                return answers;
            }
            let answer =
                guarded(|| self.work.answer(std::slice::from_ref(job))).and_then(|mut one| one.pop());
            panicked = answer.is_none();
            answers.push(answer.unwrap_or_else(|| {
                let detail = "it made the stage panic, alone and twice".to_owned();
                Err(Failure::Dead(Death { cause: Cause::Panic, detail, attempts: 2 }))
            }));
        }
        answers
    }
}

fn suspects_lost(error: std::io::Error) -> Verdict {
    Verdict::Failed(Failure::Fatal(error.into()))
}
