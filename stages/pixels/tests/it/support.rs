//! Hand-made DICOM bytes for the tests of this crate.
use std::io::Cursor;

use pixels::{Clip, DecodeError, Frame};

pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(crate) const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub(crate) const RLE: &str = "1.2.840.10008.1.2.5";
pub(crate) const JPEG: &str = "1.2.840.10008.1.2.4.50";
pub(crate) const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";

/// One explicit VR little endian element.
pub(crate) fn element(group: u16, number: u16, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(if vr == "UI" || vr == "OB" { 0 } else { b' ' });
    }
    let mut bytes = head(group, number, vr, value.len() as u32);
    bytes.extend(value);
    bytes
}

/// The head of an element, with any length.
pub(crate) fn head(group: u16, number: u16, vr: &str, length: u32) -> Vec<u8> {
    let mut bytes = [group.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.extend(vr.as_bytes());
    if matches!(vr, "OB" | "OW" | "SQ" | "UN" | "UT" | "OV") {
        bytes.extend([0, 0]);
        bytes.extend(length.to_le_bytes());
    } else {
        bytes.extend((length as u16).to_le_bytes());
    }
    bytes
}

pub(crate) fn item(value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xFE, 0xFF, 0x00, 0xE0];
    bytes.extend((value.len() as u32).to_le_bytes());
    bytes.extend(value);
    bytes
}

pub(crate) fn sequence_end() -> Vec<u8> {
    vec![0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]
}

/// A small image: elements by tag, so that a test can replace any of them.
#[derive(Clone)]
pub(crate) struct Object {
    syntax: String,
    elements: std::collections::BTreeMap<(u16, u16), Vec<u8>>,
}

impl Object {
    /// A grey 8-bit image without pixel data.
    pub(crate) fn new(syntax: &str, columns: u16, rows: u16) -> Self {
        Self { syntax: syntax.to_owned(), elements: std::collections::BTreeMap::new() }
            .with(0x0008, 0x0016, "UI", b"1.2.840.10008.5.1.4.1.1.3.1")
            .with(0x0008, 0x0018, "UI", b"2.25.3")
            .with(0x0008, 0x0060, "CS", b"US")
            .with(0x0020, 0x000D, "UI", b"2.25.1")
            .with(0x0020, 0x000E, "UI", b"2.25.2")
            .word(0x0028, 0x0002, 1)
            .with(0x0028, 0x0004, "CS", b"MONOCHROME2")
            .word(0x0028, 0x0010, rows)
            .word(0x0028, 0x0011, columns)
            .word(0x0028, 0x0100, 8)
            .word(0x0028, 0x0101, 8)
            .word(0x0028, 0x0102, 7)
            .word(0x0028, 0x0103, 0)
    }

    /// The same in colour.
    pub(crate) fn colour(syntax: &str, photometric: &str, columns: u16, rows: u16) -> Self {
        Self::new(syntax, columns, rows).word(0x0028, 0x0002, 3).word(0x0028, 0x0006, 0).with(
            0x0028,
            0x0004,
            "CS",
            photometric.as_bytes(),
        )
    }

    pub(crate) fn with(mut self, group: u16, number: u16, vr: &str, value: &[u8]) -> Self {
        self.elements.insert((group, number), element(group, number, vr, value));
        self
    }

    pub(crate) fn word(self, group: u16, number: u16, value: u16) -> Self {
        self.with(group, number, "US", &value.to_le_bytes())
    }

    pub(crate) fn frames(self, text: &str) -> Self {
        self.with(0x0028, 0x0008, "IS", text.as_bytes())
    }

    pub(crate) fn pixels(self, value: &[u8]) -> Self {
        self.with(0x7FE0, 0x0010, "OB", value)
    }

    /// Encapsulated pixel data: the offset table, then the fragments.
    pub(crate) fn fragments(mut self, offsets: &[u32], fragments: &[&[u8]]) -> Self {
        let mut bytes = head(0x7FE0, 0x0010, "OB", u32::MAX);
        bytes.extend(item(&offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect::<Vec<_>>()));
        for fragment in fragments {
            let mut even = fragment.to_vec();
            even.resize(even.len().next_multiple_of(2), 0);
            bytes.extend(item(&even));
        }
        bytes.extend(sequence_end());
        self.elements.insert((0x7FE0, 0x0010), bytes);
        self
    }

    /// Bytes as they are at a tag's place.
    pub(crate) fn raw(mut self, tag: (u16, u16), bytes: Vec<u8>) -> Self {
        self.elements.insert(tag, bytes);
        self
    }

    pub(crate) fn without(mut self, tag: (u16, u16)) -> Self {
        self.elements.remove(&tag);
        self
    }

    pub(crate) fn data_set(&self) -> Vec<u8> {
        self.elements.values().flatten().copied().collect()
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        file(&self.syntax, &self.data_set())
    }

    pub(crate) fn open(&self) -> Result<Clip<Cursor<Vec<u8>>>, DecodeError> {
        Clip::open(Cursor::new(self.file()))
    }

    pub(crate) fn frame(&self, index: u32) -> Result<Frame, DecodeError> {
        pixels::decode_one(Cursor::new(self.file()), index)
    }

    /// The stable code of the refusal.
    pub(crate) fn refusal(&self) -> &'static str {
        match self.frame(0) {
            Ok(_) => "decoded",
            Err(error) => error.code(),
        }
    }
}

/// Preamble, meta header, data set.
pub(crate) fn file(syntax: &str, data_set: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    bytes.extend(element(0x0002, 0x0010, "UI", syntax.as_bytes()));
    bytes.extend(data_set);
    bytes
}

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(path).expect("fixture is committed")
}
