//! Slides put together, looked over and cut into tiles.

#![expect(clippy::expect_used, reason = "a test that cannot be set up fails loudly")]

use raster::Window;
use schemas::{Area, BlobRef, SeriesUid};
use slide::{
    Appearance, Grid, OVERVIEW_SIDE, Overview, Part, Pyramid, pyramids,
    testing::{GLASS, Section, Slide, blurred, field, picture},
    tissue,
};
use stage::{SlideHeader, testing::MemoryFrames};

fn blob(name: &str) -> BlobRef {
    BlobRef::of(Area::Raw, name.as_bytes())
}

/// Two pieces of tissue on glass: a large one to the left, a small one to the right.
fn two_pieces(x: f64, y: f64) -> [u8; 3] {
    let large = (200.0..1100.0).contains(&x) && (200.0..1800.0).contains(&y);
    let small = (1900.0..2300.0).contains(&x) && (900.0..1300.0).contains(&y);
    if large || small { Section::default().colour(x, y) } else { GLASS }
}

fn slide() -> Slide<fn(f64, f64) -> [u8; 3]> {
    Slide { size: [2560, 2000], tile: 300, microns_per_pixel: 0.5, paint: two_pieces }
}

fn stored(factors: &[u32]) -> (Pyramid, MemoryFrames) {
    let (header, tiles) = slide().levels(factors);
    let pyramid = Pyramid::of(&blob("slide"), &header).expect("levels");
    let mut frames = MemoryFrames::default();
    frames.insert_slide(blob("slide"), header, tiles);
    (pyramid, frames)
}

#[test]
fn a_region_is_the_same_wherever_tiles_end() {
    let (pyramid, frames) = stored(&[1]);
    for window in [[0, 0, 700, 10], [290, 590, 20, 20], [2500, 1990, 60, 10], [150, 150, 1000, 900]] {
        let [left, top, width, height] = window;
        let region = pyramid.finest().region(&frames, Window::inside(window, 2560, 2000)).expect("stored");
        let drawn = picture(width, height, |x, y| two_pieces(x + f64::from(left), y + f64::from(top)));
        // A tile that is not stored is white; glass is nearly so.
        let off = region.rgb.iter().zip(drawn.rgb.iter()).filter(|(a, b)| a.abs_diff(**b) > 13).count();
        assert_eq!((region.width, region.height, off), (width, height, 0), "{window:?}");
    }
}

#[test]
fn levels_in_several_instances_make_one_slide_and_fields_stay_alone() {
    let series = [SeriesUid::new("2.25.1").expect("uid"), SeriesUid::new("2.25.2").expect("uid")];
    let of =
        |factor: u32| SlideHeader { levels: slide().levels(&[factor]).0.levels, ..slide().levels(&[1]).0 };
    let scaled = |factor| {
        let mut header = of(factor);
        for level in &mut header.levels {
            level.microns_per_pixel = Some([0.5 * f64::from(factor); 2]);
        }
        header
    };
    let small_field = field(picture(64, 64, |_, _| GLASS), Some(0.5)).0;
    let headers = [scaled(16), scaled(1), scaled(4), scaled(1), small_field.clone(), small_field];
    let series_of = [0, 0, 0, 1, 0, 0];
    let blobs: Vec<BlobRef> = (0..6).map(|index| blob(&index.to_string())).collect();
    let parts: Vec<Part<'_>> = (0..6)
        .map(|i| Part { series_uid: &series[series_of[i]], blob: &blobs[i], header: &headers[i] })
        .collect();
    let found: Vec<(usize, Vec<BlobRef>)> = pyramids(&parts)
        .into_iter()
        .map(|(finest, slide)| (finest, slide.levels().map(|level| level.blob.clone()).collect()))
        .collect();
    let of = |indices: &[usize]| indices.iter().map(|i| blobs[*i].clone()).collect::<Vec<_>>();
    assert_eq!(found, [(1, of(&[1, 2, 0])), (3, of(&[3])), (4, of(&[4])), (5, of(&[5]))]);
}

#[test]
fn an_overview_is_bounded_and_leads_back_to_the_slide() {
    for factors in [&[1][..], &[1, 4], &[1, 4, 16]] {
        let (pyramid, frames) = stored(factors);
        let overview = Overview::read(&pyramid, &frames, 4096).expect("stored");
        assert!(overview.image.width.max(overview.image.height) <= OVERVIEW_SIDE);
        let found = tissue(&overview.image);
        assert_eq!(found.areas.len(), 2, "two pieces in levels {factors:?}");
        assert!((found.share() - 0.3125).abs() < 0.02, "tissue {} in levels {factors:?}", found.share());
        let places = Grid::new(&pyramid).places(&overview, &found, 0.25);
        assert!(places.iter().any(|place| place.piece == 1) && places.iter().any(|place| place.piece == 2));
        for place in places {
            let [left, top, width, height] = place.bbox;
            assert!(width == 512 && height == 512 && left + width <= 2560 && top + height <= 2000);
            let drawn = (0..64).map(|i| (left + 8 * (i % 8) * 8, top + 8 * (i / 8) * 8));
            let inside = drawn.filter(|(x, y)| two_pieces(f64::from(*x), f64::from(*y)) != GLASS).count();
            assert!((inside as f64 / 64.0 - place.tissue).abs() < 0.15, "{place:?}: {inside} of 64");
        }
    }
}

#[test]
fn of_a_level_with_too_many_tiles_some_stand_for_their_neighbours() {
    let (pyramid, frames) = stored(&[1]);
    let all = Overview::read(&pyramid, &frames, 63).expect("stored");
    let some = Overview::read(&pyramid, &frames, 62).expect("stored");
    assert_eq!((all.read, some.read), (63, 5 * 4));
    let [all, some] = [all, some].map(|overview| tissue(&overview.image).share());
    assert!((all - some).abs() < 0.15, "tissue {all} of all tiles, {some} of some");
}

#[test]
fn a_tile_has_the_resolution_of_20x_where_the_slide_is_finer() {
    let fine = Slide { microns_per_pixel: 0.25, ..slide() };
    let (header, tiles) = fine.levels(&[1]);
    let pyramid = Pyramid::of(&blob("fine"), &header).expect("a level");
    let mut frames = MemoryFrames::default();
    frames.insert_slide(blob("fine"), header, tiles);
    let tile = Grid::new(&pyramid).read(&frames, [0, 0, 1024, 1024]).expect("stored");
    assert_eq!((tile.width, tile.height), (512, 512));
}

#[test]
fn each_fault_shows_in_its_own_measure() {
    let section = Section::default();
    let clean = picture(512, 512, |x, y| section.colour(x, y));
    let look = Appearance::of(&clean);
    assert!(look.tissue > 0.95 && look.pen < 1e-4 && look.black_pen == 0.0 && look.fold < 0.0015, "{look:?}");
    let soft = Appearance::of(&blurred(&clean, 3.0));
    assert!(soft.laplacian_variance * 10.0 < look.laplacian_variance && soft.reblur > look.reblur + 0.1);
    let stroke = |colour: [u8; 3]| {
        Appearance::of(&picture(512, 512, |x, y| {
            if (y - 200.0).abs() < 12.0 { colour } else { section.colour(x, y) }
        }))
    };
    for ink in [[20, 130, 60], [30, 60, 170], [200, 30, 40]] {
        assert!((stroke(ink).pen - 0.045).abs() < 0.005, "{ink:?}: {:?}", stroke(ink));
    }
    assert!((stroke([25, 25, 28]).black_pen - 0.045).abs() < 0.005);
    let folded = picture(512, 512, |x, y| section.layers(x, y, if (x - y).abs() < 30.0 { 2.3 } else { 1.0 }));
    assert!(Appearance::of(&folded).fold > 0.003, "{:?}", Appearance::of(&folded));
    let dark = Section { strength: 1.5, ..section };
    assert!(Appearance::of(&picture(512, 512, |x, y| dark.colour(x, y))).fold < 0.0015, "dark is no fold");
    let pale = Section { strength: 0.5, ..section };
    assert!(Appearance::of(&picture(512, 512, |x, y| pale.colour(x, y))).density < look.density * 0.65);
    let nothing = Appearance::of(&picture(64, 64, |_, _| GLASS));
    assert_eq!((nothing.tissue, nothing.density, nothing.laplacian_variance), (0.0, 0.0, 0.0));
}

#[test]
fn a_large_picture_is_measured_in_bands_like_a_small_one() {
    let section = Section::default();
    let paint = |x: f64, y: f64| if x < 500.0 { section.colour(x, y) } else { GLASS };
    let (small, large) = (picture(700, 700, paint), picture(700, 3300, paint));
    let [small, large] = [Appearance::of(&small), Appearance::of(&large)];
    let near = |a: f64, b: f64, share: f64| (a - b).abs() <= share * b.abs();
    assert!(near(large.tissue, small.tissue, 0.02), "{large:?} {small:?}");
    assert!(near(large.laplacian_variance, small.laplacian_variance, 0.1), "{large:?} {small:?}");
    assert!(near(large.reblur, small.reblur, 0.05) && near(large.density, small.density, 0.05));
}
