//! The left ventricle as a solid with an exact volume.
//!
//! A prolate spheroid with semi-axes `a` (long) and `b`, cut [`CUT`]·a past its equator by the plane of the mitral
//! annulus; `u` runs from −1 at the apex to [`CUT`] at the base:
//!
//! ```text
//!      apex u = −1          V = π b² a (K − K³/3 + 2/3)
//!        ╭───╮              L = a (1 + K)
//!       ╱     ╲  b          plane area = 2 a b (F(K) − F(−1)),  F(u) = ½ (u √(1−u²) + asin u)
//!      │───────│ u = 0
//!       ╲_____╱  u = K, annulus
//! ```
//! The wall lies between this spheroid and one with b + h and L + 0.7 h; h keeps the wall's volume constant, because
//! muscle does not compress.

/// K: how far past the equator the annulus cuts, in units of the long semi-axis.
pub(crate) const CUT: f64 = 0.45;
/// Volume of the cut spheroid divided by π b² L.
const FILL: f64 = (CUT - CUT * CUT * CUT / 3.0 + 2.0 / 3.0) / (1.0 + CUT);
/// The outer surface is longer than the inner one by this share of the wall's thickness.
pub(crate) const APEX_WALL: f64 = 0.7;
/// Long-axis shortening at end systole, as a share of the ejection fraction (0..1).
const SHORTENING: f64 = 0.30;
const MM3_PER_ML: f64 = 1000.0;

/// A cut spheroid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spheroid {
    /// Apex to annulus, mm.
    pub(crate) length_mm: f64,
    /// Short semi-axis, mm.
    pub(crate) radius_mm: f64,
}

impl Spheroid {
    /// The spheroid of this length that holds exactly `volume_ml`.
    pub(crate) fn holding(volume_ml: f64, length_mm: f64) -> Self {
        let radius_mm = (volume_ml * MM3_PER_ML / (std::f64::consts::PI * FILL * length_mm)).sqrt();
        Self { length_mm, radius_mm }
    }

    pub(crate) fn volume_ml(self) -> f64 {
        std::f64::consts::PI * FILL * self.radius_mm * self.radius_mm * self.length_mm / MM3_PER_ML
    }

    /// Long semi-axis, mm.
    pub(crate) fn semi_axis_mm(self) -> f64 {
        self.length_mm / (1.0 + CUT)
    }

    /// Half the width, `depth_mm` below the apex (0 at the apex, the annulus' radius at `length_mm`).
    pub(crate) fn half_width_mm(self, depth_mm: f64) -> f64 {
        let u = depth_mm / self.semi_axis_mm() - 1.0;
        self.radius_mm * (1.0 - u * u).max(0.0).sqrt()
    }

    /// Area of the apical plane through the long axis, mm².
    pub(crate) fn plane_area_mm2(self) -> f64 {
        let primitive = |u: f64| 0.5 * (u * (1.0 - u * u).sqrt() + libm::asin(u));
        2.0 * self.semi_axis_mm() * self.radius_mm * (primitive(CUT) - primitive(-1.0))
    }
}

/// The ventricle through the cycle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ventricle {
    end_diastole: Spheroid,
    edv_ml: f64,
    esv_ml: f64,
    wall_ml: f64,
}

/// The ventricle at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chamber {
    pub(crate) cavity: Spheroid,
    /// Wall thickness at the equator, mm.
    pub(crate) wall_mm: f64,
}

/// What determines a ventricle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VentricleSize {
    pub(crate) edv_ml: f64,
    pub(crate) esv_ml: f64,
    /// Length over width of the cavity at end diastole.
    pub(crate) sphericity: f64,
    /// Wall thickness at end diastole, mm.
    pub(crate) wall_mm: f64,
}

impl Ventricle {
    pub(crate) fn new(size: VentricleSize) -> Self {
        // With b = L / (2 sphericity): V = π FILL L³ / (4 sphericity²).
        let cube = size.edv_ml * MM3_PER_ML * 4.0 * size.sphericity * size.sphericity
            / (std::f64::consts::PI * FILL);
        let end_diastole = Spheroid::holding(size.edv_ml, libm::cbrt(cube));
        let wall_ml = outer(end_diastole, size.wall_mm).volume_ml() - size.edv_ml;
        Self { end_diastole, edv_ml: size.edv_ml, esv_ml: size.esv_ml, wall_ml }
    }

    /// The ventricle when the share `emptied` (0..1) of its stroke volume has left.
    pub(crate) fn at(&self, emptied: f64) -> Chamber {
        let ejection_fraction = (self.edv_ml - self.esv_ml) / self.edv_ml;
        let volume_ml = self.edv_ml - emptied * (self.edv_ml - self.esv_ml);
        let length_mm = self.end_diastole.length_mm * (1.0 - SHORTENING * ejection_fraction * emptied);
        let cavity = Spheroid::holding(volume_ml, length_mm);
        Chamber { cavity, wall_mm: self.wall_thickness(cavity) }
    }

    /// Newton's method on (outer volume − cavity − wall volume); convex and increasing in h, so it converges.
    fn wall_thickness(&self, cavity: Spheroid) -> f64 {
        let target = cavity.volume_ml() + self.wall_ml;
        let mut wall_mm = 10.0;
        for _ in 0..8 {
            let surface = outer(cavity, wall_mm);
            let slope = std::f64::consts::PI
                * FILL
                * surface.radius_mm
                * (2.0 * surface.length_mm + APEX_WALL * surface.radius_mm)
                / MM3_PER_ML;
            wall_mm -= (surface.volume_ml() - target) / slope;
        }
        wall_mm
    }
}

/// The wall's outer surface.
fn outer(cavity: Spheroid, wall_mm: f64) -> Spheroid {
    Spheroid { length_mm: cavity.length_mm + APEX_WALL * wall_mm, radius_mm: cavity.radius_mm + wall_mm }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ventricle() -> Ventricle {
        Ventricle::new(VentricleSize { edv_ml: 120.0, esv_ml: 48.0, sphericity: 1.6, wall_mm: 9.0 })
    }

    /// Simpson's rule, exact for cubic polynomials.
    fn integral(steps: u32, from: f64, to: f64, of: impl Fn(f64) -> f64) -> f64 {
        let step = (to - from) / f64::from(steps);
        let panel = |i: u32| {
            let left = from + f64::from(i) * step;
            step / 6.0 * (of(left) + 4.0 * of(left + step / 2.0) + of(left + step))
        };
        (0..steps).map(panel).sum()
    }

    fn disc_mm2(cavity: Spheroid, y: f64) -> f64 {
        std::f64::consts::PI * cavity.half_width_mm(y).powi(2)
    }

    #[test]
    fn closed_forms_equal_numeric_integrals() {
        for emptied in [0.0, 0.4, 1.0] {
            let cavity = ventricle().at(emptied).cavity;
            let volume = integral(64, 0.0, cavity.length_mm, |y| disc_mm2(cavity, y)) / MM3_PER_ML;
            assert!((volume / cavity.volume_ml() - 1.0).abs() < 1e-11, "{volume}");
            // With u = sin φ the width has no vertical tangent at the apex.
            let (first, last) = (-std::f64::consts::FRAC_PI_2, libm::asin(CUT));
            let area = integral(2_000, first, last, |phi| {
                let depth = cavity.semi_axis_mm() * (1.0 + libm::sin(phi));
                2.0 * cavity.half_width_mm(depth) * cavity.semi_axis_mm() * libm::cos(phi)
            });
            assert!((area / cavity.plane_area_mm2() - 1.0).abs() < 1e-11, "{area}");
        }
    }

    /// The biplane sum of discs of the ASE (Lang 2015): twenty discs, each as wide as in its middle.
    #[test]
    fn twenty_discs_read_six_ten_thousandths_too_much() {
        for emptied in [0.0, 1.0] {
            let cavity = ventricle().at(emptied).cavity;
            let height = cavity.length_mm / 20.0;
            let discs: f64 =
                (0..20).map(|i| disc_mm2(cavity, (f64::from(i) + 0.5) * height) * height / MM3_PER_ML).sum();
            let ratio = discs / cavity.volume_ml();
            assert!((ratio - 1.0006).abs() < 1e-4, "{ratio}");
        }
    }

    #[test]
    fn the_cavity_holds_the_truth_and_the_wall_keeps_its_volume_as_it_thickens() {
        let ventricle = ventricle();
        assert!((ventricle.at(0.0).cavity.volume_ml() - 120.0).abs() < 1e-9);
        assert!((ventricle.at(1.0).cavity.volume_ml() - 48.0).abs() < 1e-9);
        assert!((ventricle.at(0.0).wall_mm - 9.0).abs() < 1e-9);
        assert!(ventricle.at(1.0).wall_mm > 12.0);
        for emptied in [0.0, 0.5, 1.0] {
            let Chamber { cavity, wall_mm } = ventricle.at(emptied);
            let wall_ml = outer(cavity, wall_mm).volume_ml() - cavity.volume_ml();
            assert!((wall_ml - ventricle.wall_ml).abs() < 1e-9);
        }
    }
}
