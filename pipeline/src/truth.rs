//! `prescreen_studies_unaccounted`: the one number that must be 0, for whoever watches metrics and no page.

use std::{thread, time::Duration};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use jiff::{SignedDuration, Timestamp};
use prometheus::{Gauge, Registry};
use schemas::RunId;

use crate::{exit::Failure, store, store::Database};

/// How often it counts. Nobody waits for it: a study has minutes until it counts as unaccounted.
const EVERY: Duration = Duration::from_secs(10);

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
        let gauge = Gauge::new(
            "prescreen_studies_unaccounted",
            "Studies neither terminal nor younger than truth.deadline; NaN while the database does not answer.",
        )?;
        registry.register(Box::new(gauge.clone()))?;
        let deadline = SignedDuration::try_from(deadline).unwrap_or(SignedDuration::MAX);
        let (stop, stopped) = bounded::<()>(0);
        let database = database.clone();
        thread::Builder::new().name("truth".to_owned()).spawn(move || {
            loop {
                let counts = store::state_counts(&database, &RunId::live(), Timestamp::now(), deadline);
                gauge.set(counts.map_or(f64::NAN, |counts| counts.unaccounted as f64));
                if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { _stop: stop })
    }
}
