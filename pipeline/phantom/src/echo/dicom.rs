//! A clip or still as a DICOM Part 10 file that `dciodvfy` finds no error in.
//!
//! Ultrasound Multi-frame Image Storage (PS3.3 A.7) for cines, Ultrasound Image Storage (A.6) for stills. Dates are
//! fixed, so that equal specifications give equal bytes.

use dicom_core::value::{DataSetSequence, PixelFragmentSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::cine::{Cine, Timing};
use super::overlay::{ECG_BOTTOM, ECG_LEFT, ECG_RIGHT, ECG_TOP, Screen};
use super::scan::{FAN_RADIUS_PX, HEIGHT, PROBE_X, PROBE_Y, WIDTH};
use super::spec::{EchoSpec, Encoding, View};
use super::{DicomInstance, EchoError};

/// Private creator of (0099,xx10) that marks a phantom.
pub const PRIVATE_CREATOR: &str = "PRESCREEN PHANTOM";
const CREATOR_TAG: Tag = Tag(0x0099, 0x0010);
const PHANTOM_TAG: Tag = Tag(0x0099, 0x1001);
const IMPLEMENTATION_UID: &str = "2.25.188716953712398216347102293877441202611";
const DATE: &str = "20260101";
const TIME: &str = "120000";
/// About 45 KB a frame of speckle.
const JPEG_QUALITY: u8 = 85;

/// What all instances of a study share.
pub(crate) struct StudyHeader {
    pub(crate) study_uid: String,
    pub(crate) series_uid: String,
    pub(crate) patient_id: String,
    pub(crate) patient_name: String,
}

/// Which instance of the study.
pub(crate) struct InstanceHeader {
    pub(crate) uid: String,
    /// 1-based.
    pub(crate) number: usize,
    pub(crate) view: View,
}

/// A data set under construction.
struct DataSet(InMemDicomObject);

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

/// The pixels of an instance, gathered frame by frame.
pub(crate) struct Pixels {
    encoding: Encoding,
    frames: usize,
    native: Vec<u8>,
    fragments: Vec<Vec<u8>>,
}

impl Pixels {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { encoding, frames: 0, native: Vec::new(), fragments: Vec::new() }
    }

    pub(crate) fn push(&mut self, screen: &Screen) -> Result<(), EchoError> {
        self.frames += 1;
        match self.encoding {
            Encoding::Native => self.native.extend_from_slice(&screen.rgb),
            Encoding::Jpeg => {
                let mut fragment = Vec::new();
                let mut encoder = jpeg_encoder::Encoder::new(&mut fragment, JPEG_QUALITY);
                encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_1);
                encoder
                    .encode(&screen.rgb, WIDTH as u16, HEIGHT as u16, jpeg_encoder::ColorType::Rgb)
                    .map_err(EchoError::Jpeg)?;
                // A fragment has even length (PS3.5 A.4).
                if fragment.len() % 2 == 1 {
                    fragment.push(0);
                }
                self.fragments.push(fragment);
            }
        }
        Ok(())
    }

    /// (transfer syntax UID, photometric interpretation)
    fn form(&self) -> (&'static str, &'static str) {
        match self.encoding {
            Encoding::Native => (uids::EXPLICIT_VR_LITTLE_ENDIAN, "RGB"),
            Encoding::Jpeg => (uids::JPEG_BASELINE8_BIT, "YBR_FULL_422"),
        }
    }

    fn describe(self, data: &mut DataSet) {
        let (_, photometric) = self.form();
        data.number(tags::SAMPLES_PER_PIXEL, VR::US, 3_u16);
        data.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric);
        data.number(tags::PLANAR_CONFIGURATION, VR::US, 0_u16);
        data.number(tags::ROWS, VR::US, HEIGHT as u16);
        data.number(tags::COLUMNS, VR::US, WIDTH as u16);
        data.number(tags::BITS_ALLOCATED, VR::US, 8_u16);
        data.number(tags::BITS_STORED, VR::US, 8_u16);
        data.number(tags::HIGH_BIT, VR::US, 7_u16);
        data.number(tags::PIXEL_REPRESENTATION, VR::US, 0_u16);
        data.number(tags::ULTRASOUND_COLOR_DATA_PRESENT, VR::US, 0_u16);
        data.text(tags::BURNED_IN_ANNOTATION, VR::CS, "YES");
        match self.encoding {
            Encoding::Native => {
                data.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
                data.0.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(self.native)));
            }
            Encoding::Jpeg => {
                let raw = (self.frames * WIDTH * HEIGHT * 3) as f64;
                let stored = self.fragments.iter().map(Vec::len).sum::<usize>().max(1) as f64;
                data.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
                data.text(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, &format!("{:.3}", raw / stored));
                data.text(tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, "ISO_10918_1");
                // Offsets count from the first fragment's item tag; an item's header has 8 bytes.
                let offsets: Vec<u32> = self
                    .fragments
                    .iter()
                    .scan(0_u32, |next, fragment| {
                        let offset = *next;
                        *next += fragment.len() as u32 + 8;
                        Some(offset)
                    })
                    .collect();
                let sequence = PixelFragmentSequence::new(offsets, self.fragments);
                data.0.put(DataElement::new(tags::PIXEL_DATA, VR::OB, sequence));
            }
        }
    }
}

/// A cine of one view as a Part 10 file.
pub(crate) fn cine_file(
    spec: &EchoSpec,
    study: &StudyHeader,
    instance: &InstanceHeader,
    cine: &Cine,
    pixels: Pixels,
) -> Result<DicomInstance, EchoError> {
    let mut data = header(spec, study, instance, uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE);
    timing(&mut data, &cine.timing);
    view_code(&mut data, instance.view);
    if !cine.snow {
        data.items(tags::SEQUENCE_OF_ULTRASOUND_REGIONS, vec![sector_region(spec, cine), ecg_region(cine)]);
    }
    finish(data, instance, uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE, pixels)
}

/// A single frame of a clip as a Part 10 file without timing: nothing to measure in it.
pub(crate) fn still_file(
    spec: &EchoSpec,
    study: &StudyHeader,
    instance: &InstanceHeader,
    cine: &Cine,
    pixels: Pixels,
) -> Result<DicomInstance, EchoError> {
    let mut data = header(spec, study, instance, uids::ULTRASOUND_IMAGE_STORAGE);
    view_code(&mut data, instance.view);
    if !cine.snow {
        data.items(tags::SEQUENCE_OF_ULTRASOUND_REGIONS, vec![sector_region(spec, cine), ecg_region(cine)]);
    }
    finish(data, instance, uids::ULTRASOUND_IMAGE_STORAGE, pixels)
}

fn header(spec: &EchoSpec, study: &StudyHeader, instance: &InstanceHeader, sop_class: &str) -> DataSet {
    let mut data = DataSet::new();
    let number = instance.number.to_string();
    let texts: [(Tag, VR, &str); 43] = [
        (tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        // Third value: transthoracic; fourth: 2-D imaging (PS3.3 C.8.5.6.1.1).
        (tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\TTE\\0001"),
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
        (tags::SERIES_DESCRIPTION, VR::LO, "PHANTOM apical views"),
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
        (tags::SERIES_INSTANCE_UID, VR::UI, &study.series_uid),
        (tags::STUDY_ID, VR::SH, "PHANTOM"),
        (tags::SERIES_NUMBER, VR::IS, "1"),
        (tags::INSTANCE_NUMBER, VR::IS, &number),
        (tags::PATIENT_ORIENTATION, VR::CS, ""),
        (tags::IMAGE_COMMENTS, VR::LT, "Synthetic phantom for software tests; no clinical meaning"),
        (tags::STAGE_NAME, VR::SH, "REST"),
        (tags::STAGE_NUMBER, VR::IS, "1"),
        (tags::NUMBER_OF_STAGES, VR::IS, "1"),
        (tags::VIEW_NAME, VR::SH, instance.view.name()),
        (tags::NUMBER_OF_VIEWS_IN_STAGE, VR::IS, "2"),
    ];
    for (tag, vr, value) in texts {
        data.text(tag, vr, value);
    }
    data.text(tags::VIEW_NUMBER, VR::IS, if instance.view == View::A4c { "1" } else { "2" });
    data.text(tags::HEART_RATE, VR::IS, &format!("{:.0}", spec.heart.heart_rate));
    data.text(CREATOR_TAG, VR::LO, PRIVATE_CREATOR);
    data.text(PHANTOM_TAG, VR::CS, "YES");
    data
}

/// Birth date of every phantom.
pub(crate) const BIRTH_DATE: &str = "19500101";

/// The cine and multi-frame modules (PS3.3 C.7.6.5, C.7.6.6).
fn timing(data: &mut DataSet, timing: &Timing) {
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
    if !r_waves.is_empty() {
        data.number(tags::R_WAVE_TIME_VECTOR, VR::FL, PrimitiveValue::F32(r_waves.into()));
    }
}

/// ViewCodeSequence from CID 12226, echocardiography image view.
fn view_code(data: &mut DataSet, view: View) {
    let (value, meaning) = match view {
        View::A4c => ("399214001", "Apical four chamber"),
        View::A2c => ("399232001", "Apical two chamber"),
    };
    let mut code = DataSet::new();
    code.text(tags::CODE_VALUE, VR::SH, value);
    code.text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "SCT");
    code.text(tags::CODE_MEANING, VR::LO, meaning);
    data.items(tags::VIEW_CODE_SEQUENCE, vec![code]);
}

/// A rectangle of the screen, inclusive.
struct Area {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

/// The attributes every region has (PS3.3 C.8.5.5); `format`, `data_type` and `units` are that section's codes.
fn region(area: &Area, [format, data_type]: [u16; 2], units: [u16; 2], deltas: [f64; 2]) -> DataSet {
    let mut item = DataSet::new();
    item.number(tags::REGION_SPATIAL_FORMAT, VR::US, format);
    item.number(tags::REGION_DATA_TYPE, VR::US, data_type);
    item.number(tags::REGION_FLAGS, VR::UL, 0_u32);
    item.number(tags::REGION_LOCATION_MIN_X0, VR::UL, area.left as u32);
    item.number(tags::REGION_LOCATION_MIN_Y0, VR::UL, area.top as u32);
    item.number(tags::REGION_LOCATION_MAX_X1, VR::UL, area.right as u32);
    item.number(tags::REGION_LOCATION_MAX_Y1, VR::UL, area.bottom as u32);
    item.number(tags::PHYSICAL_UNITS_X_DIRECTION, VR::US, units[0]);
    item.number(tags::PHYSICAL_UNITS_Y_DIRECTION, VR::US, units[1]);
    item.number(tags::PHYSICAL_DELTA_X, VR::FD, deltas[0]);
    item.number(tags::PHYSICAL_DELTA_Y, VR::FD, deltas[1]);
    item
}

/// 2-D tissue (format 1, type 1) in centimetres (3), origin at the probe.
fn sector_region(spec: &EchoSpec, cine: &Cine) -> DataSet {
    let half_width = cine.converter.half_width_px;
    let area = Area {
        left: PROBE_X - half_width,
        top: PROBE_Y,
        right: PROBE_X + half_width,
        bottom: PROBE_Y + FAN_RADIUS_PX,
    };
    let cm_per_pixel = cine.converter.mm_per_pixel / 10.0;
    let mut item = region(&area, [1, 1], [3, 3], [cm_per_pixel; 2]);
    item.number(tags::REFERENCE_PIXEL_X0, VR::SL, half_width as i32);
    item.number(tags::REFERENCE_PIXEL_Y0, VR::SL, 0_i32);
    item.number(tags::REFERENCE_PIXEL_PHYSICAL_VALUE_X, VR::FD, 0.0_f64);
    item.number(tags::REFERENCE_PIXEL_PHYSICAL_VALUE_Y, VR::FD, 0.0_f64);
    item.number(tags::TRANSDUCER_FREQUENCY, VR::UL, (1000.0 * spec.machine.frequency_mhz).round() as u32);
    item
}

/// Electrocardiogram (format 4 waveform, type 10): seconds (4) across, no unit (0) up.
fn ecg_region(cine: &Cine) -> DataSet {
    let area = Area { left: ECG_LEFT, top: ECG_TOP, right: ECG_RIGHT, bottom: ECG_BOTTOM };
    let seconds = cine.timing.duration_ms() / 1000.0 / (ECG_RIGHT - ECG_LEFT + 1) as f64;
    region(&area, [4, 10], [4, 0], [seconds, 1.0])
}

fn finish(
    mut data: DataSet,
    instance: &InstanceHeader,
    sop_class: &'static str,
    pixels: Pixels,
) -> Result<DicomInstance, EchoError> {
    let (transfer_syntax, _) = pixels.form();
    pixels.describe(&mut data);
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(sop_class)
        .media_storage_sop_instance_uid(&instance.uid)
        .transfer_syntax(transfer_syntax)
        .implementation_class_uid(IMPLEMENTATION_UID)
        .implementation_version_name("PHANTOM_1");
    let file = data.0.with_meta(meta).map_err(|source| EchoError::Dicom(source.into()))?;
    let mut file_bytes = Vec::new();
    file.write_all(&mut file_bytes).map_err(|source| EchoError::Dicom(source.into()))?;
    Ok(DicomInstance {
        sop_instance_uid: instance.uid.clone(),
        sop_class_uid: sop_class,
        transfer_syntax_uid: transfer_syntax,
        view: instance.view,
        file_bytes,
    })
}
