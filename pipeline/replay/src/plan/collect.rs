//! From the records of a range to the inputs of a plan.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
};

use schemas::{BlobRef, Class, Digest, Envelope, EventId, Revision, RunId, StudyUid};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Excluded, Input, Lost};

/// Where a record lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Topic, with its lane or dead-letter suffix.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// A record found in the range.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The message's bytes; of a long dead letter those in quarantine.
    pub payload: &'a [u8],
    /// Where these are, if not in the record.
    pub quarantined: Option<&'a BlobRef>,
}

/// Takes records one by one, in the order they are read.
#[derive(Debug)]
pub struct Collector {
    studies: Option<BTreeSet<StudyUid>>,
    /// Studies asked for of which some record was found, whatever became of it.
    met: BTreeSet<StudyUid>,
    taken: HashSet<(StudyUid, Revision)>,
    events: HashSet<EventId>,
    inputs: Vec<Input>,
    excluded: Excluded,
    lost: Vec<Lost>,
}

impl Collector {
    /// For these studies, or for all.
    pub fn new(studies: Option<BTreeSet<StudyUid>>) -> Self {
        Self {
            studies,
            met: BTreeSet::new(),
            taken: HashSet::new(),
            events: HashSet::new(),
            inputs: Vec::new(),
            excluded: Excluded::default(),
            lost: Vec::new(),
        }
    }

    /// Whether the record with `envelope` is an input; counts it where it is none.
    pub fn wants(&mut self, envelope: Option<&Envelope>) -> bool {
        let Some(envelope) = envelope else {
            self.excluded.unreadable += 1;
            return false;
        };
        let excluded = &mut self.excluded;
        let count = if envelope.class != Class::Clinical || envelope.run.as_str() == "heartbeat" {
            &mut excluded.heartbeat
        } else if envelope.run != RunId::live() {
            &mut excluded.other_runs
        } else if self.studies.as_ref().is_some_and(|studies| !studies.contains(&envelope.subject)) {
            &mut excluded.not_asked_for
        } else {
            self.met.insert(envelope.subject.clone());
            let new = self.events.insert(envelope.id)
                && !self.taken.contains(&(envelope.subject.clone(), envelope.revision));
            if new {
                return true;
            }
            &mut excluded.repeated
        };
        *count += 1;
        false
    }

    /// Takes the record at `place` as an input, unless a blob it needs is lost. [`Self::wants`] it.
    ///
    /// # Errors
    /// What `is_there` fails with: the store did not answer.
    pub fn take<E>(
        &mut self,
        place: Place,
        envelope: &Envelope,
        found: Found<'_>,
        mut is_there: impl FnMut(&BlobRef) -> Result<bool, E>,
    ) -> Result<(), E> {
        let (study_uid, revision) = (envelope.subject.clone(), envelope.revision);
        self.taken.insert((study_uid.clone(), revision));
        let blobs = blobs_of(found.payload);
        let lost_before = self.lost.len();
        for blob in &blobs {
            if !is_there(blob)? {
                self.lose(place.clone(), envelope, blob.clone());
            }
        }
        if self.lost.len() == lost_before {
            self.inputs.push(Input {
                place,
                event_id: envelope.id,
                study_uid,
                revision,
                sha256: Digest::of(found.payload),
                bytes: found.payload.len() as u64,
                quarantined: found.quarantined.cloned(),
                blobs,
            });
        }
        Ok(())
    }

    /// Notes that the record at `place` is no input because `blob` is gone.
    pub fn lose(&mut self, place: Place, envelope: &Envelope, blob: BlobRef) {
        let (study_uid, revision) = (envelope.subject.clone(), envelope.revision);
        self.taken.insert((study_uid.clone(), revision));
        self.lost.push(Lost::Blob { place, study_uid, revision, blob });
    }

    /// Inputs, what is left out, and what is lost; studies asked for and not found are lost too.
    pub fn finish(self) -> (Vec<Input>, Excluded, Vec<Lost>) {
        let Self { studies, met, mut lost, inputs, excluded, .. } = self;
        let missing = studies.into_iter().flatten().filter(|study| !met.contains(study));
        lost.extend(missing.map(|study_uid| Lost::Study { study_uid }));
        (inputs, excluded, lost)
    }
}

/// Every blob that a message refers to, whatever message it is; none where it is no JSON.
pub fn blobs_of(payload: &[u8]) -> Vec<BlobRef> {
    let mut blobs = BTreeMap::new();
    if let Ok(message) = serde_json::from_slice(payload) {
        gather(&message, &mut blobs);
    }
    blobs.into_values().collect()
}

fn gather(value: &Value, blobs: &mut BTreeMap<String, BlobRef>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| gather(value, blobs)),
        Value::Object(fields) => {
            let is_reference =
                fields.len() == 3 && ["area", "sha256", "bytes"].iter().all(|key| fields.contains_key(*key));
            match is_reference.then(|| serde_json::from_value::<BlobRef>(value.clone())) {
                Some(Ok(blob)) => {
                    blobs.insert(format!("{} {}", blob.key(), blob.bytes), blob);
                }
                _ => fields.values().for_each(|value| gather(value, blobs)),
            }
        }
        _ => {}
    }
}
