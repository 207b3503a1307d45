//! What a synthetic echo study is made from.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::corruption::{Corruption, Effects};
use super::geometry::{Ventricle, VentricleSize};
use super::traces::Doppler;

/// Instances of a study; a real one has 30 to 100.
pub const MOST_INSTANCES: usize = 200;

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
    /// How pixels are stored.
    pub encoding: Encoding,
    /// What is wrong with the loops and their stills, if anything.
    pub corruption: Option<Corruption>,
    /// The instances, in order, at most [`MOST_INSTANCES`].
    pub contents: Vec<Content>,
    /// What the machine does not send.
    pub omissions: Vec<Omission>,
}

/// What an instance shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A cine of a view.
    Loop(View),
    /// The first frame of the first loop of that view; of a loop of its own where there is none.
    Still(View),
    /// A cine of a view with colour Doppler, never spoilt.
    ColourLoop(View),
    /// A still of a Doppler spectrum.
    Spectrum(Doppler),
    /// A still of the middle beam of a parasternal long axis over time.
    MMode,
    /// A page of measurements, as a secondary capture.
    Worksheet,
}

/// What a machine in the field may leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Omission {
    /// View Code Sequence, View Name and the view's name in the picture: few machines send them.
    View,
    /// R Wave Time Vector.
    RWaves,
    /// Heart Rate, in the header and in the picture.
    HeartRate,
    /// The electrocardiogram: no leads on the patient.
    Ecg,
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
    /// Depth of an apical sector, 110..=190 mm; parasternal ones are 20 mm shallower, subcostal ones 30 mm deeper.
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

/// A view of the heart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum View {
    /// Apical four-chamber.
    A4c,
    /// Apical two-chamber.
    A2c,
    /// Parasternal long axis.
    Plax,
    /// Parasternal short axis at the papillary muscles.
    Psax,
    /// Subcostal four-chamber.
    Subcostal,
}

impl View {
    /// Every view, in the order a study is taken.
    pub const ALL: [Self; 5] = [Self::A4c, Self::A2c, Self::Plax, Self::Psax, Self::Subcostal];

    /// Depth of this view's sector, mm.
    pub(crate) fn depth_mm(self, machine: &Machine) -> f64 {
        machine.depth_mm
            + match self {
                Self::A4c | Self::A2c => 0.0,
                Self::Plax | Self::Psax => -20.0,
                Self::Subcostal => 30.0,
            }
    }

    /// View Number (0008,2128), 1-based.
    pub(crate) fn number(self) -> usize {
        1 + Self::ALL.iter().take_while(|view| **view != self).count()
    }

    /// `A4C`, `A2C`, `PLAX`, `PSAX` or `SUBCOSTAL`.
    pub fn name(self) -> &'static str {
        match self {
            Self::A4c => "A4C",
            Self::A2c => "A2C",
            Self::Plax => "PLAX",
            Self::Psax => "PSAX",
            Self::Subcostal => "SUBCOSTAL",
        }
    }
}

/// Why no study can be made from an [`EchoSpec`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// A value lies outside its range.
    #[error("{field} is {value}; it must lie in {least}..={most}")]
    Range {
        /// The field's path inside [`EchoSpec`].
        field: &'static str,
        /// Its value.
        value: f64,
        /// The least value allowed.
        least: f64,
        /// The greatest value allowed.
        most: f64,
    },
    /// Nothing in the study has a truth.
    #[error("contents names no loop; a study needs one")]
    NoLoop,
    /// A view across the long axis shows nothing of its length.
    #[error("corruption foreshortening needs views along the long axis, not PSAX")]
    ForeshortenedShortAxis,
    /// A quality of JPEG for pixels that are not JPEG.
    #[error("corruption jpeg needs encoding jpeg, not native")]
    JpegOfNative,
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
        Self {
            seed,
            heart,
            machine,
            echogenicity,
            encoding: Encoding::Jpeg,
            corruption: None,
            contents: vec![Content::Loop(View::A4c), Content::Loop(View::A2c), Content::Still(View::A4c)],
            omissions: Vec::new(),
        }
    }

    /// The same with a single instance, a loop of `view`.
    #[must_use]
    pub fn with_loop(self, view: View) -> Self {
        Self { contents: vec![Content::Loop(view)], ..self }
    }

    /// The same as a whole exam of so many instances: one A4C loop among colour, spectra, stills, M-mode, worksheets and
    /// loops of other views, in the order chance gives.
    #[must_use]
    pub fn with_exam(self, instances: usize) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(2);
        let mut contents: Vec<Content> = (1..instances)
            .map(|_| {
                let any = View::ALL[rng.random_range(0..View::ALL.len())];
                match rng.random_range(0..100) {
                    0..35 => Content::ColourLoop(any),
                    35..45 => Content::Spectrum(Doppler::Pulsed),
                    45..53 => Content::Spectrum(Doppler::Continuous),
                    53..68 => Content::Still(any),
                    68..73 => Content::MMode,
                    73..83 => Content::Loop(View::Plax),
                    83..91 => Content::Loop(View::Psax),
                    91..95 => Content::Loop(View::Subcostal),
                    _ => Content::Worksheet,
                }
            })
            .collect();
        contents.insert(rng.random_range(0..=contents.len()), Content::Loop(View::A4c));
        Self { contents, ..self }
    }

    /// The same, spoilt.
    #[must_use]
    pub fn spoilt_by(self, corruption: impl Into<Corruption>) -> Self {
        Self { corruption: Some(corruption.into()), ..self }
    }

    pub(crate) fn omits(&self, part: Omission) -> bool {
        self.omissions.contains(&part)
    }

    /// The specification, if a study can be made from it.
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        if !self.contents.iter().any(|content| matches!(content, Content::Loop(_))) {
            return Err(SpecError::NoLoop);
        }
        let count = self.contents.len() as f64;
        if self.contents.len() > MOST_INSTANCES {
            let (least, most) = (1.0, MOST_INSTANCES as f64);
            return Err(SpecError::Range { field: "contents.len", value: count, least, most });
        }
        let effects = Effects::of(self.corruption);
        if effects.foreshortening > 0.0 && self.contents.contains(&Content::Loop(View::Psax)) {
            return Err(SpecError::ForeshortenedShortAxis);
        }
        if self.encoding == Encoding::Native && effects.jpeg_quality.is_some() {
            return Err(SpecError::JpegOfNative);
        }
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
            ("machine.depth_mm", machine.depth_mm, 110.0, 190.0),
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
            .map_or(Ok(()), |(field, value, least, most)| Err(SpecError::Range { field, value, least, most }))
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
