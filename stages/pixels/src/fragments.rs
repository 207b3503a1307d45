//! Which bytes make up one frame.
//!
//! ```text
//!   native          frame i = bytes [i·size, (i+1)·size)
//!   encapsulated    RLE or one fragment a frame ─▶ fragment i
//!                   basic offset table ─▶ extended offset table ─▶ count ─▶ scan for SOI / SOC / FF0A   the first that holds
//! ```
//! An offset table is believed only if every entry points at a fragment that begins a codestream. Reading one frame
//! reads its own bytes and no others.

use crate::{
    header::{ImageHeader, Photometric},
    prescan::{Piece, PixelLocation},
    transfer_syntax::PixelCoding,
};

/// Why the pixel data does not give the declared frames.
#[derive(Debug, thiserror::Error)]
pub enum FragmentError {
    /// The pixel data is native where the transfer syntax encapsulates, or the reverse.
    #[error("pixel data is {found} but the transfer syntax says {declared}")]
    Form {
        /// How it is written.
        found: &'static str,
        /// How it should be.
        declared: &'static str,
    },
    /// Fewer frames than declared.
    #[error("Number of Frames is {declared} but the pixel data holds {found}")]
    TooFewFrames {
        /// Number of Frames (0028,0008).
        declared: u32,
        /// Frames found.
        found: u64,
    },
    /// Native 4:2:2 with an odd number of columns cannot be laid out.
    #[error("YBR_FULL_422 with {columns} columns; an even number is required")]
    OddColumns {
        /// Columns (0028,0011).
        columns: u16,
    },
}

/// Where each frame lies.
pub(crate) struct FragmentIndex {
    pieces: Vec<Piece>,
    frames: FrameMap,
    /// Bytes stand in pairs the wrong way round, counted from the start of the pixel data.
    pub(crate) swapped: bool,
    /// More frames than declared were found.
    pub(crate) extra: bool,
    /// An offset table was there but was not believed.
    pub(crate) distrusted_table: bool,
}

enum FrameMap {
    Native { start: u64, size: u64 },
    Encapsulated(Vec<std::ops::Range<usize>>),
}

/// The extended offset table (7FE0,0001): one offset per frame.
pub(crate) type ExtendedOffsets = Vec<u64>;

impl FragmentIndex {
    /// Builds the index. `first_bytes` reads the first bytes of a fragment and is asked at most once per fragment.
    pub(crate) fn build<E: From<FragmentError>>(
        header: &ImageHeader,
        location: PixelLocation,
        extended: &ExtendedOffsets,
        mut first_bytes: impl FnMut(Piece) -> Result<[u8; 12], E>,
    ) -> Result<Self, E> {
        let coding = header.object.transfer_syntax.coding();
        match location {
            PixelLocation::Native { piece, big_words } => {
                if coding != PixelCoding::Native {
                    return Err(FragmentError::Form { found: "native", declared: "encapsulated" }.into());
                }
                let lead = if piece.length >= 12 { first_bytes(piece)? } else { [0; 12] };
                let mut index = native(header, piece, lead)?;
                index.swapped = big_words && header.layout.bits_allocated == 8;
                Ok(index)
            }
            PixelLocation::Encapsulated { .. } if coding == PixelCoding::Native => {
                Err(FragmentError::Form { found: "encapsulated", declared: "native" }.into())
            }
            PixelLocation::Encapsulated { basic_offsets, fragments } => {
                encapsulated(header, &basic_offsets, extended, fragments, &mut first_bytes)
            }
        }
    }

    /// The frame at `index` lies this many bytes into a pair.
    pub(crate) fn bytes_into_pair(&self, index: u32) -> u64 {
        match self.frames {
            FrameMap::Native { size, .. } => u64::from(index) * size % 2,
            FrameMap::Encapsulated(_) => 0,
        }
    }

    /// The bytes of the frame at `index` (from 0), in order.
    pub(crate) fn pieces(&self, index: u32) -> Vec<Piece> {
        match &self.frames {
            FrameMap::Native { start, size } => {
                vec![Piece { offset: start + u64::from(index) * size, length: *size }]
            }
            FrameMap::Encapsulated(ranges) => ranges
                .get(index as usize)
                .and_then(|range| self.pieces.get(range.clone()))
                .unwrap_or_default()
                .to_vec(),
        }
    }
}

/// Bytes of one uncompressed frame.
pub(crate) fn native_frame_bytes(header: &ImageHeader) -> Result<u64, FragmentError> {
    let pixels = u64::from(header.rows) * u64::from(header.columns);
    if header.photometric == Photometric::YbrFull422 {
        // PS3.3 C.7.6.3.1.2: two lumas, then one of each colour difference, for two pixels.
        if !header.columns.is_multiple_of(2) {
            return Err(FragmentError::OddColumns { columns: header.columns });
        }
        return Ok(pixels * 2 * u64::from(header.layout.bits_allocated / 8));
    }
    Ok(pixels * u64::from(header.layout.samples) * u64::from(header.layout.bits_allocated / 8))
}

fn native(header: &ImageHeader, piece: Piece, lead: [u8; 12]) -> Result<FragmentIndex, FragmentError> {
    let size = native_frame_bytes(header)?;
    let expected = size * u64::from(header.frames);
    let exact = piece.length == expected || piece.length == expected + expected % 2;
    if lead.starts_with(&[0xFE, 0xFF, 0x00, 0xE0]) && !exact {
        return Err(FragmentError::Form { found: "encapsulated", declared: "native" });
    }
    if piece.length < expected {
        let found = piece.length / size;
        return Err(FragmentError::TooFewFrames { declared: header.frames, found });
    }
    Ok(FragmentIndex {
        pieces: Vec::new(),
        frames: FrameMap::Native { start: piece.offset, size },
        swapped: false,
        extra: piece.length >= expected + size,
        distrusted_table: false,
    })
}

/// Does a fragment begin a codestream of this kind? `None` where the kind has no mark.
fn begins(coding: PixelCoding, bytes: [u8; 12]) -> Option<bool> {
    const JP2_SIGNATURE: [u8; 12] = [0, 0, 0, 0x0C, b'j', b'P', b' ', b' ', 0x0D, 0x0A, 0x87, 0x0A];
    const JXL_SIGNATURE: [u8; 12] = [0, 0, 0, 0x0C, b'J', b'X', b'L', b' ', 0x0D, 0x0A, 0x87, 0x0A];
    match coding {
        PixelCoding::JpegLossy | PixelCoding::JpegLossless | PixelCoding::JpegLs => {
            Some(bytes.starts_with(&[0xFF, 0xD8]))
        }
        PixelCoding::Jpeg2000 => Some(bytes.starts_with(&[0xFF, 0x4F]) || bytes == JP2_SIGNATURE),
        PixelCoding::JpegXl => Some(bytes.starts_with(&[0xFF, 0x0A]) || bytes == JXL_SIGNATURE),
        _ => None,
    }
}

fn encapsulated<E: From<FragmentError>>(
    header: &ImageHeader,
    basic_offsets: &[u8],
    extended: &ExtendedOffsets,
    fragments: Vec<Piece>,
    first_bytes: &mut impl FnMut(Piece) -> Result<[u8; 12], E>,
) -> Result<FragmentIndex, E> {
    let coding = header.object.transfer_syntax.coding();
    let declared = header.frames as usize;
    let count = fragments.len();
    let too_few = |found: usize| FragmentError::TooFewFrames { declared: header.frames, found: found as u64 };
    let index = |pieces, ranges: Vec<std::ops::Range<usize>>, extra, distrusted_table| FragmentIndex {
        pieces,
        frames: FrameMap::Encapsulated(ranges),
        swapped: false,
        extra,
        distrusted_table,
    };
    if count == 0 {
        return Err(too_few(0).into());
    }
    if declared == 1 && coding != PixelCoding::Rle && begins(coding, [0; 12]).is_none() {
        return Ok(index(fragments, std::iter::once(0..count).collect(), false, false));
    }
    let mut starts_codestream = Vec::with_capacity(count);
    for piece in &fragments {
        let lead = if begins(coding, [0; 12]).is_some() && piece.length >= 12 {
            first_bytes(*piece)?
        } else {
            [0; 12]
        };
        starts_codestream.push(begins(coding, lead));
    }

    let (table, _) = basic_offsets.as_chunks::<4>();
    let basic: Vec<u64> = table.iter().map(|bytes| u64::from(u32::from_le_bytes(*bytes))).collect();
    let by_table = [&basic, extended]
        .into_iter()
        .find_map(|offsets| by_offsets(offsets, &fragments, &starts_codestream));
    let distrusted_table = by_table.is_none() && !(basic.is_empty() && extended.is_empty());
    let ranges = match by_table {
        Some(ranges) => ranges,
        // No mark to scan for, or none found: one fragment a frame, and the probe will say what is wrong with it.
        None if !starts_codestream.contains(&Some(true)) => (0..count).map(|i| i..i + 1).collect(),
        None => by_scan(&starts_codestream),
    };
    if ranges.len() < declared {
        return Err(too_few(ranges.len()).into());
    }
    let extra = ranges.len() > declared;
    Ok(index(fragments, ranges, extra, distrusted_table))
}

/// Frames by an offset table: offsets count from the first byte of the first fragment's item tag (PS3.5 §A.4), and each
/// must be the item tag of a fragment that begins a codestream.
fn by_offsets(
    offsets: &[u64],
    fragments: &[Piece],
    starts_codestream: &[Option<bool>],
) -> Option<Vec<std::ops::Range<usize>>> {
    let base = fragments.first()?.offset;
    let mut starts = Vec::with_capacity(offsets.len());
    for offset in offsets {
        let at = base.checked_add(*offset)?;
        let fragment = fragments.binary_search_by_key(&at, |piece| piece.offset).ok()?;
        if starts_codestream.get(fragment)? == &Some(false)
            || starts.last().is_some_and(|last| *last >= fragment)
        {
            return None;
        }
        starts.push(fragment);
    }
    if starts.first() != Some(&0) {
        return None;
    }
    Some(ranges(&starts, fragments.len()))
}

/// Frames by their first bytes. Fragments before the first codestream belong to no frame.
fn by_scan(starts_codestream: &[Option<bool>]) -> Vec<std::ops::Range<usize>> {
    let starts: Vec<_> = starts_codestream
        .iter()
        .enumerate()
        .filter(|(_, starts)| **starts == Some(true))
        .map(|(i, _)| i)
        .collect();
    ranges(&starts, starts_codestream.len())
}

fn ranges(starts: &[usize], end: usize) -> Vec<std::ops::Range<usize>> {
    starts.iter().enumerate().map(|(i, start)| *start..starts.get(i + 1).copied().unwrap_or(end)).collect()
}
