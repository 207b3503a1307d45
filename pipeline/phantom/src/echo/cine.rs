//! One clip: frames rendered on demand, in any order, always the same.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::anatomy::Anatomy;
use super::beam::{BEAMS, Beam, Field, Receiver, SAMPLES, Sector};
use super::corruption::Effects;
use super::cycle::Cycle;
use super::overlay::Screen;
use super::scan::{Blur, HEIGHT, ScanConverter, WIDTH};
use super::spec::{EchoSpec, View};
use super::speckle::FreshPool;

/// Beat-to-beat variation of RR: standard deviation as a share of RR.
const RR_VARIATION: f64 = 0.02;

/// When the frames and the beats are.
pub(crate) struct Timing {
    pub(crate) frames: usize,
    /// Exact: microseconds, as the header can say.
    pub(crate) frame_ms: f64,
    pub(crate) cycle: Cycle,
}

impl Timing {
    fn new(spec: &EchoSpec, effects: &Effects, rng: &mut impl Rng) -> Self {
        let rate = effects.frame_rate.unwrap_or(spec.machine.frame_rate);
        let beats = effects.beats.unwrap_or(spec.machine.beats);
        let rr_ms = 60_000.0 / spec.heart.heart_rate;
        let frame_ms = (1e6 / rate).round() / 1e3;
        let frames = ((beats * rr_ms / frame_ms).round() as usize).max(2);
        // The first R wave inside the clip comes early, so that at least one whole beat follows it.
        let first_r_ms = rr_ms * (rng.random_range(0.05..0.40) - 1.0);
        let intervals: Vec<f64> = (0..beats.ceil() as usize + 3)
            .map(|_| {
                // Irwin and Hall: twelve uniform numbers make a standard normal one.
                let normal = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
                rr_ms * (1.0 + RR_VARIATION * normal.clamp(-2.5, 2.5))
            })
            .collect();
        Self { frames, frame_ms, cycle: Cycle::new(spec.heart.heart_rate, first_r_ms, intervals) }
    }

    /// Begin of the first to begin of the frame after the last.
    pub(crate) fn duration_ms(&self) -> f64 {
        self.frames as f64 * self.frame_ms
    }

    /// The frames (0-based) nearest to these times; times nearer to the frame after the last are left out.
    pub(crate) fn nearest_frames(&self, times_ms: &[f64]) -> Vec<usize> {
        let nearest = times_ms.iter().map(|t| (t / self.frame_ms).round() as usize);
        nearest.filter(|frame| *frame < self.frames).collect()
    }
}

/// The text a machine would burn in.
pub(crate) struct Annotation<'a> {
    pub(crate) name: &'a str,
    pub(crate) identity: &'a str,
}

/// A clip of one view.
pub(crate) struct Cine {
    pub(crate) timing: Timing,
    pub(crate) converter: ScanConverter,
    /// Snow instead of a sector: nothing is calibrated.
    pub(crate) snow: bool,
    seed: u64,
    view: View,
    live_frames: usize,
    anatomy: Anatomy,
    beam: Beam,
    fresh: FreshPool,
    blur: Option<Blur>,
    background: Screen,
    field: Field,
    polar: Vec<u8>,
    grey: Vec<u8>,
}

impl Cine {
    pub(crate) fn new(spec: &EchoSpec, view: View, annotation: &Annotation<'_>) -> Self {
        let effects = Effects::of(spec.corruption);
        let machine = spec.machine;
        let sector =
            Sector { depth_mm: machine.depth_mm, half_angle_rad: machine.half_angle_deg.to_radians() };
        let receiver = Receiver {
            frequency_mhz: machine.frequency_mhz,
            focus_mm: 0.6 * machine.depth_mm,
            gain_db: machine.gain_db + effects.gain_db,
            dynamic_range_db: machine.dynamic_range_db,
            noise_db: effects.noise_db.unwrap_or(machine.noise_db),
        };
        // Chance inside the heart does not depend on the corruption: the same heart, spoilt or not.
        let timing = Timing::new(spec, &effects, &mut chance(spec.seed, view, Purpose::Timing));
        let anatomy = Anatomy::new(
            spec,
            view,
            sector,
            effects.shadow_share,
            &mut chance(spec.seed, view, Purpose::Anatomy),
        );
        let converter = ScanConverter::new(sector);
        let mut background = Screen::black();
        let heart_rate = format!("HR {:.0} {}", spec.heart.heart_rate, view.name());
        let settings = format!("{:.0} MM {:.1} MHZ", machine.depth_mm, machine.frequency_mhz);
        background.annotate([annotation.name, annotation.identity], [&heart_rate, &settings]);
        background.electrocardiogram(&timing.cycle, timing.duration_ms());
        Self {
            live_frames: ((effects.live_share * timing.frames as f64).round() as usize).max(1),
            beam: Beam::new(sector, receiver, anatomy.texture()),
            fresh: FreshPool::new(&mut chance(spec.seed, view, Purpose::Fresh)),
            blur: (effects.blur_sigma_px > 0.0).then(|| Blur::new(&converter, effects.blur_sigma_px)),
            snow: effects.snow,
            seed: spec.seed,
            view,
            timing,
            converter,
            anatomy,
            background,
            field: Vec::with_capacity(SAMPLES * BEAMS),
            polar: Vec::with_capacity(SAMPLES * BEAMS),
            grey: vec![0; WIDTH * HEIGHT],
        }
    }

    /// Frame `index` (0-based) as the screen shows it.
    pub(crate) fn frame(&mut self, index: usize) -> Screen {
        let mut screen = self.background.clone();
        let shown = index.min(self.live_frames - 1);
        let mut rng = chance(self.seed, self.view, Purpose::Frame(shown as u32));
        if self.snow {
            snow(&mut rng, &mut self.grey);
            screen.fill_black(&self.grey);
        } else {
            let phase = self.timing.cycle.phase(shown as f64 * self.timing.frame_ms);
            self.anatomy.paint(phase, &self.fresh, &mut rng, &mut self.field);
            self.beam.image(&self.field, &self.fresh, &mut rng, &mut self.polar);
            self.converter.draw(&self.polar, &mut self.grey);
            if let Some(blur) = &self.blur {
                blur.apply(&self.converter, &mut self.grey);
            }
            for at in self.converter.indices() {
                screen.set_grey(at, self.grey[at]);
            }
        }
        screen.cursor(index as f64 / self.timing.frames as f64);
        screen
    }
}

/// Random dots of 2 × 2 pixels, a screen without a signal.
fn snow(rng: &mut impl RngCore, grey: &mut [u8]) {
    let mut dots = vec![0; WIDTH / 2 * HEIGHT / 2];
    rng.fill_bytes(&mut dots);
    for (at, grey) in grey.iter_mut().enumerate() {
        *grey = dots[(at / WIDTH / 2) * (WIDTH / 2) + (at % WIDTH) / 2];
    }
}

/// What chance is drawn for: each purpose has its own stream, so that one more draw here moves nothing there.
#[derive(Clone, Copy)]
enum Purpose {
    Timing,
    Anatomy,
    Fresh,
    Frame(u32),
}

fn chance(seed: u64, view: View, purpose: Purpose) -> ChaCha8Rng {
    let purpose = match purpose {
        Purpose::Timing => 1 << 32,
        Purpose::Anatomy => 2 << 32,
        Purpose::Fresh => 3 << 32,
        Purpose::Frame(index) => u64::from(index),
    };
    let view = match view {
        View::A4c => 1 << 48,
        View::A2c => 2 << 48,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(view | purpose);
    rng
}
