//! From the bytes of one tile to its pixels.

use std::io::Read;

use flate2::read::ZlibDecoder;
use jpeg_decoder::{ColorTransform, PixelFormat};
use weezl::{BitOrder, LzwStatus};

use super::TiffError;
use crate::{
    colour::ybr_to_rgb,
    frame::{Frame, Pixels},
};

/// Compression (259) as far as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
}

impl Compression {
    pub(super) fn of(code: u64) -> Result<Self, TiffError> {
        let name = match code {
            1 => return Ok(Self::None),
            5 => return Ok(Self::Lzw),
            7 => return Ok(Self::Jpeg),
            8 | 32946 => return Ok(Self::Deflate),
            32773 => return Ok(Self::PackBits),
            2..=4 => "a fax code",
            6 => "the JPEG of TIFF 6.0, replaced in 1995",
            22610 | 34892 | 34933 | 34934 => "JPEG XR, PNG or lossy DNG",
            33003 | 33005 | 34712 => "JPEG 2000",
            34925 => "LZMA",
            34926 | 50000 => "Zstandard",
            34927 | 50001 => "WebP",
            50002 | 52546 => "JPEG XL",
            _ => "a code that is not known here",
        };
        Err(TiffError::Compression { name, code })
    }
}

/// What the samples of a tile mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    /// Photometric Interpretation 1, or 0 with white as zero.
    Grey { white_is_zero: bool },
    /// 2: as coded, also in a JPEG.
    Rgb,
    /// 6 in a JPEG: full-range YCbCr.
    Ybr,
}

impl Colour {
    pub(super) fn samples(self) -> u16 {
        match self {
            Self::Grey { .. } => 1,
            Self::Rgb | Self::Ybr => 3,
        }
    }
}

/// How the tiles of a level are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) columns: u32,
    pub(super) rows: u32,
    /// Samples of a pixel, those beyond the colour's (opacity) too.
    pub(super) samples: u16,
    /// Each sample has a table of tiles of its own.
    pub(super) by_plane: bool,
    /// 8 or 16.
    pub(super) bits: u8,
    pub(super) big_endian: bool,
    pub(super) compression: Compression,
    /// Each sample is the difference from the one to its left.
    pub(super) differences: bool,
    pub(super) colour: Colour,
}

impl Layout {
    /// Samples that stand together in one chunk.
    fn together(&self) -> usize {
        if self.by_plane { 1 } else { usize::from(self.samples) }
    }

    /// Bytes of one chunk, uncompressed.
    pub(super) fn chunk_bytes(&self) -> usize {
        self.columns as usize * self.rows as usize * self.together() * usize::from(self.bits / 8)
    }

    /// Decompresses one chunk to 8-bit samples, pixel by pixel.
    pub(super) fn decompress(&self, coded: Vec<u8>, jpeg_tables: &[u8]) -> Result<Vec<u8>, TiffError> {
        let expected = self.chunk_bytes();
        let mut bytes = match self.compression {
            Compression::None => coded,
            Compression::Jpeg => return self.jpeg(&coded, jpeg_tables),
            Compression::Deflate => {
                let mut bytes = Vec::new();
                let read = ZlibDecoder::new(coded.as_slice()).take(expected as u64).read_to_end(&mut bytes);
                read.map_err(codec("deflate"))?;
                bytes
            }
            Compression::Lzw => unpack_lzw(&coded, expected)?,
            Compression::PackBits => unpack_bits(&coded, expected),
        };
        if bytes.len() < expected {
            return Err(TiffError::TileShort { found: bytes.len(), expected });
        }
        bytes.truncate(expected);
        let row = self.columns as usize * self.together();
        if self.bits == 8 {
            if self.differences {
                bytes.chunks_exact_mut(row).for_each(|row| sum_up(row, self.together(), u8::wrapping_add));
            }
            return Ok(bytes);
        }
        let (pairs, _) = bytes.as_chunks::<2>();
        let word = if self.big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
        let mut words: Vec<u16> = pairs.iter().map(|pair| word(*pair)).collect();
        if self.differences {
            words.chunks_exact_mut(row).for_each(|row| sum_up(row, self.together(), u16::wrapping_add));
        }
        Ok(words.into_iter().map(|word| (word >> 8) as u8).collect())
    }

    /// Decodes a JPEG to its components as coded, once its shape is what the directory says.
    fn jpeg(&self, coded: &[u8], tables: &[u8]) -> Result<Vec<u8>, TiffError> {
        let whole = with_tables(coded, tables);
        let mut decoder = jpeg_decoder::Decoder::new(whole.as_slice());
        // Nothing in a tile is larger than its samples in 16 bits.
        decoder.set_max_decoding_buffer_size(2 * self.chunk_bytes());
        decoder.read_info().map_err(codec("jpeg"))?;
        let Some(info) = decoder.info() else {
            return Err(TiffError::TileShort { found: 0, expected: self.chunk_bytes() });
        };
        let components = match info.pixel_format {
            PixelFormat::L8 => 1,
            PixelFormat::RGB24 => 3,
            PixelFormat::CMYK32 => 4,
            PixelFormat::L16 => 2,
        };
        let (width, height) = (info.width, info.height);
        if (u32::from(width), u32::from(height), components) != (self.columns, self.rows, self.together()) {
            let &Self { columns, rows, samples, .. } = self;
            return Err(TiffError::JpegShape { width, height, components, columns, rows, samples });
        }
        if components == 3 {
            // The decoder's word for components as coded: the directory says what they mean, not the JPEG's markers.
            decoder.set_color_transform(ColorTransform::RGB);
        }
        let bytes = decoder.decode().map_err(codec("jpeg"))?;
        if bytes.len() != self.chunk_bytes() {
            return Err(TiffError::TileShort { found: bytes.len(), expected: self.chunk_bytes() });
        }
        Ok(bytes)
    }

    /// Samples, in chunks as they stand in the file, to a picture.
    pub(super) fn picture(&self, mut chunks: Vec<Vec<u8>>) -> Frame {
        let pixel = self.together();
        let first = chunks.first_mut().map(std::mem::take).unwrap_or_default();
        let pixels = match self.colour {
            Colour::Grey { white_is_zero } => {
                let flip = if white_is_zero { 0xFF } else { 0 };
                Pixels::Grey(first.into_iter().step_by(pixel).map(|grey| grey ^ flip).collect())
            }
            Colour::Rgb if self.by_plane => {
                let rest = chunks.iter().skip(1).map(Vec::as_slice);
                let planes: Vec<&[u8]> = std::iter::once(first.as_slice()).chain(rest).collect();
                let at =
                    |index: usize| planes.iter().map(move |plane| plane.get(index).copied().unwrap_or(0));
                Pixels::Rgb((0..first.len()).flat_map(at).collect())
            }
            Colour::Rgb if pixel == 3 => Pixels::Rgb(first),
            Colour::Rgb => Pixels::Rgb(
                first.chunks_exact(pixel).flat_map(|pixel| pixel.iter().take(3)).copied().collect(),
            ),
            Colour::Ybr => {
                let mut bytes = first;
                ybr_to_rgb(&mut bytes);
                Pixels::Rgb(bytes)
            }
        };
        Frame { width: self.columns, height: self.rows, pixels }
    }
}

fn codec<E: std::error::Error + Send + Sync + 'static>(codec: &'static str) -> impl Fn(E) -> TiffError {
    move |source| TiffError::Codec { codec, source: Box::new(source) }
}

/// Undoes horizontal differences (Predictor 2) in a row of pixels of `pixel` samples.
fn sum_up<T: Copy>(row: &mut [T], pixel: usize, add: impl Fn(T, T) -> T) {
    for at in pixel..row.len() {
        if let (Some(left), Some(here)) = (row.get(at - pixel).copied(), row.get(at).copied())
            && let Some(place) = row.get_mut(at)
        {
            *place = add(here, left);
        }
    }
}

/// An abbreviated JPEG with the tables that all tiles of a level share in front (TIFF Technical Note 2): both begin with
/// SOI, the tables end with EOI.
fn with_tables(coded: &[u8], tables: &[u8]) -> Vec<u8> {
    let tables = tables.strip_suffix(&[0xFF, 0xD9]).unwrap_or(tables);
    match coded.strip_prefix(&[0xFF, 0xD8]) {
        Some(rest) if tables.starts_with(&[0xFF, 0xD8]) => [tables, rest].concat(),
        _ => coded.to_vec(),
    }
}

/// LZW as TIFF writes it: most significant bit first, codes grow one entry early (TIFF 6.0 section 13).
fn unpack_lzw(coded: &[u8], expected: usize) -> Result<Vec<u8>, TiffError> {
    let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8);
    let mut bytes = vec![0; expected];
    let (mut read, mut written) = (0, 0);
    while let (Some(input), Some(output)) = (coded.get(read..), bytes.get_mut(written..)) {
        if output.is_empty() {
            break;
        }
        let step = decoder.decode_bytes(input, output);
        read += step.consumed_in;
        written += step.consumed_out;
        match step.status.map_err(codec("lzw"))? {
            LzwStatus::Ok if step.consumed_in + step.consumed_out > 0 => {}
            _ => break,
        }
    }
    bytes.truncate(written);
    Ok(bytes)
}

/// PackBits (TIFF 6.0 section 9), up to `expected` bytes: what is missing is found out by the caller.
fn unpack_bits(coded: &[u8], expected: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = coded.iter().copied();
    while let Some(head) = rest.next().filter(|_| bytes.len() < expected) {
        match head.cast_signed() {
            -128 => {}
            copies @ ..0 => {
                let Some(byte) = rest.next() else { break };
                bytes.extend(std::iter::repeat_n(byte, usize::from(copies.unsigned_abs()) + 1));
            }
            _ => bytes.extend(rest.by_ref().take(usize::from(head) + 1)),
        }
    }
    bytes
}
