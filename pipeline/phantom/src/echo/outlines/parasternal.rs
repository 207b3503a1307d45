//! The parasternal planes.
//!
//! ```text
//!  PLAX, the axis from left to right              PSAX, across the axis at the papillary muscles
//!       RV outflow                                     ╭──────╮
//!   ───────────────┬─ aortic wall                     │ RV ╭──┴─╮
//!     septum       v  aorta     w → up                 ╰──┤ LV  │ w → right
//!   LV          ───┼─ aortic wall                         │ o o │ y ↓
//!    posterior  v  │  LA                                   ╰────╯ papillary muscles (o)
//!   ───────────────╯
//! ```
//! In the PLAX w > 0 is anterior, towards the probe.

use super::section::Section;
use super::shape::{Ellipse, Part, Shape, Side, Stroke};
use super::{HeartShape, Matter, Outlines, Strokes, ring};
use crate::echo::cycle::Phase;

/// Diameter of the aortic root, mm, for a heart 80 mm long.
const AORTA_MM: f32 = 22.0;
/// Rise of the aorta towards the probe per mm of its way.
const AORTA_SLOPE: f32 = 0.12;
/// Shown length of the aortic walls, mm.
const AORTA_LENGTH_MM: f32 = 60.0;
const RIGHT_WALL_MM: f32 = 4.0;
/// Half-height of the right ventricular outflow tract, mm.
const OUTFLOW_MM: f32 = 9.5;
/// Where the short axis is cut, as a share of the way from the apex to the annulus at end diastole.
const SHORT_AXIS_LEVEL: f64 = 0.55;

/// From the axis to the outside of the right ventricle's anterior wall, mm.
pub(super) fn anterior_extent_mm(heart: &HeartShape) -> f32 {
    let rest = heart.shown(0.0);
    (rest.cavity.radius_mm + rest.wall_mm) as f32 + 2.0 * OUTFLOW_MM + RIGHT_WALL_MM
}

pub(super) fn long_axis(heart: &HeartShape, phase: Phase) -> Outlines {
    let (rest, chamber) = (heart.shown(0.0), heart.shown(phase.emptied));
    let emptied = phase.emptied as f32;
    let annulus = chamber.cavity.length_mm as f32;
    let rest_length = rest.cavity.length_mm as f32;
    let size = rest_length / 80.0;
    let edge = ring(chamber);
    // The annulus holds two doors: the aorta in front, the mitral valve behind it.
    let (front, back) = (edge, edge - AORTA_MM * size);

    let mut strokes = Strokes::default();
    let mitral = [-edge, back];
    strokes.valve(annulus, mitral, [0.55 * (back + edge), 1.05 * (back + edge)], phase);
    let slant = (1.0 + AORTA_SLOPE * AORTA_SLOPE).sqrt();
    let along = (AORTA_SLOPE / slant, 1.0 / slant);
    for w in [front, back] {
        strokes.push(Stroke { hinge: (w, annulus), direction: along, length: AORTA_LENGTH_MM * size });
    }
    // Aortic cusps lie along the walls while blood is ejected and close across the root.
    let half = 0.5 * AORTA_MM * size;
    let (sin, cos) = libm::sincosf(phase.aortic_opening as f32 * 1.25);
    for (w, inward) in [(front, -1.0), (back, 1.0)] {
        let hinge = (w + 2.0 * AORTA_SLOPE, annulus + 2.0);
        strokes.push(Stroke { hinge, direction: (inward * cos, sin.max(0.12)), length: half });
    }

    let filling = (1.0 + 0.9 * heart.ejection_fraction * emptied).sqrt();
    let roof = rest_length + 42.0 * size;
    let half_height = 0.5 * (roof - annulus + 4.0);
    let left_atrium = Ellipse {
        w: back - 1.5 - 17.0 * size * filling,
        y: roof - half_height,
        half_width: 17.0 * size * filling,
        half_height,
    };
    let outflow = Ellipse {
        w: (rest.cavity.radius_mm + rest.wall_mm) as f32 + OUTFLOW_MM + 1.0,
        y: 0.82 * rest_length,
        half_width: OUTFLOW_MM * (1.0 - 0.7 * heart.right_ejection * emptied).sqrt(),
        half_height: 46.0 * size,
    };
    let aorta = Shape::Tube { from: back, to: front, slope: AORTA_SLOPE, annulus };
    let descending = Ellipse::circle(left_atrium.w - 17.0 * size * filling - 15.0, rest_length + 14.0, 9.0);
    let parts = vec![
        Part { shape: aorta, side: Side::Atrial, matter: Matter::Blood },
        Part::ellipse(left_atrium, Side::Atrial, Matter::Blood),
        Part::ellipse(left_atrium.grown(1.5), Side::Atrial, Matter::Muscle),
        Part::ellipse(outflow, Side::Both, Matter::Blood),
        Part::ellipse(outflow.grown(RIGHT_WALL_MM), Side::Both, Matter::Muscle),
        Part::ellipse(descending, Side::Both, Matter::Blood),
    ];
    Outlines::new(Section::long(chamber, -1.0), Vec::new(), parts, strokes)
}

pub(super) fn short_axis(heart: &HeartShape, phase: Phase) -> Outlines {
    let (rest, chamber) = (heart.shown(0.0), heart.shown(phase.emptied));
    let emptied = phase.emptied as f32;
    let section = short_section(heart, phase.emptied);
    let size = rest.cavity.length_mm as f32 / 80.0;
    let outer = (rest.cavity.radius_mm + rest.wall_mm) as f32;
    let shrunk = (1.0 - heart.right_ejection * emptied).sqrt();
    // A crescent: the left ventricle covers the rest of this ellipse.
    let right = Ellipse {
        w: -0.62 * outer,
        y: -0.42 * outer,
        half_width: 31.0 * size * shrunk,
        half_height: 27.0 * size * shrunk,
    };
    let parts = vec![
        Part::ellipse(right, Side::Both, Matter::Blood),
        Part::ellipse(right.grown(RIGHT_WALL_MM), Side::Both, Matter::Muscle),
    ];
    // Papillary muscles at four and eight o'clock, as long as the wall is near.
    let radius = chamber.cavity.radius_mm as f32;
    let thickness = 4.6 * size * (chamber.wall_mm / rest.wall_mm).sqrt() as f32;
    let papillary = |angle: f32| {
        let (sin, cos) = libm::sincosf(angle);
        let way = radius - 0.9 * thickness;
        Part::ellipse(Ellipse::circle(way * cos, way * sin, thickness), Side::Both, Matter::Muscle)
    };
    Outlines::new(section, vec![papillary(0.55), papillary(2.5)], parts, Strokes::default())
}

/// The cut that [`short_axis`] shows.
pub(super) fn short_section(heart: &HeartShape, emptied: f64) -> Section {
    let level_mm = SHORT_AXIS_LEVEL * heart.shown(0.0).cavity.length_mm;
    Section::short(heart.shown(emptied), level_mm)
}
