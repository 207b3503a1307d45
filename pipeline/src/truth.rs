//! What only the database knows, for whoever watches metrics and no page: the studies unaccounted for, the dead letters
//! that wait for a person, whether the audit log is whole, and whether its clock is ours.

use std::{
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use jiff::{SignedDuration, Timestamp, Unit};
use prometheus::{Gauge, IntCounter, IntGauge, Registry, core::Collector};
use schemas::RunId;

use crate::{
    exit::Failure,
    store::{self, Database, Standing, audit},
};

/// How often it counts. Nobody waits for it: a study has minutes until it counts as unaccounted.
const EVERY: Duration = Duration::from_secs(10);
/// How often the audit log is read from its beginning.
const AUDIT: Duration = Duration::from_hours(1);

/// The thread that counts; it ends when this is dropped. Not a scrape's own question: `/metrics` must answer while the
/// database does not.
pub(crate) struct Truth {
    _stop: Sender<()>,
}

impl Truth {
    /// Starts counting. `deadline` is `truth.deadline`.
    pub(crate) fn start(
        database: &Database,
        registry: &Registry,
        deadline: Duration,
    ) -> Result<Self, Failure> {
        let mut counted = Counted::register(registry)?;
        let deadline = SignedDuration::try_from(deadline).unwrap_or(SignedDuration::MAX);
        let (stop, stopped) = bounded::<()>(0);
        let database = database.clone();
        thread::Builder::new().name("truth".to_owned()).spawn(move || {
            loop {
                counted.count(&database, deadline);
                if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

/// What is counted. Gauges are NaN while the database does not answer: no number is better than one of yesterday.
struct Counted {
    unaccounted: Gauge,
    waiting: Gauge,
    oldest: Gauge,
    redriven: IntCounter,
    replays: Gauge,
    skew: Gauge,
    verified: Gauge,
    broken: IntGauge,
    last_audit: Option<Instant>,
}

impl Counted {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| declared(registry, Gauge::new(name, help)?);
        Ok(Self {
            unaccounted: gauge(
                "prescreen_studies_unaccounted",
                "Studies neither terminal nor younger than truth.deadline; NaN while the database does not answer.",
            )?,
            waiting: gauge(
                "prescreen_dlq_waiting",
                "Dead letters that nobody has sent back; NaN while the database does not answer.",
            )?,
            oldest: gauge(
                "prescreen_dlq_oldest_age_seconds",
                "Age of the oldest of them, 0 without any; NaN while the database does not answer.",
            )?,
            redriven: declared(
                registry,
                IntCounter::new("prescreen_dlq_redriven_total", "Times a dead letter was sent back.")?,
            )?,
            replays: gauge(
                "prescreen_replay_active",
                "Replay runs under way, or killed and to be resumed; NaN while the database does not answer.",
            )?,
            skew: gauge(
                "prescreen_clock_skew_seconds",
                "The database's clock less this machine's, give or take the way there; NaN while it does not answer.",
            )?,
            verified: gauge(
                "prescreen_audit_chain_verified_timestamp_seconds",
                "When the audit log was last read from its beginning and found whole; 0: not yet.",
            )?,
            broken: declared(
                registry,
                IntGauge::new(
                    "prescreen_audit_chain_broken",
                    "1 when a row of the audit log was found edited, missing or out of its chain.",
                )?,
            )?,
            last_audit: None,
        })
    }

    fn count(&mut self, database: &Database, deadline: SignedDuration) {
        let counts = store::state_counts(database, &RunId::live(), Timestamp::now(), deadline);
        self.unaccounted.set(counts.map_or(f64::NAN, |counts| counts.unaccounted as f64));
        let asked_at = Timestamp::now();
        match store::standing(database) {
            Ok(Standing { waiting, oldest, redriven, replays, clock }) => {
                let now = Timestamp::now();
                self.waiting.set(waiting as f64);
                self.oldest.set(oldest.map_or(0.0, |oldest| seconds(now, oldest).max(0.0)));
                // A counter as long as the table lives: what was sent back stays in it.
                self.redriven.inc_by(redriven.saturating_sub(self.redriven.get()));
                self.replays.set(replays as f64);
                let half_way = seconds(now, asked_at) / 2.0;
                self.skew.set(seconds(clock, asked_at) - half_way);
            }
            Err(_) => {
                for gauge in [&self.waiting, &self.oldest, &self.replays, &self.skew] {
                    gauge.set(f64::NAN);
                }
            }
        }
        if self.last_audit.is_none_or(|last| last.elapsed() >= AUDIT) {
            self.audit(database);
        }
    }

    fn audit(&mut self, database: &Database) {
        match audit::verify(database) {
            Ok(Ok(_)) => {
                self.verified.set(Timestamp::now().as_second() as f64);
                self.broken.set(0);
            }
            Ok(Err(broken)) => {
                tracing::error!(%broken, "the audit log was tampered with");
                self.broken.set(1);
            }
            // The age of the last success tells.
            Err(_) => return,
        }
        self.last_audit = Some(Instant::now());
    }
}

/// Seconds from `earlier` to `later`.
fn seconds(later: Timestamp, earlier: Timestamp) -> f64 {
    (later - earlier).total(Unit::Second).unwrap_or(f64::NAN)
}

/// `family`, declared on `registry`.
fn declared<C: Collector + Clone + 'static>(registry: &Registry, family: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}
