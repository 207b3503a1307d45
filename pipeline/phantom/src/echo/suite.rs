//! The suites that key frames and the gate are measured on, and a sampler of everything a device may send.
//!
//! A suite is a function from a seed to an [`EchoSpec`] with one loop; the same seed is the same heart in every suite, so
//! that a suite differs from [`Suite::Nominal`] in one thing.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::corruption::{Corruption, CorruptionKind};
use super::spec::{EchoSpec, View};

/// A family of loops that share one difficulty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// A4C, EF 15–75 %, heart rate 50–110, 30–60 frames a second, nothing wrong.
    Nominal,
    /// EF 22 %.
    LowEf,
    /// Gain +12 dB.
    HighGain,
    /// Gain −12 dB.
    LowGain,
    /// Shadows over 30 % of the beams.
    Dropout,
    /// Reverberation at the probe, −8 dB.
    Clutter,
    /// Noise floor −40 dB.
    Noise,
    /// Blur σ 4 px.
    Blur,
    /// Left and right exchanged.
    Mirrored,
    /// 15 frames a second.
    Fps15,
    /// 25 frames a second.
    Fps25,
    /// Heart rate 130.
    FastHeart,
    /// Apical two-chamber.
    A2c,
    /// 1.3 beats.
    Short,
    /// RR varies by 15 %.
    Arrhythmia,
    /// The heart wanders 8 mm within a breath.
    Respiration,
    /// Parasternal short axis.
    Psax,
    /// Parasternal long axis: a wrong view for the ejection fraction.
    Plax,
}

impl Suite {
    /// The suites without a miss: every ED and ES is to be found, within 0.3 ms of its interval.
    pub const STRICT: [Self; 13] = [
        Self::Nominal,
        Self::LowEf,
        Self::HighGain,
        Self::LowGain,
        Self::Dropout,
        Self::Clutter,
        Self::Noise,
        Self::Blur,
        Self::Mirrored,
        Self::Fps15,
        Self::Fps25,
        Self::FastHeart,
        Self::A2c,
    ];

    /// Every suite.
    pub const ALL: [Self; 18] = [
        Self::Nominal,
        Self::LowEf,
        Self::HighGain,
        Self::LowGain,
        Self::Dropout,
        Self::Clutter,
        Self::Noise,
        Self::Blur,
        Self::Mirrored,
        Self::Fps15,
        Self::Fps25,
        Self::FastHeart,
        Self::A2c,
        Self::Short,
        Self::Arrhythmia,
        Self::Respiration,
        Self::Psax,
        Self::Plax,
    ];

    /// The name a table of results shows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nominal => "nominal",
            Self::LowEf => "EF 22 %",
            Self::HighGain => "gain +12 dB",
            Self::LowGain => "gain -12 dB",
            Self::Dropout => "dropout",
            Self::Clutter => "clutter",
            Self::Noise => "noise -40 dB",
            Self::Blur => "blur 4 px",
            Self::Mirrored => "mirrored",
            Self::Fps15 => "15 frames/s",
            Self::Fps25 => "25 frames/s",
            Self::FastHeart => "130 beats/min",
            Self::A2c => "A2C",
            Self::Short => "1.3 beats",
            Self::Arrhythmia => "RR jitter 15 %",
            Self::Respiration => "respiration 8 mm",
            Self::Psax => "PSAX",
            Self::Plax => "PLAX",
        }
    }

    /// Loop `seed` of this suite.
    pub fn spec(self, seed: u64) -> EchoSpec {
        let mut spec = EchoSpec::sample(seed).with_loop(View::A4c);
        match self {
            Self::Nominal => {}
            Self::LowEf => spec.heart.ef_percent = 22.0,
            Self::HighGain => spec.corruption = at(CorruptionKind::OverGain, 12.0),
            Self::LowGain => spec.corruption = at(CorruptionKind::UnderGain, 12.0),
            Self::Dropout => spec.corruption = at(CorruptionKind::Dropout, 0.3),
            Self::Clutter => spec.corruption = at(CorruptionKind::Clutter, 8.0),
            Self::Noise => spec.corruption = at(CorruptionKind::Noise, 40.0),
            Self::Blur => spec.corruption = at(CorruptionKind::Blur, 4.0),
            Self::Mirrored => spec.corruption = Some(CorruptionKind::Mirror.into()),
            Self::Fps15 => spec.machine.frame_rate = 15.0,
            Self::Fps25 => spec.machine.frame_rate = 25.0,
            Self::FastHeart => spec.heart.heart_rate = 130.0,
            Self::A2c => spec = spec.with_loop(View::A2c),
            Self::Psax => spec = spec.with_loop(View::Psax),
            Self::Plax => spec = spec.with_loop(View::Plax),
            Self::Short => spec.machine.beats = 1.3,
            Self::Arrhythmia => spec.corruption = at(CorruptionKind::RrJitter, 15.0),
            Self::Respiration => spec.corruption = at(CorruptionKind::Drift, 8.0),
        }
        spec
    }
}

/// All severities here lie inside their scales, as a test checks; so nothing is lost by the option.
fn at(kind: CorruptionKind, severity: f64) -> Option<Corruption> {
    Corruption::new(kind, severity).ok()
}

/// A sound A4C or A2C loop from the whole range of devices and patients: 15–80 frames a second, 45–140 beats a minute,
/// EF 15–75 %, 1.5–3 beats.
pub fn wide(seed: u64) -> EchoSpec {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(1);
    let mut spec = EchoSpec::sample(seed);
    spec.machine.frame_rate = rng.random_range(15.0_f64..=80.0).round();
    spec.heart.heart_rate = rng.random_range(45.0_f64..=140.0).round();
    spec.machine.beats = rng.random_range(1.5..3.0);
    spec.with_loop(if rng.random_bool(0.3) { View::A2c } else { View::A4c })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_differs_from_the_nominal_one_in_one_thing() {
        let nominal = serde_json::to_value(Suite::Nominal.spec(3)).unwrap();
        for suite in Suite::ALL.into_iter().filter(|suite| *suite != Suite::Nominal) {
            let spec = suite.spec(3);
            assert_eq!(spec.check(), Ok(()), "{}", suite.name());
            let spec = serde_json::to_value(spec).unwrap();
            let mut differing = Vec::new();
            for part in ["heart", "machine"] {
                for (name, value) in spec[part].as_object().unwrap() {
                    if *value != nominal[part][name] {
                        differing.push(name.clone());
                    }
                }
            }
            for part in ["corruption", "contents", "echogenicity", "encoding", "seed", "omissions"] {
                if spec[part] != nominal[part] {
                    differing.push(part.to_owned());
                }
            }
            assert_eq!(differing.len(), 1, "{}: {differing:?}", suite.name());
        }
    }

    #[test]
    fn the_wide_sampler_fills_its_ranges() {
        let specs: Vec<EchoSpec> = (0..400).map(wide).collect();
        assert!(specs.iter().all(|spec| spec.check().is_ok()));
        let span = |of: fn(&EchoSpec) -> f64| {
            specs.iter().map(of).fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)))
        };
        let (slow, fast) = span(|spec| spec.machine.frame_rate);
        assert!((15.0..17.0).contains(&slow) && (78.0..=80.0).contains(&fast), "{slow} to {fast}");
        let (slow, fast) = span(|spec| spec.heart.heart_rate);
        assert!((45.0..47.0).contains(&slow) && (138.0..=140.0).contains(&fast), "{slow} to {fast}");
        let (least, most) = span(|spec| spec.heart.ef_percent);
        assert!(least < 17.0 && most > 73.0, "{least} to {most}");
    }
}
