//! The slice through the heart: which matter lies where.
//!
//! Everything is placed in the ventricle's own frame, `y` mm from the apex along the long axis and `w` mm across
//! (positive towards the free wall), because the apex stays put while the annulus (y = L) rises towards it in systole:
//!
//! ```text
//!            apex y = 0
//!      RV   ╭─╮          A4C: RV and RA on the septal side (w < 0)
//!     ╱  │ ╱   ╲         A2C: left ventricle and left atrium only
//!    │   ││ LV  │ w → +
//!    ╰─v─┴╰─v v─╯ y = L  mitral and tricuspid leaflets (v)
//!     RA  │  LA
//!     ╰───┴────╯ roof    fixed
//! ```

use super::cycle::Phase;
use super::geometry::{APEX_WALL, CUT, Chamber, Ventricle};
use super::spec::{Heart, View};

/// Roof of the atria beyond the annulus at end diastole, mm.
const ATRIUM_MM: f32 = 40.0;
/// How far an atrium's ellipse reaches above the annulus that cuts it, so that it is wide at the valve, mm.
const ATRIUM_OVERLAP_MM: f32 = 6.0;
/// Thickness of the bright line around the free wall, mm.
const PERICARDIUM_MM: f64 = 1.5;
/// Half the thickness of a leaflet's stroke, mm.
const LEAFLET_MM: f32 = 0.55;

/// What lies at a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Matter {
    /// Inside the left ventricle.
    Cavity,
    /// In its wall, from 0 at the cavity to 1 at the outer surface.
    Wall {
        depth: f32,
    },
    Pericardium,
    /// Inside another chamber.
    Blood,
    /// Free wall of the right ventricle.
    RightWall,
    Tissue,
}

#[derive(Debug, Clone, Copy)]
struct Ellipse {
    w: f32,
    y: f32,
    half_width: f32,
    half_height: f32,
}

impl Ellipse {
    fn contains(self, w: f32, y: f32) -> bool {
        let (x, y) = ((w - self.w) / self.half_width, (y - self.y) / self.half_height);
        x * x + y * y < 1.0
    }

    fn grown(self, by: f32) -> Self {
        Self { half_width: self.half_width + by, half_height: self.half_height + by, ..self }
    }
}

/// A leaflet: a stroke from its hinge.
#[derive(Debug, Clone, Copy)]
struct Leaflet {
    hinge: (f32, f32),
    direction: (f32, f32),
    length: f32,
}

impl Leaflet {
    fn distance_squared(self, w: f32, y: f32) -> f32 {
        let (dw, dy) = (w - self.hinge.0, y - self.hinge.1);
        let along = (dw * self.direction.0 + dy * self.direction.1).clamp(0.0, self.length);
        let (dw, dy) = (dw - along * self.direction.0, dy - along * self.direction.1);
        dw * dw + dy * dy
    }
}

/// One spheroid surface in the form the point test needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surface {
    pub(crate) semi_axis: f32,
    pub(crate) radius: f32,
}

impl Surface {
    /// The cavity's own surface for 0, larger by the wall's growth law for `outward` mm.
    pub(crate) fn new(chamber: Chamber, outward: f64) -> Self {
        Self {
            semi_axis: ((chamber.cavity.length_mm + APEX_WALL * outward) / (1.0 + CUT)) as f32,
            radius: (chamber.cavity.radius_mm + outward) as f32,
        }
    }

    /// (x, u): below 1 in length inside, above outside. `up` is the distance from the annulus towards the apex.
    pub(crate) fn normalised(self, w: f32, up: f32) -> (f32, f32) {
        (w / self.radius, up / self.semi_axis - CUT as f32)
    }

    pub(crate) fn between(self, other: Self, share: f32) -> Self {
        let mix = |a: f32, b: f32| a + share * (b - a);
        Self { semi_axis: mix(self.semi_axis, other.semi_axis), radius: mix(self.radius, other.radius) }
    }
}

#[derive(Debug, Clone, Copy)]
struct RightHeart {
    ventricle: Ellipse,
    free_wall: Ellipse,
    atrium: Ellipse,
}

/// All outlines at one moment.
pub(crate) struct Outlines {
    /// Distance from the apex to the annulus at this moment, mm.
    pub(crate) annulus: f32,
    pub(crate) inner: Surface,
    pub(crate) outer: Surface,
    pericardium: Surface,
    atrium: Ellipse,
    right: Option<RightHeart>,
    leaflets: Vec<Leaflet>,
}

impl Outlines {
    pub(crate) fn matter(&self, w: f32, y: f32) -> Matter {
        let up = self.annulus - y;
        if up >= 0.0 {
            let square = |(x, u): (f32, f32)| x * x + u * u;
            let inner = square(self.inner.normalised(w, up));
            if inner < 1.0 {
                return Matter::Cavity;
            }
            let outer = square(self.outer.normalised(w, up));
            if outer < 1.0 {
                let (above, below) = (inner.sqrt() - 1.0, 1.0 - outer.sqrt());
                return Matter::Wall { depth: above / (above + below) };
            }
            if w > 0.0 && square(self.pericardium.normalised(w, up)) < 1.0 {
                return Matter::Pericardium;
            }
            return match self.right {
                Some(right) if right.ventricle.contains(w, y) => Matter::Blood,
                Some(right) if w < 0.0 && right.free_wall.contains(w, y) => Matter::RightWall,
                _ => Matter::Tissue,
            };
        }
        let right_atrium = self.right.is_some_and(|right| right.atrium.contains(w, y));
        if right_atrium || self.atrium.contains(w, y) { Matter::Blood } else { Matter::Tissue }
    }

    /// How much of a sample is leaflet: 1 on a stroke, falling off beyond its thickness.
    pub(crate) fn leaflet(&self, w: f32, y: f32) -> f32 {
        let nearest = self.leaflets.iter().map(|l| l.distance_squared(w, y)).fold(f32::INFINITY, f32::min);
        let ratio = nearest / (LEAFLET_MM * LEAFLET_MM * 1.5);
        1.0 / (1.0 + ratio * ratio)
    }
}

/// A heart in one view, ready to be outlined at any phase.
pub(crate) struct HeartShape {
    pub(crate) ventricle: Ventricle,
    view: View,
    ejection_fraction: f32,
    right_ejection: f32,
}

impl HeartShape {
    pub(crate) fn new(heart: Heart, view: View) -> Self {
        Self {
            ventricle: Ventricle::new(heart.size()),
            view,
            ejection_fraction: (heart.ef_percent / 100.0) as f32,
            right_ejection: (heart.right_ejection_percent / 100.0) as f32,
        }
    }

    pub(crate) fn outlines(&self, phase: Phase) -> Outlines {
        let (rest, chamber) = (self.ventricle.at(0.0), self.ventricle.at(phase.emptied));
        let emptied = phase.emptied as f32;
        let annulus = chamber.cavity.length_mm as f32;
        let rest_length = rest.cavity.length_mm as f32;
        let size = rest_length / 80.0;
        // Atria hang from the moving annulus under a fixed roof; their area grows by what the ventricle ejects.
        let roof = rest_length + ATRIUM_MM;
        let filling = 1.0 + 0.9 * self.ejection_fraction * emptied;
        let atrium = |w: f32, half_width: f32| {
            let half_height = 0.5 * (roof - annulus + ATRIUM_OVERLAP_MM);
            let rest_half_height = 0.5 * (ATRIUM_MM + ATRIUM_OVERLAP_MM);
            Ellipse {
                w,
                y: roof - half_height,
                half_width: half_width * filling * rest_half_height / half_height,
                half_height,
            }
        };
        let mut leaflets = Vec::with_capacity(4);
        // Shut leaflets bulge 8° towards the ventricle, open ones point 75° into it.
        let (sin, cos) =
            libm::sincosf((8.0 + 67.0 * phase.valve_opening as f32) * std::f32::consts::PI / 180.0);
        let mut valve = |left: f32, right: f32, lengths: (f32, f32)| {
            leaflets.push(Leaflet { hinge: (left, annulus), direction: (cos, -sin), length: lengths.0 });
            leaflets.push(Leaflet { hinge: (right, annulus), direction: (-cos, -sin), length: lengths.1 });
        };
        let ring = |chamber: Chamber| chamber.cavity.half_width_mm(chamber.cavity.length_mm) as f32;
        valve(-ring(chamber), ring(chamber), (1.12 * ring(rest), 0.82 * ring(rest)));
        let right = (self.view == View::A4c).then(|| {
            let septum = (rest.cavity.radius_mm + rest.wall_mm) as f32;
            let ventricle = Ellipse {
                w: -(septum + 1.0),
                y: 0.68 * rest_length,
                half_width: 19.0 * size * (1.0 - self.right_ejection * emptied).sqrt(),
                half_height: 0.48 * rest_length,
            };
            let down = (annulus - ventricle.y) / ventricle.half_height;
            let free = ventricle.w - ventricle.half_width * (1.0 - down * down).max(0.0).sqrt();
            let septal = -(chamber.wall_mm as f32) - ring(chamber);
            valve(free, septal, (0.55 * (septal - free), 0.55 * (septal - free)));
            RightHeart {
                ventricle,
                free_wall: ventricle.grown(4.0),
                atrium: atrium(-42.0 * size, 15.0 * size),
            }
        });
        Outlines {
            annulus,
            inner: Surface::new(chamber, 0.0),
            outer: Surface::new(chamber, chamber.wall_mm),
            pericardium: Surface::new(chamber, chamber.wall_mm + PERICARDIUM_MM),
            atrium: atrium(size, 19.0 * size),
            right,
            leaflets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::EchoSpec;
    use super::*;

    #[test]
    fn the_drawn_cavity_has_the_area_of_the_formula() {
        let heart = HeartShape::new(EchoSpec::sample(5).heart, View::A4c);
        for emptied in [0.0, 0.5, 1.0] {
            let outlines = heart.outlines(Phase { emptied, valve_opening: 0.0 });
            let step = 0.2_f32;
            let inside = (-300..300)
                .flat_map(|i| (-10..600).map(move |j| (i as f32 * step, j as f32 * step)))
                .filter(|&(w, y)| outlines.matter(w, y) == Matter::Cavity)
                .count();
            let area = inside as f64 * f64::from(step * step);
            let exact = heart.ventricle.at(emptied).cavity.plane_area_mm2();
            assert!((area / exact - 1.0).abs() < 2e-3, "{area} against {exact} mm² at {emptied}");
        }
    }

    #[test]
    fn four_chambers_in_a4c_and_two_in_a2c() {
        let closed = Phase { emptied: 0.0, valve_opening: 0.0 };
        for (view, right) in [(View::A4c, Matter::Blood), (View::A2c, Matter::Tissue)] {
            let heart = HeartShape::new(EchoSpec::sample(5).heart, view);
            let outlines = heart.outlines(closed);
            let rest = heart.ventricle.at(0.0);
            let annulus = rest.cavity.length_mm as f32;
            let septum = (rest.cavity.radius_mm + rest.wall_mm) as f32;
            assert_eq!(outlines.matter(0.0, 0.6 * annulus), Matter::Cavity);
            assert_eq!(outlines.matter(0.0, annulus + 20.0), Matter::Blood);
            assert_eq!(outlines.matter(-septum - 10.0, 0.7 * annulus), right);
            assert_eq!(outlines.matter(-40.0, annulus + 20.0), right);
            let between = outlines.matter(-(rest.cavity.radius_mm as f32) - 4.0, 0.69 * annulus);
            assert!(matches!(between, Matter::Wall { .. }), "septum, not {between:?}");
        }
    }
}
