//! Text burned into a picture does not survive the mask, wherever it stands, and does not move the fan.

use pixels::{Frame, MaskSource};
use proptest::prelude::*;

use crate::{
    header::with_regions,
    support::{EXPLICIT, Object},
};

/// The densest letters there are, 5 x 7: B, 8, M, #.
const GLYPHS: [[u8; 7]; 4] = [
    [0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110],
    [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
    [0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001],
    [0b01010, 0b01010, 0b11111, 0b01010, 0b11111, 0b01010, 0b01010],
];

/// Lines of letters with their upper left corner at `at`; `scale` pixels a stroke.
#[derive(Debug, Clone, Copy)]
struct Text {
    at: (usize, usize),
    scale: usize,
    lines: usize,
    letters: usize,
    /// Which letter comes first.
    first: usize,
}

/// A sector with its apex on top, in the middle of a black screen.
#[derive(Debug, Clone, Copy)]
struct Scene {
    columns: usize,
    rows: usize,
    frames: usize,
    /// Luma of the screen around.
    screen: u8,
    /// Half the angle, from the middle, of a sector without echo; 0 for none.
    shadow: f64,
}

const SMALL: Scene = Scene { columns: 320, rows: 240, frames: 1, screen: 0, shadow: 0.0 };
const LARGE: Scene = Scene { columns: 800, rows: 600, ..SMALL };

impl Scene {
    /// Depth over the whole radius, and angle from the axis.
    fn polar(self, x: usize, y: usize) -> (f64, f64) {
        let (dx, dy) = (x as f64 - self.columns as f64 / 2.0, y as f64 - 0.08 * self.rows as f64);
        (dx.hypot(dy) / (0.85 * self.rows as f64), dx.atan2(dy))
    }

    fn in_fan(self, x: usize, y: usize) -> bool {
        let (depth, angle) = self.polar(x, y);
        (0.02..=1.0).contains(&depth) && angle.abs() <= 0.7
    }

    /// Within a pixel of the fan.
    fn at_fan(self, x: usize, y: usize) -> bool {
        (x.saturating_sub(1)..x + 2).any(|x| (y.saturating_sub(1)..y + 2).any(|y| self.in_fan(x, y)))
    }

    /// The smallest rectangle around the fan, as a region declares it.
    fn region(self) -> [u32; 4] {
        let inside = |x: &usize| (0..self.rows).any(|y| self.in_fan(*x, y));
        let left = (0..self.columns).find(inside).expect("a fan");
        let right = (0..self.columns).rev().find(inside).expect("a fan");
        let across = |y: &usize| (0..self.columns).any(|x| self.in_fan(x, *y));
        let top = (0..self.rows).find(across).expect("a fan");
        let bottom = (0..self.rows).rev().find(across).expect("a fan");
        [left, top, right, bottom].map(|edge| edge as u32)
    }

    /// Speckle in the fan: dark in a chamber in its middle, bright elsewhere, other in each frame.
    fn draw(self, frame: usize) -> Vec<u8> {
        let mut picture = vec![self.screen; self.columns * self.rows];
        for y in 0..self.rows {
            for x in 0..self.columns {
                let (depth, angle) = self.polar(x, y);
                if !self.in_fan(x, y) || (angle - 0.1).abs() < self.shadow {
                    continue;
                }
                let noise =
                    (x * 7919 + y * 104_729 + frame * 1_299_709).wrapping_mul(2_654_435_761) >> 13 & 63;
                let chamber = (depth - 0.5).hypot(angle) < 0.2;
                picture[y * self.columns + x] = if chamber { noise as u8 / 8 } else { 20 + 2 * noise as u8 };
            }
        }
        picture
    }

    fn object(self, pictures: &[Vec<u8>], with_region: bool) -> Object {
        let object = Object::new(EXPLICIT, self.columns as u16, self.rows as u16)
            .frames(&pictures.len().to_string())
            .pixels(&pictures.concat());
        if with_region { with_regions(object, &[(1, self.region(), 0.05)]) } else { object }
    }

    /// Lit pixels outside the fan, and the share of its bright pixels that is left.
    fn outcome(self, before: &Frame, after: &Frame) -> (usize, f64) {
        let (before, after) = (before.luma(), after.luma());
        let (mut leaked, mut bright, mut kept) = (0, 0, 0);
        for y in 0..self.rows {
            for x in 0..self.columns {
                let at = y * self.columns + x;
                leaked += usize::from(after[at] > 0 && !self.at_fan(x, y));
                if self.in_fan(x, y) && before[at] > 0 {
                    bright += 1_usize;
                    kept += usize::from(after[at] > 0);
                }
            }
        }
        (leaked, kept as f64 / bright as f64)
    }
}

fn write(picture: &mut [u8], columns: usize, text: Text) {
    let Text { at: (left, top), scale, lines, letters, first } = text;
    let rows = picture.len() / columns;
    for line in 0..lines {
        for letter in 0..letters {
            let glyph = GLYPHS[(first + letter) % GLYPHS.len()];
            for y in 0..7 * scale {
                for x in 0..5 * scale {
                    let (to_x, to_y) = (left + 6 * scale * letter + x, top + 9 * scale * line + y);
                    if glyph[y / scale] >> (4 - x / scale) & 1 == 1 && to_x < columns && to_y < rows {
                        picture[to_y * columns + to_x] = 255;
                    }
                }
            }
        }
    }
}

/// Masks one picture with text in it.
fn masked(scene: Scene, text: Text, with_region: bool) -> (usize, f64) {
    let mut picture = scene.draw(0);
    write(&mut picture, scene.columns, text);
    let mut clip = scene.object(&[picture], with_region).open().expect("opens");
    let mask = clip.mask().expect("has a fan");
    let before = clip.frame(0).expect("decodes");
    scene.outcome(&before, clip.masked_frame(0, &mask).expect("masks").frame())
}

#[test]
fn text_around_the_fan_and_in_the_corners_of_its_region_is_gone() {
    for (scene, scale, step) in [(SMALL, 1, 40), (LARGE, 2, 200), (LARGE, 3, 200)] {
        for with_region in [true, false] {
            for y in (0..scene.rows).step_by(step) {
                for x in (0..scene.columns).step_by(step) {
                    let text = Text { at: (x, y), scale, lines: 3, letters: 9, first: 0 };
                    let (leaked, kept) = masked(scene, text, with_region);
                    assert_eq!(leaked, 0, "{scene:?} {text:?} region {with_region}");
                    assert!(kept > 0.85, "{kept}: {scene:?} {text:?} region {with_region}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_of_any_size_anywhere_never_moves_the_fan(
        at in (0_usize..300, 0_usize..230),
        scale in 1_usize..3,
        lines in 1_usize..5,
        letters in 1_usize..20,
        first in 0_usize..4,
        with_region: bool,
    ) {
        let (leaked, kept) = masked(SMALL, Text { at, scale, lines, letters, first }, with_region);
        prop_assert_eq!(leaked, 0);
        prop_assert!(kept > 0.85, "{}", kept);
    }
}

/// The mask comes from 8 frames of 60; a name that is shown in others only is hidden all the same.
#[test]
fn frames_that_were_not_looked_at_are_masked_alike() {
    let scene = Scene { frames: 60, ..SMALL };
    let name = |frame| Text {
        at: (5 * (frame % 7), 30 * (frame % 8)),
        scale: 1,
        lines: 1,
        letters: 8,
        first: frame,
    };
    let pictures: Vec<Vec<u8>> = (0..scene.frames)
        .map(|frame| {
            let mut picture = scene.draw(frame);
            write(&mut picture, scene.columns, name(frame));
            picture
        })
        .collect();
    for with_region in [true, false] {
        let mut clip = scene.object(&pictures, with_region).open().expect("opens");
        let mask = clip.mask().expect("has a fan");
        for frame in 0..scene.frames as u32 {
            let before = clip.frame(frame).expect("decodes");
            let after = clip.masked_frame(frame, &mask).expect("masks");
            let (leaked, kept) = scene.outcome(&before, after.frame());
            assert_eq!(leaked, 0, "frame {frame} region {with_region}");
            assert!(kept > 0.85, "{kept}");
        }
    }
}

/// A clock that changes from frame to frame fills its box more than any one text does.
#[test]
fn a_running_clock_beside_the_fan_is_gone() {
    let scene = Scene { frames: 8, ..SMALL };
    for x in [2, 40, 80, 110] {
        let pictures: Vec<Vec<u8>> = (0..scene.frames)
            .map(|frame| {
                let mut picture = scene.draw(frame);
                write(
                    &mut picture,
                    scene.columns,
                    Text { at: (x, 60), scale: 1, lines: 1, letters: 8, first: frame },
                );
                picture
            })
            .collect();
        let mut clip = scene.object(&pictures, true).open().expect("opens");
        let mask = clip.mask().expect("has a fan");
        let before = clip.frame(0).expect("decodes");
        assert_eq!(
            scene.outcome(&before, clip.masked_frame(0, &mask).expect("masks").frame()).0,
            0,
            "at {x}"
        );
    }
}

#[test]
fn a_dark_sector_does_not_cost_the_other_half() {
    for shadow in [0.05, 0.15] {
        for with_region in [true, false] {
            let scene = Scene { shadow, ..LARGE };
            let text = Text { at: (20, 20), scale: 2, lines: 2, letters: 12, first: 0 };
            let (leaked, kept) = masked(scene, text, with_region);
            assert_eq!(leaked, 0);
            assert!(kept > 0.85, "shadow {shadow} region {with_region}: {kept}");
        }
    }
}

#[test]
fn a_grey_screen_is_no_tissue() {
    let scene = Scene { screen: 24, ..LARGE };
    for with_region in [true, false] {
        let text = Text { at: (560, 60), scale: 2, lines: 3, letters: 9, first: 0 };
        let (leaked, kept) = masked(scene, text, with_region);
        assert_eq!(leaked, 0, "region {with_region}");
        assert!(kept > 0.8, "{kept}");
    }
}

/// A region says where tissue would be; with text alone in it nothing leaves.
#[test]
fn a_region_without_tissue_lets_nothing_out() {
    let mut picture = vec![0; LARGE.columns * LARGE.rows];
    for at in [(100, 100), (300, 300), (500, 400)] {
        let text = Text { at, scale: 3, lines: 5, letters: 12, first: 0 };
        write(&mut picture, LARGE.columns, text);
    }
    for with_region in [true, false] {
        let mut clip = LARGE.object(std::slice::from_ref(&picture), with_region).open().expect("opens");
        assert_eq!(clip.mask().expect_err("text only").code(), "NO_FAN");
    }
}

/// White on a coloured bar, as patient banners are: dense, but no fan.
#[test]
fn a_banner_inside_the_region_is_no_tissue() {
    let mut picture = LARGE.draw(0);
    let [left, _, right, bottom] = LARGE.region().map(|edge| edge as usize);
    for y in 2..30 {
        picture[y * LARGE.columns + left..y * LARGE.columns + right].fill(90);
    }
    let plain = LARGE.object(&[picture], false);
    let region = [left as u32, 0, right as u32, bottom as u32];
    let mut clip = with_regions(plain, &[(1, region, 0.05)]).open().expect("opens");
    let mask = clip.mask().expect("has a fan");
    assert_eq!(mask.source(), MaskSource::DicomRegion);
    let before = clip.frame(0).expect("decodes");
    let (leaked, kept) = LARGE.outcome(&before, clip.masked_frame(0, &mask).expect("masks").frame());
    assert_eq!(leaked, 0);
    assert!(kept > 0.85, "{kept}");
    assert!(mask.bright_outside() > 0.01);
}
