//! A site that holds one study for each example of the contract: what the page of a report is looked at with.

use std::path::Path;

use console::site::{
    Arrival, ConfirmedStudy, Received, Sender, Site, SiteError, StateCounts, Status, StudyFilter, StudyRow,
    StudyTimeline, UploadOptions,
};
use jiff::Timestamp;
use schemas::{BlobRef, Digest, Revision, StudyUid};
use serde_json::Value;

/// Each study and its example.
pub(crate) const UIDS: [(&str, &str); 7] = [
    ("2.25.1", "calibrated"),
    ("2.25.2", "cautioned"),
    ("2.25.3", "abstains_for_quality"),
    ("2.25.4", "rejected"),
    ("2.25.5", "pathology"),
    ("2.25.6", "number_with_doubts"),
    ("2.25.7", "abstains"),
];

macro_rules! example {
    ($topic:literal, $name:literal) => {
        include_str!(concat!("../../../../schemas/topics/", $topic, "/examples/", $name, ".json"))
    };
}

fn example(name: &str) -> Value {
    let text = match name {
        "calibrated" => example!("report.issued.v1", "calibrated"),
        "cautioned" => example!("report.issued.v1", "cautioned"),
        "abstains_for_quality" => example!("report.issued.v1", "abstains_for_quality"),
        "pathology" => example!("report.issued.v1", "pathology"),
        "number_with_doubts" => example!("report.issued.v1", "number_with_doubts"),
        "abstains" => example!("report.issued.v1", "abstains"),
        _ => example!("study.rejected.v1", "blurred"),
    };
    serde_json::from_str(text).unwrap_or_default()
}

/// The examples of the contract as studies.
pub(crate) struct Examples;

fn row(uid: &str, name: &str) -> StudyRow {
    let example = example(name);
    let rejected = name == "rejected";
    let study = &example["study"];
    StudyRow {
        study_uid: uid.to_owned(),
        revision: 1,
        state: if rejected { "rejected" } else { "reported" }.to_owned(),
        reason: example["abstention"].as_str().map(str::to_owned).or(rejected.then(|| "BLUR".to_owned())),
        domain: study["domain"].as_str().map(str::to_owned),
        synthetic: study["synthetic"].as_bool(),
        priority: study["priority"].as_str().map(str::to_owned),
        instances: Some(1),
        received_at: Some(Timestamp::UNIX_EPOCH),
        terminal_at: Some(Timestamp::UNIX_EPOCH),
    }
}

impl Site for Examples {
    fn status(&self) -> Result<Status, SiteError> {
        let count = UIDS.len() as i64;
        let studies =
            StateCounts { received: count, reported: count - 1, rejected: 1, ..StateCounts::default() };
        Ok(Status { at: Timestamp::UNIX_EPOCH, studies, spooled: 0, stages: Vec::new() })
    }

    fn studies(&self, _: &StudyFilter) -> Result<Vec<StudyRow>, SiteError> {
        Ok(UIDS.iter().map(|(uid, name)| row(uid, name)).collect())
    }

    fn study(&self, study: &StudyUid) -> Result<Option<StudyTimeline>, SiteError> {
        let Some((uid, name)) = UIDS.iter().find(|(uid, _)| *uid == study.as_str()) else { return Ok(None) };
        let example = example(name);
        let rejection = example.get("rejection").cloned();
        Ok(Some(StudyTimeline {
            revisions: vec![row(uid, name)],
            events: Vec::new(),
            dead_letters: Vec::new(),
            report: rejection.is_none().then_some(example),
            rejection,
        }))
    }

    fn senders(&self) -> Result<Vec<Sender>, SiteError> {
        Ok(Vec::new())
    }

    fn arrivals(&self, _: &str, _: u32) -> Result<Vec<Arrival>, SiteError> {
        Ok(Vec::new())
    }

    fn confirmed_studies(&self, _: u32, _: u32) -> Result<Vec<ConfirmedStudy>, SiteError> {
        Ok(Vec::new())
    }

    /// Frames and a tile of phantoms, whatever the example's reference is to.
    fn picture(&self, picture: &BlobRef) -> Result<Option<Vec<u8>>, SiteError> {
        let of = |name: &str| picture.sha256 == Digest::of(name.as_bytes());
        Ok(Some(match picture {
            _ if of("s") => include_bytes!("es.png").to_vec(),
            _ if of("t") || of("n") => include_bytes!("tile.png").to_vec(),
            _ => include_bytes!("ed.png").to_vec(),
        }))
    }

    fn metrics(&self) -> String {
        String::new()
    }

    fn receive(&self, _: &Path, _: &UploadOptions) -> Result<Vec<Received>, SiteError> {
        Err(SiteError::Refused("the examples take no files".to_owned()))
    }

    fn close(&self, _: &StudyUid) -> Result<Option<Revision>, SiteError> {
        Ok(None)
    }
}
