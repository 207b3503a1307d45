//! Backlog as time: a thread that looks at every group's lag and keeps the latest picture and the last hour.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use console::site::{Drain, HistoryPoint, Pause, StageStatus};
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use jiff::Timestamp;
use prometheus::{Registry, proto::MetricFamily};
use runtime::{
    Client, Metrics,
    lag::{DrainEta, LagError, LagReader, TopicLag, Watched},
};
use schemas::Topic;

use crate::{
    control::Switches,
    history::History,
    system::{STORE, entries, group, topics},
};

/// How long it rests between two looks. With the look itself, an oldest age is less than two seconds behind the truth.
const REST: Duration = Duration::from_secs(1);
/// The time over which a share of time is told.
const SHARE: Duration = Duration::from_secs(10);

/// What is known. A lock, because one thread writes it and every page reads it; held for one copy.
#[derive(Clone, Default)]
pub(crate) struct Latest(Arc<Mutex<Picture>>);

#[derive(Default)]
struct Picture {
    stages: Vec<StageStatus>,
    seen: Option<Instant>,
    history: History,
}

impl Latest {
    /// Every stage's backlog. What was the oldest record a moment ago has aged since.
    pub(crate) fn stages(&self, now: Instant) -> Vec<StageStatus> {
        let picture = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = picture.seen.map_or(0.0, |seen| now.saturating_duration_since(seen).as_secs_f64());
        let mut stages = picture.stages.clone();
        for age in stages.iter_mut().filter_map(|stage| stage.oldest_age_s.as_mut()) {
            *age += since;
        }
        stages
    }

    /// The last hour.
    pub(crate) fn history(&self) -> Vec<HistoryPoint> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).history.points()
    }

    fn set(&self, stages: Vec<StageStatus>, seen: Instant, families: &[MetricFamily]) {
        let mut picture = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        picture.history.observe(Timestamp::now(), &stages, families);
        (picture.stages, picture.seen) = (stages, Some(seen));
    }

    /// An old picture would pass for the present one.
    fn clear(&self) {
        let mut picture = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (picture.stages, picture.seen) = (Vec::new(), None);
    }
}

/// The thread; it ends when this is dropped.
pub(crate) struct Backlog {
    latest: Latest,
    _stop: Sender<()>,
}

/// Who reads what, in the order of the data's way.
fn consumers() -> Vec<(&'static str, Vec<Topic>)> {
    let stages = entries().into_iter().map(|entry| (entry.name, vec![entry.input]));
    stages.chain([(STORE, topics())]).collect()
}

impl Backlog {
    /// Starts looking.
    pub(crate) fn start(
        client: &Client,
        metrics: Metrics,
        registry: Registry,
        switches: Switches,
    ) -> std::io::Result<Self> {
        let latest = Latest::default();
        let (stop, stopped) = bounded::<()>(0);
        let (client, picture) = (client.clone(), latest.clone());
        thread::Builder::new().name("backlog".to_owned()).spawn(move || {
            let mut reader = None;
            let mut work = Work::default();
            while stopped.recv_timeout(REST) == Err(RecvTimeoutError::Timeout) {
                let seen = Instant::now();
                match look(&client, &mut reader, &metrics) {
                    Ok(lags) => {
                        let families = registry.gather();
                        work.observe(seen, &families);
                        let rows = rows(&lags, &work, &families, &switches);
                        picture.set(rows, seen, &families);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "backlog cannot be read");
                        reader = None;
                        picture.clear();
                    }
                }
            }
        })?;
        Ok(Self { latest, _stop: stop })
    }

    /// Where the latest picture is.
    pub(crate) fn latest(&self) -> Latest {
        self.latest.clone()
    }
}

fn look(
    client: &Client,
    reader: &mut Option<LagReader>,
    metrics: &Metrics,
) -> Result<Vec<TopicLag>, LagError> {
    let reader = if let Some(reader) = reader {
        reader
    } else {
        let watched = consumers().into_iter().map(|(name, topics)| Watched {
            group: group(name),
            topics: topics.iter().flat_map(|topic| [topic.name.to_owned(), topic.urgent()]).collect(),
        });
        reader.insert(LagReader::connect(client, watched.collect())?)
    };
    let lags = reader.observe(Timestamp::now(), Instant::now())?;
    metrics.observe_lag(&lags);
    for topic in topics().iter().map(Topic::dead_letters) {
        metrics.observe_dead_letters(&topic, reader.records(&topic)?);
    }
    Ok(lags)
}

fn rows(lags: &[TopicLag], work: &Work, families: &[MetricFamily], switches: &Switches) -> Vec<StageStatus> {
    let mut rows = Vec::new();
    for (stage, _) in consumers() {
        let paused = if switches.is_paused(stage) {
            Some(Pause::Operator)
        } else {
            (sum(families, "prescreen_stage_paused", stage) > 0.0).then_some(Pause::Dependency)
        };
        let in_flight = sum(families, "prescreen_stage_in_flight", stage) as i64;
        let shares = work.shares(stage, in_flight > 0 && paused.is_none());
        for lag in lags.iter().filter(|lag| lag.group == group(stage)) {
            let (drain, drain_eta_s) = drain(lag, paused);
            rows.push(StageStatus {
                stage: stage.to_owned(),
                topic: lag.topic.clone(),
                lag_records: lag.records(),
                oldest_age_s: lag.oldest_age.map(|age| age.as_secs_f64()),
                drain_eta_s,
                drain,
                rate_per_s: lag.rate_per_s,
                in_flight,
                busy_ratio: shares.busy,
                backpressured_ratio: shares.backpressured,
                paused,
                errors: sum(families, "prescreen_stage_errors_total", stage) as u64,
            });
        }
    }
    rows
}

/// What is said of a backlog's end. Of a stage that somebody holds back nobody needs to guess.
fn drain(lag: &TopicLag, paused: Option<Pause>) -> (Drain, Option<f64>) {
    match lag.drain_eta {
        DrainEta::Empty => (Drain::Empty, Some(0.0)),
        _ if paused == Some(Pause::Operator) => (Drain::NotDraining, None),
        DrainEta::In(eta) => (Drain::Draining, Some(eta.as_secs_f64())),
        DrainEta::NotDraining => (Drain::NotDraining, None),
        DrainEta::Unknown => (Drain::Unknown, None),
    }
}

/// Seconds that a stage's workers spent, ever.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    busy: f64,
    idle: f64,
    backpressured: f64,
}

/// Shares of the last seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shares {
    busy: f64,
    backpressured: f64,
}

/// What the stages' workers of this process spent of late.
#[derive(Default)]
struct Work(VecDeque<(Instant, HashMap<&'static str, Spent>)>);

impl Work {
    fn observe(&mut self, now: Instant, families: &[MetricFamily]) {
        let spent = |stage| Spent {
            busy: sum(families, "prescreen_stage_busy_seconds_total", stage),
            idle: sum(families, "prescreen_stage_idle_seconds_total", stage),
            backpressured: sum(families, "prescreen_stage_backpressured_seconds_total", stage),
        };
        self.0.push_back((now, consumers().into_iter().map(|(stage, _)| (stage, spent(stage))).collect()));
        while self.0.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= SHARE) {
            self.0.pop_front();
        }
    }

    /// Workers tell what they spent when they have done a record. Those that tell nothing and `have_work` are at it.
    fn shares(&self, stage: &str, have_work: bool) -> Shares {
        let of = |point: Option<&(Instant, HashMap<&'static str, Spent>)>| {
            point.and_then(|(_, spent)| spent.get(stage).copied()).unwrap_or_default()
        };
        let (first, last) = (of(self.0.front()), of(self.0.back()));
        let [busy, idle, backpressured] =
            [last.busy - first.busy, last.idle - first.idle, last.backpressured - first.backpressured];
        let all = busy + idle + backpressured;
        if all > 0.0 {
            Shares {
                busy: (busy / all).clamp(0.0, 1.0),
                backpressured: (backpressured / all).clamp(0.0, 1.0),
            }
        } else {
            Shares { busy: if have_work { 1.0 } else { 0.0 }, backpressured: 0.0 }
        }
    }
}

/// The sum of a family's values with this stage label.
fn sum(families: &[MetricFamily], name: &str, stage: &str) -> f64 {
    let family = families.iter().find(|family| family.name() == name);
    let metrics = family.into_iter().flat_map(MetricFamily::get_metric);
    metrics
        .filter(|metric| {
            metric.get_label().iter().any(|label| label.name() == "stage" && label.value() == stage)
        })
        .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
        .sum()
}

#[cfg(test)]
mod tests {
    use prometheus::{CounterVec, Opts};

    use super::*;

    #[test]
    fn shares_are_of_the_last_seconds_and_silent_workers_with_work_are_busy() {
        let registry = Registry::new();
        let spent = ["busy", "idle", "backpressured"].map(|what| {
            let options = Opts::new(format!("prescreen_stage_{what}_seconds_total"), "help");
            let counter = CounterVec::new(options, &["stage"]).expect("a counter");
            registry.register(Box::new(counter.clone())).expect("registered");
            counter.with_label_values(&["inference"])
        });
        let (start, mut work) = (Instant::now(), Work::default());
        let mut look = |second: u64, add: [f64; 3]| {
            spent.iter().zip(add).for_each(|(counter, seconds)| counter.inc_by(seconds));
            work.observe(start + Duration::from_secs(second), &registry.gather());
            work.shares("inference", true)
        };
        assert_eq!(look(0, [5.0, 5.0, 0.0]), Shares { busy: 1.0, backpressured: 0.0 }, "nothing told yet");
        assert_eq!(look(4, [2.0, 1.0, 1.0]), Shares { busy: 0.5, backpressured: 0.25 });
        assert_eq!(look(9, [0.0; 3]), Shares { busy: 0.5, backpressured: 0.25 });
        assert_eq!(look(30, [0.0; 3]), Shares { busy: 1.0, backpressured: 0.0 }, "nothing for ten seconds");
        assert_eq!(work.shares("inference", false), Shares { busy: 0.0, backpressured: 0.0 });
    }

    #[test]
    fn a_stage_that_somebody_holds_back_does_not_drain() {
        let lag = |records, drain_eta| TopicLag {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            partitions: vec![records],
            oldest_age: None,
            drain_eta,
            rate_per_s: 0.0,
            lost: 0,
        };
        let draining = lag(5, DrainEta::In(Duration::from_secs(9)));
        assert_eq!(drain(&draining, None), (Drain::Draining, Some(9.0)));
        assert_eq!(drain(&draining, Some(Pause::Operator)), (Drain::NotDraining, None));
        assert_eq!(drain(&draining, Some(Pause::Dependency)), (Drain::Draining, Some(9.0)));
        assert_eq!(drain(&lag(0, DrainEta::Empty), Some(Pause::Operator)), (Drain::Empty, Some(0.0)));
        assert_eq!(drain(&lag(5, DrainEta::Unknown), None), (Drain::Unknown, None));
    }

    #[test]
    fn what_was_the_oldest_record_ages_between_two_looks() {
        let latest = Latest::default();
        let now = Instant::now();
        let lags = [TopicLag {
            group: group("keyframes"),
            topic: "study.accepted.v1".to_owned(),
            partitions: vec![3],
            oldest_age: Some(Duration::from_secs(7)),
            drain_eta: DrainEta::Unknown,
            rate_per_s: 2.5,
            lost: 0,
        }];
        let switches = Switches::default();
        latest.set(rows(&lags, &Work::default(), &[], &switches), now, &[]);
        let stages = latest.stages(now + Duration::from_millis(1_500));
        assert_eq!((stages.len(), stages[0].oldest_age_s, stages[0].rate_per_s), (1, Some(8.5), 2.5));
        assert_eq!(latest.history().len(), 1);
        latest.clear();
        assert!(latest.stages(now).is_empty() && latest.history().len() == 1);
    }
}
