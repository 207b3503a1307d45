//! One pool of blood and its shape.

use raster::Mask;

/// A place in a plane, in pixels from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Downwards, away from the probe.
    pub y: f64,
}

impl Point {
    pub(crate) fn distance(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }

    /// The component of this vector along `direction`, a unit vector.
    pub(crate) fn along(self, direction: Self) -> f64 {
        self.x * direction.x + self.y * direction.y
    }
}

/// A pool of blood.
#[derive(Debug, Clone, PartialEq)]
pub struct Blob {
    /// Its pixels.
    pub mask: Mask,
    /// Their number.
    pub area: usize,
    /// Their mean.
    pub centroid: Point,
    /// Unit vector along the principal axis, pointing towards the probe.
    pub axis: Point,
    /// Extent along the axis.
    pub length: f64,
    /// Extent across the axis.
    pub width: f64,
}

impl Blob {
    /// The pixels of `labels`, rows `width` long, that carry `label`; none if there are none.
    pub(crate) fn of(labels: &[u32], label: u32, width: usize) -> Option<Self> {
        let width = width.max(1);
        let inside = labels.iter().map(|found| *found == label).collect();
        Self::from_mask(Mask::new(width, labels.len() / width, inside))
    }

    /// The blob of all pixels of `mask`; none if there are none.
    pub fn from_mask(mask: Mask) -> Option<Self> {
        let area = mask.area();
        if area == 0 {
            return None;
        }
        let count = area as f64;
        let sum = points(&mask).fold((0.0, 0.0), |(x, y), point| (x + point.x, y + point.y));
        let centroid = Point { x: sum.0 / count, y: sum.1 / count };
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for point in points(&mask) {
            let (dx, dy) = (point.x - centroid.x, point.y - centroid.y);
            (xx, xy, yy) = (xx + dx * dx, xy + dx * dy, yy + dy * dy);
        }
        let axis = principal_axis(xx, xy, yy);
        let across = Point { x: -axis.y, y: axis.x };
        let extent = |direction: Point| {
            let (low, high) = points(&mask).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| {
                let along = point.along(direction);
                (low.min(along), high.max(along))
            });
            // From pixel edge to pixel edge.
            high - low + 1.0
        };
        let (length, width) = (extent(axis), extent(across));
        Some(Self { mask, area, centroid, axis, length, width })
    }

    /// Its pixels as points, row by row.
    pub fn points(&self) -> impl Iterator<Item = Point> {
        points(&self.mask)
    }

    /// Its pixels that touch one outside the blob.
    pub fn contour(&self) -> Mask {
        let edge = |index: usize| {
            let (x, y) = (index % self.mask.width().max(1), index / self.mask.width().max(1));
            let beside = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
            self.mask.contains(x, y) && beside.into_iter().any(|(x, y)| !self.mask.contains(x, y))
        };
        let inside = (0..self.mask.inside().len()).map(edge).collect();
        Mask::new(self.mask.width(), self.mask.height(), inside)
    }

    /// How many pixels both have.
    pub fn overlap(&self, other: &Self) -> usize {
        self.mask.select(other.mask.inside()).filter(|inside| *inside).count()
    }

    /// The blob among `others` that has most pixels in common with this one; none where none has any.
    pub fn same_among<'a>(&self, others: &'a [Self]) -> Option<&'a Self> {
        let shared =
            others.iter().map(|other| (self.overlap(other), other)).filter(|(shared, _)| *shared > 0);
        // The first of equals: blobs come largest first.
        shared.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, blob)| blob)
    }

    /// The pixel farthest along `direction`, a unit vector.
    pub(crate) fn farthest(&self, direction: Point) -> Point {
        let start = (f64::NEG_INFINITY, self.centroid);
        let further = |best: (f64, Point), point: Point| {
            let along = point.along(direction);
            if along > best.0 { (along, point) } else { best }
        };
        self.points().fold(start, further).1
    }
}

fn points(mask: &Mask) -> impl Iterator<Item = Point> {
    let width = mask.width().max(1);
    let inside = mask.inside().iter().enumerate().filter(|(_, inside)| **inside);
    inside.map(move |(index, _)| Point { x: (index % width) as f64, y: (index / width) as f64 })
}

/// The direction of the largest spread of a symmetric 2 by 2 matrix, pointing up; straight up where all are equal.
fn principal_axis(xx: f64, xy: f64, yy: f64) -> Point {
    let angle = 0.5 * (2.0 * xy).atan2(xx - yy);
    let (sin, cos) = if xy == 0.0 && xx <= yy { (1.0, 0.0) } else { angle.sin_cos() };
    if sin > 0.0 { Point { x: -cos, y: -sin } } else { Point { x: cos, y: sin } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ellipse(tilt: f64) -> Blob {
        let inside = |i: usize| {
            let (x, y) = ((i % 80) as f64 - 40.0, (i / 80) as f64 - 40.0);
            let (along, across) = (x * tilt.sin() - y * tilt.cos(), x * tilt.cos() + y * tilt.sin());
            (along / 30.0).powi(2) + (across / 15.0).powi(2) <= 1.0
        };
        Blob::from_mask(Mask::new(80, 80, (0..6400).map(inside).collect())).expect("not empty")
    }

    #[test]
    fn an_ellipse_has_its_axis_length_and_width() {
        for tilt in [-0.5, 0.0, 0.3, 1.2] {
            let blob = ellipse(tilt);
            assert!((blob.area as f64 / (std::f64::consts::PI * 30.0 * 15.0) - 1.0).abs() < 0.01);
            assert!((blob.length - 60.5).abs() < 1.5 && (blob.width - 30.5).abs() < 1.5, "{blob:?}");
            let expected = Point { x: tilt.sin(), y: -tilt.cos() };
            assert!(blob.axis.distance(expected) < 0.02, "{:?} for a tilt of {tilt}", blob.axis);
            assert!(blob.centroid.distance(Point { x: 40.0, y: 40.0 }) < 0.1);
        }
    }

    #[test]
    fn a_contour_is_the_outermost_pixels() {
        let square = Mask::new(
            6,
            6,
            (0..36).map(|i| (1..5).contains(&(i % 6)) && (1..5).contains(&(i / 6))).collect(),
        );
        let blob = Blob::from_mask(square).expect("not empty");
        assert_eq!(blob.contour().area(), 12);
    }

    #[test]
    fn the_same_chamber_is_the_one_with_most_in_common() {
        let part = |from: usize, to: usize| {
            Blob::from_mask(Mask::new(10, 1, (0..10).map(|x| (from..to).contains(&x)).collect()))
                .expect("not empty")
        };
        let others = [part(0, 3), part(3, 7), part(8, 10)];
        assert_eq!(part(2, 6).same_among(&others), Some(&others[1]));
        assert_eq!(part(7, 8).same_among(&others), None);
    }
}
