//! The bounded pre-scan: the first look at bytes from outside, before anything else may parse them.
//!
//! It walks the whole data set without recursion and without allocating by a declared length, and gives the few
//! attributes that intake needs. Patient identity comes apart, in a type that does not print.

mod attributes;
mod element;
mod error;
mod functional_groups;
pub mod limits;
mod walk;

use std::{
    fmt,
    io::{Read, Seek, SeekFrom},
};

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use schemas::{InstanceUid, SeriesUid, StudyUid, Uid};

use crate::{
    input::{Inflated, Input as _, InputError, Plain},
    transfer_syntax::{Encoding, TransferSyntax},
};
pub(crate) use attributes::{Attributes, R_WAVE_TIME_VECTOR, Value, Values};
pub use error::{PrescanError, ShownTag};
pub(crate) use walk::{Piece, PixelLocation};

/// What intake needs to file an object. Holds nothing that names a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Study Instance UID.
    pub study: StudyUid,
    /// Series Instance UID.
    pub series: SeriesUid,
    /// SOP Instance UID.
    pub instance: InstanceUid,
    /// SOP Class UID.
    pub sop_class: Uid,
    /// Transfer syntax.
    pub transfer_syntax: TransferSyntax,
    /// Modality (0008,0060), if it is a code of 1 to 16 capitals, digits and underscores.
    pub modality: Option<String>,
    /// Rows (0028,0010).
    pub rows: Option<u16>,
    /// Columns (0028,0011).
    pub columns: Option<u16>,
    /// Number of Frames (0028,0008): 1 where it is absent and there are pixels, `None` where it cannot be read.
    pub frames: Option<u32>,
    /// Is there pixel data at all?
    pub has_pixels: bool,
    /// The phantom mark: (0099,0010) `PRESCREEN PHANTOM` with (0099,1001) `YES`.
    pub synthetic: bool,
    /// Byte of the file where the data set starts.
    pub data_set_offset: u64,
}

/// Who the object is about: raw bytes, never rewritten, in the character set that the object names. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Patient's Name (0010,0010).
    pub patient_name: Vec<u8>,
    /// Patient ID (0010,0020).
    pub patient_id: Vec<u8>,
    /// Issuer of Patient ID (0010,0021).
    pub issuer_of_patient_id: Vec<u8>,
    /// Patient's Birth Date (0010,0030).
    pub birth_date: Vec<u8>,
    /// Accession Number (0008,0050).
    pub accession_number: Vec<u8>,
    /// Specific Character Set (0008,0005), which says how to read the others.
    pub character_set: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(redacted)")
    }
}

/// The outcome of a pre-scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prescan {
    /// For filing and routing.
    pub header: Header,
    /// For the identity table alone.
    pub identity: Identity,
}

/// Pre-scans a DICOM file (PS3.10): preamble, meta header, data set.
pub fn prescan_file<R: Read + Seek>(mut reader: R) -> Result<Prescan, PrescanError> {
    scan_file(&mut reader)?.prescan()
}

/// Pre-scans a data set without meta header, as it comes over an association, from the start of `reader`.
pub fn prescan_data_set<R: Read + Seek>(
    mut reader: R,
    transfer_syntax: &TransferSyntax,
) -> Result<Prescan, PrescanError> {
    scan_data_set(&mut reader, transfer_syntax, 0)?.prescan()
}

/// One walk over a file, with what was kept of it.
pub(crate) struct Scan {
    pub(crate) attributes: Attributes,
    pub(crate) pixels: Option<PixelLocation>,
    pub(crate) float_pixels: bool,
    pub(crate) transfer_syntax: TransferSyntax,
    pub(crate) data_set_offset: u64,
}

pub(crate) fn scan_file<R: Read + Seek>(reader: &mut R) -> Result<Scan, PrescanError> {
    reader.seek(SeekFrom::Start(0)).map_err(PrescanError::Io)?;
    let mut input = Plain::at(&mut *reader, 0).map_err(PrescanError::Io)?;
    let mut preamble = [0; 132];
    input.fill(&mut preamble).map_err(|error| match error {
        InputError::Io(source) => PrescanError::Io(source),
        InputError::End | InputError::InflateLimit(_) => PrescanError::NotDicom,
    })?;
    if !preamble.ends_with(b"DICM") {
        return Err(PrescanError::NotDicom);
    }
    let (value, offset) = walk::walk_meta(&mut input)?;
    let text = value.ok_or(PrescanError::MissingTransferSyntax)?.text();
    let uid = Uid::new(&text)
        .map_err(|source| PrescanError::InvalidUid { tag: ShownTag(tags::TRANSFER_SYNTAX_UID), source })?;
    scan_data_set(reader, &TransferSyntax::new(uid), offset)
}

fn scan_data_set<R: Read + Seek>(
    reader: &mut R,
    transfer_syntax: &TransferSyntax,
    data_set_offset: u64,
) -> Result<Scan, PrescanError> {
    let encoding = transfer_syntax.encoding();
    let walked = if encoding == Encoding::Deflated {
        walk::walk(&mut Inflated::at(reader, data_set_offset).map_err(PrescanError::Io)?, encoding)?
    } else {
        walk::walk(&mut Plain::at(reader, data_set_offset).map_err(PrescanError::Io)?, encoding)?
    };
    Ok(Scan {
        attributes: walked.attributes,
        pixels: walked.pixels,
        float_pixels: walked.float_pixels,
        transfer_syntax: transfer_syntax.clone(),
        data_set_offset,
    })
}

impl Scan {
    fn uid_text(&self, tag: Tag) -> Result<String, PrescanError> {
        self.attributes.text(tag).ok_or(PrescanError::Missing { tag: ShownTag(tag) })
    }

    pub(crate) fn header(&self) -> Result<Header, PrescanError> {
        let invalid = |tag| move |source| PrescanError::InvalidUid { tag: ShownTag(tag), source };
        let text = |tag| self.uid_text(tag);
        let is_code = |text: &String| {
            text.len() <= 16
                && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        let word =
            |tag| self.attributes.number(tag).filter(|n| (0.0..=65_535.0).contains(n)).map(|n| n as u16);
        let has_pixels = self.pixels.is_some() || self.float_pixels;
        Ok(Header {
            study: StudyUid::new(&text(tags::STUDY_INSTANCE_UID)?)
                .map_err(invalid(tags::STUDY_INSTANCE_UID))?,
            series: SeriesUid::new(&text(tags::SERIES_INSTANCE_UID)?)
                .map_err(invalid(tags::SERIES_INSTANCE_UID))?,
            instance: InstanceUid::new(&text(tags::SOP_INSTANCE_UID)?)
                .map_err(invalid(tags::SOP_INSTANCE_UID))?,
            sop_class: Uid::new(&text(tags::SOP_CLASS_UID)?).map_err(invalid(tags::SOP_CLASS_UID))?,
            transfer_syntax: self.transfer_syntax.clone(),
            modality: self.attributes.text(tags::MODALITY).filter(is_code),
            rows: word(tags::ROWS),
            columns: word(tags::COLUMNS),
            frames: match self.attributes.text(tags::NUMBER_OF_FRAMES) {
                Some(text) => text.parse().ok(),
                None => has_pixels.then_some(1),
            },
            has_pixels,
            synthetic: self.attributes.synthetic(),
            data_set_offset: self.data_set_offset,
        })
    }

    fn prescan(self) -> Result<Prescan, PrescanError> {
        let header = self.header()?;
        let raw = |tag| self.attributes.raw(tag);
        let identity = Identity {
            patient_name: raw(tags::PATIENT_NAME),
            patient_id: raw(tags::PATIENT_ID),
            issuer_of_patient_id: raw(tags::ISSUER_OF_PATIENT_ID),
            birth_date: raw(tags::PATIENT_BIRTH_DATE),
            accession_number: raw(tags::ACCESSION_NUMBER),
            character_set: raw(tags::SPECIFIC_CHARACTER_SET),
        };
        Ok(Prescan { header, identity })
    }
}
