//! Nothing but tissue leaves.

use std::io::Cursor;

use pixels::{Clip, Frame, Mask, MaskError, MaskSource, Pixels};

use crate::{
    header::with_regions,
    support::{EXPLICIT, Object, fixture},
};

const SIDE: u16 = 200;

/// A bright square of tissue with a name burned in above it, a pixel here and there.
fn picture(tissue: std::ops::Range<usize>) -> Vec<u8> {
    let side = usize::from(SIDE);
    let mut grey = vec![0; side * side];
    for y in tissue.clone() {
        for x in tissue.clone() {
            grey[y * side + x] = 60 + ((x * 7 + y * 13) % 100) as u8;
        }
    }
    for x in (10..120).step_by(3) {
        for y in 4..12 {
            grey[y * side + x] = 255;
        }
    }
    grey
}

fn object(tissue: std::ops::Range<usize>) -> Object {
    Object::new(EXPLICIT, SIDE, SIDE).pixels(&picture(tissue))
}

fn lit(frame: &Frame, rows: std::ops::Range<usize>) -> usize {
    let luma = frame.luma();
    luma.chunks(usize::from(SIDE))
        .take(rows.end)
        .skip(rows.start)
        .flatten()
        .filter(|value| **value > 0)
        .count()
}

#[test]
fn a_declared_tissue_region_hides_everything_else() {
    let object = with_regions(object(40..160), &[(1, [30, 30, 170, 170], 0.05), (2, [0, 0, 199, 20], 0.05)]);
    let mut clip = object.open().expect("opens");
    let mask = clip.mask().expect("has a region");
    assert_eq!(mask.source(), MaskSource::DicomRegion);
    let before = clip.frame(0).expect("decodes");
    let after = clip.masked_frame(0, &mask).expect("masks");
    assert!(lit(&before, 0..20) > 0);
    assert_eq!(lit(after.frame(), 0..30), 0);
    let kept = lit(after.frame(), 0..200) as f64 / lit(&before, 30..200) as f64;
    assert!(kept > 0.85, "{kept}");
    let header = clip.clip_header(&mask);
    assert!(header.doppler && header.b_mode);
    assert_eq!(header.mm_per_pixel, Some([0.5, 0.5]));
}

#[test]
fn without_a_region_the_fan_is_found_and_text_is_not() {
    let mut clip = object(40..160).open().expect("opens");
    let mask = clip.mask().expect("has a fan");
    assert_eq!(mask.source(), MaskSource::Fan);
    let after = clip.masked_frame(0, &mask).expect("masks");
    assert_eq!(lit(after.frame(), 0..40), 0);
    let seen = mask.visible();
    assert!(seen.x0.abs_diff(40) <= 5 && seen.x1.abs_diff(160) <= 5, "{seen:?}");
}

#[test]
fn a_picture_without_a_fan_does_not_leave() {
    let refused = object(0..0).open().expect("opens").mask().expect_err("only text");
    assert_eq!(refused.code(), "NO_FAN");
    // Full of light up to the border: no margin can be told from it.
    let full = object(0..200).open().expect("opens").mask().expect_err("no margin");
    assert_eq!(full.code(), "NO_FAN");
}

#[test]
fn a_region_outside_the_image_is_no_region() {
    let object = with_regions(object(40..160), &[(1, [30, 30, 400, 170], 0.05)]);
    let mut clip = object.open().expect("opens");
    let mask = clip.mask().expect("has a fan");
    assert_eq!(mask.source(), MaskSource::Fan);
    assert_eq!(clip.clip_header(&mask).mm_per_pixel, None);
}

#[test]
fn a_mask_travels_and_fits_only_its_own_size() {
    let mut clip = object(40..160).open().expect("opens");
    let mask = clip.mask().expect("has a fan");
    let text = serde_json::to_string(&mask).expect("serialises");
    assert_eq!(serde_json::from_str::<Mask>(&text).expect("reads back"), mask);
    let other = Frame { width: 2, height: 2, pixels: Pixels::Grey(vec![9; 4]) };
    assert!(matches!(mask.apply(other), Err(MaskError::Frames { .. })));
}

#[test]
fn the_ecg_strip_comes_apart_with_its_pace() {
    let mut grey = picture(40..160);
    for x in 0..200 {
        grey[185 * 200 + x] = x as u8;
    }
    let plain = Object::new(EXPLICIT, SIDE, SIDE).pixels(&grey);
    let regions = [(10, [0, 180, 199, 199], 0.005), (10, [0, 0, 9, 9], 0.1)];
    let strip = with_regions(plain.clone(), &regions).open().expect("opens").ecg(0).expect("decodes");
    let strip = strip.expect("has a strip");
    assert_eq!((strip.image.width, strip.image.height), (200, 20));
    assert_eq!(strip.seconds_per_pixel, Some(0.005));
    assert_eq!(strip.image.rgb[3 * (5 * 200 + 77)..][..3], [77; 3]);
    for delta in [0.0, -1.0, 1.0, f64::NAN] {
        let mut clip = with_regions(plain.clone(), &[(10, [0, 180, 199, 199], delta)]).open().expect("opens");
        assert_eq!(clip.ecg(0).expect("decodes").expect("has a strip").seconds_per_pixel, None, "{delta}");
    }
    assert_eq!(plain.open().expect("opens").ecg(0).expect("decodes"), None);
    assert_eq!(plain.open().expect("opens").ecg(1).expect_err("one frame").code(), "FRAME_INDEX");
}

#[test]
fn bright_pixels_outside_tissue_and_ecg_are_measured() {
    let share = |object: &Object| {
        let mut clip = object.open().expect("opens");
        let mask = clip.mask().expect("has a fan");
        clip.clip_header(&mask).bright_outside
    };
    // 37 strokes of 8 pixels; 4 pixels of the square of 120 are lost at each side, and 10 around are neither tissue nor outside.
    let with_name = share(&object(40..160));
    assert!((with_name - 296.0 / (40_000.0 - 132.0 * 132.0)).abs() < 0.001, "{with_name}");
    let mut grey = picture(40..160);
    grey[..30 * 200].fill(0);
    let clean = Object::new(EXPLICIT, SIDE, SIDE).pixels(&grey);
    assert_eq!(share(&clean), 0.0);
    // The same strokes are no text where the header says that an ECG is drawn.
    assert_eq!(share(&with_regions(object(40..160), &[(10, [0, 0, 199, 20], 0.005)])), 0.0);
    assert!(share(&with_regions(object(40..160), &[(1, [30, 30, 170, 170], 0.05)])) > 0.01);
}

/// The SonoSite sample declares a region far outside its image; text and menu stand around the sector.
#[test]
fn a_real_cine_keeps_its_sector_only() {
    let mut clip = Clip::open(Cursor::new(fixture("examples_ybr_color.dcm"))).expect("opens");
    let mask = clip.mask().expect("has a fan");
    assert_eq!(mask.source(), MaskSource::Fan);
    let frame = clip.masked_frame(15, &mask).expect("masks");
    let luma = frame.frame().luma();
    let lit_outside = |y: std::ops::Range<usize>, x: std::ops::Range<usize>| {
        y.flat_map(|y| x.clone().map(move |x| (x, y))).filter(|(x, y)| luma[y * 320 + x] > 0).count()
    };
    assert_eq!(lit_outside(0..240, 0..60), 0, "labels on the left");
    assert_eq!(lit_outside(215..240, 0..320), 0, "menu below");
    assert!(luma.iter().filter(|value| **value > 20).count() > 2_000);
}
