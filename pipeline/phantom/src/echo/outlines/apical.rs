//! The planes through the long axis that show the atria below it: A4C, A2C, and the subcostal four-chamber view, which
//! is the plane of the A4C seen through the liver.
//!
//! ```text
//!            apex y = 0
//!      RV   ╭─╮          A4C: RV and RA on the septal side (w < 0)
//!     ╱  │ ╱   ╲         A2C: left ventricle and left atrium only
//!    │   ││ LV  │ w → +  subcostal: liver beyond the right heart (w < −60)
//!    ╰─v─┴╰─v v─╯ y = L  mitral and tricuspid leaflets (v)
//!     RA  │  LA
//!     ╰───┴────╯ roof    fixed
//! ```

use super::section::Section;
use super::shape::{Ellipse, Part, Shape, Side};
use super::{HeartShape, Matter, Outlines, Strokes, ring};
use crate::echo::cycle::Phase;
use crate::echo::spec::View;

/// Roof of the atria beyond the annulus at end diastole, mm.
const ATRIUM_MM: f32 = 40.0;
/// How far an atrium's ellipse reaches above the annulus that cuts it, so that it is wide at the valve, mm.
const ATRIUM_OVERLAP_MM: f32 = 6.0;
/// Thickness of the right ventricle's wall, mm.
const RIGHT_WALL_MM: f32 = 4.0;
/// Half-width of the right ventricle and the place of its atrium, for a heart 80 mm long.
const RIGHT_HALF_WIDTH_MM: f32 = 19.0;
/// Pericardium and fat between right heart and liver, mm.
const LIVER_GAP_MM: f32 = 5.0;

/// How far the right heart reaches from the long axis, mm: where the liver begins.
pub(super) fn liver_border_mm(heart: &HeartShape) -> f32 {
    let rest = heart.shown(0.0);
    let septum = (rest.cavity.radius_mm + rest.wall_mm) as f32;
    let size = rest.cavity.length_mm as f32 / 80.0;
    septum + 1.0 + RIGHT_HALF_WIDTH_MM * size + RIGHT_WALL_MM + LIVER_GAP_MM
}

pub(super) fn outlines(heart: &HeartShape, phase: Phase) -> Outlines {
    let (rest, chamber) = (heart.shown(0.0), heart.shown(phase.emptied));
    let emptied = phase.emptied as f32;
    let annulus = chamber.cavity.length_mm as f32;
    let rest_length = rest.cavity.length_mm as f32;
    let size = rest_length / 80.0;
    // Atria hang from the moving annulus under a fixed roof; their area grows by what the ventricle ejects.
    let roof = rest_length + ATRIUM_MM;
    let filling = 1.0 + 0.9 * heart.ejection_fraction * emptied;
    let atrium = |w: f32, half_width: f32| {
        let half_height = 0.5 * (roof - annulus + ATRIUM_OVERLAP_MM);
        let rest_half_height = 0.5 * (ATRIUM_MM + ATRIUM_OVERLAP_MM);
        let ellipse = Ellipse {
            w,
            y: roof - half_height,
            half_width: half_width * filling * rest_half_height / half_height,
            half_height,
        };
        Part::ellipse(ellipse, Side::Atrial, Matter::Blood)
    };
    let mut strokes = Strokes::default();
    strokes.valve(annulus, [-ring(chamber), ring(chamber)], [1.12 * ring(rest), 0.82 * ring(rest)], phase);
    let mut parts = vec![atrium(size, 19.0 * size)];
    if heart.view != View::A2c {
        let septum = (rest.cavity.radius_mm + rest.wall_mm) as f32;
        let ventricle = Ellipse {
            w: -(septum + 1.0),
            y: 0.68 * rest_length,
            half_width: RIGHT_HALF_WIDTH_MM * size * (1.0 - heart.right_ejection * emptied).sqrt(),
            half_height: 0.48 * rest_length,
        };
        let down = (annulus - ventricle.y) / ventricle.half_height;
        let free = ventricle.w - ventricle.half_width * (1.0 - down * down).max(0.0).sqrt();
        let septal = -(chamber.wall_mm as f32) - ring(chamber);
        strokes.valve(annulus, [free, septal], [0.55 * (septal - free); 2], phase);
        parts.push(atrium(-42.0 * size, 15.0 * size));
        parts.push(Part::ellipse(ventricle, Side::Ventricular, Matter::Blood));
        parts.push(Part::ellipse(ventricle.grown(RIGHT_WALL_MM), Side::Ventricular, Matter::Muscle));
    }
    if heart.view == View::Subcostal {
        let border = -liver_border_mm(heart);
        // Hepatic veins, and the bright line of diaphragm and pericardium.
        let vein = |w, y, half_width, half_height| {
            Part::ellipse(Ellipse { w, y, half_width, half_height }, Side::Both, Matter::Blood)
        };
        parts.push(vein(border - 20.0, 0.75 * rest_length, 3.0, 16.0));
        parts.push(vein(border - 33.0, 0.2 * rest_length, 3.5, 5.0));
        parts.push(vein(border - 13.0, 0.05 * rest_length, 2.0, 7.0));
        let beyond = |w, matter| Part { shape: Shape::Beyond { w }, side: Side::Both, matter };
        parts.push(beyond(border - 1.5, Matter::Liver));
        parts.push(beyond(border, Matter::Pericardium));
    }
    Outlines::new(Section::long(chamber, 1.0), Vec::new(), parts, strokes)
}
