//! Spans to whoever collects them: OTLP over HTTP (protobuf), off unless `trace.otlp` names a collector.
//!
//! ```text
//!   workers, publishers ─2,048 spans, full: dropped, counted─▶ exporter thread ─ POST <otlp>/v1/traces ─▶ collector
//!                                                              ≤ 512 spans, at most 1 s old
//!      no answer, 429, 5xx: the batch is tried again, longer waits each time, and the queue meanwhile fills
//!      another refusal: the batch is given up, counted
//! ```
//! A collector that is down costs spans and nothing else. Span ids are derived from event ids ([`runtime::trace`]), which no
//! SDK's own spans can be; hence OpenTelemetry's messages with a small exporter, and not its SDK.

mod message;

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use prost::Message as _;
use runtime::{
    LogKey,
    trace::{Span, Spans},
};

use crate::exit::Failure;

/// Spans that may wait: some 200 studies.
const QUEUE: usize = 2048;
/// Spans of one request, at most.
const BATCH: usize = 512;
/// How long a span waits for others.
const LINGER: Duration = Duration::from_secs(1);
/// How long the collector may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the last spans may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(2);
/// Waits between attempts.
const BACKOFF: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
];

/// What becomes of spans.
#[derive(Clone)]
struct TraceMetrics {
    exported: IntCounter,
    refused: IntCounter,
    dropped: IntCounter,
}

impl TraceMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help =
            "Spans by what became of them: exported, refused by the collector, dropped for lack of room.";
        let spans = IntCounterVec::new(Opts::new("prescreen_trace_spans_total", help), &["outcome"])?;
        registry.register(Box::new(spans.clone()))?;
        let of = |outcome| spans.with_label_values(&[outcome]);
        Ok(Self { exported: of("exported"), refused: of("refused"), dropped: of("dropped") })
    }
}

/// The exporter's thread. When this is dropped, what waits is sent, if that goes quickly, and the thread ends.
pub(crate) struct Tracing {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Tracing {
    /// Starts the exporter to the collector at `otlp`; `instance` names this process among its like. Returns where spans go.
    pub(crate) fn start(
        otlp: &str,
        instance: &str,
        log_key: LogKey,
        registry: &Registry,
    ) -> Result<(Self, Spans), Failure> {
        let metrics = TraceMetrics::register(registry)?;
        let (queue, spans) = bounded(QUEUE);
        let (stop, stopped) = bounded::<()>(0);
        let collected = Spans::into_queue(queue, metrics.dropped.clone(), log_key);
        let exporter = Exporter {
            url: format!("{}/v1/traces", otlp.trim_end_matches('/')),
            instance: instance.to_owned(),
            metrics,
            agent: ureq::Agent::config_builder().http_status_as_error(false).build().into(),
            reachable: true,
        };
        let thread =
            thread::Builder::new().name("trace".to_owned()).spawn(move || exporter.run(&spans, &stopped))?;
        Ok((Self { stop: Some(stop), thread: Some(thread) }, collected))
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        drop(self.stop.take());
        // It cannot outlast its farewell; had it panicked, there would be nothing left to do about it.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    /// Worth another attempt.
    #[error("collector does not answer")]
    Unreachable(#[source] Box<ureq::Error>),
    /// Worth another attempt, says OTLP.
    #[error("collector answers {0}")]
    Busy(u16),
    /// These spans will never be taken.
    #[error("collector refuses spans with {0}; is trace.otlp the address of its OTLP receiver over HTTP?")]
    Refused(u16),
}

struct Exporter {
    url: String,
    instance: String,
    metrics: TraceMetrics,
    agent: ureq::Agent,
    /// The log tells of changes only.
    reachable: bool,
}

impl Exporter {
    fn run(mut self, spans: &Receiver<Span>, stopped: &Receiver<()>) {
        loop {
            let (batch, ending) = collect(spans, stopped);
            if ending {
                return self.farewell(batch, spans);
            }
            if !self.deliver(&batch, stopped) {
                return self.farewell(batch, spans);
            }
        }
    }

    /// Sends a batch, however often that takes. False: it was told to stop before.
    fn deliver(&mut self, batch: &[Span], stopped: &Receiver<()>) -> bool {
        for wait in BACKOFF.into_iter().chain(std::iter::repeat(BACKOFF[BACKOFF.len() - 1])) {
            match self.send(batch, ANSWER) {
                Ok(()) | Err(ExportError::Refused(_)) => return true,
                Err(ExportError::Unreachable(_) | ExportError::Busy(_)) => {}
            }
            if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return false;
            }
        }
        true
    }

    /// The last spans, one attempt each while there is time.
    fn farewell(mut self, mut batch: Vec<Span>, spans: &Receiver<Span>) {
        let deadline = Instant::now() + FAREWELL;
        loop {
            batch.extend(spans.try_iter().take(BATCH.saturating_sub(batch.len())));
            let left = deadline.saturating_duration_since(Instant::now());
            if batch.is_empty() || left.is_zero() || self.send(&batch, left).is_err() {
                self.metrics.dropped.inc_by((batch.len() + spans.len()) as u64);
                return;
            }
            batch.clear();
        }
    }

    fn send(&mut self, batch: &[Span], patience: Duration) -> Result<(), ExportError> {
        let sent = self.post(batch, patience);
        match &sent {
            Ok(()) => self.metrics.exported.inc_by(batch.len() as u64),
            Err(ExportError::Refused(_)) => self.metrics.refused.inc_by(batch.len() as u64),
            Err(_) => {}
        }
        match &sent {
            Ok(()) if !self.reachable => tracing::info!("spans are taken again"),
            Err(error) if self.reachable => tracing::warn!(%error, "spans are not taken"),
            _ => {}
        }
        self.reachable = sent.is_ok();
        sent
    }

    fn post(&self, batch: &[Span], patience: Duration) -> Result<(), ExportError> {
        let body = message::request(batch, &self.instance).encode_to_vec();
        let request = self.agent.post(&self.url).header("content-type", "application/x-protobuf");
        let answer = request.config().timeout_global(Some(patience)).build().send(&body);
        match answer.map_err(|error| ExportError::Unreachable(Box::new(error)))?.status().as_u16() {
            200..=299 => Ok(()),
            status @ (429 | 502 | 503 | 504) => Err(ExportError::Busy(status)),
            status => Err(ExportError::Refused(status)),
        }
    }
}

/// The next batch, and whether it is the last.
fn collect(spans: &Receiver<Span>, stopped: &Receiver<()>) -> (Vec<Span>, bool) {
    let mut batch = Vec::new();
    let mut due = crossbeam_channel::never();
    loop {
        select! {
            recv(spans) -> span => {
                let Ok(span) = span else { return (batch, true) };
                if batch.is_empty() {
                    due = crossbeam_channel::after(LINGER);
                }
                batch.push(span);
                if batch.len() == BATCH {
                    return (batch, false);
                }
            }
            recv(due) -> _ => return (batch, false),
            recv(stopped) -> _ => return (batch, true),
        }
    }
}

#[cfg(test)]
mod tests;
