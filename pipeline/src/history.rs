//! The last hour, a point every ten seconds: what the charts of the console are drawn from.

use std::collections::{BTreeMap, VecDeque};

use console::site::{HistoryPoint, StageStatus};
use jiff::{SignedDuration, Timestamp};
use prometheus::proto::MetricFamily;

/// From one point to the next.
const EVERY: SignedDuration = SignedDuration::from_secs(10);
/// An hour of them.
const POINTS: usize = 360;
/// Seconds from closing to terminal state.
const END_TO_END: &str = "prescreen_study_end_to_end_seconds";

/// The points. One owner, time passed in.
#[derive(Debug, Default)]
pub(crate) struct History {
    points: VecDeque<HistoryPoint>,
    /// The histogram as it was at the last point, to see what came since.
    ended: Buckets,
}

impl History {
    /// Takes a point in, if it is time for one.
    pub(crate) fn observe(&mut self, at: Timestamp, stages: &[StageStatus], families: &[MetricFamily]) {
        if self.points.back().is_some_and(|last| at.duration_since(last.at) < EVERY) {
            return;
        }
        let ended = Buckets::of(families);
        let since = ended.since(&self.ended);
        let mut point = HistoryPoint {
            at,
            end_to_end_p50_s: since.quantile(0.5),
            end_to_end_p95_s: since.quantile(0.95),
            ..HistoryPoint::default()
        };
        for stage in stages {
            *point.lag_records.entry(stage.stage.clone()).or_default() += stage.lag_records;
            *point.rate_per_s.entry(stage.stage.clone()).or_default() += stage.rate_per_s;
            let oldest = point.oldest_age_s.entry(stage.stage.clone()).or_default();
            *oldest = oldest.max(stage.oldest_age_s.unwrap_or(0.0));
        }
        self.ended = ended;
        self.points.push_back(point);
        while self.points.len() > POINTS {
            self.points.pop_front();
        }
    }

    /// Every point, the oldest first.
    pub(crate) fn points(&self) -> Vec<HistoryPoint> {
        self.points.iter().cloned().collect()
    }
}

/// Studies by the upper bound of their bucket in milliseconds, cumulative as Prometheus counts them, both lanes together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Buckets(BTreeMap<u64, u64>);

impl Buckets {
    fn of(families: &[MetricFamily]) -> Self {
        let mut buckets = BTreeMap::new();
        let family = families.iter().find(|family| family.name() == END_TO_END);
        for metric in family.into_iter().flat_map(MetricFamily::get_metric) {
            let histogram = metric.get_histogram();
            for bucket in histogram.get_bucket() {
                let bound = bucket.upper_bound();
                let millis = if bound.is_finite() { (bound * 1e3) as u64 } else { u64::MAX };
                *buckets.entry(millis).or_default() += bucket.cumulative_count();
            }
            let all = buckets.entry(u64::MAX).or_default();
            // The last bucket is implied by this crate.
            if !histogram.get_bucket().iter().any(|bucket| bucket.upper_bound().is_infinite()) {
                *all += histogram.get_sample_count();
            }
        }
        Self(buckets)
    }

    fn since(&self, before: &Self) -> Self {
        let count = |(bound, count): (&u64, &u64)| {
            (*bound, count.saturating_sub(before.0.get(bound).copied().unwrap_or(0)))
        };
        Self(self.0.iter().map(count).collect())
    }

    /// Seconds below which the share `q` lies, evenly spread inside a bucket; beyond the last bound, that bound.
    fn quantile(&self, q: f64) -> Option<f64> {
        let all = *self.0.get(&u64::MAX)?;
        if all == 0 {
            return None;
        }
        let rank = q * all as f64;
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            let count = *count as f64;
            if *bound == u64::MAX {
                break;
            }
            let high = *bound as f64 / 1e3;
            if count >= rank {
                return Some(if count > below {
                    low + (high - low) * (rank - below) / (count - below)
                } else {
                    high
                });
            }
            (low, below) = (high, count);
        }
        Some(low)
    }
}

#[cfg(test)]
mod tests {
    use console::site::Drain;
    use prometheus::{HistogramOpts, HistogramVec, Registry};

    use super::*;

    fn stage(name: &str, topic: &str, lag: i64) -> StageStatus {
        StageStatus {
            stage: name.to_owned(),
            topic: topic.to_owned(),
            lag_records: lag,
            oldest_age_s: (lag > 0).then_some(lag as f64),
            drain_eta_s: None,
            drain: Drain::Unknown,
            rate_per_s: 0.5,
            in_flight: 0,
            busy_ratio: 0.0,
            backpressured_ratio: 0.0,
            paused: None,
            errors: 0,
        }
    }

    #[test]
    fn an_hour_is_kept_a_point_every_ten_seconds_lanes_together() {
        let mut history = History::default();
        let start: Timestamp = "2026-11-21T08:00:00Z".parse().expect("a time");
        let rows =
            [stage("keyframes", "a.v1", 3), stage("keyframes", "a.v1.urgent", 7), stage("store", "b.v1", 0)];
        for second in 0..8_000 {
            history.observe(start + SignedDuration::from_secs(second), &rows, &[]);
        }
        let points = history.points();
        assert_eq!(points.len(), POINTS);
        assert!(points.windows(2).all(|pair| pair[1].at.duration_since(pair[0].at) == EVERY));
        let last = points.last().expect("a point");
        assert_eq!((last.lag_records["keyframes"], last.lag_records["store"]), (10, 0));
        assert_eq!((last.oldest_age_s["keyframes"], last.oldest_age_s["store"]), (7.0, 0.0));
        assert_eq!((last.rate_per_s["keyframes"], last.end_to_end_p50_s), (1.0, None));
    }

    #[test]
    fn the_time_to_the_end_is_of_the_studies_since_the_point_before() {
        let registry = Registry::new();
        let options = HistogramOpts::new(END_TO_END, "help").buckets(vec![1.0, 2.0, 10.0]);
        let histogram = HistogramVec::new(options, &["priority"]).expect("a histogram");
        registry.register(Box::new(histogram.clone())).expect("registered");
        let (routine, urgent) =
            (histogram.with_label_values(&["routine"]), histogram.with_label_values(&["urgent"]));
        let mut history = History::default();
        let start: Timestamp = "2026-11-21T08:00:00Z".parse().expect("a time");
        let mut point = |second: i64| {
            history.observe(start + SignedDuration::from_secs(second), &[], &registry.gather());
            let last = history.points().pop().expect("a point");
            (last.end_to_end_p50_s, last.end_to_end_p95_s)
        };
        (0..90).for_each(|_| routine.observe(0.5));
        (0..10).for_each(|_| urgent.observe(1.5));
        let (p50, p95) = point(0);
        assert!((p50.expect("p50") - 50.0 / 90.0).abs() < 1e-9 && (p95.expect("p95") - 1.5).abs() < 1e-9);
        assert_eq!(point(10), (None, None), "nothing ended since");
        (0..4).for_each(|_| urgent.observe(99.0));
        assert_eq!(point(20), (Some(10.0), Some(10.0)), "beyond the last bound it is that bound");
    }
}
