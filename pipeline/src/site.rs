//! The running system as the console sees it.

mod metrics;
mod replays;
mod watch;

use std::{
    error::Error as _,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use console::site::{
    Arrival, ConfirmedStudy, Received, Sender, Site, SiteError, Status, StudyFilter, StudyRow, StudyTimeline,
    UploadOptions,
};
use intake::{FileOptions, Intake, Novelty, Refusal};
use jiff::{SignedDuration, Timestamp};
use prometheus::{Registry, TextEncoder};
use runtime::{Client, LogKey};
use schemas::{BlobRef, Priority, Revision, RunId, StudyUid};
use services::ObjectBlobs;
use stage::{BlobError, Blobs as _};

use crate::{
    backlog::Latest,
    control::Switches,
    store::{self, Database, DatabaseError},
};

pub(crate) use metrics::SiteMetrics;
pub(crate) use replays::Promotions;

/// What the console asks.
pub(crate) struct LiveSite {
    pub(crate) database: Database,
    pub(crate) intake: Option<Intake>,
    pub(crate) blobs: Arc<ObjectBlobs>,
    pub(crate) registry: Registry,
    pub(crate) metrics: SiteMetrics,
    pub(crate) promotions: Promotions,
    pub(crate) backlog: Latest,
    pub(crate) client: Client,
    pub(crate) log_key: LogKey,
    pub(crate) switches: Switches,
    /// One redrive at a time: two at once would send the same letters twice, to no harm and no use.
    pub(crate) redriving: Mutex<()>,
    pub(crate) deadline: Duration,
}

fn database(error: DatabaseError) -> SiteError {
    tracing::warn!(%error, "a question to the database failed");
    SiteError::Unavailable { part: "database" }
}

/// A refusal with its cause and code, for the person who sent the file. None of them repeats a header's value.
fn reason(refusal: &Refusal) -> String {
    let cause = refusal.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{refusal}{cause} ({})", refusal.code())
}

/// The Prometheus page of `registry`.
pub(crate) fn exposition(registry: &Registry) -> String {
    // Encoding fails only for a family without metrics, which `gather` leaves out.
    TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_default()
}

impl LiveSite {
    fn intake(&self) -> Result<&Intake, SiteError> {
        self.intake.as_ref().ok_or_else(|| SiteError::Refused("this process has no intake role".to_owned()))
    }

    /// Revisions that are safe in the spool and not announced yet.
    fn spooled(&self) -> i64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == "prescreen_intake_revisions_unpublished");
        family
            .and_then(|family| family.get_metric().first())
            .map_or(0, |metric| metric.get_gauge().get_value() as i64)
    }
}

impl Site for LiveSite {
    fn auth_failed(&self) {
        self.metrics.auth_failures.inc();
    }

    fn status(&self) -> Result<Status, SiteError> {
        let now = Timestamp::now();
        let deadline = SignedDuration::try_from(self.deadline).unwrap_or(SignedDuration::MAX);
        let mut studies =
            store::state_counts(&self.database, &RunId::live(), now, deadline).map_err(database)?;
        let spooled = self.spooled();
        // Received is what intake keeps, whether or not the broker has heard of it.
        studies.received += spooled;
        studies.in_progress += spooled;
        let stages = self.backlog.stages(Instant::now());
        Ok(Status { at: now, studies, spooled, stages })
    }

    fn studies(&self, filter: &StudyFilter) -> Result<Vec<StudyRow>, SiteError> {
        store::studies(&self.database, &RunId::live(), filter).map_err(database)
    }

    fn study(&self, study: &StudyUid) -> Result<Option<StudyTimeline>, SiteError> {
        store::timeline(&self.database, &RunId::live(), study).map_err(database)
    }

    fn senders(&self) -> Result<Vec<Sender>, SiteError> {
        store::senders(&self.database, &RunId::live()).map_err(database)
    }

    fn arrivals(&self, ae_title: &str, limit: u32) -> Result<Vec<Arrival>, SiteError> {
        store::arrivals(&self.database, &RunId::live(), ae_title, limit).map_err(database)
    }

    fn confirmed_studies(&self, skip: u32, limit: u32) -> Result<Vec<ConfirmedStudy>, SiteError> {
        store::confirmed_studies(&self.database, &RunId::live(), skip, limit).map_err(database)
    }

    fn picture(&self, picture: &BlobRef) -> Result<Option<Vec<u8>>, SiteError> {
        match self.blobs.get(picture) {
            Ok(png) => Ok(Some(png)),
            Err(BlobError::NotFound { .. } | BlobError::Mismatch { .. }) => Ok(None),
            Err(BlobError::Unavailable { .. }) => Err(SiteError::Unavailable { part: "blob store" }),
        }
    }

    fn metrics(&self) -> String {
        exposition(&self.registry)
    }

    fn receive(&self, file: &Path, options: &UploadOptions) -> Result<Vec<Received>, SiteError> {
        let options = FileOptions {
            priority: options.priority.unwrap_or(Priority::Routine),
            synthetic: options.synthetic,
            domain: options.domain,
        };
        let mut answers = Vec::new();
        self.intake()?.receive_path(file, options, &mut |report| {
            answers.push(match report.result {
                Ok(receipt) => {
                    let (study_uid, instance_uid) = (receipt.study, receipt.instance);
                    match receipt.novelty {
                        Novelty::Stored => Received::Stored { study_uid, instance_uid },
                        Novelty::Duplicate => Received::Duplicate { study_uid, instance_uid },
                    }
                }
                Err(refusal) => Received::Refused { reason: reason(&refusal) },
            });
        });
        Ok(answers)
    }

    fn close(&self, study: &StudyUid) -> Result<Option<Revision>, SiteError> {
        // A closing fails for the spool's own reasons only.
        self.intake()?.close_study(study).map_err(|refusal| {
            tracing::warn!(code = refusal.code(), "study could not be closed");
            SiteError::Unavailable { part: "intake" }
        })
    }
}
