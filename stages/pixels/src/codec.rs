//! From one frame's bytes to samples, as coded: no colour is converted here.

mod jpeg;
mod jpeg_xl;
mod rle;

use std::io::Read as _;

use flate2::read::DeflateDecoder;

use crate::{
    colour::{ColourModel, Samples},
    fragments::{FragmentError, native_frame_bytes},
    header::{ImageHeader, Photometric},
    not_analysable::NotAnalysable,
    probe::{self, CodestreamError, ProbeFault},
    transfer_syntax::PixelCoding,
};

/// Samples of one frame, pixel by pixel, with what they mean.
pub(crate) struct Coded {
    pub(crate) samples: Samples,
    pub(crate) colour: ColourModel,
}

/// Why a frame was not decoded.
pub(crate) enum CodecFault {
    Codestream(CodestreamError),
    NotAnalysable(NotAnalysable),
    Fragments(FragmentError),
    Codec { codec: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
}

impl From<CodestreamError> for CodecFault {
    fn from(error: CodestreamError) -> Self {
        Self::Codestream(error)
    }
}

impl From<FragmentError> for CodecFault {
    fn from(error: FragmentError) -> Self {
        Self::Fragments(error)
    }
}

impl From<ProbeFault> for CodecFault {
    fn from(fault: ProbeFault) -> Self {
        match fault {
            ProbeFault::Codestream(error) => Self::Codestream(error),
            ProbeFault::NotAnalysable(reason) => Self::NotAnalysable(reason),
        }
    }
}

/// Decodes one frame after looking at its codestream.
pub(crate) fn decode(header: &ImageHeader, bytes: &[u8]) -> Result<Coded, CodecFault> {
    let coding = header.object.transfer_syntax.coding();
    if let Some(reason) = NotAnalysable::of_coding(coding) {
        return Err(CodecFault::NotAnalysable(reason));
    }
    let by_header = ColourModel::by_photometric(header.photometric);
    match coding {
        PixelCoding::Native | PixelCoding::EncapsulatedNative => native(header, bytes),
        PixelCoding::DeflatedFrame => {
            let size = native_frame_bytes(header)?;
            let mut inflated = Vec::new();
            DeflateDecoder::new(bytes).take(size + 1).read_to_end(&mut inflated).map_err(codec("deflate"))?;
            native(header, &inflated)
        }
        PixelCoding::Rle => Ok(Coded { samples: rle::decode(header, bytes)?, colour: by_header }),
        PixelCoding::JpegLossy | PixelCoding::JpegLossless => jpeg::decode(header, bytes),
        PixelCoding::Jpeg2000 => jpeg2000(header, bytes),
        PixelCoding::JpegLs => jpeg_ls(header, bytes),
        PixelCoding::JpegXl => jpeg_xl::decode(header, bytes),
        PixelCoding::Video | PixelCoding::Unknown => {
            Err(CodecFault::NotAnalysable(NotAnalysable::TransferSyntax))
        }
    }
}

fn codec<E: std::error::Error + Send + Sync + 'static>(codec: &'static str) -> impl Fn(E) -> CodecFault {
    move |source| CodecFault::Codec { codec, source: Box::new(source) }
}

fn pixels(header: &ImageHeader) -> usize {
    usize::from(header.rows) * usize::from(header.columns)
}

/// Samples of one frame.
fn samples(header: &ImageHeader) -> usize {
    pixels(header) * usize::from(header.layout.samples)
}

fn native(header: &ImageHeader, bytes: &[u8]) -> Result<Coded, CodecFault> {
    let colour = ColourModel::by_photometric(header.photometric);
    let expected = native_frame_bytes(header)? as usize;
    let Some(bytes) = bytes.get(..expected) else {
        return Err(CodestreamError::ShortFrame { found: bytes.len(), expected }.into());
    };
    let samples = if header.layout.bits_allocated == 8 {
        Samples::Eight(bytes.to_vec())
    } else {
        let big = header.object.transfer_syntax.encoding() == crate::transfer_syntax::Encoding::ExplicitBig;
        let (pairs, _) = bytes.as_chunks::<2>();
        Samples::Sixteen(
            pairs
                .iter()
                .map(|pair| if big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) })
                .collect(),
        )
    };
    let samples = if header.photometric == Photometric::YbrFull422 {
        samples.expand_422()
    } else if header.layout.by_plane && header.layout.samples == 3 {
        samples.interleave()
    } else {
        samples
    };
    Ok(Coded { samples, colour })
}

fn jpeg2000(header: &ImageHeader, bytes: &[u8]) -> Result<Coded, CodecFault> {
    let codestream = probe::jpeg2000(bytes, header)?;
    let image = jpeg2k::Image::from_bytes(codestream).map_err(codec("jpeg2000"))?;
    let planes: Vec<&[i32]> = image.components().iter().map(jpeg2k::ImageComponent::data).collect();
    let expected = pixels(header);
    if planes.len() != usize::from(header.layout.samples)
        || planes.iter().any(|plane| plane.len() != expected)
    {
        let found = planes.iter().map(|plane| plane.len()).min().unwrap_or(0);
        return Err(CodestreamError::ShortFrame { found, expected }.into());
    }
    // The decoder has undone the codestream's own transform (RCT or ICT) if there was one; what Photometric Interpretation
    // still calls YBR_FULL was YBR before coding.
    let colour = ColourModel::by_photometric(header.photometric);
    let words = (0..expected).flat_map(|i| planes.iter().filter_map(move |plane| plane.get(i)));
    let samples = if header.layout.bits_allocated == 8 {
        Samples::Eight(words.map(|word| *word as u8).collect())
    } else {
        Samples::Sixteen(words.map(|word| *word as u16).collect())
    };
    Ok(Coded { samples, colour })
}

#[cfg(feature = "jpeg-ls")]
fn jpeg_ls(header: &ImageHeader, bytes: &[u8]) -> Result<Coded, CodecFault> {
    let by_plane = probe::jpeg(bytes, header)?.by_plane;
    let mut decoder = charls::CharLS::default();
    let decoded =
        decoder.decode(bytes).map_err(|error| codec("jpeg-ls")(std::io::Error::other(error.to_string())))?;
    let count = samples(header);
    let wide = header.layout.bits_allocated == 16;
    let samples = match decoded.len() {
        found if found == count && !wide => Samples::Eight(decoded),
        found if found == count => Samples::Sixteen(decoded.into_iter().map(u16::from).collect()),
        found if found == count * 2 => {
            let (pairs, _) = decoded.as_chunks::<2>();
            Samples::Sixteen(pairs.iter().map(|pair| u16::from_ne_bytes(*pair)).collect())
        }
        found => return Err(CodestreamError::ShortFrame { found, expected: count }.into()),
    };
    let samples = if by_plane { samples.interleave() } else { samples };
    Ok(Coded { samples, colour: ColourModel::by_photometric(header.photometric) })
}

#[cfg(not(feature = "jpeg-ls"))]
fn jpeg_ls(_: &ImageHeader, _: &[u8]) -> Result<Coded, CodecFault> {
    Err(CodecFault::NotAnalysable(NotAnalysable::JpegLs))
}
