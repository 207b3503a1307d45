//! Which pool is which chamber, and does it look like an apical four-chamber view?
//!
//! ```text
//!            probe
//!          ___/\___
//!         /  apex  \          ventricles: centroid above 0.60 of the fan's height
//!        / RV    LV \         atria: centroid below 0.58
//!       /  --  x --  \        -- mitral hinges: the ends of the border between LV and LA
//!      /   RA    LA   \       x  crux: where the atria come together
//! ```

use raster::{Mask, Window, squared_distances};

use crate::{Blob, Point};

/// Centroids of ventricles lie above this share of the fan's height.
const UPPER: f64 = 0.60;
/// Those of atria below this one.
const LOWER: f64 = 0.58;
/// Least share of the fan of a left ventricle.
const VENTRICLE: f64 = 0.08;
/// Least share of the fan of each of two atria.
const ATRIUM: f64 = 0.03;
/// Least distance between the atria, in widths of the fan.
const APART: f64 = 0.12;
/// Share of the fan's height by which one apex must lie above another to make the difference between the ventricles.
const HIGHER: f64 = 0.05;
/// Share of the fan of a right ventricle and its atrium that run into one another.
const RIGHT_HEART: f64 = 0.06;
/// Share of the fan above which one lower pool is both atria.
const BOTH_ATRIA: f64 = 0.20;
/// Pixels between the chambers beyond the nearest pair that still belong to their border.
const BORDER: f64 = 5.0;

/// The chambers that could be told apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chambers {
    /// The upper pool that reaches nearest to the probe, whichever side it is drawn on: its apex is the heart's. Of two
    /// that reach about as near the larger.
    pub left_ventricle: Option<Blob>,
    /// The largest upper pool beside it.
    pub right_ventricle: Option<Blob>,
    /// The lower pool below the left ventricle.
    pub left_atrium: Option<Blob>,
    /// The largest lower pool beside it.
    pub right_atrium: Option<Blob>,
    fan: Window,
    fan_area: f64,
}

/// Places that a sonographer would mark.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keypoints {
    /// The ventricle's point farthest up its axis.
    pub apex: Point,
    /// The ends of the border between left ventricle and left atrium, from left to right.
    pub mitral_hinges: [Point; 2],
    /// Where the atria come together nearest to the ventricles; none where there is one atrium only.
    pub crux: Option<Point>,
}

impl Chambers {
    /// Roles of `blobs`, largest first as [`crate::segment`] gives them, inside `fan`.
    pub fn of(blobs: &[Blob], fan: &Mask) -> Self {
        let window = fan.bounds().unwrap_or(Window { left: 0, top: 0, width: 1, height: 1 });
        let depth = |blob: &Blob| (blob.centroid.y - window.top as f64) / window.height.max(1) as f64;
        let upper = || blobs.iter().filter(|blob| depth(blob) < UPPER);
        let top = |blob: &Blob| blob.mask.bounds().map_or(f64::INFINITY, |bounds| bounds.top as f64);
        let higher = HIGHER * window.height as f64;
        // Blobs come largest first, so of two that reach about as high the larger stays.
        let left_ventricle = upper()
            .filter(|blob| blob.area as f64 >= ATRIUM * fan.area() as f64)
            .reduce(|best, next| if top(next) + higher < top(best) { next } else { best });
        let ventricle = |blob: &&Blob| left_ventricle.is_some_and(|left| left == *blob);
        let right_ventricle = upper().find(|blob| !ventricle(blob));
        let is_right = |blob: &&Blob| right_ventricle.is_some_and(|right| right == *blob);
        let lower =
            || blobs.iter().filter(|blob| depth(blob) >= LOWER && !ventricle(blob) && !is_right(blob));
        let left_atrium = left_ventricle.and_then(|ventricle| {
            let base = ventricle.farthest(Point { x: -ventricle.axis.x, y: -ventricle.axis.y });
            let gap =
                |blob: &Blob| blob.points().map(|point| point.distance(base)).fold(f64::INFINITY, f64::min);
            lower().map(|blob| (gap(blob), blob)).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, blob)| blob)
        });
        let right_atrium = lower().find(|blob| left_atrium.is_none_or(|left| left != *blob));
        Self {
            left_ventricle: left_ventricle.cloned(),
            right_ventricle: right_ventricle.cloned(),
            left_atrium: left_atrium.cloned(),
            right_atrium: right_atrium.cloned(),
            fan: window,
            fan_area: fan.area().max(1) as f64,
        }
    }

    /// Depth of a point as share of the fan's height: 0 at the probe.
    pub fn depth(&self, point: Point) -> f64 {
        (point.y - self.fan.top as f64) / self.fan.height.max(1) as f64
    }

    /// Whether the pools lie as in an apical four-chamber view: a large upper one, and below it two side by side, or one
    /// that holds both atria, or one beside a pool that holds the whole right heart.
    pub fn are_four(&self) -> bool {
        let ventricle = self.left_ventricle.as_ref().is_some_and(|blob| self.share(blob) >= VENTRICLE);
        let apart = |one: &Blob, other: &Blob| {
            (one.centroid.x - other.centroid.x).abs() / self.fan.width.max(1) as f64 >= APART
        };
        let atria = match (&self.left_atrium, &self.right_atrium) {
            (Some(left), Some(right)) => {
                (self.share(left) >= ATRIUM && self.share(right) >= ATRIUM && apart(left, right))
                    || self.share(left).max(self.share(right)) > BOTH_ATRIA
            }
            (Some(one), None) | (None, Some(one)) => {
                let right_heart = self.right_heart().is_some_and(|right| apart(one, right));
                self.share(one) > BOTH_ATRIA || (self.share(one) >= ATRIUM && right_heart)
            }
            (None, None) => false,
        };
        ventricle && atria
    }

    /// The right ventricle, where it runs into its atrium: as one pool it reaches as deep as the middle of the other
    /// atrium.
    fn right_heart(&self) -> Option<&Blob> {
        let (right, atrium) = (self.right_ventricle.as_ref()?, self.left_atrium.as_ref()?);
        let bottom = right.mask.bounds().map_or(0, |bounds| bounds.top + bounds.height) as f64;
        (bottom >= atrium.centroid.y && self.share(right) >= RIGHT_HEART).then_some(right)
    }

    fn share(&self, blob: &Blob) -> f64 {
        blob.area as f64 / self.fan_area
    }

    /// Whether the pools lie as in an apical two-chamber view: a large upper one with a lower one below it.
    pub fn are_two(&self) -> bool {
        self.left_ventricle.as_ref().is_some_and(|blob| self.share(blob) >= VENTRICLE)
            && self.left_atrium.as_ref().is_some_and(|blob| self.share(blob) >= ATRIUM)
    }

    /// Area of the right ventricle over that of the left; none without both, or where the right one runs into its
    /// atrium.
    pub fn ventricle_ratio(&self) -> Option<f64> {
        if self.right_heart().is_some() {
            return None;
        }
        let (left, right) = (self.left_ventricle.as_ref()?, self.right_ventricle.as_ref()?);
        Some(right.area as f64 / left.area as f64)
    }

    /// The points of this heart; none without a left ventricle and a left atrium.
    pub fn keypoints(&self) -> Option<Keypoints> {
        let (ventricle, atrium) = (self.left_ventricle.as_ref()?, self.left_atrium.as_ref()?);
        let across = Point { x: -ventricle.axis.y, y: ventricle.axis.x };
        let across = if across.x < 0.0 { Point { x: -across.x, y: -across.y } } else { across };
        let distances = distances_to(atrium);
        let ranged: Vec<(f64, Point)> = ventricle.mask.select(&distances).zip(ventricle.points()).collect();
        let nearest = ranged.iter().map(|(distance, _)| *distance).fold(f64::INFINITY, f64::min);
        let border =
            ranged.iter().filter(|(distance, _)| *distance <= nearest + BORDER).map(|(_, point)| *point);
        let ends = border.fold(None, |ends: Option<[Point; 2]>, point| {
            let [left, right] = ends.unwrap_or([point; 2]);
            Some([
                if point.along(across) < left.along(across) { point } else { left },
                if point.along(across) > right.along(across) { point } else { right },
            ])
        })?;
        let crux = self.right_atrium.as_ref().and_then(|right| {
            let distances = distances_to(right);
            let ranged = atrium.mask.select(&distances).zip(atrium.points());
            ranged.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, point)| point)
        });
        Some(Keypoints { apex: ventricle.farthest(ventricle.axis), mitral_hinges: ends, crux })
    }

    /// Degrees between the left ventricle's axis and the vertical, 0 to 90; none without a left ventricle.
    pub fn tilt_deg(&self) -> Option<f64> {
        self.left_ventricle.as_ref().map(|ventricle| (-ventricle.axis.y).clamp(-1.0, 1.0).acos().to_degrees())
    }

    /// Distance between the mitral hinges in widths of the left ventricle; none without a left ventricle and a left
    /// atrium, or where a hinge lies above the apex.
    pub fn annulus(&self) -> Option<f64> {
        let (ventricle, points) = (self.left_ventricle.as_ref()?, self.keypoints()?);
        let [left, right] = points.mitral_hinges;
        (points.apex.y < left.y.min(right.y)).then(|| left.distance(right) / ventricle.width)
    }
}

/// Distance of every pixel to the nearest of `blob`.
fn distances_to(blob: &Blob) -> Vec<f64> {
    let outside = blob.mask.inside().iter().map(|inside| !inside).collect();
    let outside = Mask::new(blob.mask.width(), blob.mask.height(), outside);
    squared_distances(&outside).into_iter().map(|squared| f64::from(squared).sqrt()).collect()
}
