//! Chambers through the public door, on a drawn heart of known shape.

#![expect(clippy::expect_used, reason = "a test that cannot be set up fails loudly")]

use chambers::{Blob, Blood, Chambers, HEIGHT, Point, segment, segment_clip, segment_from};
use raster::{Mask, Plane, fan};

const WIDTH: usize = 160;

/// A chamber: an ellipse, in pixels.
#[derive(Clone, Copy)]
struct Ellipse {
    x: f64,
    y: f64,
    half_width: f64,
    half_height: f64,
}

impl Ellipse {
    fn contains(self, x: f64, y: f64) -> bool {
        ((x - self.x) / self.half_width).powi(2) + ((y - self.y) / self.half_height).powi(2) < 1.0
    }

    fn area(self) -> f64 {
        std::f64::consts::PI * self.half_width * self.half_height
    }
}

const LEFT_VENTRICLE: Ellipse = Ellipse { x: 90.0, y: 46.0, half_width: 17.0, half_height: 30.0 };
const RIGHT_VENTRICLE: Ellipse = Ellipse { x: 56.0, y: 54.0, half_width: 10.0, half_height: 22.0 };
const LEFT_ATRIUM: Ellipse = Ellipse { x: 90.0, y: 94.0, half_width: 15.0, half_height: 15.0 };
const RIGHT_ATRIUM: Ellipse = Ellipse { x: 57.0, y: 93.0, half_width: 13.0, half_height: 14.0 };

/// A wedge of tissue with chambers of blood and a fixed speckle; `phase` changes the speckle.
fn heart(chambers: &[Ellipse], phase: usize) -> Plane {
    let sample = |index: usize| {
        let (x, y) = ((index % WIDTH) as f64, (index / WIDTH) as f64);
        let (across, down) = (x - 80.0, y - 1.0);
        if down < 1.0 || across.abs() > 0.8 * down || across.hypot(down) > 124.0 {
            return 0;
        }
        let speckle = (index * 7919 + phase * 104_729) % 41;
        let blood = chambers.iter().any(|chamber| chamber.contains(x, y));
        (if blood { 40 } else { 150 }) + speckle as u8
    };
    Plane::new(WIDTH, HEIGHT, (0..WIDTH * HEIGHT).map(sample).collect())
}

fn clip(chambers: &[Ellipse]) -> (Vec<Plane>, Mask, Blood) {
    let planes: Vec<Plane> = (0..6).map(|phase| heart(chambers, phase)).collect();
    let fan = fan(&planes[0]);
    let blood = Blood::of(&planes, &fan).expect("two classes");
    (planes, fan, blood)
}

fn roles(chambers: &[Ellipse]) -> Chambers {
    let (planes, fan, blood) = clip(chambers);
    Chambers::of(&segment_clip(&planes, &fan, &blood), &fan)
}

fn assert_is(found: Option<&Blob>, drawn: Ellipse) {
    let found = found.expect("the chamber is found");
    let ratio = found.area as f64 / drawn.area();
    assert!((0.85..1.1).contains(&ratio), "area {} of {}", found.area, drawn.area());
    assert!((found.centroid.x - drawn.x).hypot(found.centroid.y - drawn.y) < 2.0, "{:?}", found.centroid);
    assert!(
        (found.length - 2.0 * drawn.half_height).abs() < 4.0 || drawn.half_height < 1.2 * drawn.half_width
    );
    assert!((found.width - 2.0 * drawn.half_width).abs() < 4.0 || drawn.half_height < 1.2 * drawn.half_width);
}

#[test]
fn four_chambers_are_told_apart_also_in_a_mirror() {
    let all = [LEFT_VENTRICLE, RIGHT_VENTRICLE, LEFT_ATRIUM, RIGHT_ATRIUM];
    let mirrored = all.map(|chamber| Ellipse { x: 160.0 - chamber.x, ..chamber });
    for [lv, rv, la, ra] in [all, mirrored] {
        let found = roles(&[lv, rv, la, ra]);
        assert_is(found.left_ventricle.as_ref(), lv);
        assert_is(found.right_ventricle.as_ref(), rv);
        assert_is(found.left_atrium.as_ref(), la);
        assert_is(found.right_atrium.as_ref(), ra);
        assert!(found.are_four() && found.are_two());
        assert!(found.tilt_deg().is_some_and(|tilt| tilt < 5.0));
        assert!(
            found.annulus().is_some_and(|annulus| (0.3..1.0).contains(&annulus)),
            "{:?}",
            found.annulus()
        );
        let ratio = found.ventricle_ratio().expect("two ventricles");
        assert!((ratio - rv.area() / lv.area()).abs() < 0.05, "{ratio}");
    }
}

#[test]
fn keypoints_lie_at_the_apex_the_annulus_and_the_crux() {
    let points =
        roles(&[LEFT_VENTRICLE, RIGHT_VENTRICLE, LEFT_ATRIUM, RIGHT_ATRIUM]).keypoints().expect("a heart");
    let near = |point: Point, x: f64, y: f64| (point.x - x).hypot(point.y - y) < 6.0;
    assert!(near(points.apex, 90.0, 17.0), "{points:?}");
    let [left, right] = points.mitral_hinges;
    assert!(
        left.x < 90.0 && right.x > 90.0 && (left.y - 75.0).abs() < 6.0 && (right.y - 75.0).abs() < 6.0,
        "{points:?}"
    );
    assert!(points.crux.is_some_and(|crux| near(crux, 74.0, 94.0)), "{points:?}");
}

#[test]
fn without_the_right_heart_it_is_no_four_chamber_view() {
    let found = roles(&[LEFT_VENTRICLE, LEFT_ATRIUM]);
    assert!(found.are_two() && !found.are_four());
    assert_eq!((found.right_ventricle.as_ref(), found.ventricle_ratio()), (None, None));
    let short_axis = roles(&[Ellipse { x: 80.0, y: 70.0, half_width: 25.0, half_height: 25.0 }]);
    assert!(!short_axis.are_two() && !short_axis.are_four() && short_axis.annulus().is_none());
}

#[test]
fn a_picture_without_blood_has_no_pools() {
    let flat = Plane::new(40, 30, vec![90; 1200]);
    let everywhere = Mask::new(40, 30, vec![true; 1200]);
    assert_eq!(Blood::of(std::slice::from_ref(&flat), &everywhere), None);
    assert_eq!(segment(&flat, &everywhere, &Blood::below(50.0)), Vec::new());
    let none = Chambers::of(&[], &everywhere);
    assert!(!none.are_four() && none.keypoints().is_none());
}

#[test]
fn a_chamber_keeps_its_identity_while_it_shrinks_and_touches_its_neighbour() {
    let (planes, fan, blood) = clip(&[LEFT_VENTRICLE, RIGHT_VENTRICLE, LEFT_ATRIUM, RIGHT_ATRIUM]);
    let seeds = segment_clip(&planes, &fan, &blood);
    let left = Chambers::of(&seeds, &fan).left_ventricle.expect("a ventricle");
    // End-systole: smaller, and the open valve joins it to its atrium.
    let small = Ellipse { half_width: 12.0, half_height: 26.0, y: 48.0, ..LEFT_VENTRICLE };
    let valve = Ellipse { x: 90.0, y: 77.0, half_width: 6.0, half_height: 6.0 };
    let systole = heart(&[small, RIGHT_VENTRICLE, LEFT_ATRIUM, RIGHT_ATRIUM, valve], 9);
    let found = segment_from(&systole, &fan, &blood, &seeds);
    let at = seeds.iter().position(|seed| *seed == left).expect("a seed");
    assert_is(found[at].as_ref(), small);
    assert_eq!(found.len(), seeds.len());
    let gone = heart(&[RIGHT_VENTRICLE], 9);
    assert_eq!(segment_from(&gone, &fan, &blood, &seeds)[at], None);
}
