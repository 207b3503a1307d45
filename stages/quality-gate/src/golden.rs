//! The measures against OpenCV and numpy, over pictures that `tests/oracle/make_golden.py` draws by the same
//! formulas.

use std::collections::BTreeMap;

use raster::{Kernel, Mask, Plane, Window, histogram, otsu};
use serde::Deserialize;

use crate::sharpness::{laplacian_variance, reblur};

const WIDTH: usize = 61;
const HEIGHT: usize = 47;

#[derive(Deserialize)]
struct Golden {
    region_area: usize,
    pictures: BTreeMap<String, Expected>,
    luma: Vec<u8>,
}

#[derive(Deserialize)]
struct Expected {
    byte_sum: u64,
    laplacian_variance: f64,
    laplacian_variance_region: f64,
    reblur: f64,
    reblur_region: f64,
    otsu: u8,
    gaussian_2_5_row_20: Vec<f64>,
    area_19x13: Vec<u8>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../tests/oracle/golden.json"))
        .expect("golden.json is what the script wrote")
}

fn picture(name: &str) -> Plane {
    let value = |x: i64, y: i64| match name {
        "texture" => (3 * x * x + 7 * x * y + 11 * y) % 256,
        "steps" if (x / 5 + y / 7) % 2 == 0 => 40,
        "steps" => 200,
        "ramp" => (4 * x + y) % 256,
        "wave" => 128 + (((x * 5) % 64 - 32) * ((y * 3) % 32 - 16)).div_euclid(8),
        other => panic!("no formula for picture {other}"),
    };
    let samples = (0..WIDTH * HEIGHT).map(|i| value((i % WIDTH) as i64, (i / WIDTH) as i64) as u8).collect();
    Plane::new(WIDTH, HEIGHT, samples)
}

fn region() -> Mask {
    let in_disc = |i: usize| (i % WIDTH).abs_diff(30).pow(2) + (i / WIDTH).abs_diff(23).pow(2) < 400;
    Mask::new(WIDTH, HEIGHT, (0..WIDTH * HEIGHT).map(in_disc).collect()).eroded(4)
}

fn assert_near(name: &str, ours: f64, theirs: f64, relative: f64) {
    assert!(
        (ours - theirs).abs() <= relative * theirs.abs().max(1e-12),
        "{name}: ours {ours}, theirs {theirs}"
    );
}

#[test]
fn sharpness_equals_opencv_and_numpy() {
    let golden = golden();
    assert_eq!(region().area(), golden.region_area, "a disc eroded by 9 x 9 as OpenCV erodes it");
    let everywhere = Mask::new(WIDTH, HEIGHT, vec![true; WIDTH * HEIGHT]);
    for (name, expected) in &golden.pictures {
        let plane = picture(name);
        let sum: u64 = plane.samples().iter().map(|sample| u64::from(*sample)).sum();
        assert_eq!(sum, expected.byte_sum, "{name} is drawn the same on both sides");
        assert_near(name, laplacian_variance(&plane, &everywhere), expected.laplacian_variance, 1e-9);
        assert_near(name, laplacian_variance(&plane, &region()), expected.laplacian_variance_region, 1e-9);
        assert_near(name, reblur(&plane, &everywhere), expected.reblur, 1e-9);
        assert_near(name, reblur(&plane, &region()), expected.reblur_region, 1e-9);
    }
}

#[test]
fn smoothing_reduction_and_threshold_equal_opencv() {
    for (name, expected) in &golden().pictures {
        let plane = picture(name);
        let levels: Vec<f32> = plane.samples().iter().map(|sample| f32::from(*sample)).collect();
        let smooth = Kernel::new(2.5).picture(&levels, WIDTH);
        for (ours, theirs) in smooth[20 * WIDTH..21 * WIDTH].iter().zip(&expected.gaussian_2_5_row_20) {
            assert_near(name, f64::from(*ours), *theirs, 1e-4);
        }
        let split = otsu(&histogram(plane.samples().iter().copied())).expect("two classes");
        assert_eq!(split.threshold, expected.otsu, "{name}");
        let reduced = plane.reduced(19, 13);
        let off = reduced.samples().iter().zip(&expected.area_19x13).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(off <= Some(1), "{name}: reduced by area, off by {off:?} grey levels");
    }
}

#[test]
fn luma_equals_opencv() {
    let (red, green, blue) = (picture("texture"), picture("steps"), picture("ramp"));
    let channels = red.samples().iter().zip(green.samples()).zip(blue.samples());
    let rgb = channels.flat_map(|((r, g), b)| [*r, *g, *b]).collect();
    let image = stage::Image { width: WIDTH as u32, height: HEIGHT as u32, rgb };
    let window = Window { left: 0, top: 0, width: WIDTH, height: HEIGHT };
    assert_eq!(Plane::luma(&image, window).samples(), golden().luma);
}
