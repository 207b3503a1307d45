//! One clip: frames rendered on demand, in any order, always the same.

use std::collections::VecDeque;

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::anatomy::{Anatomy, Moment};
use super::beam::{BEAMS, Beam, Field, Receiver, SAMPLES, Sector};
use super::colour::{self, ColourBox};
use super::corruption::{Colour, Effects};
use super::cycle::Cycle;
use super::overlay::{Rgb, Screen};
use super::respiration::Respiration;
use super::scan::{Blur, HEIGHT, ScanConverter, WIDTH};
use super::spec::{EchoSpec, Omission, View};
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
    pub(crate) fn new(spec: &EchoSpec, effects: &Effects, rng: &mut impl Rng) -> Self {
        let rate = effects.frame_rate.unwrap_or(spec.machine.frame_rate);
        let beats = effects.beats.unwrap_or(spec.machine.beats);
        let rr_ms = 60_000.0 / spec.heart.heart_rate;
        let frame_ms = (1e6 / rate).round() / 1e3;
        let frames = ((beats * rr_ms / frame_ms).round() as usize).max(2);
        // The first R wave inside the clip comes early, so that at least one whole beat follows it.
        let first_r_ms = rr_ms * (rng.random_range(0.05..0.40) - 1.0);
        let variation = effects.rr_variation.unwrap_or(RR_VARIATION);
        let intervals: Vec<f64> = (0..beats.ceil() as usize + 3)
            .map(|_| {
                // Irwin and Hall: twelve uniform numbers make a standard normal one.
                let normal = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
                rr_ms * (1.0 + variation * normal.clamp(-2.5, 2.5))
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

/// What a clip shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Take {
    pub(crate) view: View,
    /// Takes of one study differ by their number, 1-based; the same number is the same take.
    pub(crate) number: u16,
    pub(crate) effects: Effects,
}

/// A clip of one view.
pub(crate) struct Cine {
    pub(crate) take: Take,
    pub(crate) timing: Timing,
    pub(crate) sector: Sector,
    pub(crate) converter: ScanConverter,
    seed: u64,
    live_frames: usize,
    anatomy: Anatomy,
    respiration: Option<Respiration>,
    beam: Beam,
    fresh: FreshPool,
    blur: Option<Blur>,
    background: Screen,
    has_ecg: bool,
    field: Field,
    /// Polar pictures of the latest frames, each with its index.
    recent: VecDeque<(usize, Vec<u8>)>,
    mean: Vec<u8>,
    flow: Vec<Option<Rgb>>,
    grey: Vec<u8>,
}

impl Cine {
    pub(crate) fn new(spec: &EchoSpec, take: Take, annotation: &Annotation<'_>) -> Self {
        let Take { view, number, effects } = take;
        let machine = spec.machine;
        let depth_mm = view.depth_mm(&machine);
        let sector = Sector { depth_mm, half_angle_rad: machine.half_angle_deg.to_radians() };
        let receiver = Receiver {
            frequency_mhz: machine.frequency_mhz,
            focus_mm: 0.6 * depth_mm,
            gain_db: machine.gain_db + effects.gain_db,
            dynamic_range_db: machine.dynamic_range_db,
            noise_db: effects.noise_db.unwrap_or(machine.noise_db),
        };
        // Chance inside the heart does not depend on the corruption: the same heart, spoilt or not.
        let chance = |purpose| chance(spec.seed, number, purpose);
        let timing = Timing::new(spec, &effects, &mut chance(Purpose::Timing));
        let anatomy = Anatomy::new(spec, view, sector, &effects, &mut chance(Purpose::Anatomy));
        let respiration = (effects.respiration_mm > 0.0).then(|| {
            Respiration::new(effects.respiration_mm, timing.duration_ms(), &mut chance(Purpose::Respiration))
        });
        let converter = ScanConverter::new(sector);
        let mut background = Screen::black();
        let view_name = if spec.omits(Omission::View) { "" } else { view.name() };
        let title = if spec.omits(Omission::HeartRate) {
            view_name.to_owned()
        } else {
            format!("HR {:.0} {view_name}", spec.heart.heart_rate)
        };
        let settings = format!("{:.0} MM {:.1} MHZ", depth_mm, machine.frequency_mhz);
        background.annotate([annotation.name, annotation.identity], [&title, &settings]);
        if !spec.omits(Omission::Ecg) {
            background.electrocardiogram(&timing.cycle, timing.duration_ms());
        }
        if effects.colour != Colour::None {
            colour::scale(&mut background);
        }
        Self {
            live_frames: ((effects.live_share * timing.frames as f64).round() as usize).max(1),
            beam: Beam::new(sector, receiver, anatomy.texture()),
            fresh: FreshPool::new(&mut chance(Purpose::Fresh)),
            blur: (effects.blur_sigma_px > 0.0).then(|| Blur::new(&converter, effects.blur_sigma_px)),
            seed: spec.seed,
            take,
            timing,
            sector,
            converter,
            anatomy,
            respiration,
            background,
            has_ecg: !spec.omits(Omission::Ecg),
            field: Vec::with_capacity(SAMPLES * BEAMS),
            recent: VecDeque::new(),
            mean: Vec::new(),
            flow: Vec::new(),
            grey: vec![0; WIDTH * HEIGHT],
        }
    }

    /// Snow instead of a sector: nothing is calibrated.
    pub(crate) fn snow(&self) -> bool {
        self.take.effects.snow
    }

    /// Areas in cm² of the left ventricle as the plane shows it, at end diastole and at end systole.
    pub(crate) fn ventricle_areas_cm2(&self) -> [f64; 2] {
        [0.0, 1.0].map(|emptied| self.anatomy.heart.cavity_area_mm2(emptied) / 100.0)
    }

    /// Frame `index` (0-based) as the screen shows it.
    pub(crate) fn frame(&mut self, index: usize) -> Screen {
        let mut screen = self.background.clone();
        let shown = index.min(self.live_frames - 1);
        if self.snow() {
            snow(&mut chance(self.seed, self.take.number, Purpose::Frame(shown as u32)), &mut self.grey);
            screen.fill_black(&self.grey);
        } else {
            self.average(shown);
            self.converter.draw(&self.mean, &mut self.grey);
            if let Some(blur) = &self.blur {
                blur.apply(&self.converter, &mut self.grey);
            }
            for at in self.converter.indices() {
                screen.set_grey(at, self.grey[at]);
            }
            if self.take.effects.colour != Colour::None {
                let (moment, t_ms) = self.moment(shown);
                let emptying = self.timing.cycle.emptying_per_ms(t_ms);
                self.anatomy.flow(moment, emptying, ColourBox::VALVES, &mut self.flow);
                colour::paint(&self.converter, &self.flow, ColourBox::VALVES, &mut screen);
            }
        }
        if self.has_ecg {
            screen.cursor(index as f64 / self.timing.frames as f64);
        }
        screen
    }

    /// Writes the mean of the polar pictures around frame `index` to `self.mean`; mostly of that one alone.
    fn average(&mut self, index: usize) {
        let count = self.take.effects.averaged_frames;
        let first = index.saturating_sub(count / 2);
        let window = first..(first + count).min(self.timing.frames).max(index + 1);
        self.recent.retain(|(at, _)| window.contains(at));
        let mut sums = vec![0_u16; SAMPLES * BEAMS];
        for at in window.clone() {
            if !self.recent.iter().any(|(known, _)| *known == at) {
                let polar = self.echo(at);
                self.recent.push_back((at, polar));
            }
        }
        for (_, polar) in &self.recent {
            sums.iter_mut().zip(polar).for_each(|(sum, grey)| *sum += u16::from(*grey));
        }
        let frames = window.len() as u16;
        self.mean.clear();
        self.mean.extend(sums.into_iter().map(|sum| ((sum + frames / 2) / frames) as u8));
    }

    /// The polar picture of one frame.
    pub(crate) fn echo(&mut self, index: usize) -> Vec<u8> {
        let mut rng = chance(self.seed, self.take.number, Purpose::Frame(index as u32));
        let (moment, _) = self.moment(index);
        let mut polar = Vec::with_capacity(SAMPLES * BEAMS);
        self.anatomy.paint(moment, &self.fresh, &mut rng, &mut self.field);
        self.beam.image(&self.field, &self.fresh, &mut rng, &mut polar);
        polar
    }

    /// The heart at frame `index`, and its time in ms.
    fn moment(&self, index: usize) -> (Moment, f64) {
        let t_ms = index as f64 * self.timing.frame_ms;
        let shift_mm = self.respiration.map_or((0.0, 0.0), |respiration| respiration.shift_mm(t_ms));
        (Moment { phase: self.timing.cycle.phase(t_ms), shift_mm }, t_ms)
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
pub(crate) enum Purpose {
    Timing,
    Anatomy,
    Fresh,
    Respiration,
    Frame(u32),
}

pub(crate) fn chance(seed: u64, take: u16, purpose: Purpose) -> ChaCha8Rng {
    let purpose = match purpose {
        Purpose::Timing => 1 << 32,
        Purpose::Anatomy => 2 << 32,
        Purpose::Fresh => 3 << 32,
        Purpose::Respiration => 4 << 32,
        Purpose::Frame(index) => u64::from(index),
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((u64::from(take) << 48) | purpose);
    rng
}
