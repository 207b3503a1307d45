//! An input of a plan, read again and held against it.

use replay::plan::{Input, Place};
use runtime::{
    Record,
    bounded::{BoundedError, BoundedReader},
};
use schemas::{BlobRef, DeadLetter, DeadLetterError, DeadLetterPayload, Digest, Envelope};
use services::ObjectBlobs;
use stage::{BlobError, Blobs as _};

/// Why an input is not what the plan says.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    /// The topic cannot be read.
    #[error(transparent)]
    Reading(#[from] BoundedError),
    /// The blob store cannot be read, or has lost the input's bytes.
    #[error("input {place}: {blob} cannot be had")]
    Blob {
        /// Where its record lies.
        place: Place,
        /// What was asked for.
        blob: String,
        /// Why.
        source: BlobError,
    },
    /// A blob that the input refers to is gone.
    #[error("input {place} of study {study}: blob {blob} is not in the store any more; plan again")]
    Lost {
        /// Where its record lies.
        place: Place,
        /// Which study.
        study: String,
        /// Which blob.
        blob: String,
    },
    /// Retention has deleted the record.
    #[error("input {place} is not on the broker any more; plan again")]
    Gone {
        /// Where it lay.
        place: Place,
    },
    /// Another record lies there now.
    #[error(
        "input {place} has sha-256 {found} instead of {planned}: this is not the topic that was planned with"
    )]
    Changed {
        /// Where it lies.
        place: Place,
        /// Hash of what lies there.
        found: Digest,
        /// Hash in the plan.
        planned: Digest,
    },
    /// Another event with the same bytes.
    #[error(
        "input {place} is another event than the one planned: this is not the topic that was planned with"
    )]
    OtherEvent {
        /// Where it lies.
        place: Place,
    },
}

/// A dead letter's own bytes, where they are not in the record.
pub(super) fn quarantined(record: &Record) -> Result<Option<BlobRef>, DeadLetterError> {
    let letter = DeadLetter::from_headers(record.headers.iter())?;
    match letter.payload {
        DeadLetterPayload::Embedded => Ok(None),
        DeadLetterPayload::Quarantined => {
            let reference = serde_json::from_slice(&record.payload);
            reference.map(Some).map_err(|_| DeadLetterError { header: "dl_payload" })
        }
    }
}

/// The record that `input` names, with the bytes that died where it is a letter to quarantine.
pub(super) fn read(reader: &BoundedReader, blobs: &ObjectBlobs, input: &Input) -> Result<Record, InputError> {
    let Place { topic, partition, offset } = &input.place;
    let record = reader.record(topic, *partition, *offset)?;
    let record = record.ok_or_else(|| InputError::Gone { place: input.place.clone() })?;
    checked(record, blobs, input)
}

/// Holds `record`, which lies at the place of `input`, against the plan.
pub(super) fn checked(mut record: Record, blobs: &ObjectBlobs, input: &Input) -> Result<Record, InputError> {
    let place = || input.place.clone();
    if let Some(blob) = &input.quarantined {
        let failed = |source| InputError::Blob { place: place(), blob: blob.key(), source };
        record.payload = blobs.get(blob).map_err(failed)?;
    }
    let found = Digest::of(&record.payload);
    if found != input.sha256 {
        return Err(InputError::Changed { place: place(), found, planned: input.sha256 });
    }
    let event = Envelope::from_headers(record.headers.iter()).ok().map(|envelope| envelope.id);
    if event != Some(input.event_id) {
        return Err(InputError::OtherEvent { place: place() });
    }
    Ok(record)
}

/// Whether everything that `input` refers to is in the store.
pub(super) fn check_blobs(blobs: &ObjectBlobs, input: &Input) -> Result<(), InputError> {
    for blob in &input.blobs {
        let failed = |source| InputError::Blob { place: input.place.clone(), blob: blob.key(), source };
        if !blobs.holds(blob).map_err(failed)? {
            return Err(InputError::Lost {
                place: input.place.clone(),
                study: input.study_uid.to_string(),
                blob: blob.key(),
            });
        }
    }
    Ok(())
}
