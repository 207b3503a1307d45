//! The ultrasound beam: from scatterers on a polar grid to 8-bit echo amplitudes.
//!
//! A two-dimensional convolution model in baseband, no wave is simulated: the point-spread function is separable,
//! constant along the beam and widening across it away from the focus; then noise, logarithmic compression and clipping:
//! `grey = 255 · clip((20 log10 |echo| + gain + DR − 2) / DR)`.

use rand::RngCore;

use super::speckle::{Complex, FreshPool, Texture};

/// Samples along a beam.
pub(crate) const SAMPLES: usize = 384;
/// Beams of a sector.
pub(crate) const BEAMS: usize = 128;
/// Speed of sound in mm/µs: λ = c / f.
const SOUND_MM_PER_US: f64 = 1.54;
/// Active aperture, mm.
const APERTURE_MM: f64 = 20.0;
/// A Gaussian's full width at half maximum in standard deviations.
const FWHM_PER_SD: f64 = 2.355;
/// Noise grows with depth because the receiver amplifies late echoes more.
const NOISE_GROWTH_DB: f64 = 8.0;

/// Where the samples of a sector lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sector {
    pub(crate) depth_mm: f64,
    pub(crate) half_angle_rad: f64,
}

impl Sector {
    pub(crate) fn range_mm(self, sample: usize) -> f64 {
        (sample as f64 + 0.5) * self.depth_mm / SAMPLES as f64
    }

    pub(crate) fn beam_step_rad(self) -> f64 {
        2.0 * self.half_angle_rad / BEAMS as f64
    }

    pub(crate) fn angle_rad(self, beam: usize) -> f64 {
        (beam as f64 + 0.5) * self.beam_step_rad() - self.half_angle_rad
    }

    /// (lateral, depth) of a sample in mm from the probe.
    pub(crate) fn position_mm(self, sample: usize, beam: usize) -> (f64, f64) {
        let (sin, cos) = libm::sincos(self.angle_rad(beam));
        (self.range_mm(sample) * sin, self.range_mm(sample) * cos)
    }
}

/// How the machine is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receiver {
    pub(crate) frequency_mhz: f64,
    pub(crate) focus_mm: f64,
    pub(crate) gain_db: f64,
    pub(crate) dynamic_range_db: f64,
    /// Level at the probe relative to a 0 dB scatterer.
    pub(crate) noise_db: f64,
}

/// One value per sample of the polar grid, [`SAMPLES`] rows of [`BEAMS`].
pub(crate) type Field = Vec<Complex>;

/// The point-spread function and the receiver, ready for any number of frames.
pub(crate) struct Beam {
    axial: Vec<f32>,
    lateral: Vec<Vec<f32>>,
    noise: Vec<f32>,
    /// Makes a homogeneous medium equally bright at every depth, as time gain compensation does.
    row_gain: Vec<f32>,
    offset_db: f32,
    dynamic_range_db: f32,
    across: Field,
    along: Field,
}

impl Beam {
    pub(crate) fn new(sector: Sector, receiver: Receiver, homogeneous: &Texture) -> Self {
        let wavelength_mm = SOUND_MM_PER_US / receiver.frequency_mhz;
        let step_mm = sector.depth_mm / SAMPLES as f64;
        // A pulse of 2.5 cycles, halved because the echo travels both ways.
        let axial = gaussian_kernel(2.5 * wavelength_mm / 2.0 / FWHM_PER_SD / step_mm);
        let diffraction = wavelength_mm / APERTURE_MM / FWHM_PER_SD / sector.beam_step_rad();
        let lateral = (0..SAMPLES)
            .map(|sample| {
                let defocus = (sector.range_mm(sample) - receiver.focus_mm) / (0.6 * receiver.focus_mm);
                gaussian_kernel(diffraction * (1.0 + defocus * defocus).sqrt())
            })
            .collect();
        let noise = (0..SAMPLES)
            .map(|sample| {
                let db = receiver.noise_db + NOISE_GROWTH_DB * sample as f64 / SAMPLES as f64;
                libm::exp10(db / 20.0) as f32
            })
            .collect();
        let mut beam = Self {
            axial,
            lateral,
            noise,
            row_gain: vec![1.0; SAMPLES],
            offset_db: (receiver.gain_db + receiver.dynamic_range_db - 2.0) as f32,
            dynamic_range_db: receiver.dynamic_range_db as f32,
            across: vec![[0.0; 2]; SAMPLES * BEAMS],
            along: vec![[0.0; 2]; SAMPLES * BEAMS],
        };
        beam.row_gain = beam.compensation(sector, homogeneous);
        beam
    }

    /// Neighbouring samples share scatterers near the probe, so their echoes add up there; measured, not derived.
    fn compensation(&mut self, sector: Sector, homogeneous: &Texture) -> Vec<f32> {
        const SMOOTH: usize = 12;
        let field: Field = (0..SAMPLES * BEAMS)
            .map(|i| {
                let (x, z) = sector.position_mm(i / BEAMS, i % BEAMS);
                homogeneous.at(x as f32, z as f32)
            })
            .collect();
        self.convolve(&field);
        let power =
            |row: &[Complex]| row.iter().map(|[re, im]| re * re + im * im).sum::<f32>() / BEAMS as f32;
        let powers: Vec<f32> = self.along.chunks_exact(BEAMS).map(power).collect();
        (0..SAMPLES)
            .map(|row| {
                let window = &powers[row.saturating_sub(SMOOTH)..(row + SMOOTH + 1).min(SAMPLES)];
                (window.len() as f32 / window.iter().sum::<f32>()).sqrt()
            })
            .collect()
    }

    /// The echo of `field` as grey values of the polar grid, written to `grey`.
    pub(crate) fn image(
        &mut self,
        field: &Field,
        noise: &FreshPool,
        rng: &mut impl RngCore,
        grey: &mut Vec<u8>,
    ) {
        self.convolve(field);
        grey.clear();
        let scale = 255.0 / self.dynamic_range_db;
        for (row, echoes) in self.along.chunks_exact(BEAMS).enumerate() {
            let (gain, floor) = (self.row_gain[row], self.noise[row]);
            grey.extend(echoes.iter().zip(noise.draw(rng, BEAMS)).map(|(echo, noise)| {
                let re = gain * echo[0] + floor * noise[0];
                let im = gain * echo[1] + floor * noise[1];
                (scale * (decibel(re * re + im * im) + self.offset_db) + 0.5) as u8
            }));
        }
    }

    fn convolve(&mut self, field: &Field) {
        let mut padded = [[0.0_f32; 2]; BEAMS + 64];
        for (row, kernel) in self.lateral.iter().enumerate() {
            let reach = kernel.len() / 2;
            padded.fill([0.0; 2]);
            padded[reach..reach + BEAMS].copy_from_slice(&field[row * BEAMS..(row + 1) * BEAMS]);
            let out = &mut self.across[row * BEAMS..(row + 1) * BEAMS];
            out.fill([0.0; 2]);
            for (shift, &weight) in kernel.iter().enumerate() {
                accumulate(out, &padded[shift..shift + BEAMS], weight);
            }
        }
        let reach = self.axial.len() / 2;
        for row in 0..SAMPLES {
            let out = &mut self.along[row * BEAMS..(row + 1) * BEAMS];
            out.fill([0.0; 2]);
            for (shift, &weight) in self.axial.iter().enumerate() {
                let Some(source) = (row + shift).checked_sub(reach).filter(|&source| source < SAMPLES) else {
                    continue;
                };
                accumulate(out, &self.across[source * BEAMS..(source + 1) * BEAMS], weight);
            }
        }
    }
}

fn accumulate(out: &mut [Complex], source: &[Complex], weight: f32) {
    for (out, source) in out.iter_mut().zip(source) {
        out[0] += weight * source[0];
        out[1] += weight * source[1];
    }
}

/// A Gaussian of unit energy, so that independent scatterers keep their power; at most 63 taps, for the padding above.
fn gaussian_kernel(sd_samples: f64) -> Vec<f32> {
    let reach = ((3.0 * sd_samples).ceil() as i32).clamp(1, 31);
    let weights: Vec<f64> = (-reach..=reach)
        .map(|i| {
            let z = f64::from(i) / sd_samples;
            libm::exp(-0.5 * z * z)
        })
        .collect();
    let norm = weights.iter().map(|w| w * w).sum::<f64>().sqrt();
    weights.into_iter().map(|w| (w / norm) as f32).collect()
}

/// 10 log10 of a power. The series of artanh over the mantissa: within 1e-4 dB, the same on every machine, and the
/// compiler vectorises it.
#[inline]
fn decibel(power: f32) -> f32 {
    const DB_PER_OCTAVE: f32 = 3.010_3;
    const DB_PER_NEPER: f32 = 4.342_945;
    let bits = power.max(1e-30).to_bits();
    let exponent = (bits >> 23) as i32 - 127;
    let mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000);
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let log = 2.0 * t * (1.0 + square * (1.0 / 3.0 + square * (0.2 + square / 7.0)));
    DB_PER_OCTAVE * exponent as f32 + DB_PER_NEPER * log
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn decibels_agree_with_the_library() {
        for power in [1e-9_f32, 0.003, 0.99, 1.0, 1.5, 1.999, 2.0, 77.0, 1e6] {
            let exact = 10.0 * libm::log10(f64::from(power));
            assert!((f64::from(decibel(power)) - exact).abs() < 1e-3, "{power}");
        }
    }

    /// Fully developed speckle: the amplitude is Rayleigh (mean / SD = 1.913), its logarithm has an SD of 5.57 dB. The mean
    /// of twelve textures, because neighbouring samples are correlated and one texture holds few independent ones.
    #[test]
    fn a_homogeneous_medium_gives_fully_developed_speckle_of_unit_power() {
        let sector = Sector { depth_mm: 150.0, half_angle_rad: 0.7 };
        let receiver = Receiver {
            frequency_mhz: 2.5,
            focus_mm: 80.0,
            gain_db: 0.0,
            dynamic_range_db: 60.0,
            noise_db: -60.0,
        };
        let mut powers: Vec<f64> = Vec::new();
        for seed in 0..12 {
            let texture = Texture::new(&mut ChaCha8Rng::seed_from_u64(seed), 0.0);
            let mut beam = Beam::new(sector, receiver, &texture);
            let field: Field = (0..SAMPLES * BEAMS)
                .map(|i| {
                    let (x, z) = sector.position_mm(i / BEAMS, i % BEAMS);
                    texture.at(x as f32 + 300.0, z as f32 + 77.0)
                })
                .collect();
            beam.convolve(&field);
            let inside =
                (SAMPLES / 4 * BEAMS..SAMPLES * 9 / 10 * BEAMS).filter(|i| (12..116).contains(&(i % BEAMS)));
            powers.extend(inside.map(|i| {
                let [re, im] = beam.along[i].map(|part| f64::from(part * beam.row_gain[i / BEAMS]));
                re * re + im * im
            }));
        }
        let (mean, sd) = moments(powers.iter().map(|p| p.sqrt()));
        assert!((mean / sd - 1.913).abs() < 0.02, "mean over SD {}", mean / sd);
        let (_, sd_db) = moments(powers.iter().map(|p| 10.0 * libm::log10(*p)));
        assert!((sd_db - 5.57).abs() < 0.05, "SD {sd_db} dB");
        let (power, _) = moments(powers.iter().copied());
        assert!((power - 1.0).abs() < 0.05, "power {power}");
    }

    fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        (mean, (values.map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
    }
}
