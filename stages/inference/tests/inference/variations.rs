//! The changes of a picture.

use inference::Variation;
use proptest::prelude::*;
use stage::Image;

fn ramp(width: u32, height: u32) -> Image {
    let level = |index: u32| (index * 7 % 251) as u8;
    Image { width, height, rgb: (0..3 * width * height).map(level).collect() }
}

fn pixel(image: &Image, x: u32, y: u32) -> &[u8] {
    let start = 3 * (y * image.width + x) as usize;
    &image.rgb[start..start + 3]
}

#[test]
fn gain_moves_grey_levels_by_three_decibels_and_leaves_black_alone() {
    let picture = Image { width: 4, height: 1, rgb: [0, 1, 5, 100, 250, 255, 13, 14, 0, 0, 0, 0].into() };
    assert_eq!(*Variation::GainUp.apply(&picture).rgb, [0, 14, 18, 113, 255, 255, 26, 27, 0, 0, 0, 0]);
    assert_eq!(*Variation::GainDown.apply(&picture).rgb, [0, 0, 0, 87, 237, 242, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn shift_moves_by_two_percent_of_each_side() {
    let picture = ramp(100, 150);
    let shifted = Variation::Shift.apply(&picture);
    for (x, y) in [(2, 3), (50, 70), (99, 149)] {
        assert_eq!(pixel(&shifted, x, y), pixel(&picture, x - 2, y - 3));
    }
    assert_eq!(pixel(&shifted, 0, 0), pixel(&picture, 0, 0));
}

#[test]
fn crop_brings_the_inner_part_to_the_whole_size() {
    // A bright frame of two pixels lies on what is cut off.
    let inside = |x: u32, y: u32| (2..98).contains(&x) && (2..98).contains(&y);
    let rgb = (0..100 * 100).flat_map(|index| [if inside(index % 100, index / 100) { 40 } else { 200 }; 3]);
    let picture = Image { width: 100, height: 100, rgb: rgb.collect() };
    let cropped = Variation::Crop.apply(&picture);
    assert!(cropped.rgb.iter().all(|level| *level == 40));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_variation_keeps_the_size_and_gives_the_same_bytes_again(width in 1_u32..130, height in 1_u32..130) {
        let picture = ramp(width, height);
        for variation in Variation::ALL {
            let changed = variation.apply(&picture);
            prop_assert_eq!((changed.width, changed.height), (width, height));
            prop_assert_eq!(changed.rgb.len(), picture.rgb.len());
            prop_assert_eq!(&changed, &variation.apply(&picture));
            prop_assert!(variation != Variation::Original || changed == picture);
        }
    }

    /// A picture of one level is that level after any change of place.
    #[test]
    fn changes_of_place_invent_no_levels(width in 1_u32..130, height in 1_u32..130, level in any::<u8>()) {
        let picture = Image { width, height, rgb: vec![level; 3 * (width * height) as usize].into() };
        prop_assert_eq!(&Variation::Shift.apply(&picture), &picture);
        prop_assert_eq!(&Variation::Crop.apply(&picture), &picture);
    }
}
