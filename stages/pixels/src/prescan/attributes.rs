//! The few values that are kept while walking a data set, and how their bytes are read.

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::functional_groups::FunctionalGroups;

/// Top-level elements kept. Everything else is checked and skipped.
const KEPT: &[Tag] = &[
    tags::SPECIFIC_CHARACTER_SET,
    tags::IMAGE_TYPE,
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::ACCESSION_NUMBER,
    tags::MODALITY,
    tags::RECOMMENDED_DISPLAY_FRAME_RATE,
    tags::SERIES_DESCRIPTION,
    tags::STAGE_NAME,
    tags::VIEW_NAME,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::CINE_RATE,
    tags::EFFECTIVE_DURATION,
    tags::FRAME_TIME,
    tags::FRAME_TIME_VECTOR,
    tags::HEART_RATE,
    tags::ACTUAL_FRAME_DURATION,
    R_WAVE_TIME_VECTOR,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::PLANAR_CONFIGURATION,
    tags::NUMBER_OF_FRAMES,
    tags::FRAME_INCREMENT_POINTER,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::HIGH_BIT,
    tags::PIXEL_REPRESENTATION,
    tags::BURNED_IN_ANNOTATION,
    tags::WINDOW_CENTER,
    tags::WINDOW_WIDTH,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
    tags::VOILUT_FUNCTION,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::LOSSY_IMAGE_COMPRESSION,
    SYNTHETIC_CREATOR,
    SYNTHETIC_MARK,
    tags::EXTENDED_OFFSET_TABLE,
    tags::EXTENDED_OFFSET_TABLE_LENGTHS,
    tags::PIXEL_SPACING,
    tags::CONCATENATION_UID,
    tags::IN_CONCATENATION_TOTAL_NUMBER,
    tags::DIMENSION_ORGANIZATION_TYPE,
    tags::SPECIMEN_LABEL_IN_IMAGE,
    tags::IMAGED_VOLUME_WIDTH,
    tags::IMAGED_VOLUME_HEIGHT,
    tags::TOTAL_PIXEL_MATRIX_COLUMNS,
    tags::TOTAL_PIXEL_MATRIX_ROWS,
    tags::NUMBER_OF_OPTICAL_PATHS,
    tags::TOTAL_PIXEL_MATRIX_FOCAL_PLANES,
];

/// Sequences whose items are kept, one level deep.
const KEPT_SEQUENCES: &[Tag] = &[tags::SEQUENCE_OF_ULTRASOUND_REGIONS, tags::VIEW_CODE_SEQUENCE];

/// Elements kept of those items.
const KEPT_IN_ITEMS: &[Tag] = &[
    tags::CODE_VALUE,
    tags::CODING_SCHEME_DESIGNATOR,
    tags::REGION_SPATIAL_FORMAT,
    tags::REGION_DATA_TYPE,
    tags::REGION_LOCATION_MIN_X0,
    tags::REGION_LOCATION_MIN_Y0,
    tags::REGION_LOCATION_MAX_X1,
    tags::REGION_LOCATION_MAX_Y1,
    tags::PHYSICAL_UNITS_X_DIRECTION,
    tags::PHYSICAL_UNITS_Y_DIRECTION,
    tags::PHYSICAL_DELTA_X,
    tags::PHYSICAL_DELTA_Y,
];

/// Items kept of one sequence: no device writes more regions.
const MAX_ITEMS: usize = 64;

/// R Wave Time Vector (0018,6060): ms from the first frame.
pub(crate) const R_WAVE_TIME_VECTOR: Tag = Tag(0x0018, 0x6060);
/// Private creator of the mark that phantoms carry.
pub(crate) const SYNTHETIC_CREATOR: Tag = Tag(0x0099, 0x0010);
/// `YES` in a phantom, under that creator.
pub(crate) const SYNTHETIC_MARK: Tag = Tag(0x0099, 0x1001);

/// One value as it stands in the data set.
pub(crate) struct Value {
    pub(crate) vr: VR,
    pub(crate) big_endian: bool,
    pub(crate) bytes: Vec<u8>,
}

impl Value {
    /// The text without its padding. Only for elements of the default repertoire; other bytes become U+FFFD.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).trim_matches(['\0', ' ']).to_owned()
    }

    /// 16-bit words.
    pub(crate) fn words(&self) -> Vec<u16> {
        self.read(|bytes, big| if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    /// 64-bit words.
    pub(crate) fn very_long(&self) -> Vec<u64> {
        self.read(|bytes, big| if big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// 32-bit words.
    pub(crate) fn long(&self) -> Vec<u32> {
        self.read(|bytes, big| if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// Numbers by the VR's own format; `None` if one of them cannot be read.
    pub(crate) fn numbers(&self) -> Option<Vec<f64>> {
        Some(match self.vr {
            VR::US | VR::OW => self.words().into_iter().map(f64::from).collect(),
            VR::SS => self.words().into_iter().map(|word| f64::from(word.cast_signed())).collect(),
            VR::UL => self.long().into_iter().map(f64::from).collect(),
            VR::SL => self.long().into_iter().map(|word| f64::from(word.cast_signed())).collect(),
            VR::FL => self.long().into_iter().map(|word| f64::from(f32::from_bits(word))).collect(),
            VR::FD => self.very_long().into_iter().map(f64::from_bits).collect(),
            VR::DS | VR::IS => {
                let text = self.text();
                if text.is_empty() {
                    return Some(Vec::new());
                }
                text.split('\\')
                    .map(|part| part.trim_matches([' ', '\0']).parse().ok())
                    .collect::<Option<_>>()?
            }
            _ => return None,
        })
    }

    /// Tags, for an element of VR AT.
    pub(crate) fn pointers(&self) -> Vec<Tag> {
        self.words().chunks_exact(2).filter_map(|pair| Some(Tag(*pair.first()?, *pair.get(1)?))).collect()
    }

    fn read<const N: usize, T>(&self, decode: impl Fn([u8; N], bool) -> T) -> Vec<T> {
        let (chunks, _) = self.bytes.as_chunks::<N>();
        chunks.iter().map(|chunk| decode(*chunk, self.big_endian)).collect()
    }
}

/// Values of one data set or item.
pub(crate) type Values = BTreeMap<Tag, Value>;

/// What was kept of a data set.
#[derive(Default)]
pub(crate) struct Attributes {
    top: Values,
    items: BTreeMap<Tag, Vec<Values>>,
    pub(crate) groups: FunctionalGroups,
}

impl Attributes {
    pub(crate) fn keeps(tag: Tag) -> bool {
        KEPT.contains(&tag)
    }

    pub(crate) fn keeps_sequence(tag: Tag) -> bool {
        KEPT_SEQUENCES.contains(&tag)
    }

    pub(crate) fn keeps_in_items(tag: Tag) -> bool {
        KEPT_IN_ITEMS.contains(&tag)
    }

    /// Says whether the tag was new.
    pub(crate) fn insert(&mut self, tag: Tag, value: Value) -> bool {
        self.top.insert(tag, value).is_none()
    }

    /// An item of a sequence of the data set begins.
    pub(crate) fn open_item(&mut self, sequence: Tag) {
        if Self::keeps_sequence(sequence) {
            self.items.entry(sequence).or_default().push(Values::new());
        }
        self.groups.open_item(sequence);
    }

    pub(crate) fn insert_in_item(&mut self, sequence: Tag, tag: Tag, value: Value) {
        if let Some(items) = self.items.get_mut(&sequence).filter(|items| items.len() <= MAX_ITEMS)
            && let Some(item) = items.last_mut()
        {
            item.insert(tag, value);
        }
    }

    pub(crate) fn get(&self, tag: Tag) -> Option<&Value> {
        self.top.get(&tag).filter(|value| !value.bytes.is_empty())
    }

    pub(crate) fn items(&self, sequence: Tag) -> impl Iterator<Item = &Values> {
        self.items.get(&sequence).into_iter().flatten().take(MAX_ITEMS)
    }

    pub(crate) fn text(&self, tag: Tag) -> Option<String> {
        self.get(tag).map(Value::text).filter(|text| !text.is_empty())
    }

    /// The first number of an element.
    pub(crate) fn number(&self, tag: Tag) -> Option<f64> {
        self.get(tag)?.numbers()?.first().copied()
    }

    /// The bytes of an element, as they are; empty if it is absent.
    pub(crate) fn raw(&self, tag: Tag) -> Vec<u8> {
        self.get(tag).map(|value| value.bytes.clone()).unwrap_or_default()
    }

    /// Does the data set carry the phantom mark?
    pub(crate) fn synthetic(&self) -> bool {
        let is = |tag, text: &str| self.text(tag).as_deref() == Some(text);
        is(SYNTHETIC_CREATOR, "PRESCREEN PHANTOM") && is(SYNTHETIC_MARK, "YES")
    }
}
