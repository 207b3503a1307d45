//! Pillow's bicubic resize on 8-bit RGB, bit for bit (versions before 13).
//!
//! Source: Pillow `src/libImaging/Resample.c` (`precompute_coeffs`, `normalize_coeffs_8bpc`,
//! `ImagingResampleHorizontal_8bpc`). Keys kernel with a = -0.5, widened by the scale where the picture shrinks
//! (antialias). Weights are fixed point with 22 fractional bits; the horizontal pass runs first and its result is
//! rounded and clamped to 8 bits before the vertical pass. Other libraries (`image`, torchvision, fast_image_resize)
//! differ by 1 to 20 levels, which the model would see. Pillow 13 swaps the passes for some shapes
//! (python-pillow/Pillow#9549), up to 30 levels; the model was trained before that, so we do not.

use image::{ImageBuffer, Rgb, RgbImage};
use rayon::prelude::*;

const CHANNELS: usize = 3;
/// 32 bits minus 8 of the pixel minus 2 of head room for the kernel's overshoot.
const PRECISION_BITS: u32 = 32 - 8 - 2;
/// Half the kernel's width at scale 1.
const SUPPORT: f64 = 2.0;

/// Resizes to `width` × `height`, both at least 1. An unchanged size returns a copy.
pub fn resize_bicubic(source: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (source_width, source_height) = source.dimensions();
    let mut pixels = source.as_raw().clone();
    if width != source_width {
        pixels = horizontal(&pixels, source_width as usize, &Weights::new(source_width, width));
    }
    if height != source_height {
        pixels = vertical(&pixels, width as usize, &Weights::new(source_height, height));
    }
    ImageBuffer::<Rgb<u8>, _>::from_raw(width, height, pixels).unwrap_or_default()
}

/// For each output position, which inputs it mixes and how.
struct Weights(Vec<Window>);

struct Window {
    start: usize,
    weights: Vec<i32>,
}

impl Weights {
    fn new(from: u32, to: u32) -> Self {
        let scale = f64::from(from) / f64::from(to);
        let filter_scale = scale.max(1.0);
        let support = SUPPORT * filter_scale;
        let windows = (0..to).map(|out| {
            let centre = (f64::from(out) + 0.5) * scale;
            // C's conversion to int truncates; both ends are clamped to the picture.
            let first = ((centre - support + 0.5) as i64).max(0);
            let last = ((centre + support + 0.5) as i64).min(i64::from(from));
            let raw: Vec<f64> =
                (first..last).map(|x| keys((x as f64 - centre + 0.5) * (1.0 / filter_scale))).collect();
            let sum: f64 = raw.iter().sum();
            let norm = if sum == 0.0 { 1.0 } else { sum };
            let weights = raw.iter().map(|w| fixed(w / norm)).collect();
            Window { start: first as usize, weights }
        });
        Self(windows.collect())
    }
}

/// Keys' cubic convolution kernel, a = -0.5.
fn keys(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1u32 << PRECISION_BITS);
    if scaled < 0.0 { (scaled - 0.5) as i32 } else { (scaled + 0.5) as i32 }
}

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

const ROUND: i32 = 1 << (PRECISION_BITS - 1);

fn horizontal(pixels: &[u8], width: usize, weights: &Weights) -> Vec<u8> {
    let row_len = width * CHANNELS;
    let mut out = vec![0; pixels.len() / row_len * weights.0.len() * CHANNELS];
    out.par_chunks_mut(weights.0.len() * CHANNELS).zip(pixels.par_chunks(row_len)).for_each(|(out, row)| {
        for (pixel, window) in out.chunks_exact_mut(CHANNELS).zip(&weights.0) {
            let mut sums = [ROUND; CHANNELS];
            let inputs = row.chunks_exact(CHANNELS).skip(window.start);
            for (input, weight) in inputs.zip(&window.weights) {
                for (sum, value) in sums.iter_mut().zip(input) {
                    *sum += i32::from(*value) * weight;
                }
            }
            for (value, sum) in pixel.iter_mut().zip(sums) {
                *value = clip(sum);
            }
        }
    });
    out
}

fn vertical(pixels: &[u8], width: usize, weights: &Weights) -> Vec<u8> {
    let row_len = width * CHANNELS;
    let mut out = vec![0; weights.0.len() * row_len];
    out.par_chunks_mut(row_len).zip(&weights.0).for_each(|(out, window)| {
        let mut sums = vec![ROUND; row_len];
        let rows = pixels.chunks_exact(row_len).skip(window.start);
        for (row, weight) in rows.zip(&window.weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        for (value, sum) in out.iter_mut().zip(sums) {
            *value = clip(sum);
        }
    });
    out
}
