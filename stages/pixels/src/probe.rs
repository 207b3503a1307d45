//! A look at a codestream's own header before any codec sees it.
//!
//! Codecs allocate by what the codestream says, and write where the DICOM header says; each of the two can be a lie that
//! ends in an abort. So size, components and precision must agree with the header first.

use std::borrow::Cow;

use jxl_oxide_common::Bundle as _;

use crate::{header::ImageHeader, not_analysable::NotAnalysable, transfer_syntax::PixelCoding};

/// A codestream that contradicts the header or itself.
#[derive(Debug, thiserror::Error)]
pub enum CodestreamError {
    /// The bytes do not begin as the transfer syntax says.
    #[error("the frame does not begin as {expected}; the transfer syntax does not match the pixel data")]
    WrongKind {
        /// What should be there.
        expected: &'static str,
    },
    /// The codestream's own header cannot be read.
    #[error("the header of the {kind} codestream is damaged at byte {offset}")]
    Damaged {
        /// The kind of codestream.
        kind: &'static str,
        /// Where in the frame.
        offset: usize,
    },
    /// Another size than the header's.
    #[error("the codestream is {width} x {height} pixels, the header says {columns} x {rows}")]
    Size {
        /// Width in the codestream.
        width: u32,
        /// Height in the codestream.
        height: u32,
        /// Columns (0028,0011).
        columns: u16,
        /// Rows (0028,0010).
        rows: u16,
    },
    /// Another number of components than Samples per Pixel.
    #[error("the codestream has {found} components, Samples per Pixel is {declared}")]
    Components {
        /// Components in the codestream.
        found: u16,
        /// Samples per Pixel (0028,0002).
        declared: u8,
    },
    /// More bits a sample than Bits Allocated.
    #[error("the codestream has {found} bits a sample, Bits Allocated is {allocated}")]
    Precision {
        /// Bits in the codestream.
        found: u8,
        /// Bits Allocated (0028,0100).
        allocated: u8,
    },
    /// A run-length frame whose segments do not fill the picture.
    #[error("run-length segment {segment} holds {found} bytes of {expected}")]
    ShortSegment {
        /// Segment, from 0.
        segment: usize,
        /// Bytes it expands to.
        found: usize,
        /// Bytes of one plane.
        expected: usize,
    },
    /// Fewer bytes than the picture has.
    #[error("the frame decodes to {found} bytes of {expected}")]
    ShortFrame {
        /// Bytes decoded.
        found: usize,
        /// Bytes of the picture.
        expected: usize,
    },
}

/// What a JPEG says of its own colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JpegColour {
    /// Component ids `R`, `G`, `B`, or an Adobe marker with transform 0.
    Rgb,
    /// A JFIF marker, or an Adobe marker with transform 1.
    Ybr,
    /// Nothing: Photometric Interpretation decides.
    Unsaid,
}

/// What the codec's user must know of a JPEG beyond its shape.
pub(crate) struct Jpeg {
    pub(crate) colour: JpegColour,
    /// Baseline or extended sequential, Huffman coded, all components in the first scan, chroma at most halved each way, no
    /// restart intervals, ended by its marker: nothing that a fast decoder takes for another thing, or damage to it for pixels.
    pub(crate) everyday: bool,
    /// The first scan has one component of several: JPEG-LS then hands out planes.
    #[cfg_attr(
        not(feature = "jpeg-ls"),
        expect(dead_code, reason = "baseline decoders weave scans together themselves")
    )]
    pub(crate) by_plane: bool,
    /// Where a lossless frame header (SOF3) names a quantisation table for each component, in vain: there is none.
    pub(crate) unused_tables: Vec<usize>,
}

/// Why a frame does not reach its codec.
pub(crate) enum ProbeFault {
    Codestream(CodestreamError),
    NotAnalysable(NotAnalysable),
}

impl From<CodestreamError> for ProbeFault {
    fn from(error: CodestreamError) -> Self {
        Self::Codestream(error)
    }
}

/// Size, components and bits of a codestream.
struct Shape {
    width: u32,
    height: u32,
    components: u16,
    precision: u8,
}

impl Shape {
    fn check(&self, header: &ImageHeader) -> Result<(), CodestreamError> {
        let (columns, rows) = (header.columns, header.rows);
        let &Self { width, height, components, precision } = self;
        if (width, height) != (u32::from(columns), u32::from(rows)) {
            return Err(CodestreamError::Size { width, height, columns, rows });
        }
        if components != u16::from(header.layout.samples) {
            return Err(CodestreamError::Components { found: components, declared: header.layout.samples });
        }
        // Bits Stored is often less than what a lossless codestream was written with; only the room counts.
        if precision == 0 || precision > header.layout.bits_allocated {
            let allocated = header.layout.bits_allocated;
            return Err(CodestreamError::Precision { found: precision, allocated });
        }
        Ok(())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_be_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes)
}

/// Reads JPEG and JPEG-LS markers up to the first scan (ISO 10918-1 annex B; JPEG-LS SOF55, ISO 14495-1).
pub(crate) fn jpeg(bytes: &[u8], header: &ImageHeader) -> Result<Jpeg, ProbeFault> {
    const KIND: &str = "JPEG";
    if !bytes.starts_with(&[0xFF, 0xD8]) {
        return Err(CodestreamError::WrongKind { expected: "a JPEG (SOI marker)" }.into());
    }
    let coding = header.object.transfer_syntax.coding();
    let mut at = 2;
    let mut shape = None;
    let mut ids = Vec::new();
    let mut everyday = ends_in_eoi(bytes);
    let mut colour = JpegColour::Unsaid;
    let mut unused_tables = Vec::new();
    loop {
        let damaged = CodestreamError::Damaged { kind: KIND, offset: at };
        // Decoders look for the next 0xFF and skip fill bytes; so does this.
        let Some(run) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0xFF)) else {
            return Err(damaged.into());
        };
        at += run;
        let Some(fill) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte != 0xFF)) else {
            return Err(damaged.into());
        };
        at += fill;
        let Some(marker) = bytes.get(at).copied() else { return Err(damaged.into()) };
        at += 1;
        match marker {
            0x00 | 0x01 | 0xD0..=0xD8 => continue,
            0xD9 | 0xDA => break,
            _ => {}
        }
        let Some(segment) = u16_at(bytes, at)
            .filter(|length| *length >= 2)
            .and_then(|length| bytes.get(at + 2..at + usize::from(length)))
        else {
            return Err(damaged.into());
        };
        match marker {
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF | 0xF7 => {
                if shape.is_some() {
                    return Err(damaged.into());
                }
                let found = frame_header(segment).ok_or(damaged)?;
                process(coding, marker, found.precision)?;
                found.check(header)?;
                ids = segment
                    .get(6..)
                    .unwrap_or_default()
                    .chunks_exact(3)
                    .filter_map(|c| c.first().copied())
                    .collect();
                everyday &= matches!(marker, 0xC0 | 0xC1) && has_everyday_sampling(segment);
                if marker == 0xC3 {
                    // Behind the length: precision, height, width, count; then id, sampling, table of each component.
                    unused_tables = (0..ids.len()).map(|component| at + 8 + 3 * component + 2).collect();
                }
                shape = Some(found);
            }
            // DRI: a restart interval other than 0.
            0xDD => everyday &= segment == [0, 0],
            0xE0 if segment.starts_with(b"JFIF") => colour = JpegColour::Ybr,
            0xEE if segment.starts_with(b"Adobe") => {
                colour = match segment.get(11) {
                    Some(0) => JpegColour::Rgb,
                    Some(_) => JpegColour::Ybr,
                    None => colour,
                };
            }
            _ => {}
        }
        at += segment.len() + 2;
    }
    if shape.is_none() {
        return Err(CodestreamError::Damaged { kind: KIND, offset: at }.into());
    }
    if ids.as_slice() == b"RGB" || ids.as_slice() == b"rgb" {
        colour = JpegColour::Rgb;
    }
    // SOS: Ls (2 bytes), Ns.
    let in_first_scan = bytes.get(at + 2).copied().map(usize::from);
    let by_plane = ids.len() > 1 && in_first_scan == Some(1);
    let everyday = everyday && in_first_scan == Some(ids.len());
    Ok(Jpeg { colour, everyday, by_plane, unused_tables })
}

/// Is the end of image there, before the zeros that make a fragment's length even? Then the last scan is not cut short.
fn ends_in_eoi(bytes: &[u8]) -> bool {
    let mut backwards = bytes.iter().rev().skip_while(|byte| **byte == 0);
    backwards.next() == Some(&0xD9) && backwards.next() == Some(&0xFF)
}

/// Sampling factors of a frame header: grey, or 4:4:4, 4:2:2 and 4:2:0.
fn has_everyday_sampling(segment: &[u8]) -> bool {
    let factors = segment.get(6..).unwrap_or_default().chunks_exact(3).filter_map(|c| c.get(1).copied());
    let factors: Vec<u8> = factors.collect();
    matches!(factors.as_slice(), [0x11] | [0x11 | 0x21 | 0x22, 0x11, 0x11])
}

fn frame_header(segment: &[u8]) -> Option<Shape> {
    Some(Shape {
        precision: *segment.first()?,
        height: u32::from(u16_at(segment, 1)?),
        width: u32::from(u16_at(segment, 3)?),
        components: u16::from(*segment.get(5)?),
    })
}

/// Is this JPEG process the one that the transfer syntax names, and is there a decoder for it?
fn process(coding: PixelCoding, marker: u8, precision: u8) -> Result<(), ProbeFault> {
    match (coding, marker) {
        // Lossless coded under a lossy syntax and the reverse: the pixels are right all the same.
        (PixelCoding::JpegLossy | PixelCoding::JpegLossless, 0xC3) | (PixelCoding::JpegLs, 0xF7) => Ok(()),
        (PixelCoding::JpegLossy | PixelCoding::JpegLossless, 0xC0..=0xC2) if precision == 8 => Ok(()),
        (PixelCoding::JpegLossy, 0xC0..=0xC2) if precision == 12 => {
            Err(ProbeFault::NotAnalysable(NotAnalysable::Jpeg12Bit))
        }
        (PixelCoding::JpegLs, _) | (_, 0xF7) => {
            Err(CodestreamError::WrongKind { expected: "the kind of JPEG that the transfer syntax names" }
                .into())
        }
        _ => Err(ProbeFault::NotAnalysable(NotAnalysable::JpegProcess)),
    }
}

/// Finds and checks a JPEG 2000 codestream (ISO 15444-1 annex A), taking it out of a JP2 file if it is in one, so that
/// the colour boxes of that file cannot act a second time. Gives the bare codestream.
pub(crate) fn jpeg2000<'a>(bytes: &'a [u8], header: &ImageHeader) -> Result<&'a [u8], ProbeFault> {
    const KIND: &str = "JPEG 2000";
    let wrong = CodestreamError::WrongKind { expected: "a JPEG 2000 codestream (SOC marker)" };
    let codestream =
        if bytes.starts_with(&[0xFF, 0x4F]) { bytes } else { jp2_codestream(bytes).ok_or(wrong)? };
    let damaged = |offset| CodestreamError::Damaged { kind: KIND, offset };
    if u16_at(codestream, 2) != Some(0xFF51) {
        return Err(damaged(2).into());
    }
    // SIZ: Lsiz 4, Rsiz 6, Xsiz 8, Ysiz 12, XOsiz 16, YOsiz 20, XTsiz 24, YTsiz 28, XTOsiz 32, YTOsiz 36, Csiz 40, then
    // Ssiz, XRsiz, YRsiz per component.
    let field = |at| u32_at(codestream, at).ok_or_else(|| damaged(at));
    let (right, bottom, left, top) = (field(8)?, field(12)?, field(16)?, field(20)?);
    let (tile_width, tile_height) = (field(24)?, field(28)?);
    let components = u16_at(codestream, 40).ok_or_else(|| damaged(40))?;
    if tile_width == 0 || tile_height == 0 {
        return Err(damaged(24).into());
    }
    let mut shape = Shape {
        width: right.saturating_sub(left),
        height: bottom.saturating_sub(top),
        components,
        precision: 1,
    };
    shape.check(header)?;
    // Isot has 16 bits (A.4.2): more tiles cannot be numbered.
    if u64::from(right.div_ceil(tile_width)) * u64::from(bottom.div_ceil(tile_height)) > 65_535 {
        return Err(damaged(24).into());
    }
    for component in 0..usize::from(components) {
        let at = 42 + 3 * component;
        let Some(&[depth, dx, dy]) = codestream.get(at..at + 3) else { return Err(damaged(at).into()) };
        shape.precision = shape.precision.max((depth & 0x7F) + 1);
        if (dx, dy) != (1, 1) {
            return Err(ProbeFault::NotAnalysable(NotAnalysable::SubsampledJpeg2000));
        }
    }
    shape.check(header)?;
    Ok(codestream)
}

/// The contents of the `jp2c` box of a JP2 file.
fn jp2_codestream(bytes: &[u8]) -> Option<&[u8]> {
    let mut boxes = boxes(bytes);
    boxes.next().filter(|(kind, _)| *kind == b"jP  ")?;
    let (_, inner) = boxes.find(|(kind, _)| *kind == b"jp2c")?;
    Some(inner).filter(|inner| inner.starts_with(&[0xFF, 0x4F]))
}

/// The boxes of a JP2 or JPEG XL file (ISO 15444-1 annex I): kind and contents, as far as there are bytes.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let kind = rest.get(4..8)?.try_into().ok()?;
        // Length 0 means "to the end"; 1 means that a 64-bit length follows.
        let (start, length) = match u32_at(rest, 0)? as usize {
            0 => (8, rest.len()),
            1 => {
                let long = u64::from(u32_at(rest, 8)?) << 32 | u64::from(u32_at(rest, 12)?);
                (16, usize::try_from(long).ok()?.min(rest.len()))
            }
            length => (8, length.min(rest.len())),
        };
        let (whole, after) = rest.split_at(length);
        rest = after;
        Some((kind, whole.get(start..)?))
    })
}

/// A JPEG XL codestream that agrees with the header.
pub(crate) struct JpegXl<'a> {
    /// Without the file around it, whose other boxes could unpack to anything.
    pub(crate) codestream: Cow<'a, [u8]>,
    /// Bits a sample.
    pub(crate) depth: u8,
}

/// Finds and checks a JPEG XL codestream (ISO 18181-1 annex D, -2 for the file around it).
pub(crate) fn jpeg_xl<'a>(bytes: &'a [u8], header: &ImageHeader) -> Result<JpegXl<'a>, ProbeFault> {
    const KIND: &str = "JPEG XL";
    let codestream = jxl_codestream(bytes);
    if !codestream.starts_with(&[0xFF, 0x0A]) {
        let expected = "a JPEG XL codestream (bytes FF 0A)";
        return Err(CodestreamError::WrongKind { expected }.into());
    }
    let mut bits = jxl_bitstream::Bitstream::new(&codestream);
    let said = jxl_oxide::ImageHeader::parse(&mut bits, ());
    let damaged = CodestreamError::Damaged { kind: KIND, offset: bits.num_read_bits() / 8 };
    let Ok(said) = said else { return Err(damaged.into()) };
    let colours = if said.metadata.grayscale() { 1 } else { 3 };
    let depth = u8::try_from(said.metadata.bit_depth.bits_per_sample()).unwrap_or(u8::MAX);
    Shape {
        width: said.width_with_orientation(),
        height: said.height_with_orientation(),
        components: colours + u16::try_from(said.metadata.ec_info.len()).unwrap_or(u16::MAX - colours),
        precision: depth,
    }
    .check(header)?;
    // Both are unpacked with the header, to a size of their own.
    if said.metadata.preview.is_some() || said.metadata.colour_encoding.want_icc() {
        return Err(ProbeFault::NotAnalysable(NotAnalysable::JpegXlExtras));
    }
    Ok(JpegXl { codestream, depth })
}

/// The codestream of a JPEG XL file, which may lie in parts; anything else as it is.
fn jxl_codestream(bytes: &[u8]) -> Cow<'_, [u8]> {
    if boxes(bytes).next().is_none_or(|(kind, _)| kind != b"JXL ") {
        return Cow::Borrowed(bytes);
    }
    if let Some((_, whole)) = boxes(bytes).find(|(kind, _)| *kind == b"jxlc") {
        return Cow::Borrowed(whole);
    }
    // Each part begins with its number.
    let parts = boxes(bytes).filter(|(kind, _)| *kind == b"jxlp").filter_map(|(_, part)| part.get(4..));
    Cow::Owned(parts.flatten().copied().collect())
}
