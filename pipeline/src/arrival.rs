//! The arrival gate: a provisional word on each echo instance while its study is still open and its patient still there.
//!
//! ```text
//!   intake's owner ─ try_send (intake.arrival_queue) ─▶ gate thread 0…n ─1─▶ decode worker of its own
//!     full: skipped, counted                               │ blob put ▶ the quality gate's own checks ▶ picture put
//!                                                          └─▶ instance.gated.v1 ─▶ store ─▶ console
//! ```
//! Invariants:
//! - Nobody waits for it and nothing rests on it: what goes wrong here is logged, counted and dropped. The study's own
//!   gate sees every instance.
//! - It judges by the same code and thresholds as the stage.
//! - Its decode workers are not the stages', so that a backlog of studies does not delay a word, nor a burst of loops a
//!   study.

mod picture;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded, select_biased};
use intake::{Arrival, Intake};
use jiff::Timestamp;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};
use quality_gate::{Judged, QualityGate};
use runtime::{Client, MakeConfig, trace::Spans};
use schemas::{Envelope, InstanceGated, Message as _, RunId, Standing, Verdict, event_id};
use services::{DecodePool, ObjectBlobs};
use stage::{BlobError, Ctx, StageError};

use crate::{
    exit::Failure,
    outlet::{Outlet, OutletError},
    word::word,
};

/// The step's name in events.
const STEP: &str = "arrival-gate";
/// How long a broker may take to acknowledge. A word that comes later is no help to anybody.
const ACKNOWLEDGE: Duration = Duration::from_secs(5);
/// Seconds from stored to published: what is to be shown within 5 s.
const SECONDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 60.0];

/// Why an instance got no word. The variant is the metric's label.
#[derive(Debug, thiserror::Error)]
enum Missed {
    #[error("bytes cannot be put where decode workers read them")]
    Blobs(#[from] BlobError),
    #[error("gate cannot judge the instance")]
    Gate(#[from] StageError),
    #[error("gate panicked")]
    Panicked,
    #[error("word cannot be published")]
    Publish(#[from] OutletError),
}

impl Missed {
    fn reason(&self) -> &'static str {
        match self {
            Self::Blobs(_) => "blobs",
            Self::Gate(_) => "gate",
            Self::Panicked => "panicked",
            Self::Publish(_) => "broker",
        }
    }
}

/// What the arrival gate counts.
#[derive(Clone)]
struct GateMetrics {
    words: IntCounterVec,
    missed: IntCounterVec,
    seconds: Histogram,
}

impl GateMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            words: IntCounterVec::new(
                Opts::new("prescreen_arrival_words_total", "Provisional words published, by verdict."),
                &["verdict"],
            )?,
            missed: IntCounterVec::new(
                Opts::new(
                    "prescreen_arrival_missed_total",
                    "Instances taken up that got no provisional word, by reason.",
                ),
                &["reason"],
            )?,
            seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "prescreen_arrival_seconds",
                    "Seconds from an instance's being stored to its provisional word's being published.",
                )
                .buckets(SECONDS.to_vec()),
            )?,
        };
        registry.register(Box::new(metrics.words.clone()))?;
        registry.register(Box::new(metrics.missed.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        Ok(metrics)
    }

    fn count(&self, word_on: &InstanceGated, now: Timestamp) {
        let verdict = match word_on.instance.verdict {
            _ if !word_on.instance.applicable => "not_applicable".to_owned(),
            verdict @ (Verdict::Accept | Verdict::Caution | Verdict::Reject) => word(verdict),
        };
        self.words.with_label_values(&[verdict]).inc();
        let taken = (now - word_on.received_at).total(jiff::Unit::Second).unwrap_or_default();
        self.seconds.observe(taken.max(0.0));
    }
}

/// What the gate works with.
pub(crate) struct GateParts {
    pub(crate) config: MakeConfig<quality_gate::Config>,
    pub(crate) blobs: Arc<ObjectBlobs>,
    /// Its own, one worker for each thread.
    pub(crate) frames: Arc<DecodePool>,
    pub(crate) client: Client,
    pub(crate) spans: Spans,
    pub(crate) threads: usize,
    /// Instances that may wait.
    pub(crate) queue: usize,
}

/// The running gate.
pub(crate) struct ArrivalGate {
    stop: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl ArrivalGate {
    /// Asks `intake` for its arrivals and starts the threads.
    pub(crate) fn start(intake: &Intake, parts: GateParts, registry: &Registry) -> Result<Self, Failure> {
        let metrics = GateMetrics::register(registry)?;
        let arrivals = intake.arrivals(parts.queue)?;
        let (stop, stopped) = bounded::<()>(0);
        let mut threads = Vec::new();
        for number in 0..parts.threads {
            let gate = GateThread {
                gate: gate(&parts.config)?,
                config: Arc::clone(&parts.config),
                blobs: Arc::clone(&parts.blobs),
                frames: Arc::clone(&parts.frames),
                outlet: Outlet::new(STEP, parts.client.clone(), ACKNOWLEDGE, parts.spans.clone()),
                metrics: metrics.clone(),
            };
            let (arrivals, stopped) = (arrivals.clone(), stopped.clone());
            let name = format!("arrival-gate-{number}");
            threads.push(thread::Builder::new().name(name).spawn(move || gate.run(&arrivals, &stopped))?);
        }
        Ok(Self { stop, threads })
    }

    /// Asks the threads to end after the instance each is at; those still waiting get no word.
    pub(crate) fn stop(self) -> Vec<JoinHandle<()>> {
        drop(self.stop);
        self.threads
    }
}

fn gate(config: &MakeConfig<quality_gate::Config>) -> Result<QualityGate, Failure> {
    QualityGate::try_new(config()).map_err(|error| Failure::usage(format!("stages.quality_gate.{error}")))
}

struct GateThread {
    gate: QualityGate,
    config: MakeConfig<quality_gate::Config>,
    blobs: Arc<ObjectBlobs>,
    frames: Arc<DecodePool>,
    outlet: Outlet,
    metrics: GateMetrics,
}

impl GateThread {
    fn run(mut self, arrivals: &Receiver<Arrival>, stopped: &Receiver<()>) {
        loop {
            let arrival = select_biased! {
                recv(stopped) -> _ => return,
                recv(arrivals) -> arrival => match arrival {
                    Ok(arrival) => arrival,
                    Err(_) => return,
                },
            };
            // Pixels are decoded elsewhere, but the checks are code too, and this thread is nobody's to lose.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.speak(&arrival)));
            match outcome.unwrap_or(Err(Missed::Panicked)) {
                Ok(word) => self.metrics.count(&word, Timestamp::now()),
                Err(missed) => self.miss(missed),
            }
        }
    }

    fn miss(&mut self, missed: Missed) {
        self.metrics.missed.with_label_values(&[missed.reason()]).inc();
        if matches!(missed, Missed::Panicked)
            && let Ok(gate) = gate(&self.config)
        {
            self.gate = gate;
        }
        let error = Failure::from(missed).chain();
        tracing::warn!(%error, "an instance gets no provisional word; its study's own gate follows");
    }

    /// Judges one instance and publishes the word.
    fn speak(&mut self, arrival: &Arrival) -> Result<InstanceGated, Missed> {
        arrival.put(&*self.blobs)?;
        let ctx = Ctx::new(&*self.blobs, &*self.frames, arrival.at, tracing::Span::none());
        let instance = &arrival.instance;
        let Judged { instance: gated, advice } = self.gate.judge(arrival.study.domain, instance, &ctx)?;
        let word = InstanceGated {
            study: arrival.study.clone(),
            standing: Standing::Provisional,
            received_from: arrival.from.clone(),
            received_at: arrival.at,
            picture: picture::of_the_middle(&instance.blob, &ctx)?,
            instance: gated,
            advice,
        };
        self.publish(&word)?;
        Ok(word)
    }

    fn publish(&mut self, word: &InstanceGated) -> Result<(), Missed> {
        let instance = &word.instance;
        let cause = [
            word.study().study_uid.as_str(),
            instance.instance_uid.as_str(),
            &instance.blob.sha256.to_string(),
        ];
        let run = RunId::live();
        let id = event_id(&run, STEP, &cause);
        let envelope = Envelope::of(word, id, run, STEP, Timestamp::now());
        self.outlet.publish(word, &envelope, word.received_at.min(envelope.time))?;
        Ok(())
    }
}
