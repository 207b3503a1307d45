//! Stored keyframes as pictures.

use std::io::Cursor;

use image::{ImageFormat, ImageReader, Limits};
use schemas::BlobRef;
use stage::{Blobs, Image, StageError};

/// Largest side of a picture in pixels.
const MAX_SIDE: u32 = 8192;

/// Most bytes that decoding one picture may allocate.
const MAX_DECODED_BYTES: u64 = 256 * 1024 * 1024;

/// A stored keyframe that cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// It is no picture.
    #[error("keyframe {key} is not a readable PNG of at most {MAX_SIDE} pixels a side")]
    Unreadable {
        /// The blob's key.
        key: String,
        /// What the decoder said.
        source: image::ImageError,
    },
    /// The two pictures of a beat differ in size, so that they are no two frames of one video.
    #[error(
        "beat {beat} has an end-diastolic picture of {}x{} pixels and an end-systolic one of {}x{}; keyframes of one clip must have one size",
        ed[0], ed[1], es[0], es[1]
    )]
    BeatSize {
        /// The beat, counted from 1.
        beat: u32,
        /// Width and height at end-diastole.
        ed: [u32; 2],
        /// Width and height at end-systole.
        es: [u32; 2],
    },
}

/// Reads a keyframe from the store.
pub(crate) fn load(blob: &BlobRef, blobs: &dyn Blobs) -> Result<Image, StageError> {
    decode_png(blob, &blobs.get(blob)?).map_err(StageError::invalid)
}

fn decode_png(blob: &BlobRef, bytes: &[u8]) -> Result<Image, PictureError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    reader.limits(limits);
    let rgb =
        reader.decode().map_err(|source| PictureError::Unreadable { key: blob.key(), source })?.into_rgb8();
    Ok(Image { width: rgb.width(), height: rgb.height(), rgb: rgb.into_raw().into() })
}
