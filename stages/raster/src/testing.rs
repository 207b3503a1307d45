//! A synthetic loop for stage tests: one ventricle of known shape beats inside a speckled fan.
//!
//! It is no phantom of the heart; it has what the measurements look at: a fan, blood and wall, speckle, phases.

use schemas::{FrameNumber, Timing, TimingSource, View};
use stage::{ClipHeader, Frame, Image, MaskSource};

use crate::Kernel;

/// Share of a beat from the R wave until the ventricle begins to empty.
const EJECTION_BEGINS: f64 = 0.06;
/// Share of a beat at which it is emptiest.
const EJECTION_ENDS: f64 = 0.38;
/// Share of a beat at which it begins to fill.
const FILLING_BEGINS: f64 = 0.46;
/// Share of a beat at which it is full again.
const FILLING_ENDS: f64 = 0.80;
/// Of the ventricle's shortening, the part along its axis compared with that across.
const LONG_SHORTENING: f64 = 0.3;

/// What to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Loop {
    /// Height and width in pixels.
    pub side: u32,
    /// Number of frames.
    pub frames: u32,
    /// Frames per second.
    pub fps: f64,
    /// Seconds of a beat.
    pub beat_s: f64,
    /// Seconds from the first frame to the first R wave.
    pub first_r_s: f64,
    /// Shortening of the short axis at end-systole, 0 to 1. 0 stands still.
    pub shortening: f64,
    /// Gaussian blur of the picture in pixels.
    pub blur: f64,
    /// Added to every grey level inside the fan.
    pub gain: f64,
    /// Factor of the distance of each grey level from 110.
    pub contrast: f64,
    /// Share of the fan's width painted in colour.
    pub colour: f64,
    /// The same speckle in every frame and no movement.
    pub frozen: bool,
}

impl Default for Loop {
    fn default() -> Self {
        Self {
            side: 256,
            frames: 60,
            fps: 30.0,
            beat_s: 0.9,
            first_r_s: 0.2,
            shortening: 0.25,
            blur: 0.0,
            gain: 0.0,
            contrast: 1.0,
            colour: 0.0,
            frozen: false,
        }
    }
}

impl Loop {
    /// Ejection fraction of the drawn ventricle in percent: volume goes with the length and the square of the width.
    pub fn ef_percent(&self) -> f64 {
        let [across, along] = self.scale(EJECTION_ENDS);
        100.0 * (1.0 - across * across * along)
    }

    /// For each whole beat the first and last frame time, in frames counted from 0, of end-diastole and end-systole.
    pub fn phases(&self) -> Vec<[(f64, f64); 2]> {
        let frame = |beat: f64, share: f64| (self.first_r_s + (beat + share) * self.beat_s) * self.fps;
        (0..64)
            .map(f64::from)
            .take_while(|beat| frame(*beat, FILLING_BEGINS) < f64::from(self.frames) - 1.0)
            .map(|beat| {
                let full = (frame(beat, FILLING_ENDS - 1.0), frame(beat, EJECTION_BEGINS));
                [full, (frame(beat, EJECTION_ENDS), frame(beat, FILLING_BEGINS))]
            })
            .collect()
    }

    /// What the header of such a clip says: apical four-chamber, Frame Time, no R waves.
    pub fn header(&self) -> ClipHeader {
        ClipHeader {
            columns: self.side,
            rows: self.side,
            frames: self.frames,
            timing: Timing { source: TimingSource::FrameTime, fps: Some(self.fps) },
            frame_times_ms: (0..self.frames).map(|index| f64::from(index) * 1000.0 / self.fps).collect(),
            view: Some(View::A4C),
            heart_rate: None,
            r_waves_ms: Vec::new(),
            mm_per_pixel: None,
            b_mode: true,
            doppler: false,
            mask: MaskSource::Fan,
            visible: [0, 0, self.side, self.side],
            bright_outside: 0.0,
            synthetic: true,
            warnings: Vec::new(),
        }
    }

    /// Every frame.
    pub fn frames(&self) -> Vec<Frame> {
        (0..self.frames)
            .map(|index| Frame { number: FrameNumber::from_index(index), image: self.image(index) })
            .collect()
    }

    /// Width and length of the ventricle, relative to full, at a share of the beat.
    fn scale(&self, share: f64) -> [f64; 2] {
        let ease = |u: f64| {
            let u = u.clamp(0.0, 1.0);
            u * u * (3.0 - 2.0 * u)
        };
        let emptied = ease((share - EJECTION_BEGINS) / (EJECTION_ENDS - EJECTION_BEGINS));
        let filled = ease((share - FILLING_BEGINS) / (FILLING_ENDS - FILLING_BEGINS));
        let short = self.shortening * (emptied - filled);
        [1.0 - short, 1.0 - LONG_SHORTENING * short]
    }

    fn image(&self, index: u32) -> Image {
        let side = self.side as usize;
        let moving = if self.frozen { 0 } else { index };
        let time_s = f64::from(moving) / self.fps - self.first_r_s;
        let [across, along] = self.scale((time_s / self.beat_s).rem_euclid(1.0));
        let level = |pixel: usize| {
            let (x, y) = ((pixel % side) as f64 / side as f64, (pixel / side) as f64 / side as f64);
            if !in_fan(x, y) {
                return 0.0;
            }
            let ventricle =
                (((x - 0.5) / (0.13 * across)).powi(2) + ((y - 0.42) / (0.24 * along)).powi(2)) < 1.0;
            let atrium = ((x - 0.5) / 0.11).powi(2) + ((y - 0.83) / 0.08).powi(2) < 1.0;
            let tissue = if ventricle || atrium { 60.0 } else { 160.0 };
            let speckle = 34.0 * noise(pixel as u64) + 14.0 * noise(pixel as u64 + (u64::from(moving) << 32));
            (110.0 + self.contrast * (tissue + speckle - 110.0) + self.gain).clamp(0.0, 255.0)
        };
        let levels: Vec<f32> = (0..side * side).map(|pixel| level(pixel) as f32).collect();
        let levels = if self.blur > 0.0 { Kernel::new(self.blur).picture(&levels, side) } else { levels };
        let pixel = |(pixel, level): (usize, &f32)| {
            let (x, y) = ((pixel % side) as f64 / side as f64, (pixel / side) as f64 / side as f64);
            let coloured = self.colour > 0.0 && in_fan(x, y) && (x - 0.5).abs() < 0.5 * self.colour;
            if coloured { [255, level.round() as u8 / 2, 0] } else { [level.round() as u8; 3] }
        };
        Image {
            width: self.side,
            height: self.side,
            rgb: levels.iter().enumerate().flat_map(pixel).collect(),
        }
    }
}

/// A wedge of 76 degrees from the top to 0.95 of the height.
fn in_fan(x: f64, y: f64) -> bool {
    let (across, down) = (x - 0.5, y - 0.02);
    down > 0.0 && across.abs() < down * 0.78 && across.hypot(down) < 0.93
}

/// Noise from -1 to 1 by a hash (splitmix64), the same on every machine.
fn noise(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64 * 2.0 - 1.0
}
