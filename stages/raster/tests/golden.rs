//! Distances, summits and watersheds against scipy and scikit-image, over a picture that `oracle/make_golden.py` draws
//! by the same formulas.

#![expect(clippy::expect_used, reason = "a test that cannot be set up fails loudly")]

use std::collections::BTreeMap;

use raster::{Mask, Relief, squared_distances};
use serde::Deserialize;

const WIDTH: usize = 73;
const HEIGHT: usize = 58;
const DISCS: [[i64; 3]; 6] =
    [[15, 15, 11], [31, 18, 9], [52, 14, 8], [20, 42, 12], [38, 44, 8], [68, 50, 10]];

#[derive(Deserialize)]
struct Golden {
    pools_area: usize,
    squared_distances: Vec<u32>,
    summits_of_distance: Vec<usize>,
    relief_sum: i64,
    summits_of_relief: BTreeMap<i32, Vec<usize>>,
    watershed: Vec<u32>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("oracle/golden.json")).expect("golden.json is what the script wrote")
}

fn places() -> impl Iterator<Item = (i64, i64)> {
    (0..WIDTH * HEIGHT).map(|i| ((i % WIDTH) as i64, (i / WIDTH) as i64))
}

fn pools() -> Mask {
    let in_disc = |(x, y)| DISCS.iter().any(|[a, b, r]| (x - a) * (x - a) + (y - b) * (y - b) < r * r);
    Mask::new(WIDTH, HEIGHT, places().map(in_disc).collect())
}

fn lit(mask: &Mask) -> Vec<usize> {
    (0..WIDTH * HEIGHT).filter(|i| mask.inside()[*i]).collect()
}

#[test]
fn distances_equal_scipy() {
    let golden = golden();
    assert_eq!(pools().area(), golden.pools_area, "the picture is drawn the same on both sides");
    assert_eq!(squared_distances(&pools()), golden.squared_distances);
}

#[test]
fn summits_equal_scikit_image() {
    let golden = golden();
    let distances = squared_distances(&pools()).into_iter().map(|squared| squared as i32).collect();
    assert_eq!(lit(&Relief::new(WIDTH, distances).summits(20)), golden.summits_of_distance);
    let rough =
        |(x, y): (i64, i64)| ((x * 37 + y * 101) % 64 + 40 * ((x / 9 + y / 8) % 3) + (x * y) % 7) as i32;
    let heights: Vec<i32> = places().map(rough).collect();
    assert_eq!(heights.iter().map(|height| i64::from(*height)).sum::<i64>(), golden.relief_sum);
    let relief = Relief::new(WIDTH, heights);
    for (h, expected) in golden.summits_of_relief {
        assert_eq!(lit(&relief.summits(h)), expected, "summits of {h}");
    }
}

#[test]
fn the_watershed_equals_scikit_image() {
    let pools = pools();
    let squared = squared_distances(&pools);
    let distances = squared.iter().map(|squared| *squared as i32).collect();
    let (markers, _) = Relief::new(WIDTH, distances).summits(20).components();
    let heights = (0_i32..).zip(&squared).map(|(index, squared)| -(*squared as i32 * 8192 + index)).collect();
    assert_eq!(Relief::new(WIDTH, heights).flooded(&markers, &pools), golden().watershed);
}
