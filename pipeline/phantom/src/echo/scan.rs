//! Scan conversion: the polar sector drawn on the machine's screen, and the blur that can spoil it there.
//!
//! ```text
//!   x 0 ─────────── 320 ─────────── 640
//! y 0    text            PHANTOM
//!   46              ╱╲  probe
//!                 ╱    ╲            the fan is always FAN_RADIUS_PX high; mm per pixel follow from the depth
//!  432          ╰────────╯
//!  438   electrocardiogram
//!  480
//! ```

use super::beam::{BEAMS, SAMPLES, Sector};

/// Columns of the screen.
pub(crate) const WIDTH: usize = 640;
/// Rows of the screen.
pub(crate) const HEIGHT: usize = 480;
/// Where the probe is drawn.
pub(crate) const PROBE_X: usize = 320;
/// Row of the probe: the text is above.
pub(crate) const PROBE_Y: usize = 46;
/// Depth of the sector in pixels.
pub(crate) const FAN_RADIUS_PX: usize = 386;

/// One pixel of the fan: where it is, and which four polar samples it mixes (weights in 1/256).
struct Pixel {
    screen: u32,
    polar: u32,
    beyond: u16,
    beside: u16,
}

/// The fan on the screen.
pub(crate) struct ScanConverter {
    pixels: Vec<Pixel>,
    /// Columns from the probe's to the fan's edge.
    pub(crate) half_width_px: usize,
    pub(crate) mm_per_pixel: f64,
}

impl ScanConverter {
    pub(crate) fn new(sector: Sector) -> Self {
        let mm_per_pixel = sector.depth_mm / FAN_RADIUS_PX as f64;
        let samples_per_mm = SAMPLES as f64 / sector.depth_mm;
        let half_width_px =
            ((FAN_RADIUS_PX as f64 * libm::sin(sector.half_angle_rad)).ceil() as usize).min(PROBE_X - 1);
        let mut pixels = Vec::new();
        for row in PROBE_Y..=PROBE_Y + FAN_RADIUS_PX {
            for column in PROBE_X - half_width_px..=PROBE_X + half_width_px {
                let x = (column as f64 - PROBE_X as f64) * mm_per_pixel;
                let z = (row - PROBE_Y) as f64 * mm_per_pixel;
                let range = libm::hypot(x, z);
                let angle = libm::atan2(x, z);
                if range > sector.depth_mm || angle.abs() > sector.half_angle_rad {
                    continue;
                }
                let sample = (range * samples_per_mm - 0.5).clamp(0.0, SAMPLES as f64 - 1.001);
                let beam = ((angle + sector.half_angle_rad) / sector.beam_step_rad() - 0.5)
                    .clamp(0.0, BEAMS as f64 - 1.001);
                pixels.push(Pixel {
                    screen: (row * WIDTH + column) as u32,
                    polar: (sample as usize * BEAMS + beam as usize) as u32,
                    beyond: (256.0 * (sample - sample.floor())) as u16,
                    beside: (256.0 * (beam - beam.floor())) as u16,
                });
            }
        }
        Self { pixels, half_width_px, mm_per_pixel }
    }

    /// Draws polar grey values onto the one-channel `screen` (bilinear); pixels outside the fan stay as they are.
    pub(crate) fn draw(&self, polar: &[u8], screen: &mut [u8]) {
        for pixel in &self.pixels {
            let at = pixel.polar as usize;
            let near = [polar[at], polar[at + 1]].map(u32::from);
            let far = [polar[at + BEAMS], polar[at + BEAMS + 1]].map(u32::from);
            let (beyond, beside) = (u32::from(pixel.beyond), u32::from(pixel.beside));
            let near = near[0] * (256 - beside) + near[1] * beside;
            let far = far[0] * (256 - beside) + far[1] * beside;
            screen[pixel.screen as usize] = ((near * (256 - beyond) + far * beyond + 32_768) >> 16) as u8;
        }
    }

    /// (screen index, sample, beam) of the fan's pixels, each with the polar sample it is nearest to.
    pub(crate) fn nearest(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.pixels.iter().map(|pixel| {
            let (sample, beam) = (pixel.polar as usize / BEAMS, pixel.polar as usize % BEAMS);
            let nearer = |share: u16| usize::from(share >= 128);
            (pixel.screen as usize, sample + nearer(pixel.beyond), beam + nearer(pixel.beside))
        })
    }

    /// Screen indices of the fan's pixels.
    pub(crate) fn indices(&self) -> impl Iterator<Item = usize> {
        self.pixels.iter().map(|pixel| pixel.screen as usize)
    }
}

/// A Gaussian blur inside the fan; what lies outside does not bleed in (normalised convolution).
pub(crate) struct Blur {
    kernel: Vec<f32>,
    /// The blurred mask of the fan.
    coverage: Vec<f32>,
}

impl Blur {
    /// `sigma_px` is given for a fan 256 px high, and scaled to this screen.
    pub(crate) fn new(converter: &ScanConverter, sigma_px: f64) -> Self {
        let sigma = sigma_px * FAN_RADIUS_PX as f64 / 256.0;
        let reach = (3.0 * sigma).ceil() as i32;
        let weights: Vec<f64> = (-reach..=reach)
            .map(|i| {
                let z = f64::from(i) / sigma;
                libm::exp(-0.5 * z * z)
            })
            .collect();
        let sum: f64 = weights.iter().sum();
        let kernel = weights.into_iter().map(|w| (w / sum) as f32).collect();
        let mut mask = vec![0.0; WIDTH * HEIGHT];
        converter.indices().for_each(|i| mask[i] = 1.0);
        let mut blur = Self { kernel, coverage: Vec::new() };
        blur.coverage = blur.convolve(&mask);
        blur
    }

    pub(crate) fn apply(&self, converter: &ScanConverter, screen: &mut [u8]) {
        let mut image = vec![0.0; WIDTH * HEIGHT];
        converter.indices().for_each(|i| image[i] = f32::from(screen[i]));
        let blurred = self.convolve(&image);
        for i in converter.indices() {
            screen[i] = (blurred[i] / self.coverage[i] + 0.5) as u8;
        }
    }

    fn convolve(&self, image: &[f32]) -> Vec<f32> {
        let reach = self.kernel.len() / 2;
        let mut across = vec![0.0; WIDTH * HEIGHT];
        let mut padded = vec![0.0; WIDTH + 2 * reach];
        for (source, out) in image.chunks_exact(WIDTH).zip(across.chunks_exact_mut(WIDTH)) {
            padded[reach..reach + WIDTH].copy_from_slice(source);
            for (shift, &weight) in self.kernel.iter().enumerate() {
                out.iter_mut().zip(&padded[shift..]).for_each(|(out, value)| *out += weight * value);
            }
        }
        let mut down = vec![0.0; WIDTH * HEIGHT];
        for (row, out) in down.chunks_exact_mut(WIDTH).enumerate() {
            for (shift, &weight) in self.kernel.iter().enumerate() {
                let Some(source) = (row + shift).checked_sub(reach).filter(|&source| source < HEIGHT) else {
                    continue;
                };
                let source = &across[source * WIDTH..(source + 1) * WIDTH];
                out.iter_mut().zip(source).for_each(|(out, value)| *out += weight * value);
            }
        }
        down
    }
}
