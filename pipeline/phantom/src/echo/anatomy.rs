//! The heart under the probe: how the matter at each sample of the sector scatters.
//!
//! Outlines come from [`outlines`](super::outlines); here each sample of the sector gets its scatterer.
//! Only the ventricle's wall carries its speckle along; the rest of the tissue shimmers in place.

use rand::{Rng, RngCore};

use super::beam::{BEAMS, Field, SAMPLES, Sector};
use super::cycle::Phase;
use super::geometry::CUT;
use super::outlines::{HeartShape, Matter, Surface};
use super::spec::{EchoSpec, Echogenicity, View};
use super::speckle::{Complex, FRAME_CORRELATION, FreshPool, Texture};

/// Probe to apex at the centre of the sector, mm.
const APEX_DEPTH_MM: f64 = 18.0;
const PERICARDIUM_DB: f64 = -3.0;
const LEAFLET_DB: f64 = -5.0;
/// Reverberation at the probe: level, and the depth over which it falls by 1/e.
const CLUTTER_DB: f64 = -16.0;
const CLUTTER_MM: f64 = 14.0;

/// Amplitudes of the kinds of matter.
struct Levels {
    blood: f32,
    wall: f32,
    tissue: f32,
    pericardium: f32,
    leaflet: f32,
}

impl Levels {
    fn new(levels: Echogenicity) -> Self {
        let amplitude = |db: f64| libm::exp10(db / 20.0) as f32;
        Self {
            blood: amplitude(levels.blood_db),
            wall: amplitude(levels.wall_db),
            tissue: amplitude(levels.tissue_db),
            pericardium: amplitude(PERICARDIUM_DB),
            leaflet: amplitude(LEAFLET_DB),
        }
    }
}

/// A sample of the sector in the ventricle's frame, with what never changes there.
struct Site {
    w: f32,
    y: f32,
    tissue: Complex,
    clutter: Complex,
}

/// A heart under the probe, ready to be painted at any phase.
pub(crate) struct Anatomy {
    heart: HeartShape,
    levels: Levels,
    sites: Vec<Site>,
    /// Transmission of each beam, 1 without a shadow.
    transmission: Vec<f32>,
    texture: Texture,
}

impl Anatomy {
    pub(crate) fn new(
        spec: &EchoSpec,
        view: View,
        sector: Sector,
        shadow_share: f64,
        rng: &mut impl Rng,
    ) -> Self {
        let texture = Texture::new(rng, 2.5);
        // The four-chamber slice makes room for the right heart; both are tilted a little, as hands are.
        let (apex_x, tilt) = match view {
            View::A4c => (10.0 + rng.random_range(-2.0..2.0), rng.random_range(-0.03_f64..0.05)),
            View::A2c => (rng.random_range(-3.0..3.0), rng.random_range(-0.06_f64..0.06)),
        };
        let (sin, cos) = libm::sincos(tilt);
        let sites = (0..SAMPLES * BEAMS)
            .map(|index| {
                let (x, z) = sector.position_mm(index / BEAMS, index % BEAMS);
                let (dx, dz) = (x - apex_x, z - APEX_DEPTH_MM);
                let fade = libm::exp10(CLUTTER_DB / 20.0) * libm::exp(-libm::hypot(x, z) / CLUTTER_MM);
                Site {
                    w: (dx * cos - dz * sin) as f32,
                    y: (dx * sin + dz * cos) as f32,
                    tissue: texture.at(x as f32, z as f32),
                    clutter: texture.at(x as f32 + 90.0, z as f32 + 120.0).map(|part| part * fade as f32),
                }
            })
            .collect();
        Self {
            heart: HeartShape::new(spec.heart, view),
            levels: Levels::new(spec.echogenicity),
            sites,
            transmission: shadows(shadow_share, rng),
            texture,
        }
    }

    /// The homogeneous part of this heart's scatterers, for calibrating the beam.
    pub(crate) fn texture(&self) -> &Texture {
        &self.texture
    }

    /// Writes the scatterers of one moment to `field`.
    pub(crate) fn paint(&self, phase: Phase, fresh: &FreshPool, rng: &mut impl RngCore, field: &mut Field) {
        let rest = self.heart.ventricle.at(0.0);
        let (rest_inner, rest_outer) = (Surface::new(rest, 0.0), Surface::new(rest, rest.wall_mm));
        let outlines = self.heart.outlines(phase);
        let (keep, renew) = (FRAME_CORRELATION.sqrt(), (1.0 - FRAME_CORRELATION).sqrt());
        field.clear();
        for row in self.sites.chunks_exact(BEAMS) {
            let fresh = fresh.draw(rng, BEAMS);
            for ((site, fresh), transmission) in row.iter().zip(fresh).zip(&self.transmission) {
                let (level, fixed) = match outlines.matter(site.w, site.y) {
                    Matter::Cavity | Matter::Blood => (self.levels.blood, None),
                    Matter::Wall { depth } => {
                        // The same muscle at end diastole: equal depth in the wall, equal place along it.
                        let (x, u) = outlines
                            .inner
                            .between(outlines.outer, depth)
                            .normalised(site.w, outlines.annulus - site.y);
                        let then = rest_inner.between(rest_outer, depth);
                        let scatterer = self.texture.at(x * then.radius, (u + CUT as f32) * then.semi_axis);
                        (self.levels.wall, Some(scatterer))
                    }
                    Matter::Pericardium => (self.levels.pericardium, Some(site.tissue)),
                    Matter::RightWall => (self.levels.wall, Some(site.tissue)),
                    Matter::Tissue => (self.levels.tissue, Some(site.tissue)),
                };
                let near_valve = (outlines.annulus - 36.0..outlines.annulus + 6.0).contains(&site.y);
                let leaflet =
                    if near_valve { self.levels.leaflet * outlines.leaflet(site.w, site.y) } else { 0.0 };
                let echo = |k: usize| {
                    let matter =
                        fixed.map_or(level * fresh[k], |fixed| level * (keep * fixed[k] + renew * fresh[k]));
                    transmission * (matter + leaflet * site.tissue[k]) + site.clutter[k]
                };
                field.push([echo(0), echo(1)]);
            }
        }
    }
}

/// Shadows of ribs and lost contact over `share` of the beams, in up to three soft-edged bands 30 dB deep.
fn shadows(share: f64, rng: &mut impl Rng) -> Vec<f32> {
    const BANDS: usize = 3;
    const DEPTH_DB: f64 = -30.0;
    const EDGE_BEAMS: f64 = 2.0;
    let half_width = share * BEAMS as f64 / (2 * BANDS) as f64;
    let room = BEAMS as f64 / BANDS as f64;
    // One band in each third of the sector, so that they never overlap and the share is exact.
    let centres: Vec<f64> = (0..BANDS)
        .map(|band| (band as f64 + 0.5) * room + (room / 2.0 - half_width) * rng.random_range(-1.0..1.0))
        .collect();
    (0..BEAMS)
        .map(|beam| {
            let shade = centres
                .iter()
                .map(|centre| {
                    ((half_width - (beam as f64 - centre).abs()) / EDGE_BEAMS + 0.5).clamp(0.0, 1.0)
                })
                .fold(0.0, f64::max);
            let shade = if share > 0.0 { shade } else { 0.0 };
            libm::exp10(DEPTH_DB * shade / 20.0) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn anatomy(view: View) -> Anatomy {
        let spec = EchoSpec::sample(5);
        let sector = Sector { depth_mm: spec.machine.depth_mm, half_angle_rad: 0.7 };
        Anatomy::new(&spec, view, sector, 0.0, &mut ChaCha8Rng::seed_from_u64(5))
    }

    #[test]
    fn the_sector_shows_the_whole_cavity() {
        for view in [View::A4c, View::A2c] {
            let spec = EchoSpec::sample(5);
            let sector = Sector { depth_mm: spec.machine.depth_mm, half_angle_rad: 0.7 };
            let anatomy = anatomy(view);
            let outlines = anatomy.heart.outlines(Phase { emptied: 0.0, valve_opening: 0.0 });
            let area: f64 = anatomy
                .sites
                .iter()
                .enumerate()
                .filter(|(_, site)| outlines.matter(site.w, site.y) == Matter::Cavity)
                .map(|(i, _)| {
                    sector.range_mm(i / BEAMS) * sector.beam_step_rad() * sector.depth_mm / SAMPLES as f64
                })
                .sum();
            let exact = anatomy.heart.ventricle.at(0.0).cavity.plane_area_mm2();
            assert!((0.975..1.005).contains(&(area / exact)), "{view:?}: {}", area / exact);
        }
    }

    #[test]
    fn shadows_cover_the_share_asked_for() {
        for share in [0.0, 0.3, 0.6] {
            let transmission = shadows(share, &mut ChaCha8Rng::seed_from_u64(9));
            let dark = transmission.iter().filter(|&&t| t < 0.2).count() as f64 / BEAMS as f64;
            assert!((dark - share).abs() < 0.06, "{dark} of {share}");
        }
    }
}
