//! JPEG XL (ISO 18181).

use jxl_oxide::{AllocTracker, InitializeResult, JxlImage};

use super::{CodecFault, Coded};
use crate::{
    colour::{ColourModel, Samples},
    header::ImageHeader,
    probe::{self, CodestreamError},
};

/// Memory that decoding one frame may take, in bytes. An 800 x 600 colour frame takes about 30 MiB.
const MEMORY: usize = 160 << 20;

pub(super) fn decode(header: &ImageHeader, bytes: &[u8]) -> Result<Coded, CodecFault> {
    let failed = |source| CodecFault::Codec { codec: "jpeg xl", source };
    let probe::JpegXl { codestream, depth } = probe::jpeg_xl(bytes, header)?;
    let mut unread = JxlImage::builder().alloc_tracker(AllocTracker::with_limit(MEMORY)).build_uninit();
    unread.feed_bytes(&codestream).map_err(failed)?;
    let InitializeResult::Initialized(image) = unread.try_init().map_err(failed)? else {
        return Err(CodestreamError::Damaged { kind: "JPEG XL", offset: codestream.len() }.into());
    };
    let picture = image.render_frame(0).map_err(failed)?;
    let mut stream = picture.stream_no_alpha();
    let found = stream.width() as usize * stream.height() as usize * stream.channels() as usize;
    let expected = super::samples(header);
    if found != expected {
        return Err(CodestreamError::ShortFrame { found, expected }.into());
    }
    let mut shares = vec![0.0_f32; expected];
    stream.write_to_buffer(&mut shares);
    // Shares of the codestream's own full scale; 24 bits of mantissa hold 16-bit samples exactly.
    let full = f32::from(u16::MAX >> (16 - u32::from(depth)));
    let shares = shares.into_iter().map(|share| share.clamp(0.0, 1.0) * full + 0.5);
    let samples = if header.layout.bits_allocated == 8 {
        Samples::Eight(shares.map(|share| share as u8).collect())
    } else {
        Samples::Sixteen(shares.map(|share| share as u16).collect())
    };
    // What the codec itself had turned into another colour space before coding, it has turned back.
    let by_codec = image.image_header().metadata.xyb_encoded
        || image.frame_header(0).is_some_and(|frame| frame.do_ycbcr);
    let colour = match ColourModel::by_photometric(header.photometric) {
        ColourModel::Ybr if by_codec => ColourModel::Rgb,
        by_header => by_header,
    };
    Ok(Coded { samples, colour })
}
