//! A study for each example of the contract: what the page of a report is looked at with.

use console::site::{StudyRow, StudyTimeline};
use jiff::Timestamp;
use schemas::{BlobRef, Digest};
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

/// The study `uid` of example `name`, without its way through the pipeline.
pub(crate) fn study(uid: &str, name: &str, received_at: Timestamp, terminal_at: Timestamp) -> StudyTimeline {
    let example = example(name);
    let rejected = name == "rejected";
    let study = &example["study"];
    let row = StudyRow {
        study_uid: uid.to_owned(),
        revision: 1,
        state: if rejected { "rejected" } else { "reported" }.to_owned(),
        reason: example["abstention"].as_str().map(str::to_owned).or(rejected.then(|| "BLUR".to_owned())),
        domain: study["domain"].as_str().map(str::to_owned),
        synthetic: study["synthetic"].as_bool(),
        priority: study["priority"].as_str().map(str::to_owned),
        instances: Some(1),
        received_at: Some(received_at),
        terminal_at: Some(terminal_at),
    };
    let rejection = example.get("rejection").cloned();
    StudyTimeline {
        revisions: vec![row],
        events: Vec::new(),
        dead_letters: Vec::new(),
        report: rejection.is_none().then_some(example),
        rejection,
    }
}

/// Frames and a tile of phantoms, whatever the example's reference is to.
#[expect(clippy::unnecessary_wraps, reason = "a world may have no picture; this one has every")]
pub(crate) fn picture(picture: &BlobRef) -> Option<Vec<u8>> {
    let of = |name: &str| picture.sha256 == Digest::of(name.as_bytes());
    Some(match picture {
        _ if of("s") => include_bytes!("es.png").to_vec(),
        _ if of("t") || of("n") => include_bytes!("tile.png").to_vec(),
        _ => include_bytes!("ed.png").to_vec(),
    })
}
