//! Slow movement of the whole picture: the patient breathes, or the probe slides.
//!
//! Each frame is compared with the mean of the clip by normalised cross-correlation. What is left of the shifts after
//! a low-pass of half a beat is drift; what is faster is the heart.

use raster::{Kernel, Plane};

use crate::cine::Cine;

/// Height of the pictures compared, in pixels.
const HEIGHT: usize = 64;
/// Smoothing of the pictures compared, in their pixels.
const SIGMA: f64 = 1.5;
/// Shifts looked for, in their pixels.
const REACH: isize = 6;
/// Standard deviation of the low-pass, in beats.
const LOW_PASS_BEATS: f64 = 0.5;
/// Millimetres from the top to the bottom of a picture that is not calibrated.
const ASSUMED_DEPTH_MM: f64 = 160.0;

/// Where each frame lies relative to the mean of the clip.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Drift {
    /// Right and down for each frame, in pixels of the cine's planes.
    pub(crate) offsets: Vec<[f64; 2]>,
    /// Half of the way between the extremes.
    pub(crate) amplitude_mm: f64,
}

/// The drift of a clip; none where its pictures are too small or flat to be compared.
pub(crate) fn drift(cine: &Cine, beat_frames: f64, depth_mm: Option<f64>) -> Option<Drift> {
    let first = cine.planes.first()?;
    let scale = first.height() as f64 / HEIGHT.min(first.height()) as f64;
    let kernel = Kernel::new(SIGMA);
    let pictures: Vec<Picture> = cine.planes.iter().map(|plane| Picture::of(plane, &kernel)).collect();
    let mean = Picture::mean(&pictures)?;
    if mean.width <= 4 * REACH || mean.height <= 4 * REACH {
        return None;
    }
    let mut last = None;
    let shifts = pictures
        .iter()
        .map(|picture| {
            // Drift is slow: from one frame to the next the best shift moves little.
            let shift = match last {
                None => best(everywhere(), |at| mean.likeness(picture, at))?,
                Some(from) => climb(from, |at| mean.likeness(picture, at))?,
            };
            last = Some(shift);
            Some(mean.between(picture, shift))
        })
        .collect::<Option<Vec<[f64; 2]>>>()?;
    let low_pass = Kernel::new((LOW_PASS_BEATS * beat_frames).min(shifts.len() as f64));
    let axis = |axis: usize| low_pass.line(&shifts.iter().map(|shift| shift[axis]).collect::<Vec<_>>());
    let (across, down) = (axis(0), axis(1));
    let way = |axis: &[f64]| {
        let most = axis.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most - axis.iter().copied().fold(f64::INFINITY, f64::min)
    };
    let mm = depth_mm.unwrap_or(ASSUMED_DEPTH_MM) / mean.height as f64;
    let amplitude_mm = 0.5 * way(&across).hypot(way(&down)) * mm;
    let offsets = across.iter().zip(&down).map(|(across, down)| [across * scale, down * scale]).collect();
    Some(Drift { offsets, amplitude_mm })
}

/// `picture` (rows `width` long) moved back by `offset` pixels, bilinear; the border repeats.
pub(crate) fn moved_back(picture: &[f32], width: usize, offset: [f64; 2]) -> Vec<f32> {
    let width = width.max(1);
    let height = picture.len() / width;
    let at = |x: isize, y: isize| {
        let x = x.clamp(0, width as isize - 1) as usize;
        let y = y.clamp(0, height as isize - 1) as usize;
        picture.get(y * width + x).copied().unwrap_or_default()
    };
    let (whole_x, whole_y) = (offset[0].floor(), offset[1].floor());
    let (part_x, part_y) = ((offset[0] - whole_x) as f32, (offset[1] - whole_y) as f32);
    let sample = |index: usize| {
        let (x, y) =
            ((index % width) as isize + whole_x as isize, (index / width) as isize + whole_y as isize);
        let row = |y| at(x, y) * (1.0 - part_x) + at(x + 1, y) * part_x;
        row(y) * (1.0 - part_y) + row(y + 1) * part_y
    };
    (0..width * height).map(sample).collect()
}

/// A smoothed picture.
struct Picture {
    width: isize,
    height: isize,
    samples: Vec<f32>,
}

impl Picture {
    fn of(plane: &Plane, kernel: &Kernel) -> Self {
        let small = plane.reduced_to_height(HEIGHT);
        let samples: Vec<f32> = small.samples().iter().map(|sample| f32::from(*sample)).collect();
        let samples = kernel.picture(&samples, small.width());
        Self { width: small.width() as isize, height: small.height() as isize, samples }
    }

    fn mean(pictures: &[Self]) -> Option<Self> {
        let first = pictures.first()?;
        let mut samples = vec![0.0; first.samples.len()];
        for picture in pictures {
            samples.iter_mut().zip(&picture.samples).for_each(|(sum, sample)| *sum += sample);
        }
        for sum in &mut samples {
            *sum /= pictures.len() as f32;
        }
        Some(Self { width: first.width, height: first.height, samples })
    }

    /// The inner part of row `y`, moved by `x`.
    fn inner(&self, y: isize, x: isize) -> &[f32] {
        let from = (y * self.width + REACH + x) as usize;
        self.samples.get(from..from + (self.width - 2 * REACH) as usize).unwrap_or_default()
    }

    /// The correlation of this picture's inner part with that of `other` moved by `shift`; none where either is flat.
    fn likeness(&self, other: &Self, [right, down]: [isize; 2]) -> Option<f64> {
        let [mut x, mut y, mut xx, mut yy, mut xy] = [0.0_f64; 5];
        for row in REACH..self.height - REACH {
            let mut sums = [0.0_f32; 5];
            for (a, b) in self.inner(row, 0).iter().zip(other.inner(row + down, right)) {
                let products = [*a, *b, a * a, b * b, a * b];
                sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
            }
            let [a, b, aa, bb, ab] = sums.map(f64::from);
            (x, y, xx, yy, xy) = (x + a, y + b, xx + aa, yy + bb, xy + ab);
        }
        let count = ((self.width - 2 * REACH) * (self.height - 2 * REACH)) as f64;
        let spread = (xx - x * x / count) * (yy - y * y / count);
        (spread > 0.0).then(|| (xy - x * y / count) / spread.sqrt())
    }

    /// The top of the parabola through the likeness around a whole shift, along each axis.
    fn between(&self, other: &Self, [right, down]: [isize; 2]) -> [f64; 2] {
        let refined = |step: [isize; 2]| {
            let at = |times: isize| {
                let shift = [right + times * step[0], down + times * step[1]];
                inside(shift).then(|| self.likeness(other, shift)).flatten()
            };
            let (Some(before), Some(here), Some(after)) = (at(-1), at(0), at(1)) else { return 0.0 };
            let bend = before - 2.0 * here + after;
            if bend < 0.0 { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) } else { 0.0 }
        };
        [right as f64 + refined([1, 0]), down as f64 + refined([0, 1])]
    }
}

fn inside(shift: [isize; 2]) -> bool {
    shift.iter().all(|way| way.abs() <= REACH)
}

fn everywhere() -> impl Iterator<Item = [isize; 2]> {
    (-REACH..=REACH).flat_map(|down| (-REACH..=REACH).map(move |right| [right, down]))
}

/// The first of the best shifts.
fn best(
    shifts: impl Iterator<Item = [isize; 2]>,
    likeness: impl Fn([isize; 2]) -> Option<f64>,
) -> Option<[isize; 2]> {
    let mut found: Option<(f64, [isize; 2])> = None;
    for shift in shifts {
        let value = likeness(shift)?;
        if found.is_none_or(|(most, _)| value > most) {
            found = Some((value, shift));
        }
    }
    found.map(|(_, shift)| shift)
}

/// From `start` to the best of the nine shifts around it, until none is better.
fn climb(start: [isize; 2], likeness: impl Fn([isize; 2]) -> Option<f64>) -> Option<[isize; 2]> {
    let mut here = start;
    for _ in 0..4 * REACH {
        let around = [0, -1, 1].into_iter().flat_map(|down| [0, -1, 1].map(|right| [right, down]));
        let next = around.map(|[right, down]| [here[0] + right, here[1] + down]).filter(|at| inside(*at));
        let next = best(next, &likeness)?;
        if next == here {
            break;
        }
        here = next;
    }
    Some(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_slides_is_followed_and_moved_back() {
        let (width, height) = (96_usize, 80_usize);
        let level =
            |x: f64, y: f64| 120.0 + 60.0 * (x / 9.0).sin() * (y / 7.0).cos() + 30.0 * (x / 23.0).cos();
        let slide = |t: usize| [4.0 * (t as f64 / 40.0), -2.0 * (t as f64 / 40.0)];
        let plane = |t: usize| {
            let [right, down] = slide(t);
            let sample = |at: usize| level((at % width) as f64 - right, (at / width) as f64 - down) as u8;
            Plane::new(width, height, (0..width * height).map(sample).collect())
        };
        let cine = Cine::of_planes((0..40).map(plane).collect());
        let found = drift(&cine, 4.0, Some(80.0)).expect("a textured clip");
        let [from, to] = [found.offsets[8], found.offsets[32]];
        let expected = [slide(32)[0] - slide(8)[0], slide(32)[1] - slide(8)[1]];
        for axis in 0..2 {
            assert!((to[axis] - from[axis] - expected[axis]).abs() < 0.35, "{from:?} {to:?}");
        }
        assert!((1.5..2.6).contains(&found.amplitude_mm), "{}", found.amplitude_mm);
        let picture: Vec<f32> = (0..width * height).map(|at| (at % width) as f32).collect();
        let back = moved_back(&picture, width, [2.5, 0.0]);
        assert!((back[10 * width + 20] - 22.5).abs() < 1e-4);
    }

    #[test]
    fn flat_or_small_pictures_have_no_drift() {
        let flat = Cine::of_planes(vec![Plane::new(96, 80, vec![9; 96 * 80]); 3]);
        assert_eq!(drift(&flat, 4.0, None), None);
        let small = Cine::of_planes(vec![Plane::new(8, 8, (0..64).collect()); 3]);
        assert_eq!(drift(&small, 4.0, None), None);
    }
}
