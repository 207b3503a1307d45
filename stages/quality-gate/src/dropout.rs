//! Dark sectors inside the fan: ribs, lungs, lost contact.
//!
//! A beam that passes through a heart meets tissue somewhere, even where most of its way is blood. So a beam is lost if
//! hardly any of it, averaged over the clip, is brighter than the level that splits blood from tissue. The near field is
//! left out: reverberation lights it also where the probe has no contact.
//!
//! Beams are the straight lines from the fan's left edge to its right one, equally divided in each row: the same as
//! equal angles from the apex to within a few percent, and right for parallel beams as well.

use raster::{Mask, Plane};

/// Beams that the fan is divided into.
const BEAMS: usize = 48;
/// Share of the fan's height that counts as near field.
const NEAR: f64 = 0.15;
/// Rows, as share of the fan's height, in which the edges are straight.
const STRAIGHT: std::ops::Range<f64> = 0.2..0.6;
/// Share of a beam's pixels brighter than the level at or below which it is lost.
const LOST: f64 = 0.05;

/// The share of the beams of `fan` that are lost, given the brightness `mean` of each pixel over the clip and the
/// `level` between blood and tissue.
pub(crate) fn lost_share(mean: &Plane, fan: &Mask, level: f64) -> f64 {
    let Some(bounds) = fan.bounds() else { return 0.0 };
    let row_at = |share: f64| bounds.top + (share * bounds.height as f64) as usize;
    let ends: Vec<(f64, f64, f64)> = (row_at(STRAIGHT.start)..row_at(STRAIGHT.end))
        .filter_map(|y| {
            let row = fan.inside().chunks_exact(fan.width().max(1)).nth(y)?;
            let first = row.iter().position(|inside| *inside)?;
            let last = row.iter().rposition(|inside| *inside)?;
            Some((y as f64, first as f64, last as f64))
        })
        .collect();
    let left = Line::through(ends.iter().map(|(y, first, _)| (*y, *first)));
    let right = Line::through(ends.iter().map(|(y, _, last)| (*y, *last)));
    let mut beams = [(0_u32, 0_u32); BEAMS];
    for (y, row) in mean.rows().enumerate().skip(row_at(NEAR)) {
        let (from, to) = (left.at(y as f64), right.at(y as f64));
        for (x, sample) in row.iter().enumerate().filter(|(x, _)| fan.contains(*x, y)) {
            let share = (x as f64 - from) / (to - from).max(1.0);
            let beam = (share * BEAMS as f64).clamp(0.0, (BEAMS - 1) as f64) as usize;
            if let Some((count, bright)) = beams.get_mut(beam) {
                *count += 1;
                *bright += u32::from(f64::from(*sample) > level);
            }
        }
    }
    let seen = beams.iter().filter(|(count, _)| *count > 0);
    let lost = seen.clone().filter(|(count, bright)| f64::from(*bright) <= LOST * f64::from(*count));
    lost.count() as f64 / seen.count().max(1) as f64
}

/// A straight edge: its column at each row, by least squares.
#[derive(Debug, Clone, Copy)]
struct Line {
    slope: f64,
    start: f64,
}

impl Line {
    fn through(points: impl Iterator<Item = (f64, f64)>) -> Self {
        let (mut n, mut sy, mut sx, mut syy, mut syx) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (y, x) in points {
            (n, sy, sx, syy, syx) = (n + 1.0, sy + y, sx + x, syy + y * y, syx + y * x);
        }
        let spread = n * syy - sy * sy;
        let slope = if spread > 0.0 { (n * syx - sy * sx) / spread } else { 0.0 };
        Self { slope, start: if n > 0.0 { (sx - slope * sy) / n } else { 0.0 } }
    }

    fn at(self, y: f64) -> f64 {
        self.start + self.slope * y
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 160;

    fn wedge() -> Mask {
        let inside = |i: usize| {
            let (x, y) = ((i % SIDE) as f64 - 80.0, (i / SIDE) as f64);
            x.abs() <= 0.8 * y && x.hypot(y) < 95.0
        };
        Mask::new(SIDE, 100, (0..SIDE * 100).map(inside).collect())
    }

    fn picture(dark: impl Fn(f64) -> bool) -> Plane {
        let sample = |i: usize| {
            let (x, y) = ((i % SIDE) as f64 - 80.0, (i / SIDE) as f64);
            let chamber = (x / 20.0).powi(2) + ((y - 45.0) / 30.0).powi(2) < 1.0;
            let shadow = dark(0.5 + x / (1.6 * y.max(1.0)));
            if shadow {
                12
            } else if chamber {
                60
            } else {
                160
            }
        };
        Plane::new(SIDE, 100, (0..SIDE * 100).map(sample).collect())
    }

    #[test]
    fn a_shadow_counts_by_its_share_of_the_beams_and_a_chamber_not_at_all() {
        assert_eq!(lost_share(&picture(|_| false), &wedge(), 110.0), 0.0);
        for share in [0.1, 0.3, 0.5] {
            let found = lost_share(&picture(|beam| (0.2..0.2 + share).contains(&beam)), &wedge(), 110.0);
            assert!((found - share).abs() < 0.05, "{found} of {share}");
        }
        assert_eq!(lost_share(&picture(|_| true), &wedge(), 110.0), 1.0);
    }

    #[test]
    fn without_a_fan_nothing_is_lost() {
        assert_eq!(lost_share(&picture(|_| true), &Mask::new(SIDE, 100, Vec::new()), 110.0), 0.0);
    }
}
