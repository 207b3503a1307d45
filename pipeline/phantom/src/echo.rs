//! Synthetic apical echo studies: sector cines with exact volumes, ejection fraction and key frames.
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
mod corruption;
mod cycle;
mod dicom;
mod font;
mod geometry;
mod outlines;
mod overlay;
mod scan;
mod spec;
mod speckle;
mod truth;

use std::path::PathBuf;

use uuid::Uuid;

use self::cine::{Annotation, Cine};
use self::dicom::{InstanceHeader, Pixels, StudyHeader};
use self::geometry::Ventricle;

pub use self::corruption::{Corruption, CorruptionError, CorruptionKind};
pub use self::cycle::Interval;
pub use self::dicom::PRIVATE_CREATOR;
pub use self::spec::{EchoSpec, Echogenicity, Encoding, Heart, Machine, SpecError, View};
pub use self::truth::{Batch, CineTruth, Truth, Truths, write_studies};

/// A generated study: an A4C cine, an A2C cine, and a still of the first.
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
    /// The view shown.
    pub view: View,
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
const GENERATOR: &str = "prescreen phantom echo 1";

/// Makes the study that `spec` describes; equal specifications give equal bytes, on every machine.
///
/// Holds one study in memory: about 10 MB as JPEG; native pixels take 0.9 MB a frame, so up to a few hundred MB.
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
        patient_id: format!("PH-{tag}"),
        patient_name: format!("PHANTOM^ECHO {tag}"),
    };
    let identity = format!("ID {} DOB {}", study.patient_id, dicom::BIRTH_DATE);
    let annotation = Annotation { name: &study.patient_name, identity: &identity };

    let mut instances = Vec::with_capacity(3);
    let mut stills = Vec::new();
    let mut cines = Vec::new();
    for (index, view) in [View::A4c, View::A2c].into_iter().enumerate() {
        let mut cine = Cine::new(spec, view, &annotation);
        let mut pixels = Pixels::new(spec.encoding);
        for frame in 0..cine.timing.frames {
            pixels.push(&cine.frame(frame))?;
        }
        let header = InstanceHeader { uid: uids.derive(view.name()), number: index + 1, view };
        cines.push(cine_truth(&header.uid, view, &cine));
        instances.push(dicom::cine_file(spec, &study, &header, &cine, pixels)?);
        if view == View::A4c {
            let header = InstanceHeader { uid: uids.derive("still"), number: 3, view };
            let mut pixels = Pixels::new(spec.encoding);
            pixels.push(&cine.frame(0))?;
            stills.push(dicom::still_file(spec, &study, &header, &cine, pixels)?);
        }
    }
    let ventricle = Ventricle::new(spec.heart.size());
    let area_cm2 = |emptied| ventricle.at(emptied).cavity.plane_area_mm2() / 100.0;
    let truth = Truth {
        study_uid: study.study_uid.clone(),
        domain: "echo",
        synthetic: true,
        seed: spec.seed,
        cine: cines[0].clone(),
        ef_percent: spec.heart.ef_percent,
        edv_ml: spec.heart.edv_ml,
        esv_ml: spec.heart.esv_ml(),
        ed_area_cm2: area_cm2(0.0),
        es_area_cm2: area_cm2(1.0),
        heart_rate: spec.heart.heart_rate,
        corruption: spec.corruption.map(Corruption::kind),
        severity: spec.corruption.map(Corruption::severity),
        cines,
        stills: stills.iter().map(|still| still.sop_instance_uid.clone()).collect(),
    };
    instances.append(&mut stills);
    Ok(EchoStudy { study_uid: study.study_uid, instances, truth })
}

fn cine_truth(instance_uid: &str, view: View, cine: &Cine) -> CineTruth {
    let timing = &cine.timing;
    let duration_ms = timing.duration_ms();
    let r_waves_ms = timing.cycle.r_waves_ms(duration_ms);
    let end_systoles_ms = timing.cycle.end_systoles_ms(duration_ms);
    let one_based = |times: &[f64]| timing.nearest_frames(times).into_iter().map(|frame| frame + 1).collect();
    CineTruth {
        instance_uid: instance_uid.to_owned(),
        view,
        ed_frames: one_based(&r_waves_ms),
        es_frames: one_based(&end_systoles_ms),
        ed_intervals: timing.cycle.ed_intervals(duration_ms),
        es_intervals: timing.cycle.es_intervals(duration_ms),
        r_waves_ms,
        end_systoles_ms,
        frames: timing.frames,
        fps: 1000.0 / timing.frame_ms,
        cm_per_pixel: (!cine.snow).then_some(cine.converter.mm_per_pixel / 10.0),
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
