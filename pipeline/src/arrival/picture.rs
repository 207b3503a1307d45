//! One masked frame of a loop, small enough for a page.

use image::{
    DynamicImage, ExtendedColorType, ImageEncoder as _, RgbImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
    imageops,
};
use schemas::{Area, BlobRef, FrameNumber};
use stage::{Ctx, FrameError, Image, StageError};

/// The longest side of a picture in pixels: sharp on a room's screen, some 100 kB.
const LONGEST: u32 = 640;

/// Stores the middle frame's visible part, masked as every frame is; nothing where no frame can be decoded, which the
/// gate's word on the instance explains.
pub(super) fn of_the_middle(instance: &BlobRef, ctx: &Ctx<'_>) -> Result<Option<BlobRef>, StageError> {
    let frames = ctx.frames();
    let middle = frames.header(instance).and_then(|header| {
        let frame = frames.frame(instance, FrameNumber::from_index(header.frames / 2))?;
        Ok((frame.image, header.visible))
    });
    let (image, visible) = match middle {
        Ok(middle) => middle,
        Err(FrameError::NotAnalysable { .. } | FrameError::Damaged { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(png) = png(image, visible).map_err(StageError::invalid)? else { return Ok(None) };
    Ok(Some(ctx.blobs().put(Area::Frames, &png)?))
}

/// The part of `image` inside left, top, width, height as PNG, shrunk to [`LONGEST`]; nothing if no part is inside.
fn png(image: Image, [left, top, width, height]: [u32; 4]) -> Result<Option<Vec<u8>>, image::ImageError> {
    let Some(whole) = RgbImage::from_raw(image.width, image.height, image.rgb.to_vec()) else {
        return Ok(None);
    };
    let part = imageops::crop_imm(&whole, left, top, width, height).to_image();
    let (width, height) = part.dimensions();
    if width == 0 || height == 0 {
        return Ok(None);
    }
    let longest = width.max(height);
    let part = if longest > LONGEST {
        let side = |side: u32| (side * LONGEST / longest).max(1);
        imageops::thumbnail(&part, side(width), side(height))
    } else {
        part
    };
    let is_grey = part.pixels().all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]);
    let (width, height) = part.dimensions();
    let (bytes, colours) = if is_grey {
        (DynamicImage::ImageRgb8(part).into_luma8().into_raw(), ExtendedColorType::L8)
    } else {
        (part.into_raw(), ExtendedColorType::Rgb8)
    };
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive)
        .write_image(&bytes, width, height, colours)?;
    Ok(Some(png))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(width: u32, height: u32, pixel: [u8; 3]) -> Image {
        Image { width, height, rgb: pixel.repeat((width * height) as usize).into() }
    }

    fn read(png: &[u8]) -> DynamicImage {
        image::load_from_memory(png).expect("a picture")
    }

    #[test]
    fn a_large_frame_is_cut_to_what_is_visible_and_shrunk() {
        let png = png(plain(1600, 1200, [90; 3]), [100, 0, 1280, 960]).expect("written").expect("a picture");
        let picture = read(&png);
        assert_eq!((picture.width(), picture.height()), (640, 480));
        assert_eq!(picture.color(), image::ColorType::L8);
        assert!(picture.into_luma8().pixels().all(|pixel| pixel[0] == 90));
    }

    #[test]
    fn a_small_or_coloured_frame_stays_as_it_is() {
        let png = png(plain(64, 48, [200, 30, 10]), [0, 0, 64, 48]).expect("written").expect("a picture");
        let picture = read(&png);
        assert_eq!((picture.width(), picture.height(), picture.color()), (64, 48, image::ColorType::Rgb8));
    }

    #[test]
    fn a_window_outside_the_frame_is_clamped_and_an_empty_one_gives_nothing() {
        let clamped = png(plain(10, 10, [1; 3]), [5, 5, 100, 100]).expect("written").expect("a picture");
        assert_eq!((read(&clamped).width(), read(&clamped).height()), (5, 5));
        assert!(png(plain(10, 10, [1; 3]), [20, 20, 5, 5]).expect("no error").is_none());
        assert!(png(plain(10, 10, [1; 3]), [0, 0, 0, 0]).expect("no error").is_none());
    }
}
