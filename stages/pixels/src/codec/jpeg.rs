//! JPEG by two decoders: a fast one for what cine loops are made of, a broad one for all else.
//!
//! ```text
//!   everyday (see probe::Jpeg) ─▶ zune-jpeg, strict ── refuses ─▶ jpeg-decoder ─▶ samples or error
//!   progressive, lossless, restart intervals, planes … ─────────▶ jpeg-decoder
//! ```
//! A damaged frame is so judged by jpeg-decoder alone. Each is told to hand out the components as coded, whatever the markers
//! say of colours: the colour stage converts, once.

use std::borrow::Cow;

use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::{CodecFault, Coded, codec};
use crate::{
    colour::{ColourModel, Samples},
    header::ImageHeader,
    probe::{self, CodestreamError, JpegColour},
};

pub(super) fn decode(header: &ImageHeader, bytes: &[u8]) -> Result<Coded, CodecFault> {
    let probe::Jpeg { colour: said, unused_tables, everyday, .. } = probe::jpeg(bytes, header)?;
    let fast = if everyday { fast(header, bytes) } else { None };
    let samples = match fast {
        Some(bytes) => Samples::Eight(bytes),
        None => broad(header, bytes, &unused_tables)?,
    };
    let by_header = ColourModel::by_photometric(header.photometric);
    let colour = match (by_header, said) {
        (ColourModel::Rgb | ColourModel::Ybr, JpegColour::Rgb) => ColourModel::Rgb,
        (ColourModel::Rgb | ColourModel::Ybr, JpegColour::Ybr) => ColourModel::Ybr,
        (by_header, _) => by_header,
    };
    Ok(Coded { samples, colour })
}

/// Decodes an undamaged everyday JPEG; `None` for the broad decoder to judge.
fn fast(header: &ImageHeader, bytes: &[u8]) -> Option<Vec<u8>> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(header.columns))
        .set_max_height(usize::from(header.rows));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().ok()?;
    // Asked for the space it takes the components to be in, it converts nothing.
    let as_coded = match decoder.input_colorspace()? {
        ColorSpace::Luma => ColorSpace::Luma,
        // Of an Adobe marker with transform 0 it says CMYK until it has counted three components.
        ColorSpace::RGB | ColorSpace::CMYK => ColorSpace::RGB,
        _ => ColorSpace::YCbCr,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(as_coded));
    decoder.decode().ok().filter(|decoded| decoded.len() == super::samples(header))
}

fn broad(header: &ImageHeader, bytes: &[u8], unused_tables: &[usize]) -> Result<Samples, CodecFault> {
    // dcmtk names tables in a lossless frame of YBR, and the decoder refuses any but table 0.
    let mut bytes = Cow::Borrowed(bytes);
    for at in unused_tables {
        if bytes.get(*at).is_some_and(|table| *table != 0)
            && let Some(table) = bytes.to_mut().get_mut(*at)
        {
            *table = 0;
        }
    }
    let mut decoder = jpeg_decoder::Decoder::new(bytes.as_ref());
    if header.layout.samples == 3 {
        // "RGB" is the decoder's word for components as coded, pixel by pixel ("None" leaves them in planes).
        decoder.set_color_transform(jpeg_decoder::ColorTransform::RGB);
    }
    let count = super::samples(header);
    decoder.set_max_decoding_buffer_size(count * 2);
    let bytes = decoder.decode().map_err(codec("jpeg"))?;
    if bytes.len() == count {
        Ok(Samples::Eight(bytes))
    } else if bytes.len() == count * 2 {
        let (pairs, _) = bytes.as_chunks::<2>();
        Ok(Samples::Sixteen(pairs.iter().map(|pair| u16::from_ne_bytes(*pair)).collect()))
    } else {
        Err(CodestreamError::ShortFrame { found: bytes.len(), expected: count }.into())
    }
}
