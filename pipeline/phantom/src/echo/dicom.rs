//! An instance as a DICOM Part 10 file that `dciodvfy` finds no error in.
//!
//! Ultrasound Multi-frame Image Storage (PS3.3 A.7) for loops, Ultrasound Image Storage (A.6) for stills, Secondary Capture
//! (A.8) for worksheets. Dates are fixed, so that equal specifications give equal bytes.

mod pixels;
pub(crate) mod regions;

use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::cine::{Cine, Timing};
use super::corruption::Colour;
use super::spec::{EchoSpec, Omission, View};
use super::traces::Doppler;
use super::{DicomInstance, EchoError};

pub(crate) use pixels::Pixels;

/// Private creator of (0099,xx10) that marks a phantom.
pub const PRIVATE_CREATOR: &str = "PRESCREEN PHANTOM";
const CREATOR_TAG: Tag = Tag(0x0099, 0x0010);
const PHANTOM_TAG: Tag = Tag(0x0099, 0x1001);
const IMPLEMENTATION_UID: &str = "2.25.188716953712398216347102293877441202611";
const DATE: &str = "20260101";
const TIME: &str = "120000";
/// Birth date of every phantom.
pub(crate) const BIRTH_DATE: &str = "19500101";

/// What all instances of a study share.
pub(crate) struct StudyHeader {
    pub(crate) study_uid: String,
    pub(crate) series_uid: String,
    pub(crate) worksheet_series_uid: String,
    pub(crate) patient_id: String,
    pub(crate) patient_name: String,
}

/// Which instance of the study.
pub(crate) struct InstanceHeader {
    pub(crate) uid: String,
    /// 1-based.
    pub(crate) number: usize,
}

/// What kind of object it is.
#[derive(Clone, Copy)]
pub(crate) enum Object<'a> {
    /// A loop, with what its header says of time.
    Loop(&'a Timing),
    /// A single frame: nothing to measure in time.
    Still,
    /// A page that a workstation made.
    Worksheet,
}

impl Object<'_> {
    fn sop_class(self) -> &'static str {
        match self {
            Self::Loop(_) => uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE,
            Self::Still => uids::ULTRASOUND_IMAGE_STORAGE,
            Self::Worksheet => uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
        }
    }
}

/// What the header says of the picture.
pub(crate) struct Picture {
    /// Third value: transthoracic; fourth: the techniques shown (PS3.3 C.8.5.6.1.1).
    image_type: &'static str,
    view: Option<View>,
    /// Colour is data, not decoration.
    colour: bool,
    regions: Vec<DataSet>,
}

impl Picture {
    /// A sector.
    pub(crate) fn sector(spec: &EchoSpec, cine: &Cine) -> Self {
        let colour = cine.take.effects.colour == Colour::Declared;
        let mut regions = Vec::new();
        if !cine.snow() {
            regions.push(regions::sector(spec, cine));
            if colour {
                regions.push(regions::colour(cine));
            }
            if !spec.omits(Omission::Ecg) {
                regions.push(regions::ecg(cine));
            }
        }
        let image_type = if colour { "ORIGINAL\\PRIMARY\\TTE\\0011" } else { "ORIGINAL\\PRIMARY\\TTE\\0001" };
        let view = (!spec.omits(Omission::View)).then_some(cine.take.view);
        Self { image_type, view, colour, regions }
    }

    /// A spectrum of velocities.
    pub(crate) fn spectrum(doppler: Doppler, region: DataSet) -> Self {
        let image_type = match doppler {
            Doppler::Pulsed => "ORIGINAL\\PRIMARY\\TTE\\0008",
            Doppler::Continuous => "ORIGINAL\\PRIMARY\\TTE\\0004",
        };
        Self { image_type, view: None, colour: false, regions: vec![region] }
    }

    /// One beam over time.
    pub(crate) fn m_mode(region: DataSet) -> Self {
        let image_type = "ORIGINAL\\PRIMARY\\TTE\\0002";
        Self { image_type, view: None, colour: false, regions: vec![region] }
    }

    /// A page of text.
    pub(crate) fn worksheet() -> Self {
        Self { image_type: "DERIVED\\SECONDARY", view: None, colour: false, regions: Vec::new() }
    }
}

/// A data set under construction.
pub(crate) struct DataSet(InMemDicomObject);

impl DataSet {
    fn new() -> Self {
        Self(InMemDicomObject::new_empty())
    }

    fn text(&mut self, tag: Tag, vr: VR, value: &str) {
        self.0.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
    }

    fn number(&mut self, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) {
        self.0.put(DataElement::new(tag, vr, value.into()));
    }

    fn items(&mut self, tag: Tag, items: Vec<DataSet>) {
        let items: Vec<InMemDicomObject> = items.into_iter().map(|item| item.0).collect();
        self.0.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
    }
}

/// The instance as a Part 10 file.
pub(crate) fn file(
    spec: &EchoSpec,
    study: &StudyHeader,
    instance: &InstanceHeader,
    object: Object<'_>,
    picture: Picture,
    pixels: Pixels,
) -> Result<DicomInstance, EchoError> {
    let sop_class = object.sop_class();
    let (transfer_syntax, _) = pixels.form();
    let view = picture.view;
    let mut data = DataSet::new();
    general(&mut data, study, instance, sop_class);
    data.text(tags::IMAGE_TYPE, VR::CS, picture.image_type);
    match object {
        Object::Loop(timing) => {
            ultrasound(&mut data, spec, study, picture);
            cine_module(&mut data, timing, !spec.omits(Omission::RWaves));
        }
        Object::Still => ultrasound(&mut data, spec, study, picture),
        Object::Worksheet => {
            data.text(tags::CONVERSION_TYPE, VR::CS, "WSD");
            data.text(tags::SERIES_INSTANCE_UID, VR::UI, &study.worksheet_series_uid);
            data.text(tags::SERIES_NUMBER, VR::IS, "2");
            data.text(tags::SERIES_DESCRIPTION, VR::LO, "PHANTOM worksheet");
        }
    }
    pixels.describe(&mut data);
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(sop_class)
        .media_storage_sop_instance_uid(&instance.uid)
        .transfer_syntax(transfer_syntax)
        .implementation_class_uid(IMPLEMENTATION_UID)
        .implementation_version_name("PHANTOM_2");
    let file = data.0.with_meta(meta).map_err(|source| EchoError::Dicom(source.into()))?;
    let mut file_bytes = Vec::new();
    file.write_all(&mut file_bytes).map_err(|source| EchoError::Dicom(source.into()))?;
    Ok(DicomInstance {
        sop_instance_uid: instance.uid.clone(),
        sop_class_uid: sop_class,
        transfer_syntax_uid: transfer_syntax,
        view,
        file_bytes,
    })
}

/// Patient, study, equipment and the marks of a phantom.
fn general(data: &mut DataSet, study: &StudyHeader, instance: &InstanceHeader, sop_class: &str) {
    let number = instance.number.to_string();
    let texts: [(Tag, VR, &str); 33] = [
        (tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        (tags::INSTANCE_CREATION_DATE, VR::DA, DATE),
        (tags::INSTANCE_CREATION_TIME, VR::TM, TIME),
        (tags::SOP_CLASS_UID, VR::UI, sop_class),
        (tags::SOP_INSTANCE_UID, VR::UI, &instance.uid),
        (tags::STUDY_DATE, VR::DA, DATE),
        (tags::SERIES_DATE, VR::DA, DATE),
        (tags::CONTENT_DATE, VR::DA, DATE),
        (tags::ACQUISITION_DATE_TIME, VR::DT, "20260101120000"),
        (tags::STUDY_TIME, VR::TM, TIME),
        (tags::SERIES_TIME, VR::TM, TIME),
        (tags::CONTENT_TIME, VR::TM, TIME),
        (tags::ACCESSION_NUMBER, VR::SH, &study.patient_id),
        (tags::MODALITY, VR::CS, "US"),
        (tags::MANUFACTURER, VR::LO, "prescreen phantom generator"),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN, ""),
        (tags::STUDY_DESCRIPTION, VR::LO, "SYNTHETIC PHANTOM, not a patient"),
        (tags::MANUFACTURER_MODEL_NAME, VR::LO, "2-D convolution sector phantom"),
        (tags::PATIENT_NAME, VR::PN, &study.patient_name),
        (tags::PATIENT_ID, VR::LO, &study.patient_id),
        (tags::ISSUER_OF_PATIENT_ID, VR::LO, PRIVATE_CREATOR),
        (tags::PATIENT_BIRTH_DATE, VR::DA, BIRTH_DATE),
        (tags::PATIENT_SEX, VR::CS, "O"),
        (tags::PATIENT_AGE, VR::AS, "076Y"),
        (tags::PATIENT_SIZE, VR::DS, "1.70"),
        (tags::PATIENT_WEIGHT, VR::DS, "70"),
        (tags::BODY_PART_EXAMINED, VR::CS, "HEART"),
        (tags::DEVICE_SERIAL_NUMBER, VR::LO, "PHANTOM"),
        (tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION")),
        (tags::STUDY_INSTANCE_UID, VR::UI, &study.study_uid),
        (tags::STUDY_ID, VR::SH, "PHANTOM"),
        (tags::INSTANCE_NUMBER, VR::IS, &number),
        (tags::IMAGE_COMMENTS, VR::LT, "Synthetic phantom for software tests; no clinical meaning"),
    ];
    for (tag, vr, value) in texts {
        data.text(tag, vr, value);
    }
    data.text(tags::PATIENT_ORIENTATION, VR::CS, "");
    data.text(CREATOR_TAG, VR::LO, PRIVATE_CREATOR);
    data.text(PHANTOM_TAG, VR::CS, "YES");
}

/// What an ultrasound machine adds (PS3.3 C.8.5.6).
fn ultrasound(data: &mut DataSet, spec: &EchoSpec, study: &StudyHeader, picture: Picture) {
    data.text(tags::SERIES_INSTANCE_UID, VR::UI, &study.series_uid);
    data.text(tags::SERIES_NUMBER, VR::IS, "1");
    data.text(tags::SERIES_DESCRIPTION, VR::LO, "PHANTOM echocardiography");
    data.text(tags::STAGE_NAME, VR::SH, "REST");
    data.text(tags::STAGE_NUMBER, VR::IS, "1");
    data.text(tags::NUMBER_OF_STAGES, VR::IS, "1");
    data.text(tags::NUMBER_OF_VIEWS_IN_STAGE, VR::IS, &View::ALL.len().to_string());
    if let Some(view) = picture.view {
        data.text(tags::VIEW_NAME, VR::SH, view.name());
        data.text(tags::VIEW_NUMBER, VR::IS, &view.number().to_string());
        view_code(data, view);
    }
    if !spec.omits(Omission::HeartRate) {
        data.text(tags::HEART_RATE, VR::IS, &format!("{:.0}", spec.heart.heart_rate));
    }
    data.number(tags::ULTRASOUND_COLOR_DATA_PRESENT, VR::US, u16::from(picture.colour));
    if !picture.regions.is_empty() {
        data.items(tags::SEQUENCE_OF_ULTRASOUND_REGIONS, picture.regions);
    }
}

/// The cine and multi-frame modules (PS3.3 C.7.6.5, C.7.6.6).
fn cine_module(data: &mut DataSet, timing: &Timing, with_r_waves: bool) {
    let frames = timing.frames.to_string();
    let rate = format!("{:.0}", 1000.0 / timing.frame_ms);
    data.text(tags::NUMBER_OF_FRAMES, VR::IS, &frames);
    data.number(tags::FRAME_INCREMENT_POINTER, VR::AT, tags::FRAME_TIME);
    data.text(tags::FRAME_TIME, VR::DS, &format!("{:.3}", timing.frame_ms));
    data.text(tags::CINE_RATE, VR::IS, &rate);
    data.text(tags::RECOMMENDED_DISPLAY_FRAME_RATE, VR::IS, &rate);
    data.text(tags::EFFECTIVE_DURATION, VR::DS, &format!("{:.6}", timing.duration_ms() / 1000.0));
    data.text(tags::START_TRIM, VR::IS, "1");
    data.text(tags::STOP_TRIM, VR::IS, &frames);
    data.number(tags::PREFERRED_PLAYBACK_SEQUENCING, VR::US, 0_u16);
    let r_waves: Vec<f32> =
        timing.cycle.r_waves_ms(timing.duration_ms()).into_iter().map(|ms| ms as f32).collect();
    if with_r_waves && !r_waves.is_empty() {
        data.number(tags::R_WAVE_TIME_VECTOR, VR::FL, PrimitiveValue::F32(r_waves.into()));
    }
}

/// ViewCodeSequence from CID 12226, echocardiography image view.
fn view_code(data: &mut DataSet, view: View) {
    let (value, meaning) = match view {
        View::A4c => ("399214001", "Apical four chamber"),
        View::A2c => ("399232001", "Apical two chamber"),
        View::Plax => ("399139001", "Parasternal long axis"),
        View::Psax => ("399271003", "Parasternal short axis at the Papillary Muscle level"),
        View::Subcostal => ("399310008", "Subcostal long axis"),
    };
    let mut code = DataSet::new();
    code.text(tags::CODE_VALUE, VR::SH, value);
    code.text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "SCT");
    code.text(tags::CODE_MEANING, VR::LO, meaning);
    data.items(tags::VIEW_CODE_SEQUENCE, vec![code]);
}
