//! PNG, JPEG and TIFF files as single frames of 8 bits.

use std::io::{BufReader, Read, Seek, SeekFrom};

use image::{
    ImageError, ImageFormat, ImageReader, Limits,
    error::{LimitError, LimitErrorKind},
};

use crate::{
    frame::{Frame, Pixels},
    header::MAX_FRAME_PIXELS,
};

/// Longest side in pixels.
const MAX_SIDE: u32 = 32_768;
/// Memory that decoding may take, in bytes: the largest picture in RGB of 16 bits.
const MAX_ALLOC: u64 = MAX_FRAME_PIXELS * 6;

/// The format of a file by its first bytes, if it is one that is read here.
pub(crate) fn format(lead: &[u8]) -> Option<ImageFormat> {
    match image::guess_format(lead) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Tiff)) => Some(format),
        _ => None,
    }
}

/// Width and height, without decoding.
pub(crate) fn size<R: Read + Seek>(reader: &mut R, format: ImageFormat) -> Result<(u32, u32), ImageError> {
    reader.seek(SeekFrom::Start(0)).map_err(ImageError::IoError)?;
    ImageReader::with_format(BufReader::new(reader), format).into_dimensions()
}

pub(crate) fn decode<R: Read + Seek>(reader: &mut R, format: ImageFormat) -> Result<Frame, ImageError> {
    let (width, height) = size(reader, format)?;
    if u64::from(width) * u64::from(height) > MAX_FRAME_PIXELS {
        return Err(ImageError::Limits(LimitError::from_kind(LimitErrorKind::DimensionError)));
    }
    reader.seek(SeekFrom::Start(0)).map_err(ImageError::IoError)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_ALLOC);
    let mut file = ImageReader::with_format(BufReader::new(reader), format);
    file.limits(limits);
    let picture = file.decode()?;
    let (width, height) = (picture.width(), picture.height());
    let grey = matches!(picture, image::DynamicImage::ImageLuma8(_) | image::DynamicImage::ImageLumaA8(_));
    let pixels = if grey {
        Pixels::Grey(picture.into_luma8().into_raw())
    } else {
        Pixels::Rgb(picture.into_rgb8().into_raw())
    };
    Ok(Frame { width, height, pixels })
}
