//! A level, a label or a field as VL Whole Slide Microscopy Image Storage (PS3.3 A.32.8) that `dciodvfy` finds no error
//! in. Dates are fixed, so that equal specifications give equal bytes.

use std::io::{Read, Write};

use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use crate::echo::PRIVATE_CREATOR;

use super::spec::Organisation;
use super::{PathologyError, icc};

const CREATOR_TAG: Tag = Tag(0x0099, 0x0010);
const PHANTOM_TAG: Tag = Tag(0x0099, 0x1001);
const IMPLEMENTATION_UID: &str = "2.25.188716953712398216347102293877441202611";
const DATE: &str = "20260101";
const TIME: &str = "120000";
/// Birth date of every phantom.
pub(crate) const BIRTH_DATE: &str = "19500101";
/// Where the picture's first pixel lies on the glass, mm from the slide's corner.
const ORIGIN_MM: [f64; 2] = [20.0, 40.0];
const THICKNESS_MM: f64 = 0.004;

/// What all instances of a study share.
pub(crate) struct StudyHeader {
    pub(crate) study_uid: String,
    pub(crate) series_uid: String,
    pub(crate) frame_of_reference_uid: String,
    pub(crate) specimen_uid: String,
    pub(crate) dimension_uid: String,
    pub(crate) patient_id: String,
    pub(crate) patient_name: String,
}

/// What an instance shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// The finest level, or a field.
    Base,
    /// A coarser level.
    Resampled,
    /// The slide's label.
    Label,
}

impl Content {
    fn image_type(self) -> &'static str {
        match self {
            Self::Base => "ORIGINAL\\PRIMARY\\VOLUME\\NONE",
            Self::Resampled => "DERIVED\\PRIMARY\\VOLUME\\RESAMPLED",
            Self::Label => "ORIGINAL\\PRIMARY\\LABEL\\NONE",
        }
    }
}

/// Which instance, and its tiling.
pub(crate) struct InstanceHeader<'a> {
    pub(crate) uid: &'a str,
    /// 1-based.
    pub(crate) number: usize,
    pub(crate) content: Content,
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    pub(crate) tile: [u32; 2],
    pub(crate) mm_per_pixel: f64,
    pub(crate) organisation: Organisation,
    /// (column, row) of every frame in the grid of tiles.
    pub(crate) positions: &'a [[u32; 2]],
    /// What the label says.
    pub(crate) label: Option<&'a str>,
}

/// The frames of an instance.
pub(crate) enum Pixels<'a> {
    /// One frame of RGB.
    Native(&'a [u8]),
    /// JPEG baseline 4:2:2: lengths of the fragments, all even, and their bytes one after the other.
    Jpeg { lengths: &'a [u32], bytes: &'a mut dyn Read },
}

/// A data set under construction.
struct DataSet(InMemDicomObject);

impl DataSet {
    fn new() -> Self {
        Self(InMemDicomObject::new_empty())
    }

    fn of(texts: &[(Tag, VR, &str)]) -> Self {
        let mut data = Self::new();
        for (tag, vr, value) in texts {
            data.text(*tag, *vr, value);
        }
        data
    }

    fn code(value: &str, scheme: &str, meaning: &str) -> Self {
        Self::of(&[
            (tags::CODE_VALUE, VR::SH, value),
            (tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme),
            (tags::CODE_MEANING, VR::LO, meaning),
        ])
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

/// A decimal string: at most 16 bytes (PS3.5 6.2).
fn decimal(value: f64) -> String {
    let text = format!("{value:.9}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Writes a Part 10 file, frames straight from their source.
pub(crate) fn write(
    out: &mut dyn Write,
    study: &StudyHeader,
    instance: &InstanceHeader<'_>,
    pixels: Pixels<'_>,
) -> Result<(), PathologyError> {
    let mut data = header(study, instance);
    let transfer_syntax = match &pixels {
        Pixels::Native(_) => uids::EXPLICIT_VR_LITTLE_ENDIAN,
        Pixels::Jpeg { .. } => uids::JPEG_BASELINE8_BIT,
    };
    describe(&mut data, instance, &pixels);
    tiling(&mut data, study, instance);
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE)
        .media_storage_sop_instance_uid(instance.uid)
        .transfer_syntax(transfer_syntax)
        .implementation_class_uid(IMPLEMENTATION_UID)
        .implementation_version_name("PHANTOM_1");
    let file = data.0.with_meta(meta).map_err(|source| PathologyError::Dicom(source.into()))?;
    file.write_all(&mut *out).map_err(|source| PathologyError::Dicom(source.into()))?;
    pixel_data(out, pixels).map_err(|source| PathologyError::Dicom(source.into()))
}

/// Pixel Data, the last element of the data set, written by hand so that a slide is never held whole (PS3.5 A.4).
fn pixel_data(out: &mut dyn Write, pixels: Pixels<'_>) -> std::io::Result<()> {
    const ITEM: [u8; 4] = [0xfe, 0xff, 0x00, 0xe0];
    const END_OF_SEQUENCE: [u8; 4] = [0xfe, 0xff, 0xdd, 0xe0];
    out.write_all(&[0xe0, 0x7f, 0x10, 0x00, b'O', b'B', 0, 0])?;
    match pixels {
        Pixels::Native(rgb) => {
            let padding = rgb.len() % 2;
            out.write_all(&((rgb.len() + padding) as u32).to_le_bytes())?;
            out.write_all(rgb)?;
            out.write_all(&[0][..padding])
        }
        Pixels::Jpeg { lengths, bytes } => {
            out.write_all(&u32::MAX.to_le_bytes())?;
            out.write_all(&ITEM)?;
            out.write_all(&(4 * lengths.len() as u32).to_le_bytes())?;
            // Offsets count from the first fragment's item tag; an item's header has 8 bytes.
            let mut offset = 0_u32;
            for length in lengths {
                out.write_all(&offset.to_le_bytes())?;
                offset = offset.checked_add(length + 8).ok_or_else(|| {
                    std::io::Error::new(
                        std::io::ErrorKind::FileTooLarge,
                        "a level of more than 4 GiB does not fit a basic offset table; make the slide smaller",
                    )
                })?;
            }
            for length in lengths {
                out.write_all(&ITEM)?;
                out.write_all(&length.to_le_bytes())?;
                let copied = std::io::copy(&mut bytes.take(u64::from(*length)), out)?;
                if copied != u64::from(*length) {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
            out.write_all(&END_OF_SEQUENCE)?;
            out.write_all(&0_u32.to_le_bytes())
        }
    }
}

fn header(study: &StudyHeader, instance: &InstanceHeader<'_>) -> DataSet {
    let number = instance.number.to_string();
    let in_label = if instance.content == Content::Label { "YES" } else { "NO" };
    let mut data = DataSet::of(&[
        (tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        (tags::IMAGE_TYPE, VR::CS, instance.content.image_type()),
        (tags::SOP_CLASS_UID, VR::UI, uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE),
        (tags::SOP_INSTANCE_UID, VR::UI, instance.uid),
        (tags::STUDY_DATE, VR::DA, DATE),
        (tags::SERIES_DATE, VR::DA, DATE),
        (tags::CONTENT_DATE, VR::DA, DATE),
        (tags::ACQUISITION_DATE_TIME, VR::DT, "20260101120000"),
        (tags::STUDY_TIME, VR::TM, TIME),
        (tags::SERIES_TIME, VR::TM, TIME),
        (tags::CONTENT_TIME, VR::TM, TIME),
        (tags::ACCESSION_NUMBER, VR::SH, &study.patient_id),
        (tags::MODALITY, VR::CS, "SM"),
        (tags::MANUFACTURER, VR::LO, "prescreen phantom generator"),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN, ""),
        (tags::STUDY_DESCRIPTION, VR::LO, "SYNTHETIC PHANTOM, not a patient"),
        (tags::SERIES_DESCRIPTION, VR::LO, "PHANTOM H&E section"),
        (tags::MANUFACTURER_MODEL_NAME, VR::LO, "Beer-Lambert tissue phantom"),
        (tags::VOLUMETRIC_PROPERTIES, VR::CS, "VOLUME"),
        (tags::PATIENT_NAME, VR::PN, &study.patient_name),
        (tags::PATIENT_ID, VR::LO, &study.patient_id),
        (tags::ISSUER_OF_PATIENT_ID, VR::LO, PRIVATE_CREATOR),
        (tags::PATIENT_BIRTH_DATE, VR::DA, BIRTH_DATE),
        (tags::PATIENT_SEX, VR::CS, "O"),
        (tags::DEVICE_SERIAL_NUMBER, VR::LO, "PHANTOM"),
        (tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION")),
        (tags::STUDY_INSTANCE_UID, VR::UI, &study.study_uid),
        (tags::SERIES_INSTANCE_UID, VR::UI, &study.series_uid),
        (tags::STUDY_ID, VR::SH, "PHANTOM"),
        (tags::SERIES_NUMBER, VR::IS, "1"),
        (tags::INSTANCE_NUMBER, VR::IS, &number),
        (tags::FRAME_OF_REFERENCE_UID, VR::UI, &study.frame_of_reference_uid),
        (tags::POSITION_REFERENCE_INDICATOR, VR::LO, "SLIDE_CORNER"),
        (tags::IMAGE_COMMENTS, VR::LT, "Synthetic phantom for software tests; no clinical meaning"),
        (tags::BURNED_IN_ANNOTATION, VR::CS, in_label),
        (tags::SPECIMEN_LABEL_IN_IMAGE, VR::CS, in_label),
        (tags::FOCUS_METHOD, VR::CS, "AUTO"),
        (tags::EXTENDED_DEPTH_OF_FIELD, VR::CS, "NO"),
        (tags::CONTAINER_IDENTIFIER, VR::LO, &study.patient_id),
        (CREATOR_TAG, VR::LO, PRIVATE_CREATOR),
        (PHANTOM_TAG, VR::CS, "YES"),
    ]);
    if let Some(label) = instance.label {
        data.text(tags::BARCODE_VALUE, VR::LT, &study.patient_id);
        data.text(tags::LABEL_TEXT, VR::UT, label);
    }
    data.items(tags::ACQUISITION_CONTEXT_SEQUENCE, Vec::new());
    data.items(tags::ISSUER_OF_THE_CONTAINER_IDENTIFIER_SEQUENCE, Vec::new());
    data.items(
        tags::CONTAINER_TYPE_CODE_SEQUENCE,
        vec![DataSet::code("433466003", "SCT", "Microscope slide")],
    );
    let mut specimen = DataSet::of(&[
        (tags::SPECIMEN_IDENTIFIER, VR::LO, &study.patient_id),
        (tags::SPECIMEN_UID, VR::UI, &study.specimen_uid),
        (tags::SPECIMEN_SHORT_DESCRIPTION, VR::LO, "Synthetic H&E section"),
    ]);
    specimen.items(tags::ISSUER_OF_THE_SPECIMEN_IDENTIFIER_SEQUENCE, Vec::new());
    specimen.items(tags::SPECIMEN_PREPARATION_SEQUENCE, Vec::new());
    data.items(tags::SPECIMEN_DESCRIPTION_SEQUENCE, vec![specimen]);
    data
}

/// Image Pixel and lossy compression; neither Presentation LUT Shape nor Rescale, which are for MONOCHROME2 only.
fn describe(data: &mut DataSet, instance: &InstanceHeader<'_>, pixels: &Pixels<'_>) {
    let [tile_columns, tile_rows] = instance.tile;
    data.number(tags::SAMPLES_PER_PIXEL, VR::US, 3_u16);
    data.number(tags::PLANAR_CONFIGURATION, VR::US, 0_u16);
    data.number(tags::COLUMNS, VR::US, tile_columns as u16);
    data.number(tags::ROWS, VR::US, tile_rows as u16);
    data.number(tags::BITS_ALLOCATED, VR::US, 8_u16);
    data.number(tags::BITS_STORED, VR::US, 8_u16);
    data.number(tags::HIGH_BIT, VR::US, 7_u16);
    data.number(tags::PIXEL_REPRESENTATION, VR::US, 0_u16);
    data.text(tags::NUMBER_OF_FRAMES, VR::IS, &instance.positions.len().to_string());
    match pixels {
        Pixels::Native(_) => {
            data.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
            data.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
        }
        Pixels::Jpeg { lengths, .. } => {
            let raw = lengths.len() as f64 * f64::from(tile_columns) * f64::from(tile_rows) * 3.0;
            let stored = lengths.iter().map(|length| f64::from(*length)).sum::<f64>().max(1.0);
            data.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "YBR_FULL_422");
            data.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
            data.text(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, &format!("{:.3}", raw / stored));
            data.text(tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, "ISO_10918_1");
        }
    }
}

/// Whole Slide Microscopy Image, Optical Path, Multi-frame Functional Groups and Dimension.
fn tiling(data: &mut DataSet, study: &StudyHeader, instance: &InstanceHeader<'_>) {
    let spacing = instance.mm_per_pixel;
    let mm = |pixels: u32| f64::from(pixels) * spacing;
    data.number(tags::IMAGED_VOLUME_WIDTH, VR::FL, mm(instance.columns) as f32);
    data.number(tags::IMAGED_VOLUME_HEIGHT, VR::FL, mm(instance.rows) as f32);
    // Micrometres, unlike the two above (PS3.3 C.8.12.4).
    data.number(tags::IMAGED_VOLUME_DEPTH, VR::FL, 1000.0 * THICKNESS_MM as f32);
    data.number(tags::TOTAL_PIXEL_MATRIX_COLUMNS, VR::UL, instance.columns);
    data.number(tags::TOTAL_PIXEL_MATRIX_ROWS, VR::UL, instance.rows);
    data.number(tags::TOTAL_PIXEL_MATRIX_FOCAL_PLANES, VR::UL, 1_u32);
    data.number(tags::NUMBER_OF_OPTICAL_PATHS, VR::UL, 1_u32);
    data.items(
        tags::TOTAL_PIXEL_MATRIX_ORIGIN_SEQUENCE,
        vec![DataSet::of(&[
            (tags::X_OFFSET_IN_SLIDE_COORDINATE_SYSTEM, VR::DS, &decimal(ORIGIN_MM[0])),
            (tags::Y_OFFSET_IN_SLIDE_COORDINATE_SYSTEM, VR::DS, &decimal(ORIGIN_MM[1])),
        ])],
    );
    // Columns run down the slide's Y axis, rows down its X axis.
    data.text(tags::IMAGE_ORIENTATION_SLIDE, VR::DS, "0\\-1\\0\\-1\\0\\0");

    let mut path = DataSet::of(&[
        (tags::OPTICAL_PATH_IDENTIFIER, VR::SH, "1"),
        (tags::OBJECTIVE_LENS_POWER, VR::DS, "20"),
        (tags::COLOR_SPACE, VR::CS, "SRGB"),
    ]);
    path.items(
        tags::ILLUMINATION_TYPE_CODE_SEQUENCE,
        vec![DataSet::code("111744", "DCM", "Brightfield illumination")],
    );
    path.items(tags::ILLUMINATION_COLOR_CODE_SEQUENCE, vec![DataSet::code("371251000", "SCT", "White")]);
    path.number(tags::ICC_PROFILE, VR::OB, PrimitiveValue::from(icc::srgb()));
    data.items(tags::OPTICAL_PATH_SEQUENCE, vec![path]);

    let organisation = DataSet::of(&[(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &study.dimension_uid)]);
    data.items(tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![organisation]);

    let mut shared = DataSet::new();
    shared.items(
        tags::PIXEL_MEASURES_SEQUENCE,
        vec![DataSet::of(&[
            (tags::PIXEL_SPACING, VR::DS, &format!("{0}\\{0}", decimal(spacing))),
            (tags::SLICE_THICKNESS, VR::DS, &decimal(THICKNESS_MM)),
        ])],
    );
    shared.items(
        tags::WHOLE_SLIDE_MICROSCOPY_IMAGE_FRAME_TYPE_SEQUENCE,
        vec![DataSet::of(&[(tags::FRAME_TYPE, VR::CS, instance.content.image_type())])],
    );
    shared.items(
        tags::OPTICAL_PATH_IDENTIFICATION_SEQUENCE,
        vec![DataSet::of(&[(tags::OPTICAL_PATH_IDENTIFIER, VR::SH, "1")])],
    );
    data.items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]);

    match instance.organisation {
        Organisation::TiledFull => data.text(tags::DIMENSION_ORGANIZATION_TYPE, VR::CS, "TILED_FULL"),
        Organisation::TiledSparse => {
            data.text(tags::DIMENSION_ORGANIZATION_TYPE, VR::CS, "TILED_SPARSE");
            let index = |pointer: Tag| {
                let mut item =
                    DataSet::of(&[(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &study.dimension_uid)]);
                item.number(tags::DIMENSION_INDEX_POINTER, VR::AT, pointer);
                item.number(tags::FUNCTIONAL_GROUP_POINTER, VR::AT, tags::PLANE_POSITION_SLIDE_SEQUENCE);
                item
            };
            data.items(
                tags::DIMENSION_INDEX_SEQUENCE,
                vec![
                    index(tags::COLUMN_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX),
                    index(tags::ROW_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX),
                ],
            );
            let frames = instance.positions.iter().map(|position| place(*position, instance)).collect();
            data.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames);
        }
    }
}

/// The per-frame functional groups of one tile.
fn place([column, row]: [u32; 2], instance: &InstanceHeader<'_>) -> DataSet {
    let (left, top) = (column * instance.tile[0], row * instance.tile[1]);
    let mm = |pixels: u32| f64::from(pixels) * instance.mm_per_pixel;
    let mut content = DataSet::new();
    content.number(tags::DIMENSION_INDEX_VALUES, VR::UL, PrimitiveValue::U32([column + 1, row + 1].into()));
    let mut position = DataSet::of(&[
        (tags::X_OFFSET_IN_SLIDE_COORDINATE_SYSTEM, VR::DS, &decimal(ORIGIN_MM[0] - mm(top))),
        (tags::Y_OFFSET_IN_SLIDE_COORDINATE_SYSTEM, VR::DS, &decimal(ORIGIN_MM[1] - mm(left))),
        (tags::Z_OFFSET_IN_SLIDE_COORDINATE_SYSTEM, VR::DS, "0"),
    ]);
    // Positions count from 1.
    position.number(tags::COLUMN_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX, VR::SL, left as i32 + 1);
    position.number(tags::ROW_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX, VR::SL, top as i32 + 1);
    let mut item = DataSet::new();
    item.items(tags::FRAME_CONTENT_SEQUENCE, vec![content]);
    item.items(tags::PLANE_POSITION_SLIDE_SEQUENCE, vec![position]);
    item
}
