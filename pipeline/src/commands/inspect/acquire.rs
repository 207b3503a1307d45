//! Files into studies, by intake's own checks.

use std::{io::Write as _, path::Path, sync::Arc, time::Duration};

use crossbeam_channel::{Sender, bounded};
use intake::{
    Announce, AnnounceError, Backoff, CompletionTimes, FileOptions, Intake, IntakeConfig, IntakeMetrics,
    Publisher,
};
use jiff::Timestamp;
use pixels::Identity;
use prometheus::Registry;
use schemas::{Cause, EventId, RunId, StudyAcquired, StudyUid};
use services::ObjectBlobs;

use crate::exit::Failure;

/// Takes the files in as the service would, with spool and journal below `folder`, and gives the studies they make.
pub(super) fn acquire(
    path: &Path,
    options: FileOptions,
    folder: &Path,
    blobs: &Arc<ObjectBlobs>,
) -> Result<Vec<StudyAcquired>, Failure> {
    if !path.exists() {
        return Err(Failure::usage(format!("{} does not exist", path.display())));
    }
    let config = IntakeConfig {
        directory: folder.join("spool"),
        min_free: 0,
        max_object: 8 << 30,
        completion: CompletionTimes { quiet: Duration::from_hours(1), cap: Duration::from_hours(2) },
        remember: Duration::from_hours(1),
    };
    let (intake, _owner) = Intake::start(config, IntakeMetrics::new(&Registry::new())?, Timestamp::now())?;
    let mut studies = std::collections::BTreeSet::new();
    intake.receive_path(path, options, &mut |report| match report.result {
        Ok(receipt) => {
            studies.insert(receipt.study);
        }
        Err(refusal) => {
            // Standard error of a command that the user gave this very path to.
            let _ = writeln!(std::io::stderr(), "{}: {refusal}", report.path.display());
        }
    });
    if studies.is_empty() {
        return Err(Failure::usage(format!("{} holds nothing that can be read", path.display())));
    }
    let (announced, acquired) = bounded(1);
    let (_stop, stopped) = bounded(1);
    let publisher = Publisher {
        intake: intake.clone(),
        announce: Announced(announced),
        blobs: blobs.clone(),
        run: RunId::live(),
        backoff: Backoff { first: Duration::from_millis(10), longest: Duration::from_millis(10) },
    };
    let _publisher = publisher.start(stopped)?;
    let mut messages = Vec::new();
    for study in &studies {
        intake.close_study(study)?;
        messages.push(acquired.recv_timeout(Duration::from_mins(1))?);
    }
    Ok(messages)
}

/// Announcements into a channel instead of a broker.
struct Announced(Sender<StudyAcquired>);

impl Announce for Announced {
    fn acquired(&mut self, message: &StudyAcquired, _: EventId) -> Result<(), AnnounceError> {
        self.0.send(message.clone()).map_err(|error| AnnounceError::Refused(error.into()))
    }

    fn refused(
        &mut self,
        _: &StudyAcquired,
        _: EventId,
        _: Cause,
        detail: &str,
    ) -> Result<(), AnnounceError> {
        Err(AnnounceError::Refused(detail.into()))
    }

    fn identity(&mut self, _: &StudyUid, _: &Identity) -> Result<(), AnnounceError> {
        Ok(())
    }
}
