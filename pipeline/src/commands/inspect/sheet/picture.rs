//! Pictures inside the page, and the masks beside it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use image::{
    DynamicImage, GrayImage, ImageEncoder as _, Luma, RgbImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
    imageops,
};
use stage::Image;

use crate::exit::Failure;

/// The longest side of a picture inside the page, in pixels; as stored it lies beside the page.
const LONGEST: u32 = 720;
/// JPEG quality of a picture inside the page.
const QUALITY: u8 = 88;

/// Left, top, width, height in pixels.
pub(super) type Part = [u32; 4];

/// A stored PNG as a data URL.
pub(super) fn stored(png: &[u8]) -> Result<String, Failure> {
    data_url(image::load_from_memory_with_format(png, image::ImageFormat::Png)?)
}

/// The part of a picture as a data URL; nothing where no pixel is inside.
pub(super) fn part(picture: &Image, [left, top, width, height]: Part) -> Result<Option<String>, Failure> {
    let whole = RgbImage::from_raw(picture.width, picture.height, picture.rgb.to_vec());
    let Some(whole) = whole.filter(|one| left < one.width() && top < one.height() && width > 0 && height > 0)
    else {
        return Ok(None);
    };
    let part = imageops::crop_imm(&whole, left, top, width, height).to_image();
    data_url(part.into()).map(Some)
}

fn data_url(picture: DynamicImage) -> Result<String, Failure> {
    let reduced = if picture.width().max(picture.height()) > LONGEST {
        picture.thumbnail(LONGEST, LONGEST)
    } else {
        picture
    };
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&reduced.into_rgb8())?;
    Ok(format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(jpeg)))
}

/// What lies inside a closed polygon, white on black, of the size of `part`. The corners are in pixels of the frame.
pub(super) fn mask(polygon: &[[f64; 2]], [left, top, width, height]: Part) -> Result<Vec<u8>, Failure> {
    let mut mask = GrayImage::new(width, height);
    for row in 0..height {
        // A pixel is inside if its middle is: between the first and second crossing of its row, the third and fourth …
        let y = f64::from(top + row) + 0.5;
        let edges = polygon.iter().zip(polygon.iter().cycle().skip(1));
        let mut crossings: Vec<f64> = edges
            .filter(|([_, from], [_, to])| (*from <= y) != (*to <= y))
            .map(|([x0, y0], [x1, y1])| x0 + (y - y0) / (y1 - y0) * (x1 - x0) - f64::from(left))
            .collect();
        crossings.sort_by(f64::total_cmp);
        for pair in crossings.chunks_exact(2) {
            let [from, to] =
                [pair.first(), pair.last()].map(|x| x.map_or(0.0, |x| (x - 0.5).ceil().max(0.0)));
            for x in (from as u32)..(to as u32).min(width) {
                mask.put_pixel(x, row, Luma([255]));
            }
        }
    }
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&mask, width, height, image::ExtendedColorType::L8)?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_white_where_the_middle_of_the_pixel_lies_inside() {
        let square = [[12.0, 21.0], [15.0, 21.0], [15.0, 23.0], [12.0, 23.0]];
        let png = mask(&square, [10, 20, 8, 5]).unwrap();
        let mask = image::load_from_memory(&png).unwrap().into_luma8();
        assert_eq!(mask.dimensions(), (8, 5));
        for (x, y, pixel) in mask.enumerate_pixels() {
            let inside = (2..5).contains(&x) && (1..3).contains(&y);
            assert_eq!(pixel[0] == 255, inside, "{x}, {y}");
        }
    }

    #[test]
    fn a_polygon_beyond_the_picture_is_cut() {
        let large = [[-5.0, -5.0], [50.0, -5.0], [50.0, 50.0], [-5.0, 50.0]];
        let mask = image::load_from_memory(&mask(&large, [0, 0, 4, 4]).unwrap()).unwrap().into_luma8();
        assert!(mask.pixels().all(|pixel| pixel[0] == 255));
    }

    #[test]
    fn a_part_outside_the_picture_is_no_picture() {
        let picture = Image { width: 2, height: 2, rgb: vec![9; 12].into() };
        assert!(part(&picture, [2, 0, 1, 1]).unwrap().is_none());
        assert!(part(&picture, [0, 0, 9, 9]).unwrap().unwrap().starts_with("data:image/jpeg;base64,"));
    }
}
