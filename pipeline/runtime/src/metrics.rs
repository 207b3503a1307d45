//! Every metric of the runtime, declared once.
//!
//! Labels are bounded: stages, topics, partitions and the closed lists in this crate. Never a study or a path.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry,
};
use schemas::Cause;

/// Seconds: from a pass-through of microseconds to a model's half minute.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
const BATCH: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0];

macro_rules! metrics {
    ($($field:ident: $vec:ty, $name:literal, [$($label:literal),*], $help:literal;)*) => {
        /// All metric families of the runtime. Cheap to clone; registered once for each registry.
        #[derive(Clone)]
        pub struct Metrics { $(pub(crate) $field: $vec,)* }

        impl Metrics {
            /// Declares every family on `registry`. An error if one is declared there already.
            pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
                $(
                    let $field = <$vec as Family>::declare(
                        concat!("prescreen_", $name), $help, &[$($label),*],
                    )?;
                    registry.register(Box::new($field.clone()))?;
                )*
                Ok(Self { $($field,)* })
            }
        }
    };
}

/// What a family is made of, so that the list below can name it by type.
trait Family: Sized {
    fn declare(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error>;
}

macro_rules! family {
    ($($vec:ty),*) => {$(
        impl Family for $vec {
            fn declare(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
                Self::new(Opts::new(name, help), labels)
            }
        }
    )*};
}
family!(CounterVec, GaugeVec, IntCounterVec, IntGaugeVec);

impl Family for HistogramVec {
    fn declare(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        let buckets = if name.ends_with("_seconds") { SECONDS.to_vec() } else { BATCH.to_vec() };
        Self::new(HistogramOpts::new(name, help).buckets(buckets), labels)
    }
}

metrics! {
    received: IntCounterVec, "stage_received_total", ["stage"], "Records read from the stage's topics.";
    processed: IntCounterVec, "stage_processed_total", ["stage", "outcome"], "Records finished, by outcome.";
    in_flight: IntGaugeVec, "stage_in_flight", ["stage"], "Records read and not finished.";
    last_processed: GaugeVec, "stage_last_processed_timestamp_seconds", ["stage"], "When a record was last finished.";
    duration: HistogramVec, "stage_duration_seconds", ["stage"], "Seconds of work on one record or batch.";
    queue_wait: HistogramVec, "stage_queue_wait_seconds", ["stage"], "Seconds from reading a record to beginning it.";
    batch_size: HistogramVec, "stage_batch_size", ["stage"], "Records handed to a worker at once.";
    retries: IntCounterVec, "stage_retries_total", ["stage", "reason"], "Records tried again, by reason.";
    errors: IntCounterVec, "stage_errors_total", ["stage", "kind"], "Failures, by kind.";
    paused: IntGaugeVec, "stage_paused", ["stage"], "1 while the stage waits for something it depends on.";
    held: IntGaugeVec, "stage_paused_by_operator", ["stage"], "1 while an operator holds the stage back.";
    memo_hits: IntCounterVec, "stage_memo_hits_total", ["stage"], "Answers taken from the memo.";
    busy: CounterVec, "stage_busy_seconds_total", ["stage"], "Seconds workers worked.";
    idle: CounterVec, "stage_idle_seconds_total", ["stage"], "Seconds workers waited for records.";
    backpressured: CounterVec, "stage_backpressured_seconds_total", ["stage"], "Seconds workers waited for room to send.";
    buffer_used: IntGaugeVec, "buffer_used", ["stage", "buffer"], "Entries in a bounded buffer.";
    buffer_capacity: IntGaugeVec, "buffer_capacity", ["stage", "buffer"], "Entries a bounded buffer may hold.";
    pauses: IntCounterVec, "kafka_pauses_total", ["stage"], "Times a lane's partitions were paused for lack of room.";
    rebalances: IntCounterVec, "kafka_rebalances_total", ["stage"], "Assignments and revocations.";
    commit_failures: IntCounterVec, "kafka_commit_failures_total", ["stage"], "Offset commits that failed.";
    position_stalled: IntGaugeVec, "kafka_position_stalled", ["topic"], "1 when records wait and none arrives.";
    lag_records: IntGaugeVec, "kafka_lag_records", ["group", "topic", "partition"], "Records not committed.";
    oldest_age: GaugeVec, "kafka_oldest_unprocessed_age_seconds", ["group", "topic"], "Age of the oldest record not committed.";
    drain_eta: GaugeVec, "kafka_drain_eta_seconds", ["group", "topic"], "Seconds until nothing is left; +Inf while not draining.";
    lost_records: IntCounterVec, "kafka_lost_records_total", ["group", "topic"], "Records retention deleted before they were committed.";
    dlq_records: IntGaugeVec, "dlq_records", ["topic"], "Records on a dead-letter topic.";
    dead_letters: IntCounterVec, "stage_dead_letters_total", ["stage", "cause"], "Records sent to a dead-letter topic, by cause.";
}

/// What became of a finished record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finished {
    Emitted,
    Rejected,
    Written,
    DeadLettered,
    /// Invalid on a terminal topic: counted and logged.
    Discarded,
    /// A heartbeat that waited for so long that it says nothing any more.
    Expired,
}

impl Finished {
    const ALL: [Self; 6] =
        [Self::Emitted, Self::Rejected, Self::Written, Self::DeadLettered, Self::Discarded, Self::Expired];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Emitted => "emitted",
            Self::Rejected => "rejected",
            Self::Written => "written",
            Self::DeadLettered => "dead_lettered",
            Self::Discarded => "discarded",
            Self::Expired => "expired",
        }
    }
}

/// The metrics of one run, resolved once: a record costs a few atomic additions.
pub(crate) struct StageMetrics {
    pub(crate) received: IntCounter,
    pub(crate) in_flight: IntGauge,
    pub(crate) duration: Histogram,
    pub(crate) queue_wait: Histogram,
    pub(crate) batch_size: Histogram,
    pub(crate) retries_record: IntCounter,
    pub(crate) retries_dependency: IntCounter,
    pub(crate) retries_delivery: IntCounter,
    pub(crate) panics: IntCounter,
    pub(crate) paused: IntGauge,
    pub(crate) held: IntGauge,
    pub(crate) memo_hits: IntCounter,
    pub(crate) busy: Counter,
    pub(crate) idle: Counter,
    pub(crate) backpressured: Counter,
    pub(crate) pauses: IntCounter,
    pub(crate) rebalances: IntCounter,
    pub(crate) commit_failures: IntCounter,
    last_processed: Gauge,
    finished: [IntCounter; Finished::ALL.len()],
    all: Metrics,
    stage: String,
}

impl Metrics {
    pub(crate) fn stage(&self, stage: &str) -> StageMetrics {
        let one = &[stage];
        let retries = |reason| self.retries.with_label_values(&[stage, reason]);
        StageMetrics {
            received: self.received.with_label_values(one),
            in_flight: self.in_flight.with_label_values(one),
            duration: self.duration.with_label_values(one),
            queue_wait: self.queue_wait.with_label_values(one),
            batch_size: self.batch_size.with_label_values(one),
            retries_record: retries("record"),
            retries_dependency: retries("dependency"),
            retries_delivery: retries("delivery"),
            panics: self.errors.with_label_values(&[stage, "panic"]),
            paused: self.paused.with_label_values(one),
            held: self.held.with_label_values(one),
            memo_hits: self.memo_hits.with_label_values(one),
            busy: self.busy.with_label_values(one),
            idle: self.idle.with_label_values(one),
            backpressured: self.backpressured.with_label_values(one),
            pauses: self.pauses.with_label_values(one),
            rebalances: self.rebalances.with_label_values(one),
            commit_failures: self.commit_failures.with_label_values(one),
            last_processed: self.last_processed.with_label_values(one),
            finished: Finished::ALL
                .map(|outcome| self.processed.with_label_values(&[stage, outcome.as_str()])),
            all: self.clone(),
            stage: stage.to_owned(),
        }
    }
}

impl StageMetrics {
    pub(crate) fn finished(&self, outcome: Finished, now: Timestamp) {
        if let Some(counter) = self.finished.get(outcome as usize) {
            counter.inc();
        }
        self.last_processed.set(now.as_millisecond() as f64 / 1e3);
    }

    pub(crate) fn dead_letter(&self, cause: Cause) {
        self.all.dead_letters.with_label_values(&[self.stage.as_str(), cause.as_str()]).inc();
        self.all.errors.with_label_values(&[self.stage.as_str(), cause.as_str()]).inc();
    }

    pub(crate) fn buffer(&self, buffer: &str, capacity: usize) -> IntGauge {
        let labels = &[self.stage.as_str(), buffer];
        self.all.buffer_capacity.with_label_values(labels).set(capacity as i64);
        self.all.buffer_used.with_label_values(labels)
    }

    pub(crate) fn position_stalled(&self, topic: &str, stalled: bool) {
        self.all.position_stalled.with_label_values(&[topic]).set(i64::from(stalled));
    }

    pub(crate) fn worked(&self, busy: Duration, backpressured: Duration) {
        self.busy.inc_by(busy.saturating_sub(backpressured).as_secs_f64());
        self.backpressured.inc_by(backpressured.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_declared_once_with_prefix_and_help() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        assert!(Metrics::register(&registry).is_err(), "a second declaration is refused");
        let stage = metrics.stage("quality_gate");
        stage.finished(Finished::Rejected, Timestamp::from_second(5).unwrap());
        stage.dead_letter(Cause::Panic);
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(
            text.contains(r#"prescreen_stage_processed_total{outcome="rejected",stage="quality_gate"} 1"#),
            "{text}"
        );
        assert!(text.contains(r#"prescreen_stage_dead_letters_total{cause="panic",stage="quality_gate"} 1"#));
        assert!(text.contains(r#"prescreen_stage_last_processed_timestamp_seconds{stage="quality_gate"} 5"#));
    }
}
