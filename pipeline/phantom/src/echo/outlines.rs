//! The slice through the heart: which matter lies where.
//!
//! Everything is placed in the section's own frame. In the planes through the long axis that is `y` mm from the apex along
//! the axis and `w` mm across it, because the apex stays put while the annulus (y = L) rises towards it in systole; across
//! the axis it is the distance from the axis. The left ventricle is cut exactly in every view ([`section`]); what lies
//! around it is drawn ([`apical`], [`parasternal`]).

mod apical;
mod parasternal;
mod section;
mod shape;

use super::cycle::Phase;
use super::geometry::{Chamber, Ventricle};
use super::spec::{Heart, View};
use section::Section;
use shape::{Part, Stroke};

/// Half the thickness of a leaflet's stroke, mm.
const LEAFLET_MM: f32 = 0.55;
/// Beyond this distance a leaflet is not seen, mm.
const LEAFLET_REACH_MM: f32 = 6.0;

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
    /// Inside another chamber or a vessel.
    Blood,
    /// The right ventricle's wall, papillary muscles.
    Muscle,
    Liver,
    Tissue,
}

/// Leaflets and thin walls, and the rectangle outside of which there are none.
#[derive(Debug, Default)]
struct Strokes {
    all: Vec<Stroke>,
    /// Least and greatest w, least and greatest y.
    bounds: Option<[f32; 4]>,
}

impl Strokes {
    fn push(&mut self, stroke: Stroke) {
        let (hinge, end) = (stroke.hinge, stroke.end());
        let [left, right, top, bottom] = self.bounds.unwrap_or([hinge.0, hinge.0, hinge.1, hinge.1]);
        self.bounds = Some([
            left.min(hinge.0).min(end.0),
            right.max(hinge.0).max(end.0),
            top.min(hinge.1).min(end.1),
            bottom.max(hinge.1).max(end.1),
        ]);
        self.all.push(stroke);
    }

    /// An atrioventricular valve with its hinges at these w. Shut leaflets bulge 8° towards the ventricle, open ones point
    /// 75° into it.
    fn valve(&mut self, annulus: f32, [from, to]: [f32; 2], lengths: [f32; 2], phase: Phase) {
        let (sin, cos) =
            libm::sincosf((8.0 + 67.0 * phase.valve_opening as f32) * std::f32::consts::PI / 180.0);
        self.push(Stroke { hinge: (from, annulus), direction: (cos, -sin), length: lengths[0] });
        self.push(Stroke { hinge: (to, annulus), direction: (-cos, -sin), length: lengths[1] });
    }
}

/// All outlines at one moment.
pub(crate) struct Outlines {
    section: Section,
    /// Seen inside the cavity.
    inside: Vec<Part>,
    /// Around the left ventricle, the first that holds a point fills it.
    around: Vec<Part>,
    strokes: Strokes,
}

impl Outlines {
    fn new(section: Section, inside: Vec<Part>, around: Vec<Part>, strokes: Strokes) -> Self {
        Self { section, inside, around, strokes }
    }

    pub(crate) fn matter(&self, w: f32, y: f32) -> Matter {
        let ventricular = self.section.ventricular(y);
        let first = |parts: &[Part]| {
            parts.iter().find(|part| part.contains(w, y, ventricular)).map(|part| part.matter)
        };
        match self.section.matter(w, y) {
            Some(Matter::Cavity) => first(&self.inside).unwrap_or(Matter::Cavity),
            Some(matter) => matter,
            None => first(&self.around).unwrap_or(Matter::Tissue),
        }
    }

    /// Where the muscle at a point of the wall lay in `rest`, mm.
    pub(crate) fn material(&self, w: f32, y: f32, depth: f32, rest: &Self) -> (f32, f32) {
        self.section.material(w, y, depth, &rest.section)
    }

    /// How much of a sample is leaflet: 1 on a stroke, falling off beyond its thickness.
    pub(crate) fn leaflet(&self, w: f32, y: f32) -> f32 {
        let near = self.strokes.bounds.is_some_and(|[left, right, top, bottom]| {
            w > left - LEAFLET_REACH_MM
                && w < right + LEAFLET_REACH_MM
                && y > top - LEAFLET_REACH_MM
                && y < bottom + LEAFLET_REACH_MM
        });
        if !near {
            return 0.0;
        }
        let distance = |stroke: &Stroke| stroke.distance_squared(w, y);
        let nearest = self.strokes.all.iter().map(distance).fold(f32::INFINITY, f32::min);
        let ratio = nearest / (LEAFLET_MM * LEAFLET_MM * 1.5);
        1.0 / (1.0 + ratio * ratio)
    }

    /// The annulus' y, mm.
    pub(crate) fn annulus(&self) -> f32 {
        self.section.annulus()
    }
}

/// A heart in one view, ready to be outlined at any phase.
pub(crate) struct HeartShape {
    ventricle: Ventricle,
    view: View,
    /// Shown length of the left ventricle over its true one.
    shown_length: f64,
    ejection_fraction: f32,
    right_ejection: f32,
}

impl HeartShape {
    /// `foreshortening`: the share of the left ventricle's length that the plane misses.
    pub(crate) fn new(heart: Heart, view: View, foreshortening: f64) -> Self {
        Self {
            ventricle: Ventricle::new(heart.size()),
            view,
            shown_length: 1.0 - foreshortening,
            ejection_fraction: (heart.ef_percent / 100.0) as f32,
            right_ejection: (heart.right_ejection_percent / 100.0) as f32,
        }
    }

    /// The left ventricle as a plane through the long axis shows it when the share `emptied` (0..1) of its stroke volume
    /// has left.
    pub(crate) fn shown(&self, emptied: f64) -> Chamber {
        let mut chamber = self.ventricle.at(emptied);
        chamber.cavity.length_mm *= self.shown_length;
        chamber
    }

    /// Area of the cavity in the plane of this view, mm².
    pub(crate) fn cavity_area_mm2(&self, emptied: f64) -> f64 {
        match self.view {
            View::Psax => parasternal::short_section(self, emptied).short_area_mm2(),
            View::A4c | View::A2c | View::Plax | View::Subcostal => {
                self.shown(emptied).cavity.plane_area_mm2()
            }
        }
    }

    /// How far the heart reaches from the long axis towards the probe of a parasternal or subcostal view, mm.
    pub(crate) fn near_extent_mm(&self) -> f64 {
        f64::from(match self.view {
            View::Subcostal => apical::liver_border_mm(self),
            View::A4c | View::A2c | View::Plax | View::Psax => parasternal::anterior_extent_mm(self),
        })
    }

    pub(crate) fn outlines(&self, phase: Phase) -> Outlines {
        match self.view {
            View::A4c | View::A2c | View::Subcostal => apical::outlines(self, phase),
            View::Plax => parasternal::long_axis(self, phase),
            View::Psax => parasternal::short_axis(self, phase),
        }
    }
}

/// Radius of the annulus, mm.
fn ring(chamber: Chamber) -> f32 {
    chamber.cavity.half_width_mm(chamber.cavity.length_mm) as f32
}

#[cfg(test)]
mod tests {
    use super::super::spec::EchoSpec;
    use super::*;

    fn shape(view: View) -> HeartShape {
        HeartShape::new(EchoSpec::sample(5).heart, view, 0.0)
    }

    /// Matter over a square of 240 mm, every `STEP` mm.
    const STEP: f32 = 0.2;
    fn raster(outlines: &Outlines) -> impl Iterator<Item = Matter> {
        (-600..600)
            .flat_map(|i| (-600..600).map(move |j| (i as f32 * STEP, j as f32 * STEP)))
            .map(|(w, y)| outlines.matter(w, y))
    }

    #[test]
    fn the_drawn_cavity_has_the_area_of_the_formula_in_every_view() {
        for view in View::ALL {
            let heart = shape(view);
            for emptied in [0.0, 0.5, 1.0] {
                let mut outlines = heart.outlines(Phase { emptied, ..Phase::REST });
                outlines.inside.clear();
                let inside = raster(&outlines).filter(|matter| *matter == Matter::Cavity).count();
                let area = inside as f64 * f64::from(STEP * STEP);
                let exact = heart.cavity_area_mm2(emptied);
                assert!(
                    (area / exact - 1.0).abs() < 2e-3,
                    "{view:?}: {area} against {exact} mm² at {emptied}"
                );
            }
        }
    }

    #[test]
    fn four_chambers_in_a4c_and_two_in_a2c() {
        for (view, right) in [(View::A4c, Matter::Blood), (View::A2c, Matter::Tissue)] {
            let heart = shape(view);
            let outlines = heart.outlines(Phase::REST);
            let rest = heart.shown(0.0);
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

    #[test]
    fn each_view_shows_what_it_is_known_by() {
        let share = |view, matter| {
            let outlines = shape(view).outlines(Phase::REST);
            raster(&outlines).filter(|found| *found == matter).count() as f32 * STEP * STEP / 100.0
        };
        assert!(share(View::Subcostal, Matter::Liver) > 20.0, "a lobe of the liver");
        assert_eq!(share(View::A4c, Matter::Liver), 0.0);
        let papillary = share(View::Psax, Matter::Muscle);
        let outlines = shape(View::Psax).outlines(Phase::REST);
        assert_eq!(outlines.inside.len(), 2, "two papillary muscles");
        assert!(papillary > 2.0, "{papillary} cm² of muscle");
        // PLAX: from the annulus the aorta leads away in front, the atrium lies behind.
        let heart = shape(View::Plax);
        let outlines = heart.outlines(Phase::REST);
        let rest = heart.shown(0.0);
        let annulus = rest.cavity.length_mm as f32;
        assert_eq!(outlines.matter(0.5 * ring(rest), annulus + 25.0), Matter::Blood, "aorta");
        assert_eq!(outlines.matter(-0.7 * ring(rest), annulus + 20.0), Matter::Blood, "left atrium");
        let outflow = (rest.cavity.radius_mm + rest.wall_mm) as f32 + 9.0;
        assert_eq!(outlines.matter(outflow, 0.8 * annulus), Matter::Blood, "right ventricular outflow");
    }

    #[test]
    fn muscle_keeps_its_place_in_the_wall() {
        for view in View::ALL {
            let heart = shape(view);
            let (rest, now) =
                (heart.outlines(Phase::REST), heart.outlines(Phase { emptied: 1.0, ..Phase::REST }));
            let (w, y) = (-600..600)
                .map(|i| (i as f32 * 0.1, if view == View::Psax { 0.0 } else { 45.0 }))
                .find(|(w, y)| matches!(now.matter(*w, *y), Matter::Wall { depth } if depth > 0.4))
                .unwrap();
            let Matter::Wall { depth } = now.matter(w, y) else { panic!("{view:?}") };
            let (w, along) = now.material(w, y, depth, &rest);
            let y = if view == View::Psax { along } else { rest.annulus() - along };
            let then = rest.matter(w, y);
            assert!(
                matches!(then, Matter::Wall { depth: d } if (d - depth).abs() < 0.05),
                "{view:?}: {then:?}"
            );
        }
    }
}
