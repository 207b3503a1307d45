//! Studies in memory and the gate that judges them.

use quality_gate::QualityGate;
use raster::testing::Loop;
use schemas::{
    AcquiredInstance, Area, BlobRef, Completion, CompletionRule, Domain, FrameNumber, InstanceUid, Priority,
    Protocol, ReceivedFrom, Revision, SeriesUid, StudyAcquired, StudyHead, StudyUid, Uid, View,
};
use stage::{
    ClipHeader, EcgStrip, Frame, FrameError, Frames, Image, Services, SlideHeader, Stage as _, TilePosition,
    testing::MemoryFrames,
};

/// The table that operators get.
pub(crate) fn table() -> toml::Value {
    let defaults: toml::Table =
        toml::from_str(include_str!("../../../../config/default.toml")).expect("TOML");
    defaults["stages"]["quality_gate"].clone()
}

/// The gate with that table.
pub(crate) fn gate() -> QualityGate {
    let config = table().try_into().expect("the table fits the configuration");
    QualityGate::build(config, &Services::without_model()).expect("the table can be meant")
}

/// A study and the frames behind it, built instance by instance.
pub(crate) struct World {
    pub(crate) study: StudyAcquired,
    pub(crate) frames: MemoryFrames,
}

impl World {
    pub(crate) fn new(domain: Domain) -> Self {
        let study = StudyAcquired {
            study: StudyHead {
                study_uid: StudyUid::new("2.25.1").expect("uid"),
                revision: Revision::FIRST,
                priority: Priority::Routine,
                domain,
                synthetic: true,
            },
            completion: Completion { rule: CompletionRule::Forced, closed_at: jiff::Timestamp::UNIX_EPOCH },
            received_from: ReceivedFrom { protocol: Protocol::Folder, ae_title: None, tls: false },
            instances: Vec::new(),
        };
        Self { study, frames: MemoryFrames::default() }
    }

    /// Adds an instance of which nothing is stored.
    pub(crate) fn add(&mut self, frames: u32) -> &mut AcquiredInstance {
        let number = self.study.instances.len();
        let uid = format!("2.25.1.1.{number}");
        self.study.instances.push(AcquiredInstance {
            series_uid: SeriesUid::new("2.25.1.1").expect("uid"),
            instance_uid: InstanceUid::new(&uid).expect("uid"),
            sop_class_uid: Uid::new("1.2.840.10008.5.1.4.1.1.3.1").expect("uid"),
            transfer_syntax_uid: None,
            frames,
            blob: BlobRef::of(Area::Raw, uid.as_bytes()),
            not_analysable: None,
        });
        &mut self.study.instances[number]
    }

    /// Adds a clip with these frames.
    pub(crate) fn add_clip(&mut self, header: ClipHeader, frames: Vec<Frame>) {
        let blob = self.add(header.frames).blob.clone();
        self.frames.insert(blob, header, frames);
    }

    /// Adds a loop; it shows one ventricle and one atrium, so its header names the two-chamber view.
    pub(crate) fn with_loop(mut self, drawn: &Loop) -> Self {
        self.add_clip(two_chamber(drawn), drawn.frames());
        self
    }
}

/// The header of a loop, with the view that it shows.
pub(crate) fn two_chamber(drawn: &Loop) -> ClipHeader {
    ClipHeader { view: Some(View::A2C), ..drawn.header() }
}

/// Frames of which some fail.
pub(crate) struct Faulty<'a, F> {
    pub(crate) frames: &'a MemoryFrames,
    /// The fault of a frame, if it has one.
    pub(crate) fault: F,
}

impl<F: Fn(FrameNumber) -> Option<FrameError> + Send + Sync> Frames for Faulty<'_, F> {
    fn header(&self, instance: &BlobRef) -> Result<ClipHeader, FrameError> {
        self.frames.header(instance)
    }

    fn frame(&self, instance: &BlobRef, number: FrameNumber) -> Result<Frame, FrameError> {
        (self.fault)(number).map_or_else(|| self.frames.frame(instance, number), Err)
    }

    fn ecg(&self, instance: &BlobRef, number: FrameNumber) -> Result<Option<EcgStrip>, FrameError> {
        self.frames.ecg(instance, number)
    }

    fn slide(&self, instance: &BlobRef) -> Result<SlideHeader, FrameError> {
        self.frames.slide(instance)
    }

    fn tile(&self, instance: &BlobRef, position: TilePosition) -> Result<Option<Image>, FrameError> {
        self.frames.tile(instance, position)
    }
}
