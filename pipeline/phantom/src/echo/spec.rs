//! What a synthetic echo study is made from.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::corruption::Corruption;
use super::geometry::{Ventricle, VentricleSize};

/// Everything that determines a study; equal specifications give equal bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EchoSpec {
    /// Seed of all chance: speckle, noise, beat-to-beat variation.
    pub seed: u64,
    /// The heart.
    pub heart: Heart,
    /// The ultrasound machine's settings.
    pub machine: Machine,
    /// How strongly each kind of matter scatters.
    pub echogenicity: Echogenicity,
    /// How the cines are stored.
    pub encoding: Encoding,
    /// What is wrong with the cines, if anything.
    pub corruption: Option<Corruption>,
}

/// The heart of a phantom.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Heart {
    /// Left ventricular ejection fraction, 5..=85 %.
    pub ef_percent: f64,
    /// End-diastolic volume, 40..=260 ml.
    pub edv_ml: f64,
    /// Length over width of the cavity at end diastole, 1.2..=2.2.
    pub sphericity: f64,
    /// Thickness of the wall at end diastole, 5..=16 mm.
    pub wall_mm: f64,
    /// Share of its area that the right ventricle loses in systole, 10..=70 %.
    pub right_ejection_percent: f64,
    /// Beats a minute, 35..=160.
    pub heart_rate: f64,
}

/// Settings of the synthetic machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Machine {
    /// Frames a second, 5..=120. The frame time is rounded to a microsecond, and that is the truth.
    pub frame_rate: f64,
    /// Length of a cine in beats, 0.3..=4.
    pub beats: f64,
    /// Depth of the sector, 110..=220 mm.
    pub depth_mm: f64,
    /// Half the opening of the sector, 25..=44°.
    pub half_angle_deg: f64,
    /// Centre frequency, 1.5..=5 MHz.
    pub frequency_mhz: f64,
    /// Receiver gain, −40..=40 dB.
    pub gain_db: f64,
    /// Range of levels shown between black and white, 40..=80 dB.
    pub dynamic_range_db: f64,
    /// Noise floor at the probe relative to the brightest echo, −90..=−20 dB.
    pub noise_db: f64,
}

/// Mean echo levels relative to the brightest echo, −60..=0 dB each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Echogenicity {
    /// Blood.
    pub blood_db: f64,
    /// Myocardium.
    pub wall_db: f64,
    /// What surrounds the heart.
    pub tissue_db: f64,
}

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// JPEG baseline (1.2.840.10008.1.2.4.50), YBR_FULL_422, one fragment per frame, with a basic offset table.
    Jpeg,
    /// Explicit VR little endian, RGB, about 0.9 MB per frame.
    Native,
}

/// An apical view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum View {
    /// Apical four-chamber.
    A4c,
    /// Apical two-chamber.
    A2c,
}

impl View {
    /// `A4C` or `A2C`.
    pub fn name(self) -> &'static str {
        match self {
            Self::A4c => "A4C",
            Self::A2c => "A2C",
        }
    }
}

/// A value of an [`EchoSpec`] that no study can be made from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} is {value}; it must lie in {least}..={most}")]
pub struct SpecError {
    /// The field's path inside [`EchoSpec`].
    pub field: &'static str,
    /// Its value.
    pub value: f64,
    /// The least value allowed.
    pub least: f64,
    /// The greatest value allowed.
    pub most: f64,
}

impl EchoSpec {
    /// A plausible heart and machine drawn from `seed`: EF 15–75 %, heart rate 50–110, 30–60 frames a second; JPEG,
    /// nothing wrong.
    pub fn sample(seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let tenths = |value: f64| (value * 10.0).round() / 10.0;
        let heart = Heart {
            ef_percent: tenths(rng.random_range(15.0..75.0)),
            edv_ml: tenths(rng.random_range(80.0..170.0)),
            sphericity: rng.random_range(1.5..1.7),
            wall_mm: rng.random_range(8.0..11.0),
            right_ejection_percent: rng.random_range(35.0..55.0),
            heart_rate: rng.random_range(50.0_f64..110.0).round(),
        };
        // Probe to apex 18 mm, the atria 42 mm beyond the annulus.
        let reach_mm = 18.0 + Ventricle::new(heart.size()).at(0.0).cavity.length_mm + 42.0;
        let machine = Machine {
            frame_rate: rng.random_range(30.0_f64..60.0).round(),
            beats: rng.random_range(2.3..2.6),
            depth_mm: (reach_mm + rng.random_range(4.0..16.0)).clamp(140.0, 175.0).round(),
            half_angle_deg: rng.random_range(38.0_f64..42.0).round(),
            frequency_mhz: rng.random_range(2.2..3.2),
            gain_db: rng.random_range(-3.0..3.0),
            dynamic_range_db: rng.random_range(52.0..62.0),
            noise_db: rng.random_range(-62.0..-56.0),
        };
        let echogenicity = Echogenicity {
            blood_db: rng.random_range(-42.0..-35.0),
            wall_db: rng.random_range(-15.0..-10.0),
            tissue_db: rng.random_range(-20.0..-15.0),
        };
        Self { seed, heart, machine, echogenicity, encoding: Encoding::Jpeg, corruption: None }
    }

    /// The specification, if a study can be made from it.
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        let Self { heart, machine, echogenicity, .. } = self;
        let bounds = [
            ("heart.ef_percent", heart.ef_percent, 5.0, 85.0),
            ("heart.edv_ml", heart.edv_ml, 40.0, 260.0),
            ("heart.sphericity", heart.sphericity, 1.2, 2.2),
            ("heart.wall_mm", heart.wall_mm, 5.0, 16.0),
            ("heart.right_ejection_percent", heart.right_ejection_percent, 10.0, 70.0),
            ("heart.heart_rate", heart.heart_rate, 35.0, 160.0),
            ("machine.frame_rate", machine.frame_rate, 5.0, 120.0),
            ("machine.beats", machine.beats, 0.3, 4.0),
            ("machine.depth_mm", machine.depth_mm, 110.0, 220.0),
            ("machine.half_angle_deg", machine.half_angle_deg, 25.0, 44.0),
            ("machine.frequency_mhz", machine.frequency_mhz, 1.5, 5.0),
            ("machine.gain_db", machine.gain_db, -40.0, 40.0),
            ("machine.dynamic_range_db", machine.dynamic_range_db, 40.0, 80.0),
            ("machine.noise_db", machine.noise_db, -90.0, -20.0),
            ("echogenicity.blood_db", echogenicity.blood_db, -60.0, 0.0),
            ("echogenicity.wall_db", echogenicity.wall_db, -60.0, 0.0),
            ("echogenicity.tissue_db", echogenicity.tissue_db, -60.0, 0.0),
        ];
        bounds
            .into_iter()
            .find(|&(_, value, least, most)| !(least..=most).contains(&value))
            .map_or(Ok(()), |(field, value, least, most)| Err(SpecError { field, value, least, most }))
    }
}

impl Heart {
    /// End-systolic volume, ml.
    pub fn esv_ml(&self) -> f64 {
        self.edv_ml * (1.0 - self.ef_percent / 100.0)
    }

    pub(crate) fn size(&self) -> VentricleSize {
        VentricleSize {
            edv_ml: self.edv_ml,
            esv_ml: self.esv_ml(),
            sphericity: self.sphericity,
            wall_mm: self.wall_mm,
        }
    }
}
