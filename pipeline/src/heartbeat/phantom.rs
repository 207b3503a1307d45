//! What a heartbeat consists of: one apical loop of a healthy heart, as short as the gate likes.

use std::io::Cursor;

use jiff::Timestamp;
use phantom::echo::{EchoError, EchoSpec, SpecError, View, generate};
use pixels::{PrescanError, prescan_file};
use schemas::{
    AcquiredInstance, Area, Completion, CompletionRule, Domain, Priority, Protocol, ReceivedFrom, Revision,
    StudyAcquired, StudyHead,
};
use stage::{BlobError, Blobs};

/// Heart and machine of every heartbeat: what varies is chance, so that none is rejected for its anatomy.
const HEART: u64 = 1;

/// Why there is no heartbeat.
#[derive(Debug, thiserror::Error)]
pub(super) enum PhantomError {
    /// It could not be drawn.
    #[error("phantom of the heartbeat cannot be made")]
    Draw(#[from] EchoError),
    /// It could not be read back.
    #[error("phantom of the heartbeat is no DICOM object")]
    Prescan(#[from] PrescanError),
    /// It could not be stored.
    #[error("phantom of the heartbeat cannot be stored")]
    Blobs(#[from] BlobError),
}

fn spec(seed: u64) -> EchoSpec {
    let mut spec = EchoSpec::sample(HEART).with_loop(View::A4c);
    spec.seed = seed;
    // 1.6 beats at 130 a minute and 30 frames a second: 22 frames; the gate wants 16, and a beat and a half.
    spec.heart.heart_rate = 130.0;
    spec.machine.frame_rate = 30.0;
    spec.machine.beats = 1.6;
    spec
}

/// Draws the study of `seed`, puts its object into `blobs` and says of it what intake would have said at `now`.
pub(super) fn make(seed: u64, blobs: &dyn Blobs, now: Timestamp) -> Result<StudyAcquired, PhantomError> {
    let object =
        generate(&spec(seed))?.instances.into_iter().next().ok_or(EchoError::Spec(SpecError::NoLoop))?;
    let header = prescan_file(Cursor::new(&object.file_bytes))?.header;
    let instance = AcquiredInstance {
        series_uid: header.series,
        instance_uid: header.instance,
        sop_class_uid: header.sop_class,
        transfer_syntax_uid: Some(header.transfer_syntax.uid().clone()),
        frames: header.frames.unwrap_or(1),
        blob: blobs.put(Area::Raw, &object.file_bytes)?,
        not_analysable: None,
    };
    Ok(StudyAcquired {
        study: StudyHead {
            study_uid: header.study,
            revision: Revision::FIRST,
            priority: Priority::Urgent,
            domain: Domain::Echo,
            synthetic: header.synthetic,
        },
        completion: Completion { rule: CompletionRule::Forced, closed_at: now },
        received_from: ReceivedFrom { protocol: Protocol::Folder, ae_title: None, tls: false },
        instances: vec![instance],
    })
}

#[cfg(test)]
mod tests {
    use stage::testing::MemoryBlobs;

    use super::*;

    #[test]
    fn each_seed_is_a_small_study_of_its_own_that_says_that_it_is_synthetic() {
        let blobs = MemoryBlobs::default();
        let of = |seed| make(seed, &blobs, Timestamp::UNIX_EPOCH).expect("a study");
        let (one, other) = (of(1 << 60), of((1 << 60) + 1));
        assert_eq!(one, of(1 << 60));
        assert!(one.study.synthetic && other.study.synthetic);
        assert_eq!(one.study.priority, Priority::Urgent);
        assert_ne!(one.study.study_uid, other.study.study_uid);
        assert_ne!(one.instances[0].blob, other.instances[0].blob);
        assert_eq!((one.instances.len(), one.instances[0].frames), (1, 22));
        let bytes = blobs.get(&one.instances[0].blob).expect("stored");
        assert!(bytes.len() < 2 << 20, "{} bytes a minute", bytes.len());
    }
}
