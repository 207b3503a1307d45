//! Intake's metrics, declared once, on a registry that is passed in.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use schemas::Revision;

use crate::{Novelty, Receipt, Refusal};

/// Counters and gauges of intake. Labels are codes of ours, never anything from outside.
#[derive(Debug, Clone)]
pub struct IntakeMetrics {
    associations_rejected: IntCounterVec,
    objects: IntCounterVec,
    bytes: IntCounter,
    studies: IntCounter,
    closings: IntCounter,
    quarantined: IntCounterVec,
    publish_failures: IntCounterVec,
    arrivals: IntCounterVec,
    spool_objects: IntGauge,
    spool_bytes: IntGauge,
    studies_open: IntGauge,
    revisions_unpublished: IntGauge,
    free: Gauge,
    reserve: IntGauge,
}

impl IntakeMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// If one of the names is registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(format!("prescreen_{name}"), help), &[label])?;
            registry.register(Box::new(counters.clone())).map(|()| counters)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("prescreen_{name}"), help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("prescreen_{name}"), help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        Ok(Self {
            associations_rejected: counters(
                "dicom_associations_rejected_total",
                "DICOM associations rejected or aborted by us, by reason.",
                "reason",
            )?,
            objects: counters("intake_objects_total", "Objects offered, by what became of them.", "outcome")?,
            bytes: counter("intake_received_bytes_total", "Bytes of the objects stored.")?,
            studies: counter("studies_received_total", "Studies closed for the first time.")?,
            closings: counter("intake_revisions_total", "Closings of studies, late revisions included.")?,
            quarantined: counters(
                "intake_quarantined_total",
                "Objects set aside for a person, by code.",
                "code",
            )?,
            publish_failures: counters(
                "intake_publish_failures_total",
                "Failed attempts to publish a revision, by step.",
                "step",
            )?,
            arrivals: counters(
                "arrival_offers_total",
                "Echo instances offered to the arrival gate: offered, or skipped because it was busy.",
                "outcome",
            )?,
            spool_objects: gauge("intake_spool_objects", "Objects acknowledged and not yet published.")?,
            spool_bytes: gauge("intake_spool_bytes", "Their bytes.")?,
            studies_open: gauge("intake_studies_open", "Studies waiting for further instances.")?,
            revisions_unpublished: gauge(
                "intake_revisions_unpublished",
                "Closed revisions not yet published.",
            )?,
            free: {
                let free = Gauge::new(
                    "prescreen_disk_free_bytes",
                    "Bytes free where the spool lies; NaN if the system does not say.",
                )?;
                registry.register(Box::new(free.clone()))?;
                free
            },
            reserve: gauge(
                "disk_reserve_bytes",
                "Less free bytes than this (intake.min_free), and nothing is taken.",
            )?,
        })
    }

    pub(crate) fn association_rejected(&self, reason: &str) {
        self.associations_rejected.with_label_values(&[reason]).inc();
    }

    pub(crate) fn answered(&self, answer: &Result<Receipt, Refusal>) {
        let outcome = match answer {
            Ok(Receipt { novelty: Novelty::Stored, .. }) => "STORED",
            Ok(Receipt { novelty: Novelty::Duplicate, .. }) => "DUPLICATE",
            Err(refusal) => refusal.code(),
        };
        self.objects.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.objects.with_label_values(&[refusal.code()]).inc();
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.bytes.inc_by(bytes);
    }

    pub(crate) fn closed(&self, revision: Revision) {
        self.closings.inc();
        if revision == Revision::FIRST {
            self.studies.inc();
        }
    }

    pub(crate) fn quarantined(&self, code: &str) {
        self.quarantined.with_label_values(&[code]).inc();
    }

    pub(crate) fn publish_failed(&self, step: &str) {
        self.publish_failures.with_label_values(&[step]).inc();
    }

    pub(crate) fn arrival(&self, outcome: &str) {
        self.arrivals.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn room(&self, free: Option<u64>, reserve: u64) {
        self.free.set(free.map_or(f64::NAN, |free| free as f64));
        self.reserve.set(reserve.cast_signed());
    }

    pub(crate) fn depth(&self, objects: u64, bytes: u64, open: usize, unpublished: usize) {
        self.spool_objects.set(objects.cast_signed());
        self.spool_bytes.set(bytes.cast_signed());
        self.studies_open.set(open as i64);
        self.revisions_unpublished.set(unpublished as i64);
    }
}
