//! `prescreen_heartbeat_age_seconds`: how long ago the last heartbeat passed each stage, by what the store has stored.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;
use prometheus::{
    GaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use schemas::{Envelope, Message as _, ReportIssued};

use super::pulse::STEP;

/// The label of the beat itself.
const INTAKE: &str = "intake";
/// The label of the end of the way: a stored report.
const REPORT: &str = "report";

/// When heartbeats passed. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HeartbeatAges {
    gauge: GaugeVec,
    /// Milliseconds since the epoch, by label.
    passed: Arc<[(&'static str, AtomicI64)]>,
}

impl HeartbeatAges {
    /// Declares the metric on `registry`: an age for intake, for each of `stages` and for the report, each from `now`.
    pub(crate) fn register(
        registry: &Registry,
        stages: impl IntoIterator<Item = &'static str>,
        now: Timestamp,
    ) -> Result<Self, prometheus::Error> {
        let help = "Seconds since the last heartbeat passed the stage, or since the start of this process.";
        let gauge = GaugeVec::new(Opts::new("prescreen_heartbeat_age_seconds", help), &["stage"])?;
        let labels = [INTAKE].into_iter().chain(stages).chain([REPORT]);
        let passed = labels.map(|label| (label, AtomicI64::new(now.as_millisecond()))).collect();
        let ages = Self { gauge, passed };
        registry.register(Box::new(ages.clone()))?;
        Ok(ages)
    }

    /// Takes in an event of a heartbeat: whoever made it let the heartbeat pass.
    pub(crate) fn passed(&self, envelope: &Envelope) {
        let step = match envelope.source.rsplit('/').next() {
            Some(STEP) => INTAKE,
            step => step.unwrap_or_default(),
        };
        let is_report = envelope.event_type == ReportIssued::TOPIC.name;
        for (label, passed) in self.passed.iter() {
            if *label == step || (*label == REPORT && is_report) {
                passed.fetch_max(envelope.time.as_millisecond(), Ordering::Relaxed);
            }
        }
    }

    fn set(&self, now: Timestamp) {
        for (label, passed) in self.passed.iter() {
            // Two clocks: a beat from a machine whose clock is ahead is as young as can be.
            let age = (now.as_millisecond() - passed.load(Ordering::Relaxed)).max(0);
            self.gauge.with_label_values(&[label]).set(age as f64 / 1e3);
        }
    }
}

/// An age is reckoned when it is asked for.
impl Collector for HeartbeatAges {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.set(Timestamp::now());
        self.gauge.collect()
    }
}

#[cfg(test)]
mod tests {
    use schemas::{EventId, RunId, StudyAcquired};

    use super::*;

    const ACQUIRED: &str =
        include_str!("../../../schemas/topics/study.acquired.v1/examples/echo_by_association.json");

    #[test]
    fn an_age_counts_from_the_start_and_then_from_the_youngest_beat_that_passed() {
        let registry = Registry::new();
        let at = |second| Timestamp::from_second(second).expect("a time");
        let ages = HeartbeatAges::register(&registry, ["gate", "reporting"], at(1000)).expect("declared");
        let read = |now: i64| {
            ages.set(at(now));
            [INTAKE, "gate", "reporting", REPORT].map(|label| ages.gauge.with_label_values(&[label]).get())
        };
        assert_eq!(read(1090), [90.0; 4], "none came");
        let message: StudyAcquired = serde_json::from_str(ACQUIRED).expect("an example");
        let id = EventId(uuid::Uuid::nil());
        let made_by = |step: &str, second| Envelope::of(&message, id, RunId::heartbeat(), step, at(second));
        ages.passed(&made_by(STEP, 1100));
        ages.passed(&made_by("gate", 1150));
        ages.passed(&made_by("gate", 1120));
        ages.passed(&made_by("no such stage", 1190));
        assert_eq!(read(1200), [100.0, 50.0, 200.0, 200.0]);
        let mut report = made_by("reporting", 1180);
        ReportIssued::TOPIC.name.clone_into(&mut report.event_type);
        ages.passed(&report);
        assert_eq!(read(1200), [100.0, 50.0, 20.0, 20.0]);
        assert_eq!(read(1170), [70.0, 20.0, 0.0, 0.0], "never negative");
        let families = registry.gather();
        assert_eq!(families[0].name(), "prescreen_heartbeat_age_seconds");
        assert_eq!(families[0].get_metric().len(), 4);
    }
}
