//! Colours: pydicom's on real files, and arithmetic done by hand on small ones.

use std::io::Cursor;

use pixels::{Clip, Frame, Pixels};

use crate::support::{EXPLICIT, JPEG, Object, RLE, fixture};

#[derive(serde::Deserialize)]
struct Expected {
    file: String,
    frames: u32,
    index: u32,
    width: u32,
    height: u32,
    mean: [f64; 3],
    pixels: Vec<[usize; 5]>,
}

/// Written by `tests/oracle/compare.py --golden` from pydicom. Lossy JPEG decoders differ by up to 3 levels.
#[test]
fn real_files_have_the_colours_that_pydicom_sees() {
    let expected: Vec<Expected> =
        serde_json::from_slice(&fixture("expected.json")).expect("valid golden file");
    assert!(expected.len() >= 9);
    for case in expected {
        let mut clip = Clip::open(Cursor::new(fixture(&case.file))).expect(&case.file);
        assert_eq!(clip.frames(), case.frames, "{}", case.file);
        let frame = clip.frame(case.index).expect(&case.file);
        assert_eq!((frame.width, frame.height), (case.width, case.height), "{}", case.file);
        let rgb = frame.into_rgb();
        for [x, y, colour @ ..] in case.pixels {
            let at = 3 * (y * case.width as usize + x);
            for (ours, theirs) in rgb[at..at + 3].iter().zip(colour) {
                assert!(
                    usize::from(*ours).abs_diff(theirs) <= 3,
                    "{} at ({x}, {y}): {ours}, {theirs}",
                    case.file
                );
            }
        }
        for (channel, mean) in case.mean.into_iter().enumerate() {
            let sum: u64 = rgb.iter().skip(channel).step_by(3).map(|value| u64::from(*value)).sum();
            let ours = sum as f64 / f64::from(case.width * case.height);
            assert!((ours - mean).abs() < 0.5, "{} channel {channel}: {ours}, {mean}", case.file);
        }
    }
}

fn rgb(frame: Frame) -> Vec<u8> {
    frame.into_rgb()
}

#[test]
fn ybr_full_lowers_green_by_both_colour_differences() {
    // dicom-rs gives (0, 88, 254) for this pixel.
    let object = Object::colour(EXPLICIT, "YBR_FULL", 1, 1).pixels(&[29, 255, 107]);
    assert_eq!(rgb(object.frame(0).expect("decodes")), [0_u8, 0, 254]);
}

#[test]
fn native_422_spreads_one_colour_over_two_pixels() {
    let object = Object::colour(EXPLICIT, "YBR_FULL_422", 2, 1)
        .frames("2")
        .pixels(&[100, 200, 128, 128, 50, 60, 128, 128]);
    assert_eq!(rgb(object.frame(0).expect("frame 0")), [100, 100, 100, 200, 200, 200]);
    assert_eq!(rgb(object.frame(1).expect("frame 1")), [50, 50, 50, 60, 60, 60]);
}

#[test]
fn planes_and_pixels_give_the_same_picture() {
    let by_pixel = Object::colour(EXPLICIT, "RGB", 2, 1).pixels(&[1, 2, 3, 4, 5, 6]);
    let by_plane = Object::colour(EXPLICIT, "RGB", 2, 1).word(0x0028, 0x0006, 1).pixels(&[1, 4, 2, 5, 3, 6]);
    assert_eq!(by_pixel.frame(0).expect("by pixel"), by_plane.frame(0).expect("by plane"));
}

#[test]
fn run_length_ybr_is_converted_once() {
    let mut fragment = vec![0; 64];
    for (at, value) in [3_u32, 64, 66, 68].into_iter().enumerate() {
        fragment[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
    }
    fragment.extend([0, 29, 0, 255, 0, 107]);
    let object = Object::colour(RLE, "YBR_FULL", 1, 1).fragments(&[], &[&fragment]);
    assert_eq!(rgb(object.frame(0).expect("decodes")), [0_u8, 0, 254]);
}

/// A 16 x 16 JPEG of one colour, as coded by the `image` crate (YCbCr, JFIF).
fn jpeg_of(colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(16, 16, image::Rgb(colour));
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).expect("encodes");
    bytes.into_inner()
}

#[test]
fn a_jfif_marker_overrules_photometric_rgb() {
    let jpeg = jpeg_of([200, 40, 90]);
    for photometric in ["RGB", "YBR_FULL_422"] {
        let object = Object::colour(JPEG, photometric, 16, 16).fragments(&[], &[&jpeg]);
        let pixel = rgb(object.frame(0).expect("decodes"));
        for (ours, coded) in pixel.iter().zip([200_u8, 40, 90]) {
            assert!(ours.abs_diff(coded) <= 3, "{photometric}: {:?}", &pixel[..3]);
        }
    }
}

#[test]
fn palettes_are_looked_up_and_clamped() {
    let descriptor: Vec<u8> = [2_u16, 10, 16].iter().flat_map(|word| word.to_le_bytes()).collect();
    let table = |low: u16, high: u16| [low.to_le_bytes(), high.to_le_bytes()].concat();
    let object = Object::new(EXPLICIT, 4, 1)
        .with(0x0028, 0x0004, "CS", b"PALETTE COLOR")
        .with(0x0028, 0x1101, "US", &descriptor)
        .with(0x0028, 0x1102, "US", &descriptor)
        .with(0x0028, 0x1103, "US", &descriptor)
        .with(0x0028, 0x1201, "OW", &table(0x0100, 0xFF00))
        .with(0x0028, 0x1202, "OW", &table(0x0200, 0x8000))
        .with(0x0028, 0x1203, "OW", &table(0x0300, 0x4000))
        .pixels(&[0, 10, 11, 255]);
    assert_eq!(rgb(object.frame(0).expect("decodes")), [1, 2, 3, 1, 2, 3, 255, 128, 64, 255, 128, 64]);
    // Segmented: one value, then a line of one step to the next.
    let segmented = |low: u16, high: u16| {
        [0, 1, low, 1, 1, high].iter().flat_map(|word: &u16| word.to_le_bytes()).collect::<Vec<_>>()
    };
    let object = object
        .without((0x0028, 0x1201))
        .without((0x0028, 0x1202))
        .without((0x0028, 0x1203))
        .with(0x0028, 0x1221, "OW", &segmented(0x0100, 0xFF00))
        .with(0x0028, 0x1222, "OW", &segmented(0x0200, 0x8000))
        .with(0x0028, 0x1223, "OW", &segmented(0x0300, 0x4000));
    assert_eq!(rgb(object.frame(0).expect("decodes")), [1, 2, 3, 1, 2, 3, 255, 128, 64, 255, 128, 64]);
}

fn grey(object: &Object) -> Vec<u8> {
    match object.frame(0).expect("decodes").pixels {
        Pixels::Grey(grey) => grey,
        Pixels::Rgb(_) => Vec::new(),
    }
}

#[test]
fn grey_follows_one_window_for_the_whole_clip() {
    let plain = Object::new(EXPLICIT, 4, 1).pixels(&[0, 64, 128, 255]);
    assert_eq!(grey(&plain), [0, 64, 128, 255]);
    assert_eq!(grey(&plain.clone().with(0x0028, 0x0004, "CS", b"MONOCHROME1")), [255, 191, 127, 0]);
    let window = |center: &[u8], width: &[u8]| {
        grey(&plain.clone().with(0x0028, 0x1050, "DS", center).with(0x0028, 0x1051, "DS", width))
    };
    assert_eq!(window(b"64", b"128"), [0, 129, 255, 255]);
    // A width of 0, or other counts of centers and widths, say nothing: the full range is shown.
    assert_eq!(window(b"64", b"0"), [0, 64, 128, 255]);
    assert_eq!(window(b"64\\32", b"128"), [0, 64, 128, 255]);
}

#[test]
fn sixteen_bits_keep_sign_and_drop_overlay_bits() {
    let object = Object::new(EXPLICIT, 2, 1)
        .word(0x0028, 0x0100, 16)
        .word(0x0028, 0x0101, 12)
        .word(0x0028, 0x0102, 11)
        .pixels(&[0xFF, 0xFF, 0x00, 0xF0]);
    assert_eq!(grey(&object), [255, 0]);
    assert_eq!(grey(&object.word(0x0028, 0x0103, 1)), [127, 128]);
}

#[test]
fn luma_is_that_of_opencv() {
    let frame = Frame { width: 3, height: 1, pixels: Pixels::Rgb(vec![255, 0, 0, 0, 255, 0, 10, 200, 77]) };
    // cv2.cvtColor(np.array([[[255,0,0],[0,255,0],[10,200,77]]], np.uint8), cv2.COLOR_RGB2GRAY)
    assert_eq!(frame.luma(), [76, 150, 129]);
}
