//! Synthetic echo studies: sector cines of five views with exact volumes, ejection fraction and key frames.
//!
//! ```text
//!  EchoSpec ─▶ cycle (when) ─▶ geometry (how large) ─▶ outlines, anatomy, speckle (what scatters where)
//!           ─▶ beam (echoes) ─▶ scan (on the screen) ─▶ overlay (text, ECG) ─▶ dicom ─▶ EchoStudy
//! ```
//! The picture is a two-dimensional convolution model, not a wave simulation: good for timing, geometry and
//! robustness, no substitute for patients.

mod anatomy;
mod beam;
mod cine;
mod colour;
mod corruption;
mod cycle;
mod dicom;
pub(crate) mod font;
mod geometry;
mod loop_frames;
mod outlines;
mod overlay;
mod respiration;
mod scan;
mod spec;
mod speckle;
pub mod suite;
mod traces;
mod truth;

use std::path::PathBuf;

use uuid::Uuid;

use self::cine::{Annotation, Cine, Purpose, Take, Timing};
use self::corruption::{Colour, Effects};
use self::dicom::{InstanceHeader, Object, Picture, Pixels, StudyHeader};
use self::overlay::Screen;

pub use self::corruption::{Corruption, CorruptionError, CorruptionKind, Scale};
pub use self::cycle::Interval;
pub use self::dicom::PRIVATE_CREATOR;
pub use self::loop_frames::LoopFrames;
pub use self::spec::{
    Content, EchoSpec, Echogenicity, Encoding, Heart, MOST_INSTANCES, Machine, Omission, SpecError, View,
};
pub use self::traces::Doppler;
pub use self::truth::{Batch, CineTruth, Truth, Truths, write_studies};

/// A generated study.
#[derive(Debug, Clone)]
pub struct EchoStudy {
    /// Study Instance UID.
    pub study_uid: String,
    /// The instances, in order of their numbers.
    pub instances: Vec<DicomInstance>,
    /// What is true of them.
    pub truth: Truth,
}

/// One DICOM object.
#[derive(Debug, Clone)]
pub struct DicomInstance {
    /// SOP Instance UID.
    pub sop_instance_uid: String,
    /// SOP Class UID.
    pub sop_class_uid: &'static str,
    /// Transfer Syntax UID.
    pub transfer_syntax_uid: &'static str,
    /// The view that the header names.
    pub view: Option<View>,
    /// The whole Part 10 file.
    pub file_bytes: Vec<u8>,
}

/// Why a study could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EchoError {
    /// The specification cannot be met.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A frame could not be compressed.
    #[error("cannot compress a frame")]
    Jpeg(#[source] jpeg_encoder::EncodingError),
    /// An object could not be written as DICOM.
    #[error("cannot write a DICOM object")]
    Dicom(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The specification or truth could not be written as JSON.
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Changes whenever this code draws different pixels from the same specification, so that a UID never names two.
const GENERATOR: &str = "prescreen phantom echo 2";
/// Frames a second of a loop with colour, which takes several pulses for each line.
const COLOUR_FRAME_RATE: f64 = 20.0;

/// Makes the study that `spec` describes; equal specifications give equal bytes, on every machine.
///
/// Holds one study in memory: about 4 MB a loop as JPEG; native pixels take 0.9 MB a frame, so up to a few hundred MB.
///
/// # Errors
/// [`EchoError::Spec`] when a value lies outside its documented range.
pub fn generate(spec: &EchoSpec) -> Result<EchoStudy, EchoError> {
    spec.check()?;
    let uids = Uids::new(spec)?;
    let tag = format!("{:08X}", spec.seed & 0xffff_ffff);
    let study = StudyHeader {
        study_uid: uids.derive("study"),
        series_uid: uids.derive("series"),
        worksheet_series_uid: uids.derive("series of worksheets"),
        patient_id: format!("PH-{tag}"),
        patient_name: format!("PHANTOM^ECHO {tag}"),
    };
    let identity = format!("ID {} DOB {}", study.patient_id, dicom::BIRTH_DATE);
    let annotation = Annotation { name: &study.patient_name, identity: &identity };

    // Loops come first, because a worksheet quotes their truth; then all lie in the order of the specification.
    let mut cines = Vec::new();
    let mut instances: Vec<Option<DicomInstance>> = vec![None; spec.contents.len()];
    let mut stills = vec![None; spec.contents.len()];
    let maker = Maker { spec, uids: &uids, study: &study, annotation: &annotation };
    for (index, content) in spec.contents.iter().enumerate() {
        if let Content::Loop(view) | Content::ColourLoop(view) = *content {
            let (instance, truth) = maker.cine(index, view)?;
            cines.push(truth);
            instances[index] = Some(instance);
        }
    }
    let apical = |cine: &&CineTruth| !cine.colour && matches!(cine.view, View::A4c | View::A2c);
    let first = cines.iter().find(apical).or(cines.first()).cloned().ok_or(SpecError::NoLoop)?;
    let mut truth = Truth {
        study_uid: study.study_uid.clone(),
        domain: "echo",
        synthetic: true,
        seed: spec.seed,
        cine: first,
        ef_percent: spec.heart.ef_percent,
        edv_ml: spec.heart.edv_ml,
        esv_ml: spec.heart.esv_ml(),
        heart_rate: spec.heart.heart_rate,
        cines,
        stills: Vec::new(),
    };
    for (index, content) in spec.contents.iter().enumerate() {
        let instance = match *content {
            Content::Loop(_) | Content::ColourLoop(_) => continue,
            Content::Still(view) => maker.still(index, view)?,
            Content::Spectrum(doppler) => maker.spectrum(index, doppler)?,
            Content::MMode => maker.m_mode(index)?,
            Content::Worksheet => maker.worksheet(index, &truth)?,
        };
        stills[index] = Some(instance.sop_instance_uid.clone());
        instances[index] = Some(instance);
    }
    truth.stills = stills.into_iter().flatten().collect();
    let instances = instances.into_iter().flatten().collect();
    Ok(EchoStudy { study_uid: study.study_uid, instances, truth })
}

/// Makes the instances of one study, each by its place in the contents.
struct Maker<'a> {
    spec: &'a EchoSpec,
    uids: &'a Uids,
    study: &'a StudyHeader,
    annotation: &'a Annotation<'a>,
}

impl Maker<'_> {
    fn header(&self, index: usize) -> InstanceHeader {
        InstanceHeader { uid: self.uids.derive(&format!("instance {index}")), number: index + 1 }
    }

    /// The clip that instance `index` is taken from: its own or, for a still, that of the first loop of its view.
    fn clip(&self, index: usize, view: View) -> (Cine, Option<Corruption>) {
        let content = self.spec.contents[index];
        let source = match content {
            Content::Still(view) => {
                self.spec.contents.iter().position(|other| *other == Content::Loop(view)).unwrap_or(index)
            }
            _ => index,
        };
        let corruption = match content {
            Content::Loop(_) | Content::Still(_) => self.spec.corruption,
            _ => None,
        };
        let mut effects = Effects::of(corruption);
        if let Content::ColourLoop(_) = content {
            effects.colour = Colour::Declared;
            effects.frame_rate = Some(COLOUR_FRAME_RATE);
        }
        let take = Take { view, number: source as u16 + 1, effects };
        (Cine::new(self.spec, take, self.annotation), corruption)
    }

    fn cine(&self, index: usize, view: View) -> Result<(DicomInstance, CineTruth), EchoError> {
        let (mut cine, corruption) = self.clip(index, view);
        let mut pixels = Pixels::new(self.spec.encoding, cine.take.effects.jpeg_quality);
        for frame in 0..cine.timing.frames {
            pixels.push(&cine.frame(frame))?;
        }
        let header = self.header(index);
        let truth = cine_truth(&header.uid, corruption, &cine);
        let picture = Picture::sector(self.spec, &cine);
        let object = Object::Loop(&cine.timing);
        Ok((dicom::file(self.spec, self.study, &header, object, picture, pixels)?, truth))
    }

    fn still(&self, index: usize, view: View) -> Result<DicomInstance, EchoError> {
        let (mut cine, _) = self.clip(index, view);
        let screen = cine.frame(0);
        self.single(index, Object::Still, Picture::sector(self.spec, &cine), &screen)
    }

    fn spectrum(&self, index: usize, doppler: Doppler) -> Result<DicomInstance, EchoError> {
        let chance = |purpose| cine::chance(self.spec.seed, index as u16 + 1, purpose);
        let timing = Timing::new(self.spec, &Effects::NONE, &mut chance(Purpose::Timing));
        let trace = traces::spectrum(doppler, &timing, self.annotation, &mut chance(Purpose::Frame(0)));
        let region = dicom::regions::spectral(trace.area, doppler, trace.baseline, trace.deltas);
        self.single(index, Object::Still, Picture::spectrum(doppler, region), &trace.screen)
    }

    fn m_mode(&self, index: usize) -> Result<DicomInstance, EchoError> {
        let (mut cine, _) = self.clip(index, View::Plax);
        let trace = traces::m_mode(&mut cine, self.annotation);
        let region = dicom::regions::m_mode(trace.area, trace.deltas);
        self.single(index, Object::Still, Picture::m_mode(region), &trace.screen)
    }

    fn worksheet(&self, index: usize, truth: &Truth) -> Result<DicomInstance, EchoError> {
        let screen = traces::worksheet(truth, self.annotation);
        self.single(index, Object::Worksheet, Picture::worksheet(), &screen)
    }

    fn single(
        &self,
        index: usize,
        object: Object<'_>,
        picture: Picture,
        screen: &Screen,
    ) -> Result<DicomInstance, EchoError> {
        let quality = Effects::of(self.spec.corruption).jpeg_quality;
        let mut pixels = Pixels::new(self.spec.encoding, quality);
        pixels.push(screen)?;
        dicom::file(self.spec, self.study, &self.header(index), object, picture, pixels)
    }
}

fn cine_truth(instance_uid: &str, corruption: Option<Corruption>, cine: &Cine) -> CineTruth {
    let timing = &cine.timing;
    let duration_ms = timing.duration_ms();
    let r_waves_ms = timing.cycle.r_waves_ms(duration_ms);
    let end_systoles_ms = timing.cycle.end_systoles_ms(duration_ms);
    let one_based = |times: &[f64]| timing.nearest_frames(times).into_iter().map(|frame| frame + 1).collect();
    let [ed_area_cm2, es_area_cm2] = cine.ventricle_areas_cm2();
    let kind = corruption.map(Corruption::kind);
    CineTruth {
        instance_uid: instance_uid.to_owned(),
        view: cine.take.view,
        ed_frames: one_based(&r_waves_ms),
        es_frames: one_based(&end_systoles_ms),
        ed_intervals: timing.cycle.ed_intervals(duration_ms),
        es_intervals: timing.cycle.es_intervals(duration_ms),
        r_waves_ms,
        end_systoles_ms,
        frames: timing.frames,
        fps: 1000.0 / timing.frame_ms,
        cm_per_pixel: (!cine.snow()).then_some(cine.converter.mm_per_pixel / 10.0),
        ed_area_cm2,
        es_area_cm2,
        colour: cine.take.effects.colour != Colour::None,
        corruption: kind,
        severity: corruption.and_then(Corruption::severity),
        severity_unit: kind.and_then(CorruptionKind::scale).map(|scale| scale.unit),
    }
}

/// UIDs derived from the whole specification: a study that differs in any value has other UIDs.
struct Uids {
    spec: String,
}

impl Uids {
    fn new(spec: &EchoSpec) -> Result<Self, EchoError> {
        Ok(Self { spec: serde_json::to_string(spec).map_err(EchoError::Json)? })
    }

    /// `2.25.` and a UUID (PS3.5 B.2).
    fn derive(&self, role: &str) -> String {
        let name = format!("{GENERATOR}\n{role}\n{}", self.spec);
        format!("2.25.{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).as_u128())
    }
}
