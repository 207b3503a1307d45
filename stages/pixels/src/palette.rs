//! Palette Color Lookup Tables (PS3.3 C.7.6.3.1.5 and .6, segmented: C.7.9.2), at 8 bits a colour.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use crate::prescan::{Attributes, Value};

/// A segmented table may name other segments; this many segments are still expanded.
const MAX_SEGMENTS: usize = 100_000;

/// Why the lookup tables of a PALETTE COLOR image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PaletteError {
    /// A descriptor or table is absent.
    #[error("palette element ({group:04X},{element:04X}) is missing", group = .0.group(), element = .0.element())]
    Missing(Tag),
    /// A segmented table with a segment that cannot be expanded.
    #[error("segmented palette cannot be expanded at word {0}")]
    Segment(usize),
    /// The tables are shorter than their descriptors say, or differ in length.
    #[error("palette declares {declared} entries and holds {found}")]
    Length {
        /// Entries declared.
        declared: usize,
        /// Entries there.
        found: usize,
    },
    /// Neither 8 nor 16 bits an entry.
    #[error("palette has {0} bits an entry; 8 or 16 are possible")]
    Bits(u16),
}

/// The lookup tables of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Palette {
    first: i32,
    entries: Vec<[u8; 3]>,
}

/// The elements of one colour.
struct Elements {
    descriptor: Tag,
    data: Tag,
    segmented: Tag,
}

const RED: Elements = Elements {
    descriptor: tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    data: tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    segmented: tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
};
const GREEN: Elements = Elements {
    descriptor: tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    data: tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    segmented: tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
};
const BLUE: Elements = Elements {
    descriptor: tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    data: tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    segmented: tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
};

impl Palette {
    pub(crate) fn read(attributes: &Attributes) -> Result<Self, PaletteError> {
        let (first, red) = channel(attributes, &RED)?;
        let (_, green) = channel(attributes, &GREEN)?;
        let (_, blue) = channel(attributes, &BLUE)?;
        for other in [&green, &blue] {
            if other.len() != red.len() {
                return Err(PaletteError::Length { declared: red.len(), found: other.len() });
            }
        }
        let entries = red.into_iter().zip(green).zip(blue).map(|((r, g), b)| [r, g, b]).collect();
        Ok(Self { first, entries })
    }

    /// The colour of a stored value. Values below the first entry show it, values above the last show that one.
    pub(crate) fn entry(&self, value: i32) -> [u8; 3] {
        let last = self.entries.len().saturating_sub(1);
        let index = usize::try_from(value - self.first).unwrap_or(0).min(last);
        self.entries.get(index).copied().unwrap_or_default()
    }
}

fn channel(attributes: &Attributes, elements: &Elements) -> Result<(i32, Vec<u8>), PaletteError> {
    let missing = PaletteError::Missing(elements.descriptor);
    let Some(descriptor) = attributes.get(elements.descriptor) else { return Err(missing) };
    let words = descriptor.words();
    let &[count, first, bits] = words.as_slice() else { return Err(missing) };
    // 0 stands for 65,536.
    let count = if count == 0 { 65_536 } else { usize::from(count) };
    let signed = descriptor.vr == VR::SS;
    let first = if signed { i32::from(first.cast_signed()) } else { i32::from(first) };
    if !matches!(bits, 8 | 16) {
        return Err(PaletteError::Bits(bits));
    }
    let words = match (attributes.get(elements.data), attributes.get(elements.segmented)) {
        (Some(data), _) => plain(data, bits, count),
        (None, Some(segmented)) => expand(&segmented.words(), count)?,
        (None, None) => return Err(PaletteError::Missing(elements.data)),
    };
    let mut table: Vec<u8> = words.into_iter().map(|word| (word >> (bits - 8)) as u8).collect();
    if table.len() < count {
        return Err(PaletteError::Length { declared: count, found: table.len() });
    }
    table.truncate(count);
    Ok((first, table))
}

/// One entry a word; 8-bit entries may also be packed two a word, the first one in the low byte.
fn plain(data: &Value, bits: u16, count: usize) -> Vec<u16> {
    if bits == 16 || data.bytes.len() >= 2 * count {
        return data.words();
    }
    let mut bytes: Vec<u8> = data.words().into_iter().flat_map(u16::to_le_bytes).collect();
    if data.bytes.len() % 2 == 1 {
        bytes.extend(data.bytes.last());
    }
    bytes.into_iter().map(u16::from).collect()
}

/// Expands discrete (0), linear (1) and indirect (2) segments, never beyond `count` entries.
fn expand(words: &[u16], count: usize) -> Result<Vec<u16>, PaletteError> {
    let mut table: Vec<u16> = Vec::new();
    let mut at = 0;
    // An indirect segment replays this many segments, then goes on behind itself.
    let mut replay: Option<(usize, usize)> = None;
    for _ in 0..MAX_SEGMENTS {
        if let Some((left, resume)) = replay {
            if left == 0 {
                at = resume;
                replay = None;
            } else {
                replay = Some((left - 1, resume));
            }
        }
        if table.len() >= count || at >= words.len() {
            return Ok(table);
        }
        let damaged = PaletteError::Segment(at);
        let Some(&[opcode, length]) = words.get(at..at + 2) else { return Err(damaged) };
        let length = usize::from(length);
        match opcode {
            0 => {
                let Some(values) = words.get(at + 2..at + 2 + length) else { return Err(damaged) };
                table.extend_from_slice(values);
                at += 2 + length;
            }
            1 => {
                let (Some(&end), Some(&start)) = (words.get(at + 2), table.last()) else {
                    return Err(damaged);
                };
                let rise = i64::from(end) - i64::from(start);
                let step = |i: usize| i64::from(start) + rise * (i as i64 + 1) / length as i64;
                table.extend((0..length).map(|i| step(i) as u16));
                at += 3;
            }
            2 if replay.is_none() => {
                let Some(&[low, high]) = words.get(at + 2..at + 4) else { return Err(damaged) };
                replay = Some((length, at + 4));
                // The offset counts bytes from the start of the table.
                at = (usize::from(high) << 16 | usize::from(low)) / 2;
            }
            _ => return Err(damaged),
        }
    }
    Err(PaletteError::Segment(at))
}
