//! `study.acquired.v1`: a study has been received and closed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BlobRef, Digest, InstanceUid, Message, SeriesUid, StudyHead, Topic, Uid};

/// What ended the waiting for further instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompletionRule {
    /// Nothing arrived for the configured quiet time.
    IdleTimeout,
    /// The hard cap on a study's open time.
    HardCap,
    /// Somebody said so: `ingest`, the demo, or an operator.
    Forced,
}

/// How and when the study was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Completion {
    /// What closed it.
    pub rule: CompletionRule,
    /// When (RFC 3339, UTC).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub closed_at: jiff::Timestamp,
}

/// How the instances came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// A DICOM association.
    CStore,
    /// Files read from a folder, a zip or a single path.
    Folder,
}

/// Where the last instance of this revision came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ReceivedFrom {
    /// How it came.
    pub protocol: Protocol,
    /// Calling AE title of an allowed peer; absent for files.
    pub ae_title: Option<String>,
    /// Whether the transport was encrypted.
    pub tls: bool,
}

/// Why an instance is stored but cannot be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotAnalysable {
    /// The transfer syntax needs a codec this build does not have (video, 12-bit JPEG, JPEG-LS without the feature).
    TransferSyntax,
    /// The object holds no pixels: a report, a document, a presentation state.
    NotAnImage,
    /// A kind of image that no stage reads.
    Modality,
    /// A label or overview image of a slide: never decoded, it may show identity.
    LabelOrOverview,
    /// Our own result coming back from the PACS.
    OwnResult,
}

/// One instance as received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AcquiredInstance {
    /// Series Instance UID.
    pub series_uid: SeriesUid,
    /// SOP Instance UID.
    pub instance_uid: InstanceUid,
    /// SOP Class UID.
    pub sop_class_uid: Uid,
    /// Transfer Syntax UID; absent for PNG, JPEG and TIFF files.
    pub transfer_syntax_uid: Option<Uid>,
    /// Number of Frames (0028,0008) as declared, 1 if absent.
    pub frames: u32,
    /// The bytes as received, in area `raw`.
    pub blob: BlobRef,
    /// Absent if the pixels can be looked at.
    pub not_analysable: Option<NotAnalysable>,
}

/// A study has been received and closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StudyAcquired {
    /// The study.
    pub study: StudyHead,
    /// How it was closed.
    pub completion: Completion,
    /// Where it came from.
    pub received_from: ReceivedFrom,
    /// Every instance of this revision, also those of earlier ones, ordered by instance UID.
    pub instances: Vec<AcquiredInstance>,
}

impl Message for StudyAcquired {
    const TOPIC: Topic = Topic { name: "study.acquired.v1", major: 1, minor: 0 };

    fn study(&self) -> &StudyHead {
        &self.study
    }
}

/// The digest of what a study consists of: instance UIDs and contents, in UID order.
///
/// Part of the id of a `study.acquired` event, so that publishing the same revision twice gives the same event.
pub fn manifest_digest(instances: &[AcquiredInstance]) -> Digest {
    let mut lines: Vec<String> = instances
        .iter()
        .map(|instance| format!("{} {}\n", instance.instance_uid, instance.blob.sha256))
        .collect();
    lines.sort_unstable();
    Digest::of(lines.concat().as_bytes())
}
