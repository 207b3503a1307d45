//! The head of one element: tag, VR and length, as the encoding writes them (PS3.5 §7.1).

use dicom_core::{
    Tag, VR,
    dictionary::{DataDictionary as _, DataDictionaryEntry as _},
};
use dicom_dictionary_std::StandardDataDictionary;

use super::error::{PrescanError, ShownTag};
use crate::input::{Input, InputError};

/// The head of one element.
pub(super) struct ElementHeader {
    pub(super) tag: Tag,
    /// Where the element starts.
    pub(super) offset: u64,
    pub(super) vr: VR,
    /// Length of the value in bytes; all ones where it is undefined.
    pub(super) length: u32,
}

/// Reads heads from an input.
pub(super) struct Elements<'a, I> {
    pub(super) input: &'a mut I,
    pub(super) big_endian: bool,
}

impl<I: Input> Elements<'_, I> {
    /// The next tag, or `None` where the bytes end cleanly.
    pub(super) fn tag(&mut self) -> Result<Option<Tag>, PrescanError> {
        let mut bytes = [0; 4];
        let (first, rest) = bytes.split_at_mut(1);
        if self.input.read_some(first).map_err(|error| self.failed(error, Tag(0, 0)))? == 0 {
            return Ok(None);
        }
        self.input.fill(rest).map_err(|error| self.failed(error, Tag(0, 0)))?;
        let [a, b, c, d] = bytes;
        let word = |pair| if self.big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
        Ok(Some(Tag(word([a, b]), word([c, d]))))
    }

    pub(super) fn header(
        &mut self,
        tag: Tag,
        offset: u64,
        implicit: bool,
    ) -> Result<ElementHeader, PrescanError> {
        if implicit {
            let length = self.length32(tag)?;
            return Ok(ElementHeader { tag, offset, vr: implicit_vr(tag), length });
        }
        let code = self.bytes::<2>(tag)?;
        let vr =
            VR::from_binary(code).ok_or(PrescanError::InvalidVr { tag: ShownTag(tag), offset, vr: code })?;
        // PS3.5 §7.1.2: these VRs have two reserved bytes and a 32-bit length.
        let length = if matches!(
            vr,
            VR::OB
                | VR::OD
                | VR::OF
                | VR::OL
                | VR::OV
                | VR::OW
                | VR::SQ
                | VR::SV
                | VR::UC
                | VR::UN
                | VR::UR
                | VR::UT
                | VR::UV
        ) {
            self.bytes::<2>(tag)?;
            self.length32(tag)?
        } else {
            let bytes = self.bytes::<2>(tag)?;
            u32::from(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
        };
        Ok(ElementHeader { tag, offset, vr, length })
    }

    pub(super) fn length32(&mut self, tag: Tag) -> Result<u32, PrescanError> {
        let bytes = self.bytes::<4>(tag)?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn bytes<const N: usize>(&mut self, tag: Tag) -> Result<[u8; N], PrescanError> {
        let mut bytes = [0; N];
        self.input.fill(&mut bytes).map_err(|error| self.failed(error, tag))?;
        Ok(bytes)
    }

    /// Reads the value, in memory that follows its bytes.
    pub(super) fn append(&mut self, header: &ElementHeader) -> Result<Vec<u8>, PrescanError> {
        let mut bytes = Vec::new();
        let length = u64::from(header.length);
        self.input.append(length, &mut bytes).map_err(|error| self.failed(error, header.tag))?;
        Ok(bytes)
    }

    /// Passes over the value.
    pub(super) fn skip(&mut self, header: &ElementHeader) -> Result<(), PrescanError> {
        self.input.skip(u64::from(header.length)).map_err(|error| self.failed(error, header.tag))
    }

    fn failed(&self, error: InputError, tag: Tag) -> PrescanError {
        match error {
            InputError::End => PrescanError::Truncated { tag: ShownTag(tag), offset: self.input.position() },
            InputError::InflateLimit(limit) => PrescanError::InflateLimit { limit },
            InputError::Io(source) => PrescanError::Io(source),
        }
    }
}

/// The VR that an implicit data set leaves out. Unknown and private elements are UN.
fn implicit_vr(tag: Tag) -> VR {
    StandardDataDictionary.by_tag(tag).map_or(VR::UN, |entry| entry.vr().relaxed())
}
