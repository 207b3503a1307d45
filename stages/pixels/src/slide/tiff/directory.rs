//! The directories of a TIFF or BigTIFF file (TIFF 6.0 section 2; BigTIFF: 64-bit offsets and counts).
//!
//! A directory keeps where the values of a few tags stand, and reads them when they are asked for: the table of a slide's
//! hundred thousand tiles stays in the file. Whatever is declared is compared with the bytes there are before anything
//! is read or allocated; directories are followed without recursion and each once.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Seek, SeekFrom},
};

use super::TiffError;
use crate::error::DecodeError;

/// Directories of one file. Slides have about ten, stacks of focal planes a few hundred.
pub(super) const MAX_DIRECTORIES: usize = 1000;
/// Entries of one directory: there are fewer tags in use than this.
pub(super) const MAX_ENTRIES: u64 = 4096;
/// Bytes read of a text.
const MAX_TEXT: u64 = 64 << 10;

/// The tags that are looked at.
pub(super) mod tag {
    pub(crate) const NEW_SUBFILE_TYPE: u16 = 254;
    pub(crate) const IMAGE_WIDTH: u16 = 256;
    pub(crate) const IMAGE_LENGTH: u16 = 257;
    pub(crate) const BITS_PER_SAMPLE: u16 = 258;
    pub(crate) const COMPRESSION: u16 = 259;
    pub(crate) const PHOTOMETRIC: u16 = 262;
    pub(crate) const IMAGE_DESCRIPTION: u16 = 270;
    pub(crate) const SAMPLES_PER_PIXEL: u16 = 277;
    pub(crate) const X_RESOLUTION: u16 = 282;
    pub(crate) const Y_RESOLUTION: u16 = 283;
    pub(crate) const PLANAR_CONFIGURATION: u16 = 284;
    pub(crate) const RESOLUTION_UNIT: u16 = 296;
    pub(crate) const PREDICTOR: u16 = 317;
    pub(crate) const TILE_WIDTH: u16 = 322;
    pub(crate) const TILE_LENGTH: u16 = 323;
    pub(crate) const TILE_OFFSETS: u16 = 324;
    pub(crate) const TILE_BYTE_COUNTS: u16 = 325;
    pub(crate) const SUB_IFDS: u16 = 330;
    pub(crate) const SAMPLE_FORMAT: u16 = 339;
    pub(crate) const JPEG_TABLES: u16 = 347;

    pub(super) const KEPT: [u16; 20] = [
        NEW_SUBFILE_TYPE,
        IMAGE_WIDTH,
        IMAGE_LENGTH,
        BITS_PER_SAMPLE,
        COMPRESSION,
        PHOTOMETRIC,
        IMAGE_DESCRIPTION,
        SAMPLES_PER_PIXEL,
        X_RESOLUTION,
        Y_RESOLUTION,
        PLANAR_CONFIGURATION,
        RESOLUTION_UNIT,
        PREDICTOR,
        TILE_WIDTH,
        TILE_LENGTH,
        TILE_OFFSETS,
        TILE_BYTE_COUNTS,
        SUB_IFDS,
        SAMPLE_FORMAT,
        JPEG_TABLES,
    ];
}

/// How the numbers of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::slide) struct Form {
    /// Most significant byte first (`MM`).
    pub(super) big_endian: bool,
    /// BigTIFF: offsets and counts have 64 bits.
    pub(super) wide: bool,
}

/// The form of a TIFF file by its first bytes; `None` if it is none.
pub(in crate::slide) fn form(lead: &[u8]) -> Option<Form> {
    let (big_endian, wide) = match lead.get(..4)? {
        b"II\x2A\0" => (false, false),
        b"MM\0\x2A" => (true, false),
        b"II\x2B\0" => (false, true),
        b"MM\0\x2B" => (true, true),
        _ => return None,
    };
    Some(Form { big_endian, wide })
}

impl Form {
    /// An unsigned number of up to 8 bytes.
    fn number(self, bytes: &[u8]) -> u64 {
        let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
    }
}

/// A file with its form and length.
pub(super) struct Source<'a, R> {
    pub(super) reader: &'a mut R,
    pub(super) form: Form,
    pub(super) length: u64,
}

impl<R: Read + Seek> Source<'_, R> {
    /// Is there so much at `offset`?
    fn holds(&self, offset: u64, wanted: u64) -> Result<(), TiffError> {
        match offset.checked_add(wanted) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(TiffError::BeyondEnd { offset, wanted, length: self.length }),
        }
    }

    /// Reads what is there; the caller has bounded `wanted`.
    pub(super) fn bytes(&mut self, offset: u64, wanted: u64) -> Result<Vec<u8>, DecodeError> {
        self.holds(offset, wanted).map_err(refused)?;
        self.reader.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; wanted as usize];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self, offset: u64, bytes: u64) -> Result<u64, DecodeError> {
        let bytes = self.bytes(offset, bytes)?;
        Ok(self.form.number(&bytes))
    }

    /// The directories of the file's own chain, in order.
    pub(super) fn directories(&mut self, seen: &mut BTreeSet<u64>) -> Result<Vec<Directory>, DecodeError> {
        let mut next = if self.form.wide {
            // Bytes of an offset, then zero: anything else is no BigTIFF.
            let widths = self.number(4, 4)?;
            let expected = if self.form.big_endian { 8 << 16 } else { 8 };
            if widths != expected {
                return Err(refused(TiffError::Value {
                    tag: 0,
                    value: widths,
                    allowed: "offsets of 8 bytes",
                }));
            }
            self.number(8, 8)?
        } else {
            self.number(4, 4)?
        };
        let mut directories = Vec::new();
        while next != 0 {
            let (directory, after) = self.directory(next, seen)?;
            directories.push(directory);
            next = after;
        }
        Ok(directories)
    }

    /// The directory at `offset`, which must not have been `seen`, and the offset of the next; 0 at the end.
    pub(super) fn directory(
        &mut self,
        offset: u64,
        seen: &mut BTreeSet<u64>,
    ) -> Result<(Directory, u64), DecodeError> {
        if !seen.insert(offset) {
            return Err(refused(TiffError::DirectoryLoop { offset }));
        }
        if seen.len() > MAX_DIRECTORIES {
            return Err(refused(TiffError::TooManyDirectories));
        }
        // Bytes of the number of entries, of an entry, and of a count or offset.
        let (head, entry, word) = if self.form.wide { (8, 20, 8) } else { (2, 12, 4) };
        let entries = self.number(offset, head)?;
        if entries > MAX_ENTRIES {
            return Err(refused(TiffError::TooManyEntries { offset, entries }));
        }
        let table = self.bytes(offset + head, entries * entry + word)?;
        let (table, next) = table.split_at((entries * entry) as usize);
        let mut fields = BTreeMap::new();
        for (bytes, at) in table.chunks_exact(entry as usize).zip((offset + head..).step_by(entry as usize)) {
            let (Some(name), Some(kind)) = (bytes.get(..2), bytes.get(2..4)) else { continue };
            let name = self.form.number(name) as u16;
            if !tag::KEPT.contains(&name) {
                continue;
            }
            let kind = self.form.number(kind) as u16;
            let (count, value) = bytes.get(4..).unwrap_or_default().split_at(word as usize);
            let count = self.form.number(count);
            let unknown =
                TiffError::Form { tag: name, kind, count, expected: "a type of TIFF 6.0 or BigTIFF" };
            let Some(size) = size_of(kind) else { return Err(refused(unknown)) };
            let Some(size) = count.checked_mul(size) else { return Err(refused(unknown)) };
            // Values that fit stand in the entry itself.
            let at = if size <= word { at + 4 + word } else { self.form.number(value) };
            self.holds(at, size).map_err(refused)?;
            fields.entry(name).or_insert(Field { tag: name, kind, count, at });
        }
        Ok((Directory { fields }, self.form.number(next)))
    }

    /// The unsigned number at `index` of a field.
    pub(super) fn unsigned(&mut self, field: Field, index: u64) -> Result<u64, DecodeError> {
        let Field { tag, kind, count, at } = field;
        // BYTE, SHORT, LONG, IFD, LONG8, IFD8.
        let Some(size) = size_of(kind).filter(|_| matches!(kind, 1 | 3 | 4 | 13 | 16 | 18) && index < count)
        else {
            let expected = "unsigned numbers, as many as are needed";
            return Err(refused(TiffError::Form { tag, kind, count, expected }));
        };
        self.number(at + index * size, size)
    }

    /// The fraction of a RATIONAL; `None` if it is another type or has no value.
    pub(super) fn rational(&mut self, field: Field) -> Result<Option<f64>, DecodeError> {
        if field.kind != 5 || field.count == 0 {
            return Ok(None);
        }
        let (numerator, denominator) = (self.number(field.at, 4)?, self.number(field.at + 4, 4)?);
        Ok((denominator != 0).then(|| numerator as f64 / denominator as f64))
    }

    /// The beginning of a text, for looking into. Never shown: it may name a patient.
    pub(super) fn text(&mut self, field: Field) -> Result<String, DecodeError> {
        let bytes = self.bytes(field.at, field.count.min(MAX_TEXT))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Bytes of one value of a type.
fn size_of(kind: u16) -> Option<u64> {
    Some(match kind {
        // BYTE, ASCII, SBYTE, UNDEFINED
        1 | 2 | 6 | 7 => 1,
        // SHORT, SSHORT
        3 | 8 => 2,
        // LONG, SLONG, FLOAT, IFD
        4 | 9 | 11 | 13 => 4,
        // RATIONAL, SRATIONAL, DOUBLE, LONG8, SLONG8, IFD8
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => return None,
    })
}

pub(super) fn refused(error: TiffError) -> DecodeError {
    DecodeError::Slide(error.into())
}

/// Where the values of a tag stand. All of them lie in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) tag: u16,
    pub(super) kind: u16,
    pub(super) count: u64,
    at: u64,
}

impl Field {
    /// Where its first byte stands.
    pub(super) fn at(self) -> u64 {
        self.at
    }
}

/// The kept tags of one image.
pub(super) struct Directory {
    fields: BTreeMap<u16, Field>,
}

impl Directory {
    pub(super) fn get(&self, tag: u16) -> Option<Field> {
        self.fields.get(&tag).copied()
    }

    pub(super) fn require(&self, tag: u16) -> Result<Field, DecodeError> {
        self.get(tag).ok_or_else(|| refused(TiffError::Missing { tag }))
    }

    /// The first number of a tag that must be there.
    pub(super) fn number<R: Read + Seek>(
        &self,
        source: &mut Source<'_, R>,
        tag: u16,
    ) -> Result<u64, DecodeError> {
        source.unsigned(self.require(tag)?, 0)
    }

    /// The first number of a tag, or what TIFF says where it is absent.
    pub(super) fn number_or<R: Read + Seek>(
        &self,
        source: &mut Source<'_, R>,
        tag: u16,
        absent: u64,
    ) -> Result<u64, DecodeError> {
        self.get(tag).map_or(Ok(absent), |field| source.unsigned(field, 0))
    }
}
