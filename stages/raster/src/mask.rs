//! Which pixels belong.

use crate::{Plane, Window};

/// A set of pixels of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    width: usize,
    height: usize,
    inside: Vec<bool>,
}

impl Mask {
    /// The pixels of `plane` for which `belongs` holds.
    pub fn of(plane: &Plane, belongs: impl Fn(u8) -> bool) -> Self {
        Self::new(plane.width(), plane.height(), plane.samples().iter().map(|s| belongs(*s)).collect())
    }

    /// A mask over `inside`, row by row; missing pixels are outside, surplus ones dropped.
    pub fn new(width: usize, height: usize, mut inside: Vec<bool>) -> Self {
        let (width, height) = if width == 0 || height == 0 { (0, 0) } else { (width, height) };
        inside.resize(width * height, false);
        Self { width, height, inside }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// For each pixel, row by row, whether it belongs.
    pub fn inside(&self) -> &[bool] {
        &self.inside
    }

    /// Whether the pixel belongs; none outside the picture does.
    pub fn contains(&self, x: usize, y: usize) -> bool {
        x < self.width && self.inside.get(y * self.width + x).copied().unwrap_or(false)
    }

    /// How many pixels belong.
    pub fn area(&self) -> usize {
        self.inside.iter().filter(|inside| **inside).count()
    }

    /// The values that belong, of a picture of the same size.
    pub fn select<'a, T: Copy>(&'a self, values: &'a [T]) -> impl Iterator<Item = T> + 'a {
        self.inside.iter().zip(values).filter_map(|(inside, value)| inside.then_some(*value))
    }

    /// The smallest window around the pixels; none if there are none.
    pub fn bounds(&self) -> Option<Window> {
        let (mut left, mut right, mut top, mut bottom) = (usize::MAX, 0, usize::MAX, 0);
        for (y, row) in self.inside.chunks_exact(self.width.max(1)).enumerate() {
            let first = row.iter().position(|inside| *inside);
            let last = row.iter().rposition(|inside| *inside);
            if let (Some(first), Some(last)) = (first, last) {
                (left, right) = (left.min(first), right.max(last));
                (top, bottom) = (top.min(y), y);
            }
        }
        (top != usize::MAX).then(|| Window { left, top, width: right - left + 1, height: bottom - top + 1 })
    }

    /// Without the pixels whose square of side `2 * reach + 1` is not wholly inside. The picture's border does not
    /// erode (OpenCV `erode` with its default border).
    #[must_use]
    pub fn eroded(&self, reach: usize) -> Self {
        self.spread(reach, false)
    }

    /// With every pixel whose square of side `2 * reach + 1` touches the mask.
    #[must_use]
    pub fn dilated(&self, reach: usize) -> Self {
        self.spread(reach, true)
    }

    /// Spreads the pixels equal to `value` by `reach` along rows, then along columns.
    fn spread(&self, reach: usize, value: bool) -> Self {
        let mut rows = self.inside.clone();
        for (row, source) in
            rows.chunks_exact_mut(self.width.max(1)).zip(self.inside.chunks_exact(self.width.max(1)))
        {
            spread_line(row.iter_mut(), source.iter().copied(), reach, value);
        }
        let mut both = rows.clone();
        for x in 0..self.width {
            let source = rows.iter().skip(x).step_by(self.width).copied();
            spread_line(both.iter_mut().skip(x).step_by(self.width), source, reach, value);
        }
        Self { width: self.width, height: self.height, inside: both }
    }

    /// Every 4-connected component with its area, in reading order of its first pixel: a label for each pixel
    /// (0 = outside, else position in the list + 1).
    pub fn components(&self) -> (Vec<u32>, Vec<usize>) {
        let mut labels = vec![0_u32; self.inside.len()];
        let mut areas = Vec::new();
        let mut open = Vec::new();
        for start in 0..self.inside.len() {
            if !self.is_free(&labels, start) {
                continue;
            }
            let label = areas.len() as u32 + 1;
            let mut area = 0;
            open.push(start);
            while let Some(pixel) = open.pop() {
                if !self.is_free(&labels, pixel) {
                    continue;
                }
                if let Some(slot) = labels.get_mut(pixel) {
                    *slot = label;
                }
                area += 1;
                open.extend(self.neighbours(pixel));
            }
            areas.push(area);
        }
        (labels, areas)
    }

    fn is_free(&self, labels: &[u32], pixel: usize) -> bool {
        self.inside.get(pixel) == Some(&true) && labels.get(pixel) == Some(&0)
    }

    /// The up to four pixels beside the one at `index`.
    pub fn neighbours(&self, index: usize) -> impl Iterator<Item = usize> + use<> {
        let x = index % self.width.max(1);
        let left = (x > 0).then(|| index - 1);
        let right = (x + 1 < self.width).then_some(index + 1);
        let up = index.checked_sub(self.width);
        let down = (index + self.width < self.inside.len()).then_some(index + self.width);
        [left, right, up, down].into_iter().flatten()
    }

    /// The largest component alone; the first of equals.
    #[must_use]
    pub fn largest_component(&self) -> Self {
        let (labels, areas) = self.components();
        let largest =
            areas.iter().enumerate().rev().max_by_key(|(_, area)| **area).map_or(0, |(i, _)| i as u32 + 1);
        let inside = labels.iter().map(|label| *label == largest && largest != 0).collect();
        Self { width: self.width, height: self.height, inside }
    }

    /// The convex hull (Andrew's monotone chain over the ends of each row), filled.
    #[must_use]
    pub fn convex_hull(&self) -> Self {
        let mut ends = Vec::new();
        for (y, row) in self.inside.chunks_exact(self.width.max(1)).enumerate() {
            let span = (row.iter().position(|inside| *inside), row.iter().rposition(|inside| *inside));
            if let (Some(first), Some(last)) = span {
                ends.push((y as f64, first as f64, last as f64));
            }
        }
        let left = chain(ends.iter().map(|(y, first, _)| (*y, -*first)));
        let right = chain(ends.iter().map(|(y, _, last)| (*y, *last)));
        let mut inside = vec![false; self.inside.len()];
        for (y, row) in inside.chunks_exact_mut(self.width.max(1)).enumerate() {
            let (Some(first), Some(last)) = (reach_at(&left, y as f64), reach_at(&right, y as f64)) else {
                continue;
            };
            let (first, last) = ((-first).ceil().max(0.0) as usize, last.floor().max(0.0) as usize);
            row.iter_mut().take(last + 1).skip(first).for_each(|pixel| *pixel = true);
        }
        Self { width: self.width, height: self.height, inside }
    }
}

/// One line of [`Mask::spread`]: a target takes `value` if a source within `reach` has it.
fn spread_line<'a>(
    targets: impl Iterator<Item = &'a mut bool>,
    sources: impl Iterator<Item = bool> + Clone,
    reach: usize,
    value: bool,
) {
    let mut ahead = sources.clone();
    let mut since = usize::MAX; // samples since the last `value` seen up to `reach` ahead
    let mut step = |since: &mut usize| match ahead.next() {
        Some(sample) if sample == value => *since = 0,
        _ => *since = since.saturating_add(1),
    };
    (0..reach).for_each(|_| step(&mut since));
    for target in targets {
        step(&mut since);
        if since <= 2 * reach {
            *target = value;
        }
    }
}

/// The outer chain of points given from top to bottom as (row, reach outwards).
fn chain(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut hull: Vec<(f64, f64)> = Vec::new();
    for point in points {
        while let [.., before, last] = hull.as_slice() {
            let turn =
                (last.0 - before.0) * (point.1 - before.1) - (last.1 - before.1) * (point.0 - before.0);
            if turn < 0.0 {
                break;
            }
            hull.pop();
        }
        hull.push(point);
    }
    hull
}

/// How far the chain reaches at a row; none above and below it.
fn reach_at(chain: &[(f64, f64)], row: f64) -> Option<f64> {
    if let [only] = chain {
        return (only.0 == row).then_some(only.1);
    }
    chain.windows(2).find_map(|pair| match pair {
        [from, to] if from.0 <= row && row <= to.0 => {
            Some(from.1 + (to.1 - from.1) * (row - from.0) / (to.0 - from.0))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        let inside = rows.iter().flat_map(|row| row.bytes().map(|b| b == b'#')).collect();
        Mask::new(rows[0].len(), rows.len(), inside)
    }

    #[test]
    fn erosion_and_dilation_move_the_edge_by_their_reach_and_spare_the_border() {
        let square = mask(&["......", ".###..", ".###..", ".###..", "......"]);
        assert_eq!(square.eroded(1), mask(&["......", "......", "..#...", "......", "......"]));
        assert_eq!(square.eroded(1).dilated(1), square);
        assert_eq!(mask(&["###", "###"]).eroded(1), mask(&["###", "###"]));
        assert_eq!(mask(&["#...", "...."]).dilated(1), mask(&["##..", "##.."]));
    }

    #[test]
    fn the_largest_component_stays_and_its_hull_is_filled() {
        let shape = mask(&["#....", "#...#", "###..", "....."]);
        assert_eq!(shape.largest_component(), mask(&["#....", "#....", "###..", "....."]));
        assert_eq!(shape.largest_component().convex_hull(), mask(&["#....", "##...", "###..", "....."]));
        assert_eq!(shape.components().1, [5, 1]);
        assert_eq!(shape.bounds(), Some(Window { left: 0, top: 0, width: 5, height: 3 }));
    }

    #[test]
    fn an_empty_mask_has_no_bounds_and_no_component() {
        let empty = mask(&["...", "..."]);
        assert_eq!(empty.bounds(), None);
        assert_eq!(empty.largest_component().area(), 0);
        assert_eq!(empty.convex_hull().area(), 0);
    }
}
