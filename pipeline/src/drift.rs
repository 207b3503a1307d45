//! Whether the studies of the live run are still those of the calibration: monitors over reports, as metrics.
//!
//! ```text
//!   start:  calibration set of the configuration, last reports of the database ─▶ Monitor
//!   store:  each new live report with a number of that set ─▶ Monitor ─▶ prescreen_drift_*, a warning when an alarm begins
//! ```
//! Nothing here touches a report: the same input gives the same report, whatever came before it. Who sees the alarm sets
//! `stages.reporting.drift_alarm`, and calibrates again.

use calibration::{
    CalibrationSet,
    drift::{Levels, Monitor, Observation, RUN},
};
use prometheus::{Gauge, GaugeVec, Opts, Registry};
use schemas::{Digest, ReportIssued, RunId};

/// Reports of the database that the monitors begin with: the run of bets before this one, and this one.
pub(crate) const REMEMBERED: u32 = 2 * RUN as u32;

/// What the monitors show.
#[derive(Clone)]
pub(crate) struct DriftMetrics {
    stability: GaugeVec,
    kolmogorov_smirnov: GaugeVec,
    capital: Gauge,
    reports: Gauge,
    alarm: GaugeVec,
}

impl DriftMetrics {
    /// Declares the metrics on `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by_feature = |name: &str, help: &str| GaugeVec::new(Opts::new(name, help), &["feature"]);
        let metrics = Self {
            stability: by_feature(
                "prescreen_drift_psi",
                "Population stability index of the last reports against their calibration; above 0.1 watch, above 0.25 alarm.",
            )?,
            kolmogorov_smirnov: by_feature(
                "prescreen_drift_ks_probability",
                "Probability of the last reports lying so far from their calibration by chance (Kolmogorov-Smirnov).",
            )?,
            capital: Gauge::new(
                "prescreen_drift_martingale_capital",
                "Capital of bets against the calibration, from 1; 100 is an alarm.",
            )?,
            reports: Gauge::new("prescreen_drift_reports", "Reports that the drift monitors look at.")?,
            alarm: GaugeVec::new(
                Opts::new("prescreen_drift_alarm", "1 while a drift monitor raises an alarm."),
                &["monitor"],
            )?,
        };
        registry.register(Box::new(metrics.stability.clone()))?;
        registry.register(Box::new(metrics.kolmogorov_smirnov.clone()))?;
        registry.register(Box::new(metrics.capital.clone()))?;
        registry.register(Box::new(metrics.reports.clone()))?;
        registry.register(Box::new(metrics.alarm.clone()))?;
        Ok(metrics)
    }

    fn show(&self, levels: &Levels, reports: usize, alarms: Alarms) {
        for (feature, of) in &levels.features {
            self.stability.with_label_values(&[feature.name()]).set(of.population_stability);
            self.kolmogorov_smirnov.with_label_values(&[feature.name()]).set(of.kolmogorov_smirnov_p);
        }
        self.capital.set(levels.capital);
        self.reports.set(reports as f64);
        for (monitor, raised) in alarms.named() {
            self.alarm.with_label_values(&[monitor]).set(f64::from(u8::from(raised)));
        }
    }
}

/// Which monitors raise an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Alarms {
    population: bool,
    kolmogorov_smirnov: bool,
    martingale: bool,
}

impl Alarms {
    fn of(levels: &Levels) -> Self {
        Self {
            population: levels.population_alarm(),
            kolmogorov_smirnov: levels.kolmogorov_smirnov_alarm(),
            martingale: levels.martingale_alarm(),
        }
    }

    fn named(self) -> [(&'static str, bool); 3] {
        [("psi", self.population), ("ks", self.kolmogorov_smirnov), ("martingale", self.martingale)]
    }
}

/// The monitors of one calibration set.
pub(crate) struct Drift {
    monitor: Monitor,
    set: Digest,
    alarms: Alarms,
    metrics: DriftMetrics,
}

impl Drift {
    /// Begins with `reports`, the oldest first.
    pub(crate) fn begin<'a>(
        set: &CalibrationSet,
        metrics: DriftMetrics,
        reports: impl IntoIterator<Item = &'a ReportIssued>,
    ) -> Self {
        let monitor = Monitor::new(set.contents().reference.clone());
        let mut drift = Self { monitor, set: set.digest(), alarms: Alarms::default(), metrics };
        drift.observe(&RunId::live(), reports);
        drift
    }

    /// Takes in reports of `run` just stored; those of other runs or other sets are none of its concern.
    pub(crate) fn observe<'a>(&mut self, run: &RunId, reports: impl IntoIterator<Item = &'a ReportIssued>) {
        if *run != RunId::live() {
            return;
        }
        let seen = reports.into_iter().filter_map(|report| observation(report, self.set));
        let count = seen.map(|observation| self.monitor.observe(observation)).count();
        if count == 0 && self.monitor.reports() > 0 {
            return;
        }
        let levels = self.monitor.levels();
        let alarms = Alarms::of(&levels);
        for ((monitor, raised), (_, before)) in alarms.named().into_iter().zip(self.alarms.named()) {
            if raised && !before {
                tracing::warn!(
                    monitor,
                    capital = levels.capital,
                    calibration.sha256 = %self.set,
                    "studies are no longer those of the calibration; look at prescreen_drift_*, set stages.reporting.drift_alarm, calibrate again"
                );
            }
        }
        self.alarms = alarms;
        self.metrics.show(&levels, self.monitor.reports(), alarms);
    }
}

/// What the monitors see of a report; nothing where it has no interval of `set`.
fn observation(report: &ReportIssued, set: Digest) -> Option<Observation> {
    let ef = report.ef.as_ref()?;
    let [lower, upper] = ef.interval?;
    report.calibration.as_ref().filter(|used| used.digest == set)?;
    // Any even number that knows nothing of the answer settles ties; this one is the same whenever the report is read.
    let hash = Digest::of(format!("{} {}", report.study.study_uid, report.study.revision).as_bytes());
    let tie = hash.as_bytes().iter().take(6).fold(0.0, |sum, byte| (sum + f64::from(*byte)) / 256.0);
    Some(Observation {
        ef_percent: ef.percent,
        interval_width: upper - lower,
        geometric_gap: ef.geometric_percent.map(|geometric| ef.percent - geometric),
        tie,
    })
}

#[cfg(test)]
mod tests {
    use calibration::{Alpha, Case, Plan, Prediction, Score, Traits, drift::Feature};
    use schemas::{CalibrationUsed, decode};

    use super::*;

    const EXAMPLE: &str =
        include_str!("../../schemas/topics/report.issued.v1/examples/number_with_doubts.json");

    fn set() -> CalibrationSet {
        let case = |index: u32| {
            let even = |factor: f64| (f64::from(index) * factor).fract();
            let truth = 20.0 + 50.0 * even(0.754_877_666_246_693);
            let estimate = truth + 6.0 * even(0.618_033_988_749_895) - 3.0;
            let prediction = Prediction::bare(estimate);
            let unit = index.to_string();
            Case { unit, prediction, truth, traits: Traits::default(), geometric: Some(truth) }
        };
        let plan = Plan {
            id: "a".to_owned(),
            made_at: jiff::Timestamp::UNIX_EPOCH,
            model: Digest::of(b"model"),
            fingerprint: Digest::of(b"inference"),
            synthetic: false,
            score: Score::Quantiles,
            alpha: Alpha::new(0.1).expect("a share"),
            group_by: vec![],
        };
        calibration::fit(plan, &(0..400).map(case).collect::<Vec<_>>()).expect("a set").set
    }

    /// A report of the set whose model lies `gap` points above the contours.
    fn report(set: &CalibrationSet, index: u32, gap: f64) -> ReportIssued {
        let mut report: ReportIssued = decode(EXAMPLE.as_bytes(), 1, 1).expect("an example");
        let even = (f64::from(index) * 0.754_877_666_246_693).fract();
        let prediction = Prediction::bare(20.0 + 50.0 * even);
        let percent = prediction.reported();
        report.study.study_uid = schemas::StudyUid::new(&format!("2.25.{index}")).expect("a uid");
        report.ef = Some(schemas::EfEstimate {
            percent,
            interval: Some(set.interval(&prediction, &Traits::default()).bounds),
            geometric_percent: Some(percent - gap),
        });
        report.calibration = Some(CalibrationUsed {
            id: "a".to_owned(),
            digest: set.digest(),
            alpha: 0.1,
            group: "all".to_owned(),
            studies: 400,
            synthetic: false,
        });
        report
    }

    fn value(registry: &Registry, name: &str, label: &str) -> Option<f64> {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let has = |metric: &&prometheus::proto::Metric| {
            label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label)
        };
        family.get_metric().iter().find(has).map(|metric| metric.get_gauge().get_value())
    }

    #[test]
    fn reports_that_leave_their_calibration_raise_an_alarm_and_others_none() {
        for (scale, alarm) in [(1.0, 0.0), (4.0, 1.0)] {
            let (set, registry) = (set(), Registry::new());
            let metrics = DriftMetrics::register(&registry).expect("metrics");
            let mut drift = Drift::begin(&set, metrics, []);
            assert_eq!(value(&registry, "prescreen_drift_reports", ""), Some(0.0));
            for index in 0..400 {
                let gap = scale * (6.0 * (f64::from(index) * 0.618_033_988_749_895).fract() - 3.0);
                drift.observe(&RunId::live(), [&report(&set, index, gap)]);
            }
            assert_eq!(value(&registry, "prescreen_drift_alarm", "martingale"), Some(alarm), "{scale}");
            assert!(value(&registry, "prescreen_drift_psi", Feature::GeometricGap.name()).is_some());
        }
    }

    #[test]
    fn other_runs_other_sets_and_abstentions_are_not_looked_at() {
        let (set, registry) = (set(), Registry::new());
        let metrics = DriftMetrics::register(&registry).expect("metrics");
        let mut drift = Drift::begin(&set, metrics, []);
        let one = report(&set, 1, 0.0);
        let mut other = one.clone();
        other.calibration.as_mut().expect("a set").digest = Digest::of(b"another set");
        let abstained = ReportIssued { ef: None, ..one.clone() };
        drift.observe(&RunId::new("replay-1").expect("a run"), [&one]);
        drift.observe(&RunId::live(), [&other, &abstained]);
        assert_eq!(value(&registry, "prescreen_drift_reports", ""), Some(0.0));
        drift.observe(&RunId::live(), [&one]);
        assert_eq!(value(&registry, "prescreen_drift_reports", ""), Some(1.0));
    }

    #[test]
    fn begun_again_with_the_same_reports_it_shows_the_same() {
        let set = set();
        let reports: Vec<ReportIssued> = (0..350).map(|index| report(&set, index, 2.0)).collect();
        let shown = |registry: &Registry| {
            Feature::ALL.map(|feature| value(registry, "prescreen_drift_psi", feature.name()))
        };
        let (live, again) = (Registry::new(), Registry::new());
        let mut drift = Drift::begin(&set, DriftMetrics::register(&live).expect("metrics"), []);
        for report in &reports {
            drift.observe(&RunId::live(), [report]);
        }
        Drift::begin(&set, DriftMetrics::register(&again).expect("metrics"), &reports);
        assert_eq!(shown(&live), shown(&again));
        assert!(shown(&live).iter().all(Option::is_some));
    }
}
