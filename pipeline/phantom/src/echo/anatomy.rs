//! The heart under the probe: how the matter at each sample of the sector scatters.
//!
//! Outlines come from [`outlines`](super::outlines); here each sample of the sector gets its scatterer.
//! Only the ventricle's wall carries its speckle along; the rest of the tissue shimmers in place.

use rand::{Rng, RngCore};

use super::beam::{BEAMS, Field, SAMPLES, Sector};
use super::colour::{self, ColourBox};
use super::corruption::Effects;
use super::cycle::Phase;
use super::outlines::{HeartShape, Matter};
use super::overlay::Rgb;
use super::spec::{EchoSpec, Echogenicity, View};
use super::speckle::{Complex, FRAME_CORRELATION, FreshPool, Texture};

/// Probe to apex at the centre of the sector, mm.
const APEX_DEPTH_MM: f64 = 18.0;
/// Skin, fat and muscle before the heart in a parasternal view, mm.
const CHEST_WALL_MM: f64 = 14.0;
/// The lobe of the liver that a subcostal view looks through, mm.
const LIVER_MM: f64 = 40.0;
const PERICARDIUM_DB: f64 = -3.0;
const LEAFLET_DB: f64 = -5.0;
const LIVER_ABOVE_TISSUE_DB: f64 = 2.5;
/// Reverberation at the probe: level, and the depth over which it falls by 1/e.
const CLUTTER_DB: f64 = -16.0;
const CLUTTER_MM: f64 = 14.0;
/// Velocity in the rings, cm/s, for each share of the stroke volume that passes in a millisecond: about 90 cm/s at most.
const JET_CM_S_MS: f64 = 1.2e4;
/// Peak velocity of the blood's slow rotation, cm/s.
const VORTEX_CM_S: f64 = 26.0;

/// Amplitudes of the kinds of matter.
struct Levels {
    blood: f32,
    wall: f32,
    tissue: f32,
    liver: f32,
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
            liver: amplitude(levels.tissue_db + LIVER_ABOVE_TISSUE_DB),
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

/// How the ventricle's frame lies under the probe.
#[derive(Debug, Clone, Copy)]
struct Placement {
    /// (lateral, depth) of the frame's origin, mm.
    origin: (f64, f64),
    /// From straight down to the long axis, counter-clockwise on the screen.
    tilt: f64,
    /// −1 where left and right are exchanged.
    side: f64,
}

impl Placement {
    /// Where a hand holds the probe for this view, and not quite the same way each time.
    fn of(heart: &HeartShape, view: View, side: f64, rng: &mut impl Rng) -> Self {
        let rest = heart.shown(0.0).cavity;
        match view {
            // The four-chamber slice makes room for the right heart.
            View::A4c => {
                let x = 10.0 + rng.random_range(-2.0..2.0);
                Self { origin: (x, APEX_DEPTH_MM), tilt: rng.random_range(-0.03_f64..0.05), side }
            }
            View::A2c => {
                let x = rng.random_range(-3.0..3.0);
                Self { origin: (x, APEX_DEPTH_MM), tilt: rng.random_range(-0.06_f64..0.06), side }
            }
            // The axis lies across the sector, the base in the middle, the apex out of sight on the left.
            View::Plax => {
                let tilt = std::f64::consts::FRAC_PI_2 + rng.random_range(-0.10..0.10);
                let base = 0.80 * rest.length_mm;
                let (sin, cos) = libm::sincos(tilt);
                let depth = CHEST_WALL_MM + heart.near_extent_mm() + rng.random_range(-2.0..2.0);
                Self { origin: (-base * sin, depth - base * cos), tilt, side }
            }
            View::Psax => {
                let depth = CHEST_WALL_MM + 0.82 * heart.near_extent_mm() + rng.random_range(-2.0..2.0);
                Self { origin: (8.0 + rng.random_range(-3.0..3.0), depth), tilt: 0.0, side }
            }
            // The plane of the four-chamber view turned clockwise: the apex to the right, the right heart under the
            // liver.
            View::Subcostal => {
                let tilt = -rng.random_range(0.95..1.15);
                let (sin, cos) = libm::sincos(tilt);
                let above = heart.near_extent_mm() + LIVER_MM + rng.random_range(-4.0..4.0);
                let along = 0.04 * rest.length_mm;
                // The probe stands at w = −above, y = along of the section.
                Self { origin: (above * cos - along * sin, -above * sin - along * cos), tilt, side }
            }
        }
    }

    /// (w, y) of a direction of the screen.
    fn turned(self, x: f64, z: f64) -> (f64, f64) {
        let (sin, cos) = libm::sincos(self.tilt);
        (self.side * x * cos - z * sin, self.side * x * sin + z * cos)
    }

    /// (w, y) of a place on the screen.
    fn place(self, x: f64, z: f64) -> (f64, f64) {
        self.turned(x - self.side * self.origin.0, z - self.origin.1)
    }
}

/// One moment of the heart under the probe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) phase: Phase,
    /// (lateral, depth) of the heart away from its place, mm.
    pub(crate) shift_mm: (f64, f64),
}

/// A heart under the probe, ready to be painted at any phase.
pub(crate) struct Anatomy {
    pub(crate) heart: HeartShape,
    levels: Levels,
    sector: Sector,
    placement: Placement,
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
        effects: &Effects,
        rng: &mut impl Rng,
    ) -> Self {
        let texture = Texture::new(rng, 2.5);
        let heart = HeartShape::new(spec.heart, view, effects.foreshortening);
        let side = if effects.mirrored { -1.0 } else { 1.0 };
        let placement = Placement::of(&heart, view, side, rng);
        let clutter = libm::exp10(effects.clutter_db.unwrap_or(CLUTTER_DB) / 20.0);
        let sites = (0..SAMPLES * BEAMS)
            .map(|index| {
                let (x, z) = sector.position_mm(index / BEAMS, index % BEAMS);
                let (w, y) = placement.place(x, z);
                let fade = clutter * libm::exp(-libm::hypot(x, z) / CLUTTER_MM);
                Site {
                    w: w as f32,
                    y: y as f32,
                    tissue: texture.at(x as f32, z as f32),
                    clutter: texture.at(x as f32 + 90.0, z as f32 + 120.0).map(|part| part * fade as f32),
                }
            })
            .collect();
        Self {
            heart,
            levels: Levels::new(spec.echogenicity),
            sector,
            placement,
            sites,
            transmission: shadows(effects.shadow_share, rng),
            texture,
        }
    }

    /// The homogeneous part of this heart's scatterers, for calibrating the beam.
    pub(crate) fn texture(&self) -> &Texture {
        &self.texture
    }

    /// Writes the scatterers of one moment to `field`.
    pub(crate) fn paint(&self, moment: Moment, fresh: &FreshPool, rng: &mut impl RngCore, field: &mut Field) {
        let rest = self.heart.outlines(Phase::REST);
        let outlines = self.heart.outlines(moment.phase);
        let (w, y) = self.placement.turned(moment.shift_mm.0, moment.shift_mm.1);
        let (shift_w, shift_y) = (w as f32, y as f32);
        let moved = moment.shift_mm != (0.0, 0.0);
        let (keep, renew) = (FRAME_CORRELATION.sqrt(), (1.0 - FRAME_CORRELATION).sqrt());
        field.clear();
        for (sample, row) in self.sites.chunks_exact(BEAMS).enumerate() {
            let fresh = fresh.draw(rng, BEAMS);
            for (beam, ((site, fresh), transmission)) in
                row.iter().zip(fresh).zip(&self.transmission).enumerate()
            {
                let (w, y) = (site.w - shift_w, site.y - shift_y);
                // The speckle of what surrounds the heart moves with it.
                let tissue = if moved {
                    let (x, z) = self.sector.position_mm(sample, beam);
                    self.texture.at((x - moment.shift_mm.0) as f32, (z - moment.shift_mm.1) as f32)
                } else {
                    site.tissue
                };
                let (level, fixed) = match outlines.matter(w, y) {
                    Matter::Cavity | Matter::Blood => (self.levels.blood, None),
                    Matter::Wall { depth } => {
                        // The same muscle at end diastole.
                        let (across, along) = outlines.material(w, y, depth, &rest);
                        (self.levels.wall, Some(self.texture.at(across, along)))
                    }
                    Matter::Pericardium => (self.levels.pericardium, Some(tissue)),
                    Matter::Muscle => (self.levels.wall, Some(tissue)),
                    Matter::Liver => (self.levels.liver, Some(tissue)),
                    Matter::Tissue => (self.levels.tissue, Some(tissue)),
                };
                let leaflet = self.levels.leaflet * outlines.leaflet(w, y);
                let echo = |k: usize| {
                    let matter =
                        fixed.map_or(level * fresh[k], |fixed| level * (keep * fixed[k] + renew * fresh[k]));
                    transmission * (matter + leaflet * tissue[k]) + site.clutter[k]
                };
                field.push([echo(0), echo(1)]);
            }
        }
    }

    /// The colours of the blood inside `window`, while the ventricle empties at `emptying_per_ms`, written to `flow`.
    ///
    /// A stand-in for a flow field: a jet along the long axis through each ring, as fast as the ventricle fills or
    /// empties, and a standing vortex.
    pub(crate) fn flow(
        &self,
        moment: Moment,
        emptying_per_ms: f64,
        window: ColourBox,
        flow: &mut Vec<Option<Rgb>>,
    ) {
        let outlines = self.heart.outlines(moment.phase);
        let (shift_w, shift_y) = self.placement.turned(moment.shift_mm.0, moment.shift_mm.1);
        let jet_cm_s = -JET_CM_S_MS * emptying_per_ms;
        flow.clear();
        flow.extend(self.sites.iter().enumerate().map(|(index, site)| {
            let (sample, beam) = (index / BEAMS, index % BEAMS);
            if !window.contains(sample, beam) {
                return None;
            }
            let (w, y) = (site.w - shift_w as f32, site.y - shift_y as f32);
            if !matches!(outlines.matter(w, y), Matter::Cavity | Matter::Blood) {
                return None;
            }
            let (w, y) = (f64::from(w), f64::from(y));
            let across = 0.45 + 0.55 * libm::cos(w / 7.0);
            let along = libm::exp(-(y - f64::from(outlines.annulus())).abs() / 45.0);
            let vortex = VORTEX_CM_S * libm::sin(w / 9.0 + 0.8) * libm::cos(y / 13.0);
            let grain = 5.0 * f64::from(site.tissue[0]);
            let towards = libm::cos(self.placement.side * self.sector.angle_rad(beam) - self.placement.tilt);
            colour::hue(towards * (jet_cm_s * across * along + vortex) + grain)
        }));
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
        Anatomy::new(&spec, view, sector, &Effects::NONE, &mut ChaCha8Rng::seed_from_u64(5))
    }

    #[test]
    fn the_sector_shows_the_whole_cavity() {
        for view in [View::A4c, View::A2c] {
            let spec = EchoSpec::sample(5);
            let sector = Sector { depth_mm: spec.machine.depth_mm, half_angle_rad: 0.7 };
            let anatomy = anatomy(view);
            let outlines = anatomy.heart.outlines(Phase::REST);
            let area: f64 = anatomy
                .sites
                .iter()
                .enumerate()
                .filter(|(_, site)| outlines.matter(site.w, site.y) == Matter::Cavity)
                .map(|(i, _)| {
                    sector.range_mm(i / BEAMS) * sector.beam_step_rad() * sector.depth_mm / SAMPLES as f64
                })
                .sum();
            let exact = anatomy.heart.cavity_area_mm2(0.0);
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
