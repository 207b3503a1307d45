//! Does the whole picture wander, as with breathing or a sliding probe?
//!
//! The shift of each small picture against the mean of all, by normalised cross-correlation (zero mean, OpenCV's
//! `TM_CCOEFF_NORMED`) over every whole shift, refined by a parabola; then smoothed over time, so that the heart's own
//! beat goes and what is slower stays. Phase correlation finds random peaks in these pictures.
//!
//! Compared is what lies deep enough inside the fan to stay in it under every shift, below the near field: the fan's
//! edge and the reverberation at the probe stay where they are whatever the heart does, and are the strongest edges of
//! all. With them 12 mm were read as 0.6 to 1.6.

use raster::{Kernel, Mask, Plane};

use crate::motion::SIDE;

/// Largest shift looked for, in pixels of the small picture.
const REACH: usize = 6;
/// Shifts along one axis.
const SHIFTS: usize = 2 * REACH + 1;
/// Share of the fan's height that counts as near field.
const NEAR: f64 = 0.2;
/// Temporal smoothing in beats.
const SIGMA_BEATS: f64 = 0.5;

/// Half the way between the outermost places of the picture over the clip, both axes together, in the units of `pixel`,
/// the size of a small picture's pixel. `frames` are [`SIDE`] by [`SIDE`], as is `fan`; `beat_frames` the frames of a beat.
pub(crate) fn amplitude(frames: &[Plane], fan: &Mask, pixel: [f64; 2], beat_frames: f64) -> f64 {
    let mean = Mean::of(frames, fan);
    let shifts: Vec<[f64; 2]> = frames.iter().map(|frame| mean.shift_of(frame)).collect();
    let kernel = Kernel::new(SIGMA_BEATS * beat_frames);
    let way = |axis: fn(&[f64; 2]) -> f64| {
        let smooth = kernel.line(&shifts.iter().map(axis).collect::<Vec<_>>());
        let ends = |(low, high): (f64, f64), shift: &f64| (low.min(*shift), high.max(*shift));
        let (low, high) = smooth.iter().fold((f64::INFINITY, f64::NEG_INFINITY), ends);
        (high - low).max(0.0)
    };
    let [width, height] = pixel;
    (way(|shift| shift[0]) * width).hypot(way(|shift| shift[1]) * height) / 2.0
}

/// Pixels of one row that are compared: their place in a frame, and how many.
#[derive(Debug, Clone, Copy)]
struct Span {
    x: usize,
    y: usize,
    length: usize,
}

/// The mean picture, ready to be compared.
struct Mean {
    /// Grey levels, from the mean of all.
    levels: Vec<i16>,
    /// What is compared.
    spans: Vec<Span>,
    /// Its pixels.
    count: f64,
    /// Of the spans at each shift, row by row: the sum of their levels, and their norm about their mean.
    windows: Vec<(i64, f64)>,
}

impl Mean {
    fn of(frames: &[Plane], fan: &Mask) -> Self {
        let mut sums = vec![0_u32; SIDE * SIDE];
        for frame in frames {
            sums.iter_mut().zip(frame.samples()).for_each(|(sum, sample)| *sum += u32::from(*sample));
        }
        let count = frames.len().max(1) as u32;
        let total = sums.iter().map(|sum| u64::from(*sum)).sum::<u64>() / (SIDE * SIDE) as u64;
        let centre = (total as u32 / count) as i16;
        let levels: Vec<i16> = sums.iter().map(|sum| ((sum + count / 2) / count) as i16 - centre).collect();
        let spans = spans(fan);
        let count = spans.iter().map(|span| span.length).sum::<usize>() as f64;
        let window = |shift: usize| {
            let (mut sum, mut squares) = (0_i64, 0_i64);
            for level in spans.iter().flat_map(|span| moved(&levels, *span, shift)) {
                (sum, squares) = (sum + i64::from(*level), squares + i64::from(*level) * i64::from(*level));
            }
            (sum, (squares as f64 - (sum * sum) as f64 / count.max(1.0)).max(0.0).sqrt())
        };
        let windows = (0..SHIFTS * SHIFTS).map(window).collect();
        Self { levels, spans, count, windows }
    }

    /// How far the content of `frame` lies from where the mean has it, to the right and down, in pixels.
    fn shift_of(&self, frame: &Plane) -> [f64; 2] {
        let samples: Vec<i16> = frame.samples().iter().map(|sample| i16::from(*sample)).collect();
        let unmoved = REACH * SHIFTS + REACH;
        let ours = || self.spans.iter().flat_map(|span| moved(&samples, *span, unmoved));
        let total: i64 = ours().map(|sample| i64::from(*sample)).sum();
        let likeness = |shift: usize| {
            let product: i64 = self
                .spans
                .iter()
                .map(|span| {
                    let pairs = moved(&self.levels, *span, shift).iter().zip(moved(&samples, *span, unmoved));
                    i64::from(pairs.map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>())
                })
                .sum();
            let (sum, norm) = self.windows.get(shift).copied().unwrap_or((0, 0.0));
            let covariance = product as f64 - sum as f64 * total as f64 / self.count.max(1.0);
            if norm > 0.0 { covariance / norm } else { f64::NEG_INFINITY }
        };
        let all: Vec<f64> = (0..SHIFTS * SHIFTS).map(likeness).collect();
        let at = |x: usize, y: usize| all.get(y * SHIFTS + x).copied().unwrap_or(f64::NEG_INFINITY);
        // Of equals the one nearest to no shift.
        let away = |shift: usize| (shift % SHIFTS).abs_diff(REACH) + (shift / SHIFTS).abs_diff(REACH);
        let best = (0..all.len()).max_by(|a, b| {
            let (first, second) = (at(a % SHIFTS, a / SHIFTS), at(b % SHIFTS, b / SHIFTS));
            first.total_cmp(&second).then(away(*b).cmp(&away(*a)))
        });
        let (x, y) = best.map_or((REACH, REACH), |best| (best % SHIFTS, best / SHIFTS));
        let beside = |position: usize, value: &dyn Fn(usize) -> f64| {
            if position == 0 || position + 1 == SHIFTS {
                return position as f64;
            }
            position as f64 + vertex([value(position - 1), value(position), value(position + 1)])
        };
        // Content that moved right is found further left in the mean.
        [beside(x, &|x| at(x, y)), beside(y, &|y| at(x, y))].map(|position| REACH as f64 - position)
    }
}

/// The rows of `fan` without its edge and the near field: what stays inside it under every shift.
fn spans(fan: &Mask) -> Vec<Span> {
    let Some(bounds) = fan.bounds() else { return Vec::new() };
    let near = bounds.top + (NEAR * bounds.height as f64) as usize;
    let inner = fan.eroded(REACH);
    let rows = inner.inside().chunks_exact(fan.width().max(1)).enumerate();
    // The picture's border does not erode, so it is kept away from here.
    let inside = rows.filter(|(y, _)| *y >= near.max(REACH) && *y + REACH < SIDE);
    inside
        .filter_map(|(y, row)| {
            let first = row.iter().position(|inside| *inside)?.max(REACH);
            let last = row.iter().rposition(|inside| *inside)?.min(SIDE - 1 - REACH);
            (first <= last).then(|| Span { x: first, y, length: last + 1 - first })
        })
        .collect()
}

/// The levels under `span` moved by `shift`, an index from the upper left of all shifts.
fn moved(levels: &[i16], span: Span, shift: usize) -> &[i16] {
    let (x, y) = (span.x + shift % SHIFTS, span.y + shift / SHIFTS);
    let start = (y.saturating_sub(REACH)) * SIDE + x.saturating_sub(REACH);
    levels.get(start..start + span.length).unwrap_or_default()
}

/// Where the parabola through three values, the middle one the largest, is highest: -0.5 to 0.5 from the middle.
fn vertex([before, here, after]: [f64; 3]) -> f64 {
    let bend = before - 2.0 * here + after;
    if bend < 0.0 && bend.is_finite() { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A smooth texture moved by `(x, y)` pixels.
    fn texture(x: f64, y: f64) -> Plane {
        let sample = |i: usize| {
            let (u, v) = ((i % SIDE) as f64 - x, (i / SIDE) as f64 - y);
            let wave = (u * 0.37).sin() * (v * 0.29).cos() + 0.6 * (u * 0.11 + v * 0.17).sin();
            (128.0 + 70.0 * wave).round() as u8
        };
        Plane::new(SIDE, SIDE, (0..SIDE * SIDE).map(sample).collect())
    }

    fn everywhere() -> Mask {
        Mask::new(SIDE, SIDE, vec![true; SIDE * SIDE])
    }

    #[test]
    fn a_known_shift_is_found_to_a_tenth_of_a_pixel() {
        let mean = Mean::of(&[texture(0.0, 0.0)], &everywhere());
        for (x, y) in [(0.0, 0.0), (2.0, -3.0), (0.5, 1.25), (-4.6, 2.3)] {
            let [right, down] = mean.shift_of(&texture(x, y));
            assert!((right - x).abs() < 0.1 && (down - y).abs() < 0.1, "{x}, {y}: found {right}, {down}");
        }
    }

    #[test]
    fn a_slow_wander_is_measured_and_the_beat_is_not() {
        let beat = 20.0;
        let clip = |slow: f64, fast: f64| -> Vec<Plane> {
            let at = |i: f64| {
                slow * (i * std::f64::consts::TAU / 80.0).sin()
                    + fast * (i * std::f64::consts::TAU / beat).sin()
            };
            (0..80).map(|i| texture(0.0, at(f64::from(i)))).collect()
        };
        let slow = amplitude(&clip(3.0, 0.0), &everywhere(), [2.0, 2.0], beat);
        assert!((4.0..6.1).contains(&slow), "3 px of 2 mm, smoothed: {slow}");
        let beating = amplitude(&clip(0.0, 2.0), &everywhere(), [2.0, 2.0], beat);
        assert!(
            beating < 4.0 / 3.0,
            "of a beat's 4 mm less than a third is left at the clip's ends: {beating}"
        );
    }

    #[test]
    fn a_flat_picture_does_not_wander() {
        let flat = vec![Plane::new(SIDE, SIDE, vec![9; SIDE * SIDE]); 5];
        assert_eq!(amplitude(&flat, &everywhere(), [1.0, 1.0], 4.0), 0.0);
        assert_eq!(amplitude(&[], &everywhere(), [1.0, 1.0], 4.0), 0.0);
        assert_eq!(amplitude(&flat, &Mask::new(SIDE, SIDE, Vec::new()), [1.0, 1.0], 4.0), 0.0);
    }
}
