//! Timing, regions, heart: what may be claimed of a clip, and what may not.

use pixels::{
    FrameTiming, ImageHeader,
    header::{Rect, Uncalibrated, warning},
};
use schemas::{ReasonCode, TimingSource, View};

use crate::support::{EXPLICIT, Object, element, head, item};

fn clip() -> Object {
    Object::new(EXPLICIT, 8, 4).frames("5").pixels(&[0; 160])
}

fn header(object: &Object) -> ImageHeader {
    object.open().expect("opens").header().expect("dicom").clone()
}

fn pointer(object: Object, element: u16) -> Object {
    object.with(0x0028, 0x0009, "AT", &[0x18, 0x00, element.to_le_bytes()[0], element.to_le_bytes()[1]])
}

fn has(header: &ImageHeader, warning: ReasonCode) -> bool {
    header.warnings.contains(&warning)
}

#[test]
fn the_increment_pointer_chooses_between_time_and_vector() {
    let both = clip().with(0x0018, 0x1063, "DS", b"20").with(0x0018, 0x1065, "DS", b"0\\20\\20\\20\\20");
    assert_eq!(header(&pointer(both.clone(), 0x1065)).timing.source(), TimingSource::FrameTimeVector);
    let timing = header(&pointer(both, 0x1063)).timing;
    assert_eq!(timing, FrameTiming::FrameTime { ms: 20.0 });
    assert_eq!(timing.times_ms(5), [0.0, 20.0, 40.0, 60.0, 80.0]);
    assert_eq!(timing.fps(), Some(50.0));
}

#[test]
fn a_vector_is_summed_up() {
    let uneven = pointer(clip().with(0x0018, 0x1065, "DS", b"0\\10\\20\\30\\40"), 0x1065);
    let timing = header(&uneven).timing;
    assert_eq!(timing.times_ms(5), [0.0, 10.0, 30.0, 60.0, 100.0]);
    assert_eq!(timing.fps(), Some(40.0));
}

#[test]
fn row_29_times_that_cannot_be_are_passed_over_with_a_warning() {
    for bad in ["0", "-5", "1e9", "abc"] {
        let bad_time = header(&clip().with(0x0018, 0x1063, "DS", bad.as_bytes()));
        assert_eq!(bad_time.timing, FrameTiming::Unknown, "{bad}");
        assert_eq!(bad_time.timing.times_ms(5), Vec::<f64>::new());
    }
    let short = header(&pointer(clip().with(0x0018, 0x1065, "DS", b"0\\10"), 0x1065));
    assert_eq!(short.timing, FrameTiming::Unknown);
    assert!(has(&short, warning::TIMING_INVALID));
    let fallback = clip().with(0x0018, 0x1063, "DS", b"0").with(0x0018, 0x0040, "IS", b"25");
    assert_eq!(header(&fallback).timing, FrameTiming::CineRate { fps: 25.0 });
}

#[test]
fn sources_that_differ_by_more_than_a_tenth_are_a_conflict() {
    let rate = |fps: &[u8]| header(&clip().with(0x0018, 0x1063, "DS", b"20").with(0x0018, 0x0040, "IS", fps));
    assert!(!has(&rate(b"52"), warning::TIMING_CONFLICT));
    let conflict = rate(b"30");
    assert!(has(&conflict, warning::TIMING_CONFLICT));
    assert_eq!(conflict.timing.source(), TimingSource::FrameTime);
}

/// Each source in its turn: with the better ones taken away one by one, the next is used.
#[test]
fn times_come_from_the_most_trusted_source_there_is() {
    type Source = (u16, u16, &'static str, &'static [u8]);
    let sources: [(Source, FrameTiming); 5] = [
        ((0x0018, 0x1063, "DS", b"20"), FrameTiming::FrameTime { ms: 20.0 }),
        ((0x0018, 0x1242, "IS", b"25"), FrameTiming::Duration { ms: 25.0 }),
        ((0x0018, 0x0072, "DS", b"0.2"), FrameTiming::Duration { ms: 40.0 }),
        ((0x0018, 0x0040, "IS", b"30"), FrameTiming::CineRate { fps: 30.0 }),
        ((0x0008, 0x2144, "IS", b"15"), FrameTiming::RecommendedDisplayFrameRate { fps: 15.0 }),
    ];
    for from in 0..sources.len() {
        let object = sources[from..]
            .iter()
            .fold(clip(), |object, &((group, number, vr, value), _)| object.with(group, number, vr, value));
        assert_eq!(header(&object).timing, sources[from].1, "from source {from}");
    }
    assert_eq!(header(&clip()).timing, FrameTiming::Unknown);
    // A single image has no time, whatever it says.
    let still = Object::new(EXPLICIT, 8, 4).with(0x0018, 0x1063, "DS", b"20").pixels(&[0; 32]);
    assert_eq!(header(&still).timing, FrameTiming::Unknown);
}

#[test]
fn effective_duration_is_in_seconds() {
    let timing = header(&clip().with(0x0018, 0x0072, "DS", b"0.5")).timing;
    assert_eq!(timing, FrameTiming::Duration { ms: 100.0 });
}

struct RegionOf {
    data_type: u16,
    corners: [u32; 4],
    delta: f64,
}

fn region(RegionOf { data_type, corners: [x0, y0, x1, y1], delta }: &RegionOf) -> Vec<u8> {
    // An ECG runs in seconds, everything else lies in centimetres.
    let unit: u16 = if *data_type == 10 { 4 } else { 3 };
    item(
        &[
            element(0x0018, 0x6012, "US", &1_u16.to_le_bytes()),
            element(0x0018, 0x6014, "US", &data_type.to_le_bytes()),
            element(0x0018, 0x6018, "UL", &x0.to_le_bytes()),
            element(0x0018, 0x601A, "UL", &y0.to_le_bytes()),
            element(0x0018, 0x601C, "UL", &x1.to_le_bytes()),
            element(0x0018, 0x601E, "UL", &y1.to_le_bytes()),
            element(0x0018, 0x6024, "US", &unit.to_le_bytes()),
            element(0x0018, 0x6026, "US", &3_u16.to_le_bytes()),
            element(0x0018, 0x602C, "FD", &delta.to_le_bytes()),
            element(0x0018, 0x602E, "FD", &delta.to_le_bytes()),
        ]
        .concat(),
    )
}

pub(crate) fn with_regions(object: Object, regions: &[(u16, [u32; 4], f64)]) -> Object {
    let items: Vec<u8> = regions
        .iter()
        .flat_map(|&(data_type, corners, delta)| region(&RegionOf { data_type, corners, delta }))
        .collect();
    object.raw((0x0018, 0x6011), [head(0x0018, 0x6011, "SQ", items.len() as u32), items].concat())
}

#[test]
fn row_28_regions_must_lie_inside_the_image() {
    let one = |corners, delta| header(&with_regions(clip(), &[(1, corners, delta)]));
    let inside = one([1, 1, 6, 2], 0.05);
    assert_eq!(inside.regions[0].rect, Some(Rect { x0: 1, y0: 1, x1: 7, y1: 3 }));
    assert_eq!(inside.regions[0].mm_per_pixel, Ok([0.5, 0.5]));
    assert!(inside.warnings.is_empty());

    let off_by_one = one([0, 0, 8, 3], 0.05);
    assert_eq!(off_by_one.regions[0].rect, Some(Rect { x0: 0, y0: 0, x1: 8, y1: 4 }));
    assert!(has(&off_by_one, warning::REGION_CLAMPED));

    let outside = one([0, 0, 9, 3], 0.05);
    assert_eq!(outside.regions[0].rect, None);
    assert_eq!(outside.regions[0].mm_per_pixel, Err(Uncalibrated::OutsideImage));
    assert!(has(&outside, warning::REGION_OUTSIDE_IMAGE));

    for delta in [0.0, -0.05, f64::NAN, f64::INFINITY] {
        assert_eq!(one([1, 1, 6, 2], delta).regions[0].mm_per_pixel, Err(Uncalibrated::Delta));
    }
}

#[test]
fn row_30_heart_rate_and_r_waves_are_checked_against_the_clip() {
    let clip = clip().with(0x0018, 0x1063, "DS", b"20");
    let zero = header(&clip.clone().with(0x0018, 0x1088, "IS", b"0"));
    assert_eq!(zero.heart_rate, None);
    assert!(has(&zero, warning::HEART_RATE_INVALID));
    assert_eq!(header(&clip.clone().with(0x0018, 0x1088, "IS", b"72")).heart_rate, Some(72.0));

    let waves = |ms: &[f32]| {
        let bytes: Vec<u8> = ms.iter().flat_map(|ms| ms.to_le_bytes()).collect();
        header(&clip.clone().with(0x0018, 0x6060, "FL", &bytes))
    };
    assert_eq!(waves(&[10.0, 90.0]).r_waves_ms, [10.0, 90.0]);
    let wild = waves(&[90.0, 10.0, 4000.0, -1.0, f32::NAN]);
    assert_eq!(wild.r_waves_ms, [10.0, 90.0]);
    assert!(has(&wild, warning::R_WAVES_DROPPED) && has(&wild, warning::R_WAVES_UNSORTED));
}

#[test]
fn a_view_code_is_trusted_before_a_name() {
    let named = clip().with(0x0008, 0x2127, "SH", b"Apical 2-Chamber");
    assert_eq!(header(&named).view, Some(View::A2C));
    let code =
        item(&[element(0x0008, 0x0100, "SH", b"399214001"), element(0x0008, 0x0102, "SH", b"SCT")].concat());
    let coded = named.raw((0x0054, 0x0220), [head(0x0054, 0x0220, "SQ", code.len() as u32), code].concat());
    assert_eq!(header(&coded).view, Some(View::A4C));
    assert_eq!(header(&clip()).view, None);
    let stage = |text: &[u8]| header(&clip().with(0x0008, 0x2120, "SH", text)).view;
    let series = |text: &[u8]| header(&clip().with(0x0008, 0x103E, "LO", text)).view;
    assert_eq!((stage(b"PLAX"), series(b"Apical 4 chamber")), (Some(View::PLAX), Some(View::A4C)));
    // A stage of a stress test, a series of anything: no view.
    assert_eq!((stage(b"PEAK"), series(b"Adult echo")), (None, None));
}
