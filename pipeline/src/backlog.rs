//! Backlog as time: a thread that looks at every group's lag and keeps the latest picture.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use console::site::StageStatus;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use jiff::Timestamp;
use prometheus::{Registry, proto::MetricFamily};
use runtime::{
    Client, Metrics,
    lag::{DrainEta, LagError, LagReader, TopicLag, Watched},
};
use schemas::Topic;

use crate::system::{STORE, entries, group, topics};

/// How often it looks. An oldest age is at most this much behind the truth.
const EVERY: Duration = Duration::from_secs(2);

/// The latest picture. A lock, because one thread writes it and every page reads it; held for one copy.
pub(crate) type Latest = Arc<Mutex<Vec<StageStatus>>>;

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
    pub(crate) fn start(client: &Client, metrics: Metrics, registry: Registry) -> std::io::Result<Self> {
        let latest = Latest::default();
        let (stop, stopped) = bounded::<()>(0);
        let (client, picture) = (client.clone(), latest.clone());
        thread::Builder::new().name("backlog".to_owned()).spawn(move || {
            let mut reader = None;
            let mut saturation = Saturation::default();
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                match look(&client, &mut reader, &metrics) {
                    Ok(lags) => {
                        let rows = saturation.rows(&lags, &registry.gather());
                        *picture.lock().unwrap_or_else(PoisonError::into_inner) = rows;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "backlog cannot be read");
                        reader = None;
                        // An old picture would pass for the present one.
                        picture.lock().unwrap_or_else(PoisonError::into_inner).clear();
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

/// Seconds of work by stage as last seen, to tell the share of time spent working.
#[derive(Default)]
struct Saturation {
    seen: HashMap<String, (f64, f64)>,
}

impl Saturation {
    fn rows(&mut self, lags: &[TopicLag], families: &[MetricFamily]) -> Vec<StageStatus> {
        let mut rows = Vec::new();
        for (stage, _) in consumers() {
            let busy = sum(families, "prescreen_stage_busy_seconds_total", stage);
            let all = busy
                + sum(families, "prescreen_stage_idle_seconds_total", stage)
                + sum(families, "prescreen_stage_backpressured_seconds_total", stage);
            let (busy_before, all_before) =
                self.seen.insert(stage.to_owned(), (busy, all)).unwrap_or_default();
            let busy_ratio = if all > all_before {
                ((busy - busy_before) / (all - all_before)).clamp(0.0, 1.0)
            } else {
                0.0
            };
            for lag in lags.iter().filter(|lag| lag.group == group(stage)) {
                rows.push(StageStatus {
                    stage: stage.to_owned(),
                    topic: lag.topic.clone(),
                    lag_records: lag.records(),
                    oldest_age_s: lag.oldest_age.map(|age| age.as_secs_f64()),
                    drain_eta_s: match lag.drain_eta {
                        DrainEta::Empty => Some(0.0),
                        DrainEta::In(eta) => Some(eta.as_secs_f64()),
                        DrainEta::NotDraining | DrainEta::Unknown => None,
                    },
                    in_flight: sum(families, "prescreen_stage_in_flight", stage) as i64,
                    busy_ratio,
                    errors: sum(families, "prescreen_stage_errors_total", stage) as u64,
                });
            }
        }
        rows
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
