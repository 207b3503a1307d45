//! A phantom study as the gate sees it: acquired, its files behind `Frames`, decoded one frame at a time.

use std::{
    collections::HashMap,
    io::Cursor,
    sync::{Mutex, PoisonError},
};

use phantom::echo::{EchoSpec, EchoStudy, generate};
use pixels::Thumbnails;
use schemas::{
    AcquiredInstance, Area, BlobRef, Completion, CompletionRule, Domain, FrameNumber, InstanceUid, Priority,
    Protocol, ReceivedFrom, Revision, SeriesUid, StudyAcquired, StudyHead, StudyUid, Uid,
};
use stage::{ClipHeader, EcgStrip, Frame, FrameError, Frames, Image, SlideHeader, Thumbnail, TilePosition};

/// Of thumbnails kept: more than any study here has.
const THUMBNAIL_BYTES: usize = 64 << 20;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A study and its files.
pub(crate) struct Exam {
    pub(crate) study: StudyAcquired,
    pub(crate) files: Files,
}

impl Exam {
    /// Makes the study that `spec` describes.
    pub(crate) fn make(spec: &EchoSpec) -> Result<Self, Failed> {
        Self::of(generate(spec)?)
    }

    /// Takes a study as it is.
    pub(crate) fn of(EchoStudy { study_uid, instances, .. }: EchoStudy) -> Result<Self, Failed> {
        let mut bytes = HashMap::new();
        let mut acquired = Vec::new();
        for instance in instances {
            let blob = BlobRef::of(Area::Raw, &instance.file_bytes);
            let frames =
                pixels::Clip::open(Cursor::new(&instance.file_bytes)).map_or(1, |clip| clip.frames());
            acquired.push(AcquiredInstance {
                series_uid: SeriesUid::new(&study_uid)?,
                instance_uid: InstanceUid::new(&instance.sop_instance_uid)?,
                sop_class_uid: Uid::new(instance.sop_class_uid)?,
                transfer_syntax_uid: Some(Uid::new(instance.transfer_syntax_uid)?),
                frames,
                blob: blob.clone(),
                not_analysable: None,
            });
            bytes.insert(blob.key(), instance.file_bytes);
        }
        let study = StudyAcquired {
            study: StudyHead {
                study_uid: StudyUid::new(&study_uid)?,
                revision: Revision::FIRST,
                priority: Priority::Routine,
                domain: Domain::Echo,
                synthetic: true,
            },
            completion: Completion { rule: CompletionRule::Forced, closed_at: jiff::Timestamp::UNIX_EPOCH },
            received_from: ReceivedFrom { protocol: Protocol::Folder, ae_title: None, tls: false },
            instances: acquired,
        };
        let thumbnails = Thumbnails::new(THUMBNAIL_BYTES);
        Ok(Self { study, files: Files { bytes, open: Mutex::new(None), thumbnails } })
    }
}

/// DICOM files in memory, decoded in this very thread: they are our own, and nothing hostile is among them. What was seen
/// is kept as the pool of decode workers keeps it.
pub(crate) struct Files {
    bytes: HashMap<String, Vec<u8>>,
    // A lock, because `Frames` is shared by reference; a gate asks for one instance after the other.
    open: Mutex<Option<Open>>,
    thumbnails: Thumbnails,
}

/// The instance last asked for.
struct Open {
    key: String,
    clip: pixels::MaskedClip<Cursor<Vec<u8>>>,
}

impl Files {
    fn with<T>(
        &self,
        instance: &BlobRef,
        ask: impl FnOnce(&mut Open) -> Result<T, pixels::DecodeError>,
    ) -> Result<T, FrameError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = instance.key();
        if open.as_ref().is_none_or(|open| open.key != key) {
            let bytes = self.bytes.get(&key).ok_or_else(|| FrameError::NotFound { key: key.clone() })?;
            let clip = pixels::MaskedClip::open(Cursor::new(bytes.clone()))?;
            *open = Some(Open { key: key.clone(), clip });
        }
        let open = open.as_mut().ok_or(FrameError::NotFound { key })?;
        Ok(ask(open)?)
    }
}

impl Frames for Files {
    fn header(&self, instance: &BlobRef) -> Result<ClipHeader, FrameError> {
        self.with(instance, |open| open.clip.header())
    }

    fn frame(&self, instance: &BlobRef, number: FrameNumber) -> Result<Frame, FrameError> {
        let image = self.with(instance, |open| open.clip.frame(number.index()))?;
        Ok(Frame { number, image })
    }

    fn thumbnail(
        &self,
        instance: &BlobRef,
        number: FrameNumber,
        height: u32,
    ) -> Result<Option<Thumbnail>, FrameError> {
        let made = self.thumbnails.get_or_make(instance, (number, height), || {
            self.with(instance, |open| open.clip.thumbnail(number.index(), height))
        });
        made.map(Some)
    }

    fn ecg(&self, instance: &BlobRef, number: FrameNumber) -> Result<Option<EcgStrip>, FrameError> {
        self.with(instance, |open| open.clip.ecg(number.index()))
    }

    fn slide(&self, instance: &BlobRef) -> Result<SlideHeader, FrameError> {
        Err(FrameError::NotFound { key: instance.key() })
    }

    fn tile(&self, instance: &BlobRef, _: TilePosition) -> Result<Option<Image>, FrameError> {
        Err(FrameError::NotFound { key: instance.key() })
    }
}
