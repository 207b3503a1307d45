//! A chosen frame as a picture in the blob store.

use image::{ExtendedColorType, ImageEncoder as _, codecs::png};
use raster::Window;
use schemas::{Area, BlobRef, FrameNumber};
use stage::{ClipHeader, Ctx, Image, StageError};

/// A stored picture.
pub(crate) struct Picture {
    pub(crate) blob: BlobRef,
    /// The part of the frame it shows; absent for the whole frame.
    pub(crate) bbox: Option<[u32; 4]>,
}

/// Stores the visible part of a frame, masked, as PNG.
pub(crate) fn store(
    header: &ClipHeader,
    instance: &BlobRef,
    number: FrameNumber,
    ctx: &Ctx<'_>,
) -> Result<Picture, StageError> {
    let image = ctx.frames().frame(instance, number)?.image;
    let window = Window::inside(header.visible, image.width, image.height);
    let png = encode(&image, window).map_err(StageError::invalid)?;
    let blob = ctx.blobs().put(Area::Frames, &png)?;
    let whole = [0, 0, image.width, image.height];
    Ok(Picture { blob, bbox: Some(window.to_array()).filter(|part| *part != whole) })
}

/// The part of `image` inside `window` as PNG.
pub(crate) fn encode(image: &Image, window: Window) -> Result<Vec<u8>, image::ImageError> {
    let (pixels, _) = image.rgb.as_chunks::<3>();
    let rows = pixels.chunks_exact((image.width as usize).max(1)).skip(window.top).take(window.height);
    let part: Vec<u8> =
        rows.flat_map(|row| row.iter().skip(window.left).take(window.width)).flatten().copied().collect();
    let mut png = Vec::new();
    png::PngEncoder::new_with_quality(&mut png, png::CompressionType::Fast, png::FilterType::Up)
        .write_image(&part, window.width as u32, window.height as u32, ExtendedColorType::Rgb8)?;
    Ok(png)
}
