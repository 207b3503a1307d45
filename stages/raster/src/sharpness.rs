//! Is the picture sharp? Two measures inside a region, in exact integer arithmetic.
//!
//! - Variance of the Laplacian: population variance of `I * [0 1 0; 1 -4 1; 0 1 0]`, border mirrored: OpenCV's
//!   `Laplacian(src, CV_64F, ksize=1)`. It depends on resolution and rises with noise.
//! - Re-blur metric (Crété, SPIE 2007;6492:64920I): how much of the neighbour differences a box blur of nine pixels
//!   takes away; it ignores gain.
//!
//! `stages/quality-gate/tests/oracle` computes both with OpenCV and numpy.

use crate::{Mask, Plane, reflect};

/// Pixels of the box that blurs again.
const BOX: i64 = 9;

/// The variance of the Laplacian of `plane` over `region`, in grey levels squared; 0 over nothing.
pub fn laplacian_variance(plane: &Plane, region: &Mask) -> f64 {
    let rows: Vec<&[u8]> = plane.rows().collect();
    let (mut count, mut sum, mut squares) = (0_i64, 0_i64, 0_i64);
    for y in 0..rows.len() {
        let row =
            |offset: isize| rows.get(reflect(y as isize + offset, rows.len())).copied().unwrap_or_default();
        let (above, here, below) = (row(-1), row(0), row(1));
        let mut add = |left: u8, x: usize, right: u8| {
            if region.contains(x, y) {
                let at = |row: &[u8]| row.get(x).copied().map_or(0, i64::from);
                let value = at(above) + at(below) + i64::from(left) + i64::from(right) - 4 * at(here);
                count += 1;
                sum += value;
                squares += value * value;
            }
        };
        for (x, triple) in here.windows(3).enumerate() {
            if let [left, _, right] = triple {
                add(*left, x + 1, *right);
            }
        }
        let beside_edge =
            |position: isize| here.get(reflect(position, here.len())).copied().unwrap_or_default();
        add(beside_edge(-1), 0, beside_edge(1));
        if let Some(last) = here.len().checked_sub(1).filter(|last| *last > 0) {
            let beside = beside_edge(last as isize - 1);
            add(beside, last, beside);
        }
    }
    if count == 0 {
        return 0.0;
    }
    // n * sum(v^2) - sum(v)^2 is exact in i128; one division at the end.
    let numerator = i128::from(count) * i128::from(squares) - i128::from(sum) * i128::from(sum);
    numerator as f64 / (count as f64 * count as f64)
}

/// The re-blur metric of `plane` over `region`: 0 sharp, 1 blurred; 1 for a flat picture.
pub fn reblur(plane: &Plane, region: &Mask) -> f64 {
    let (width, height) = (plane.width(), plane.height());
    let across = Loss::along(plane, region, Axis { length: width, lines: height, step: 1, next_line: width });
    let down = Loss::along(plane, region, Axis { length: height, lines: width, step: width, next_line: 1 });
    across.blurred().max(down.blurred())
}

/// How to walk a picture along one axis.
struct Axis {
    length: usize,
    lines: usize,
    step: usize,
    next_line: usize,
}

/// Differences between neighbours before the blur, and what of them the blur takes away; both times [`BOX`].
struct Loss {
    before: i64,
    lost: i64,
}

impl Loss {
    fn along(plane: &Plane, region: &Mask, axis: Axis) -> Self {
        let mut loss = Self { before: 0, lost: 0 };
        let half = BOX as isize / 2;
        let mut line = Vec::with_capacity(axis.length + BOX as usize + 1);
        for number in 0..axis.lines {
            let start = number * axis.next_line;
            let sample = |position: isize| {
                plane
                    .samples()
                    .get(start + reflect(position, axis.length) * axis.step)
                    .copied()
                    .map_or(0, i64::from)
            };
            line.clear();
            line.extend((-half - 1..axis.length as isize + half).map(sample));
            // The box sums at x and x - 1 differ by I(x + 4) - I(x - 5) alone.
            for (x, around) in line.windows(BOX as usize + 1).enumerate().skip(1) {
                let &[first, _, _, _, before, here, _, _, _, last] = around else { continue };
                let inside = region.inside().get(start + x * axis.step).copied().unwrap_or(false);
                if inside {
                    let difference = BOX * (here - before).abs();
                    loss.before += difference;
                    loss.lost += (difference - (last - first).abs()).max(0);
                }
            }
        }
        loss
    }

    fn blurred(&self) -> f64 {
        if self.before == 0 { 1.0 } else { 1.0 - self.lost as f64 / self.before as f64 }
    }
}
