//! What a replay reads, with what it compares, and nothing that changes: the same plan is the same input.
//!
//! ```text
//!   records of a range ─▶ Collector ─┬▶ inputs     one for each event of a clinical, live study
//!                                    ├▶ excluded   heartbeats, other runs, what is not asked for, told in numbers
//!                                    └▶ lost       what retention or the blob store no longer has, told by name
//!   configurations ────▶ Pins: what decides the answers of baseline and candidate
//! ```
//!
//! Invariants:
//! - A plan holds no clock and no chance: the same question asked twice makes the same plan, byte for byte.
//! - Its identity is the SHA-256 of its canonical text ([`Plan::to_text`]); another layout of the file changes nothing.
//! - It names UIDs and hashes, never a name or any text of a header.

mod collect;
mod pins;

use std::{collections::BTreeSet, fmt};

use schemas::{BlobRef, Digest, EventId, Revision, StudyUid};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use collect::{Collector, Found, Place, blobs_of};
pub use pins::{Code, PinMismatch, Pins, StagePins};

/// The version this build writes and reads.
pub const VERSION: u32 = 1;

/// A plan that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not a plan of this version.
    #[error("this is no plan of version {VERSION}: {0}")]
    Shape(#[source] serde_json::Error),
    /// Of another version.
    #[error("the plan has version {found}; this build reads {VERSION}: plan again")]
    Version {
        /// The version found.
        found: u32,
    },
    /// Two inputs that would write the same rows.
    #[error("the plan has two inputs of study {study_uid}, revision {revision}")]
    Repeated {
        /// Which study.
        study_uid: StudyUid,
        /// Which closing of it.
        revision: Revision,
    },
    /// An input from outside the ranges.
    #[error("input {place} lies outside the plan's ranges")]
    Outside {
        /// Where it lies.
        place: Place,
    },
}

/// Where the inputs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The start stage's own input topic, both lanes.
    Topic,
    /// Its dead letters: the original bytes.
    DeadLetters,
}

/// Offsets of one partition: `start` is read, `end` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionRange {
    /// Which partition.
    pub partition: i32,
    /// First offset.
    pub start: i64,
    /// One more than the last one.
    pub end: i64,
}

/// Offsets of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicRange {
    /// Name, with its lane or dead-letter suffix.
    pub topic: String,
    /// Sorted by partition.
    pub partitions: Vec<PartitionRange>,
}

impl TopicRange {
    fn holds(&self, place: &Place) -> bool {
        self.topic == place.topic
            && self.partitions.iter().any(|range| {
                range.partition == place.partition && (range.start..range.end).contains(&place.offset)
            })
    }
}

/// One event to be done again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Where its record lies.
    pub place: Place,
    /// Its id.
    pub event_id: EventId,
    /// Study Instance UID.
    pub study_uid: StudyUid,
    /// Which closing of the study.
    pub revision: Revision,
    /// SHA-256 of the message's bytes.
    pub sha256: Digest,
    /// Their length.
    pub bytes: u64,
    /// Where the bytes are, if not in the record: a long dead letter.
    pub quarantined: Option<BlobRef>,
    /// What the message refers to.
    pub blobs: Vec<BlobRef>,
}

/// What was asked for and is not there any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Lost {
    /// Records that retention has deleted.
    Records {
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
        /// First offset asked for; absent where a time was asked for.
        from: Option<i64>,
        /// One more than the last offset lost.
        to: i64,
    },
    /// An input whose blob the store has lost, or holds in another length.
    Blob {
        /// Where the input's record lies.
        place: Place,
        /// Study Instance UID.
        study_uid: StudyUid,
        /// Which closing of the study.
        revision: Revision,
        /// The blob.
        blob: BlobRef,
    },
    /// A study that was asked for by name and has no input in the range.
    Study {
        /// Study Instance UID.
        study_uid: StudyUid,
    },
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records { topic, partition, from: Some(from), to } => {
                write!(f, "{topic}[{partition}]: offsets {from} to {} are deleted by retention", to - 1)
            }
            Self::Records { topic, partition, from: None, to } => {
                write!(f, "{topic}[{partition}]: records before offset {to} are deleted by retention")
            }
            Self::Blob { place, study_uid, revision, blob } => {
                write!(
                    f,
                    "study {study_uid}, revision {revision} ({place}): blob {} is not in the store",
                    blob.key()
                )
            }
            Self::Study { study_uid } => write!(f, "study {study_uid}: no input in the range"),
        }
    }
}

/// Records of the range that are no input, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excluded {
    /// The synthetic heartbeat.
    pub heartbeat: u64,
    /// Of a run other than `live`.
    pub other_runs: u64,
    /// Of a study that `--studies` does not name.
    pub not_asked_for: u64,
    /// The same event again, or another one of a study and revision that has its input already: the store keeps the first
    /// of them, and so does a replay.
    pub repeated: u64,
    /// Without a valid envelope.
    pub unreadable: u64,
}

/// A replay, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// Where inputs come from.
    pub source: Source,
    /// The stages done, in order; the first reads the inputs.
    pub stages: Vec<String>,
    /// The ranges read.
    pub topics: Vec<TopicRange>,
    /// The studies asked for; absent for all.
    pub studies: Option<BTreeSet<StudyUid>>,
    /// What is done again, in the order of topic, partition and offset.
    pub inputs: Vec<Input>,
    /// What cannot be done again.
    pub lost: Vec<Lost>,
    /// What is left out.
    pub excluded: Excluded,
    /// What decides the answers of the present configuration.
    pub baseline: Pins,
    /// What decides the answers of the one to be judged.
    pub candidate: Pins,
    /// The candidate's file, as given: what it changes of the baseline.
    pub overlay: String,
}

impl Plan {
    /// The canonical text: JSON with sorted keys, indented, one line end after it.
    pub fn to_text(&self) -> String {
        #[expect(clippy::expect_used, reason = "plain structs with string keys: serialisation cannot fail")]
        let mut value = serde_json::to_value(self).expect("plans serialise");
        value.sort_all_objects();
        format!("{value:#}\n")
    }

    /// The plan's identity.
    pub fn sha256(&self) -> Digest {
        Digest::of(self.to_text().as_bytes())
    }

    /// Reads and checks a plan.
    ///
    /// # Errors
    /// Another version, an unknown field, two inputs of one study and revision, or an input from outside the ranges.
    pub fn read(text: &str) -> Result<Self, PlanError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_str(text).map_err(PlanError::Shape)?;
        if version != VERSION {
            return Err(PlanError::Version { found: version });
        }
        let plan: Self = serde_json::from_str(text).map_err(PlanError::Shape)?;
        let mut seen = BTreeSet::new();
        for input in &plan.inputs {
            if !seen.insert((&input.study_uid, input.revision)) {
                let (study_uid, revision) = (input.study_uid.clone(), input.revision);
                return Err(PlanError::Repeated { study_uid, revision });
            }
            if !plan.topics.iter().any(|range| range.holds(&input.place)) {
                return Err(PlanError::Outside { place: input.place.clone() });
            }
        }
        Ok(plan)
    }
}

/// The SHA-256 of the canonical text of a JSON value: compact, keys sorted.
pub fn canonical_sha256(value: &Value) -> Digest {
    let mut value = value.clone();
    value.sort_all_objects();
    Digest::of(value.to_string().as_bytes())
}

#[cfg(test)]
mod tests;
