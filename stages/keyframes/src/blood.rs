//! The pixels of the fan over time, and the ventricular blood signal A(t): how much of the ventricles' depth is blood,
//! frame by frame.
//!
//! Blood is dark and wall is bright, so the mean of a soft threshold over the part of the fan where the ventricles lie
//! rises and falls with their area. The atria lie below and beat in antiphase: the signal of the whole fan misses a
//! third of the events.

use raster::{Kernel, Mask, fan, histogram, otsu};

use crate::{
    cine::Cine,
    drift::{Drift, moved_back},
};

/// Spatial smoothing in pixels of a plane 128 high.
const SIGMA_XY: f64 = 1.2;
/// Temporal smoothing in seconds.
const SIGMA_T_S: f64 = 0.018;
/// Temporal smoothing in frames where timing is unknown: the same at 30 frames a second.
const SIGMA_T_FRAMES: f64 = 0.54;
/// What the fan loses at its edge: half of a 5 by 5 square.
const EDGE: usize = 2;
/// Depths, as share of the fan's height, between which the ventricles lie in an apical view.
const VENTRICLES: std::ops::Range<f64> = 0.12..0.60;
/// Width of the soft threshold as share of the threshold, and at least so many grey levels.
const SOFTNESS: (f64, f64) = (0.12, 2.0);
/// Steps of the table of the soft threshold in one grey level.
const STEPS: usize = 8;
/// Pixels smoothed over time at once: of 600 frames, a megabyte.
const BLOCK: usize = 512;

/// The smoothed pixels of the fan, frame after frame.
#[derive(Debug)]
pub(crate) struct Samples {
    /// The fan on the cine's planes.
    pub(crate) fan: Mask,
    /// Index in a plane of each sample of a frame.
    pixels: Vec<usize>,
    /// For each frame, each pixel in turn.
    stack: Vec<f32>,
    /// The grey level between blood and tissue.
    pub(crate) threshold: f64,
}

impl Samples {
    /// Smooths the clip in space and time, drift undone; none where no fan or no two classes can be seen.
    pub(crate) fn of(cine: &Cine, fps: Option<f64>, drift: Option<&Drift>) -> Option<Self> {
        let fan = fan(&cine.brightest());
        let inner = fan.eroded(EDGE);
        let pixels: Vec<usize> =
            inner.inside().iter().enumerate().filter_map(|(index, inside)| inside.then_some(index)).collect();
        if pixels.is_empty() {
            return None;
        }
        let spatial = Kernel::new(SIGMA_XY);
        let mut levels = [0_u64; 256];
        let mut stack: Vec<f32> = Vec::with_capacity(pixels.len() * cine.planes.len());
        for (index, plane) in cine.planes.iter().enumerate() {
            let raw: Vec<f32> = plane.samples().iter().map(|sample| f32::from(*sample)).collect();
            let mut smooth = spatial.picture(&raw, plane.width());
            if let Some(offset) = drift.and_then(|drift| drift.offsets.get(index)) {
                smooth = moved_back(&smooth, plane.width(), *offset);
            }
            let from = stack.len();
            stack.extend(pixels.iter().filter_map(|pixel| smooth.get(*pixel)));
            let levels_here = stack.get(from..).unwrap_or_default();
            let counts = histogram(levels_here.iter().map(|level| (level + 0.5) as u8));
            levels.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let threshold = f64::from(otsu(&levels)?.threshold);
        let temporal = Kernel::new(fps.map_or(SIGMA_T_FRAMES, |fps| SIGMA_T_S * fps));
        smooth_over_time(&mut stack, pixels.len(), &temporal);
        Some(Self { fan, pixels, stack, threshold })
    }

    /// The samples of each frame, of equal number.
    pub(crate) fn frames(&self) -> std::slice::ChunksExact<'_, f32> {
        self.stack.chunks_exact(self.pixels.len().max(1))
    }

    /// A(t): the share of blood, 0 to 1, at the ventricles' depth.
    pub(crate) fn ventricular_blood(&self) -> Vec<f64> {
        let Some(bounds) = self.fan.bounds() else { return Vec::new() };
        let width = self.fan.width();
        let depth = |index: usize| ((index / width) as f64 - bounds.top as f64) / bounds.height as f64;
        self.blood_where(|index| VENTRICLES.contains(&depth(index)))
    }

    /// The share of blood, 0 to 1, for each frame among the fan's pixels that `chosen` names.
    pub(crate) fn blood_where(&self, chosen: impl Fn(usize) -> bool) -> Vec<f64> {
        let table = self.occupancy_table();
        // Pixels in reading order, so that those of a row are one run.
        let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
        let wanted = self.pixels.iter().enumerate().filter(|(_, pixel)| chosen(**pixel));
        for (position, _) in wanted {
            match runs.last_mut() {
                Some(run) if run.end == position => run.end += 1,
                _ => runs.push(position..position + 1),
            }
        }
        let count: usize = runs.iter().map(ExactSizeIterator::len).sum();
        let share = |frame: &[f32]| {
            let blood: f64 = runs
                .iter()
                .filter_map(|run| frame.get(run.clone()))
                .flatten()
                .map(|level| f64::from(occupied(&table, *level)))
                .sum();
            blood / count.max(1) as f64
        };
        self.frames().map(share).collect()
    }

    /// G = X Xᵀ of the samples without each pixel's mean, row by row, divided by the number of pixels.
    pub(crate) fn into_gram(mut self) -> Vec<f64> {
        let count = self.pixels.len().max(1);
        let frames = self.stack.len() / count;
        let mut mean = vec![0.0_f32; count];
        for frame in self.stack.chunks_exact(count) {
            mean.iter_mut().zip(frame).for_each(|(sum, sample)| *sum += sample);
        }
        for sum in &mut mean {
            *sum /= frames as f32;
        }
        for frame in self.stack.chunks_exact_mut(count) {
            frame.iter_mut().zip(&mean).for_each(|(sample, mean)| *sample -= mean);
        }
        let mut gram = vec![0.0; frames * frames];
        for (i, one) in self.stack.chunks_exact(count).enumerate() {
            for (j, other) in self.stack.chunks_exact(count).enumerate().take(i + 1) {
                let product = product(one, other) / count as f64;
                for at in [i * frames + j, j * frames + i] {
                    if let Some(slot) = gram.get_mut(at) {
                        *slot = product;
                    }
                }
            }
        }
        gram
    }

    fn occupancy_table(&self) -> Vec<f32> {
        let softness = (SOFTNESS.0 * self.threshold).max(SOFTNESS.1);
        let occupied = |step: usize| {
            let level = step as f64 / STEPS as f64;
            (1.0 / (1.0 + ((level - self.threshold) / softness).exp())) as f32
        };
        (0..=255 * STEPS).map(occupied).collect()
    }
}

fn occupied(table: &[f32], level: f32) -> f32 {
    table.get((level * STEPS as f32 + 0.5) as usize).copied().unwrap_or_default()
}

/// Smooths each pixel of `stack` (frames of `count` pixels) over time, block by block to spare memory.
fn smooth_over_time(stack: &mut [f32], count: usize, kernel: &Kernel) {
    for from in (0..count).step_by(BLOCK) {
        let width = BLOCK.min(count - from);
        let block: Vec<f32> = stack
            .chunks_exact(count)
            .flat_map(|frame| frame.iter().skip(from).take(width))
            .copied()
            .collect();
        let smooth = kernel.down(&block, width);
        for (frame, row) in stack.chunks_exact_mut(count).zip(smooth.chunks_exact(width)) {
            frame.iter_mut().skip(from).zip(row).for_each(|(sample, smooth)| *sample = *smooth);
        }
    }
}

/// The scalar product: `f32` in lanes over short stretches, their sums in `f64`.
fn product(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 16;
    const STRETCH: usize = 16 * LANES;
    let stretch = |(a, b): (&[f32], &[f32])| {
        let (lanes_a, rest_a) = a.as_chunks::<LANES>();
        let (lanes_b, rest_b) = b.as_chunks::<LANES>();
        let mut sums = [0.0_f32; LANES];
        for (a, b) in lanes_a.iter().zip(lanes_b) {
            for lane in 0..LANES {
                sums[lane] += a[lane] * b[lane];
            }
        }
        let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
        sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() + f64::from(rest)
    };
    a.chunks(STRETCH).zip(b.chunks(STRETCH)).map(stretch).sum()
}
