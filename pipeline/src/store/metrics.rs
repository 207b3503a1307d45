//! What the store counts, after the commit of what it counts: clinical records of the live run only.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, core::Collector,
};
use schemas::{Check, CheckVerdict, GatedInstance};

use super::statements::{Ended, Tally};

/// Seconds from closing to terminal state: from an untrained model's second to a night's outage. Holds the objectives of
/// both lanes, 120 and 600.
const END_TO_END: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 28800.0];
/// A measure over its threshold.
const OVER_THRESHOLD: [f64; 12] = [0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0, 10.0];
/// Keyframes of one clip: a diastole and a systole for each beat; tiles of a slide.
const KEYFRAMES: [f64; 8] = [0.0, 1.0, 2.0, 4.0, 6.0, 10.0, 20.0, 50.0];
/// Share of askings.
const SHARE: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
/// Width of an interval in points of ejection fraction.
const POINTS: [f64; 9] = [2.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0];
/// Different values of a label that comes from a message. There are some 60 reason codes and 40 checks.
const VALUES: usize = 128;

/// What the store counts.
#[derive(Clone)]
pub(crate) struct StoreMetrics {
    duplicates_suppressed: IntCounter,
    duplicate_divergent: IntCounter,
    terminal: IntCounterVec,
    accepted: IntCounter,
    reports: IntCounterVec,
    abstentions: IntCounterVec,
    end_to_end: HistogramVec,
    rejections: IntCounterVec,
    checks: IntCounterVec,
    scores: HistogramVec,
    keyframes: Histogram,
    confidence: Histogram,
    interval: Histogram,
    codes: FirstFew,
    names: FirstFew,
}

impl StoreMetrics {
    /// Declares the metrics on `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name, help| declared(registry, IntCounter::new(name, help)?);
        let counters = |name, help, labels: &[&str]| {
            declared(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let options = |name, help, buckets: &[f64]| HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let histogram = |name, help, buckets: &[f64]| {
            declared(registry, Histogram::with_opts(options(name, help, buckets))?)
        };
        let histograms = |name, help, buckets: &[f64], labels: &[&str]| {
            declared(registry, HistogramVec::new(options(name, help, buckets), labels)?)
        };
        let metrics = Self {
            duplicates_suppressed: counter(
                "prescreen_duplicates_suppressed_total",
                "Records that came again and changed nothing.",
            )?,
            duplicate_divergent: counter(
                "prescreen_duplicate_divergent_total",
                "Records that came again with another payload; the first one stands.",
            )?,
            terminal: counters(
                "prescreen_studies_terminal_total",
                "Studies that reached a terminal state.",
                &["state"],
            )?,
            accepted: counter("prescreen_studies_accepted_total", "Studies accepted by the gate.")?,
            reports: counters("prescreen_reports_total", "Reports stored, by certainty.", &["certainty"])?,
            abstentions: counters(
                "prescreen_report_abstentions_total",
                "Reports that abstain, by why.",
                &["reason"],
            )?,
            end_to_end: histograms(
                "prescreen_study_end_to_end_seconds",
                "Seconds from a study's closing to its terminal state.",
                &END_TO_END,
                &["priority"],
            )?,
            rejections: counters(
                "prescreen_quality_rejections_total",
                "Studies rejected, by the code that decided.",
                &["reason"],
            )?,
            checks: counters(
                "prescreen_quality_checks_total",
                "Checks of instances, by what they came to.",
                &["check", "verdict"],
            )?,
            scores: histograms(
                "prescreen_quality_score",
                "What a check measured over its threshold: 1 is the threshold, on either side of it the picture passes or fails.",
                &OVER_THRESHOLD,
                &["check"],
            )?,
            keyframes: histogram(
                "prescreen_keyframes_selected",
                "Keyframes selected of a clip or slide.",
                &KEYFRAMES,
            )?,
            confidence: histogram(
                "prescreen_report_confidence",
                "Share of the model's askings about a study that agree with its answer.",
                &SHARE,
            )?,
            interval: histogram(
                "prescreen_report_interval_points",
                "Width of the interval of an ejection fraction, in percentage points.",
                &POINTS,
            )?,
            codes: FirstFew::default(),
            names: FirstFew::default(),
        };
        // A series that begins at its first event has lost that event to every rate.
        for state in ["reported", "rejected", "dead_lettered", "superseded"] {
            let _ = metrics.terminal.with_label_values(&[state]);
        }
        for certainty in ["U_LOW", "U_MEDIUM", "U_HIGH", "ABSTAIN"] {
            let _ = metrics.reports.with_label_values(&[certainty]);
        }
        for priority in ["routine", "urgent"] {
            let _ = metrics.end_to_end.with_label_values(&[priority]);
        }
        Ok(metrics)
    }

    pub(super) fn count(&self, tally: Tally) {
        self.duplicates_suppressed.inc_by(tally.suppressed);
        self.duplicate_divergent.inc_by(tally.divergent);
        self.accepted.inc_by(tally.accepted);
        for (certainty, abstention) in tally.reports {
            self.reports.with_label_values(&[certainty]).inc();
            if let Some(reason) = abstention {
                self.abstentions.with_label_values(&[self.codes.label(&reason)]).inc();
            }
        }
        for Ended { state, took } in tally.ended {
            self.terminal.with_label_values(&[state]).inc();
            if let Some((priority, seconds)) = took {
                // Two clocks: intake's and the store's.
                self.end_to_end.with_label_values(&[priority]).observe(seconds.max(0.0));
            }
        }
        for code in tally.rejections {
            self.rejections.with_label_values(&[self.codes.label(&code)]).inc();
        }
        for check in tally.gated.iter().flat_map(|instance: &GatedInstance| &instance.checks) {
            self.check(check);
        }
        for keyframes in tally.keyframes {
            self.keyframes.observe(keyframes as f64);
        }
        for share in tally.confidence {
            self.confidence.observe(share);
        }
        for points in tally.intervals {
            self.interval.observe(points);
        }
    }

    fn check(&self, check: &Check) {
        let name = self.names.label(&check.name);
        let verdict = match check.verdict {
            CheckVerdict::Pass => "pass",
            CheckVerdict::Warn => "warn",
            CheckVerdict::Reject => "reject",
        };
        self.checks.with_label_values(&[name.as_str(), verdict]).inc();
        let score = check.value.map(|value| value / check.threshold).filter(|score| score.is_finite());
        if let Some(score) = score {
            self.scores.with_label_values(&[name]).observe(score);
        }
    }
}

/// Whatever `family` is, declared on `registry`.
fn declared<C: Collector + Clone + 'static>(registry: &Registry, family: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

/// The values of a label that comes from a message: the first so many that look like one, `other` for the rest. Whoever
/// may write to a topic cannot make series without end, nor show a text on a page that everybody sees.
#[derive(Clone, Default)]
// A lock, because a store that begins again shares the counters with the one before it; held for one look.
struct FirstFew(Arc<Mutex<BTreeSet<String>>>);

impl FirstFew {
    fn label(&self, value: &str) -> String {
        let is_name = (2..=40).contains(&value.len())
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.contains(value);
        if is_name && (known || seen.len() < VALUES) {
            if !known {
                seen.insert(value.to_owned());
            }
            value.to_owned()
        } else {
            "other".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: Option<f64>, threshold: f64) -> Check {
        Check {
            name: name.to_owned(),
            value,
            unit: "1".to_owned(),
            threshold,
            verdict: CheckVerdict::Pass,
            code: None,
            advice: None,
        }
    }

    #[test]
    fn labels_from_messages_are_bounded_and_never_free_text() {
        let registry = Registry::new();
        let metrics = StoreMetrics::register(&registry).expect("metrics");
        for number in 0..10 * VALUES {
            metrics.check(&check(&format!("check_{number}"), Some(1.0), 2.0));
        }
        metrics.check(&check("DOE^JANE 1970-01-01", Some(1.0), 2.0));
        let families = registry.gather();
        let family =
            |name| families.iter().find(|family| family.name() == name).expect("declared").get_metric();
        for name in ["prescreen_quality_score", "prescreen_quality_checks_total"] {
            assert_eq!(family(name).len(), VALUES + 1, "{name}");
            let other = family(name).iter().find(|metric| metric.get_label()[0].value() == "other");
            assert!(other.is_some(), "{name}");
            let names = family(name).iter().map(|metric| metric.get_label()[0].value().to_owned());
            assert!(names.into_iter().all(|name| !name.contains("DOE")), "{name}");
        }
    }

    #[test]
    fn a_check_without_a_measure_or_a_threshold_has_a_verdict_and_no_score() {
        let registry = Registry::new();
        let metrics = StoreMetrics::register(&registry).expect("metrics");
        metrics.check(&check("blur", Some(0.3), 0.6));
        metrics.check(&check("blur", None, 0.6));
        metrics.check(&check("blur", Some(0.3), 0.0));
        let families = registry.gather();
        let family =
            |name| families.iter().find(|family| family.name() == name).expect("declared").get_metric();
        let scores = family("prescreen_quality_score")[0].get_histogram();
        assert_eq!((scores.get_sample_count(), scores.get_sample_sum()), (1, 0.5));
        assert_eq!(family("prescreen_quality_checks_total")[0].get_counter().get_value(), 3.0);
    }
}
