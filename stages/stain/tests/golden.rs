//! The worked example of a 64 by 64 picture without noise: numbers of torchstain 1.4.1 (numpy) and of
//! `normalizeStaining.m`.

#![expect(clippy::expect_used, reason = "a test that cannot be set up fails loudly")]

use stain::{Degenerate, Estimate, Macenko, REFERENCE, Rounding, exact};

const SIDE: usize = 64;

/// Concentrations on two ramps, mixed by Ruifrok's colours as published, not brought to unit length.
fn picture() -> Vec<u8> {
    let stains = [[0.65, 0.07], [0.70, 0.99], [0.29, 0.11]];
    let pixel = |i: usize| {
        let (x, y) = (i % SIDE, i / SIDE);
        let h = 0.15 + 1.60 * ((37 * x + 11 * y) % SIDE) as f64 / 63.0;
        let e = 0.10 + 1.10 * ((13 * x + 29 * y) % SIDE) as f64 / 63.0;
        stains.map(|[in_h, in_e]| (240.0 * (-(in_h * h + in_e * e)).exp() + 0.5).floor() as u8)
    };
    (0..SIDE * SIDE).flat_map(pixel).collect()
}

fn at(rgb: &[u8], y: usize, x: usize) -> [u8; 3] {
    let from = 3 * (y * SIDE + x);
    [rgb[from], rgb[from + 1], rgb[from + 2]]
}

fn sums(rgb: &[u8]) -> [u64; 3] {
    [0, 1, 2].map(|channel| rgb.iter().skip(channel).step_by(3).map(|level| u64::from(*level)).sum())
}

fn estimated(how: Macenko, rgb: &[u8]) -> Estimate {
    how.estimate(rgb.as_chunks::<3>().0).expect("two stains")
}

/// Equal to half a unit of the last decimal that is published.
fn assert_near<const N: usize>(ours: [f64; N], published: [f64; N], last: f64) {
    for (ours, published) in ours.into_iter().zip(published) {
        assert!((ours - published).abs() <= 0.501 * last, "ours {ours}, published {published}");
    }
}

#[test]
fn the_picture_is_the_published_one() {
    let rgb = picture();
    assert_eq!([at(&rgb, 0, 0), at(&rgb, 0, 1)], [[216, 196, 227], [116, 81, 169]]);
    assert_eq!([at(&rgb, 1, 0), at(&rgb, 63, 63)], [[174, 97, 198], [162, 101, 194]]);
    assert_eq!(sums(&rgb), [530_566, 294_738, 701_722]);
}

#[test]
fn torchstain_is_met_in_every_number() {
    let rgb = picture();
    let found = estimated(Macenko::TORCHSTAIN, &rgb);
    assert_eq!(found.kept, 3704);
    let [least, second, first] = found.eigenvalues;
    assert_near([least], [3.840_219e-6], 1e-12);
    assert_near([second], [3.252_089e-2], 1e-8);
    assert_near([first], [0.220_302_0], 1e-7);
    assert_near(found.angles, [1.419_671_26, 1.956_890_78], 1e-8);
    assert_near(found.staining.stains.haematoxylin, [0.617_289, 0.734_183, 0.282_719], 1e-6);
    assert_near(found.staining.stains.eosin, [0.165_523, 0.975_677, 0.143_727], 1e-6);
    assert_near(found.staining.strongest, [1.774_188, 1.321_120], 1e-6);
    let out = exact(&rgb, &found.staining, &REFERENCE.staining, Rounding::Truncate);
    assert_eq!([at(&out, 0, 0), at(&out, 0, 1)], [[216, 202, 216], [116, 84, 129]]);
    assert_eq!([at(&out, 1, 0), at(&out, 63, 63)], [[174, 121, 154], [162, 118, 154]]);
    assert_eq!(sums(&out), [529_406, 347_904, 508_488]);
}

#[test]
fn matlab_is_met_in_strength_and_sums() {
    let rgb = picture();
    let found = estimated(Macenko::MATLAB, &rgb);
    assert_near(found.staining.strongest, [1.774_148, 1.320_965], 1e-6);
    let out = exact(&rgb, &found.staining, &REFERENCE.staining, Rounding::Nearest);
    assert_eq!(sums(&out), [531_020, 349_912, 510_486]);
}

#[test]
fn the_original_rule_has_no_plane_where_nothing_is_stained() {
    let white = [[243; 3]; 100];
    assert_eq!(Macenko::TORCHSTAIN.estimate(&white), Err(Degenerate::FewStained { kept: 0, needed: 3 }));
}
