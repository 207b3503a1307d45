//! Picture files without a header.

use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use pixels::{Clip, MaskSource};

fn file(picture: &RgbImage, format: ImageFormat) -> Cursor<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("encodes");
    bytes.set_position(0);
    bytes
}

/// The colours of an H&E field: bright everywhere.
fn field() -> RgbImage {
    RgbImage::from_fn(40, 30, |x, y| image::Rgb([200 + (x % 40) as u8, 120 + (y % 30) as u8, 190]))
}

#[test]
fn png_and_tiff_are_exact_and_leave_whole() {
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let mut clip = Clip::open(file(&field(), format)).expect("opens");
        assert!(clip.header().is_none());
        assert_eq!(clip.frames(), 1);
        let mask = clip.mask().expect("has no margin");
        assert_eq!(mask.source(), MaskSource::WholeImage);
        let image = clip.masked_frame(0, &mask).expect("masks").into_image();
        assert_eq!((image.width, image.height), (40, 30));
        assert_eq!(image.rgb.to_vec(), field().into_raw());
    }
}

#[test]
fn a_dark_still_needs_a_fan() {
    let mut screenshot = RgbImage::new(100, 100);
    for x in (5..60).step_by(4) {
        screenshot.put_pixel(x, 8, image::Rgb([255; 3]));
    }
    let mut clip = Clip::open(file(&screenshot, ImageFormat::Png)).expect("opens");
    assert_eq!(clip.mask().expect_err("text on black").code(), "NO_FAN");
}

#[test]
fn a_png_that_claims_to_be_huge_is_refused() {
    let mut bytes = file(&field(), ImageFormat::Png).into_inner();
    bytes[16..24].copy_from_slice(&[0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF]);
    assert_eq!(Clip::open(Cursor::new(bytes)).err().map(|error| error.code()), Some("STILL_INVALID"));
}

#[test]
fn anything_else_is_no_picture() {
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 2, 0], b"GIF89a......"] {
        assert_eq!(Clip::open(Cursor::new(bytes)).err().map(|error| error.code()), Some("UNKNOWN_FORMAT"));
    }
}
