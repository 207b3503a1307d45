//! The cut through the left ventricle, exact in every view because the ventricle is a solid of revolution.

use super::super::geometry::{APEX_WALL, CUT, Chamber};
use super::Matter;

/// Thickness of the bright line around the free wall, mm.
const PERICARDIUM_MM: f64 = 1.5;

/// One spheroid surface in the form the point test needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surface {
    semi_axis: f32,
    radius: f32,
}

impl Surface {
    /// The cavity's own surface for 0, larger by the wall's growth law for `outward` mm.
    fn new(chamber: Chamber, outward: f64) -> Self {
        Self {
            semi_axis: ((chamber.cavity.length_mm + APEX_WALL * outward) / (1.0 + CUT)) as f32,
            radius: (chamber.cavity.radius_mm + outward) as f32,
        }
    }

    /// (x, u): below 1 in length inside, above outside. `up` is the distance from the annulus towards the apex.
    fn normalised(self, w: f32, up: f32) -> (f32, f32) {
        (w / self.radius, up / self.semi_axis - CUT as f32)
    }

    fn square(self, w: f32, up: f32) -> f32 {
        let (x, u) = self.normalised(w, up);
        x * x + u * u
    }

    fn between(self, other: Self, share: f32) -> Self {
        let mix = |a: f32, b: f32| a + share * (b - a);
        Self { semi_axis: mix(self.semi_axis, other.semi_axis), radius: mix(self.radius, other.radius) }
    }

    /// Radius of the cut across the axis, `up` mm from the annulus.
    fn radius_at(self, up: f32) -> f32 {
        let (_, u) = self.normalised(0.0, up);
        self.radius * (1.0 - u * u).max(0.0).sqrt()
    }
}

/// The left ventricle in the plane of the picture.
#[derive(Debug, Clone, Copy)]
pub(super) enum Section {
    /// Through the long axis: w across it, y from the apex to the annulus.
    Long {
        /// The annulus' y.
        annulus: f32,
        inner: Surface,
        outer: Surface,
        pericardium: Surface,
        /// 1 or −1: the side of the free wall that the pericardium lines.
        lined: f32,
    },
    /// Across it: circles around the axis, at w = y = 0.
    Short { inner: f32, outer: f32, pericardium: f32 },
}

impl Section {
    pub(super) fn long(chamber: Chamber, lined: f32) -> Self {
        Self::Long {
            annulus: chamber.cavity.length_mm as f32,
            inner: Surface::new(chamber, 0.0),
            outer: Surface::new(chamber, chamber.wall_mm),
            pericardium: Surface::new(chamber, chamber.wall_mm + PERICARDIUM_MM),
            lined,
        }
    }

    /// The cut `level_mm` from the apex, which stays in place while the base moves through the plane.
    pub(super) fn short(chamber: Chamber, level_mm: f64) -> Self {
        let up = (chamber.cavity.length_mm - level_mm) as f32;
        let radius = |outward| Surface::new(chamber, outward).radius_at(up);
        Self::Short {
            inner: radius(0.0),
            outer: radius(chamber.wall_mm),
            pericardium: radius(chamber.wall_mm + PERICARDIUM_MM),
        }
    }

    /// Whether the point lies on the apex' side of the annulus.
    pub(super) fn ventricular(&self, y: f32) -> bool {
        match self {
            Self::Long { annulus, .. } => *annulus - y >= 0.0,
            Self::Short { .. } => true,
        }
    }

    /// The ventricle's matter at a point, if it has any there.
    pub(super) fn matter(&self, w: f32, y: f32) -> Option<Matter> {
        match *self {
            Self::Long { annulus, inner, outer, pericardium, lined } => {
                let up = annulus - y;
                if up < 0.0 {
                    return None;
                }
                let within = inner.square(w, up);
                if within < 1.0 {
                    return Some(Matter::Cavity);
                }
                let without = outer.square(w, up);
                if without < 1.0 {
                    let (above, below) = (within.sqrt() - 1.0, 1.0 - without.sqrt());
                    return Some(Matter::Wall { depth: above / (above + below) });
                }
                (lined * w > 0.0 && pericardium.square(w, up) < 1.0).then_some(Matter::Pericardium)
            }
            Self::Short { inner, outer, pericardium } => {
                let square = w * w + y * y;
                if square < inner * inner {
                    return Some(Matter::Cavity);
                }
                if square < outer * outer {
                    return Some(Matter::Wall { depth: (square.sqrt() - inner) / (outer - inner) });
                }
                (y > 0.0 && square < pericardium * pericardium).then_some(Matter::Pericardium)
            }
        }
    }

    /// Where the muscle at a point of the wall lay in `rest`: equal depth in the wall, equal place along it.
    pub(super) fn material(&self, w: f32, y: f32, depth: f32, rest: &Self) -> (f32, f32) {
        match (*self, *rest) {
            (
                Self::Long { annulus, inner, outer, .. },
                Self::Long { inner: rest_inner, outer: rest_outer, .. },
            ) => {
                let (x, u) = inner.between(outer, depth).normalised(w, annulus - y);
                let then = rest_inner.between(rest_outer, depth);
                (x * then.radius, (u + CUT as f32) * then.semi_axis)
            }
            (Self::Short { inner, outer, .. }, Self::Short { inner: rest_inner, outer: rest_outer, .. }) => {
                let now = inner + depth * (outer - inner);
                let scale = (rest_inner + depth * (rest_outer - rest_inner)) / now.max(f32::MIN_POSITIVE);
                (w * scale, y * scale)
            }
            // One shape has one kind of section.
            (Self::Long { .. }, Self::Short { .. }) | (Self::Short { .. }, Self::Long { .. }) => (w, y),
        }
    }

    /// Area of a cut across the axis, mm²; 0 for one along it.
    pub(super) fn short_area_mm2(&self) -> f64 {
        match self {
            Self::Long { .. } => 0.0,
            Self::Short { inner, .. } => std::f64::consts::PI * f64::from(*inner) * f64::from(*inner),
        }
    }

    /// The annulus' y; the middle of a cut across.
    pub(super) fn annulus(&self) -> f32 {
        match self {
            Self::Long { annulus, .. } => *annulus,
            Self::Short { .. } => 0.0,
        }
    }
}
