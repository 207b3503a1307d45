//! Ways to spoil a clip, each graded in the physical quantity it changes.

mod effects;

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

pub(crate) use effects::{Colour, Effects};

/// What is wrong with a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CorruptionKind {
    /// Gaussian blur.
    Blur,
    /// Receiver gain too high.
    OverGain,
    /// Receiver gain too low.
    UnderGain,
    /// Noise floor raised; −60 dB is a sound machine.
    Noise,
    /// Reverberation at the probe; −16 dB is a sound machine.
    Clutter,
    /// Heavy persistence: each frame is the mean of its neighbours.
    MotionAverage,
    /// The picture freezes for this share of the clip, at its end.
    Static,
    /// Fewer beats.
    Truncated,
    /// Fewer frames a second.
    LowFps,
    /// Arrhythmia: standard deviation of the beats' lengths.
    RrJitter,
    /// Acoustic shadows (ribs, no contact), 30 dB deep, over this share of the beams.
    Dropout,
    /// Respiration: the heart wanders from end to end of this way within a breath; near-field clutter and fan stay.
    Drift,
    /// The plane misses the apex: the ventricle is shown shorter than it is.
    Foreshortening,
    /// Left and right exchanged.
    Mirror,
    /// Colour Doppler in a box, declared in the header.
    ColourBox,
    /// The same with a header that does not mention colour: only the pixels tell.
    ColourBoxSilent,
    /// Compressed too strongly; 85 is a sound machine.
    Jpeg,
    /// No sector at all: the screen shows snow, and no ultrasound region is declared.
    NoFan,
}

/// How a kind is graded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Unit of the severity, as `truth.json` names it.
    pub unit: &'static str,
    /// The least number allowed.
    pub least: f64,
    /// The greatest number allowed.
    pub most: f64,
    /// The severity when none is given: one that a gate has to answer.
    pub usual: f64,
}

impl CorruptionKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 18] = [
        Self::Blur,
        Self::OverGain,
        Self::UnderGain,
        Self::Noise,
        Self::Clutter,
        Self::MotionAverage,
        Self::Static,
        Self::Truncated,
        Self::LowFps,
        Self::RrJitter,
        Self::Dropout,
        Self::Drift,
        Self::Foreshortening,
        Self::Mirror,
        Self::ColourBox,
        Self::ColourBoxSilent,
        Self::Jpeg,
        Self::NoFan,
    ];

    /// The name on the command line and in `truth.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blur => "blur",
            Self::OverGain => "over_gain",
            Self::UnderGain => "under_gain",
            Self::Noise => "noise",
            Self::Clutter => "clutter",
            Self::MotionAverage => "motion_average",
            Self::Static => "static",
            Self::Truncated => "truncated",
            Self::LowFps => "low_fps",
            Self::RrJitter => "rr_jitter",
            Self::Dropout => "dropout",
            Self::Drift => "drift",
            Self::Foreshortening => "foreshortening",
            Self::Mirror => "mirror",
            Self::ColourBox => "colour_box",
            Self::ColourBoxSilent => "colour_box_silent",
            Self::Jpeg => "jpeg",
            Self::NoFan => "no_fan",
        }
    }

    /// How the kind is graded; none for what is there or not.
    pub fn scale(self) -> Option<Scale> {
        let (unit, least, most, usual) = match self {
            Self::Blur => ("px of a fan 256 px high", 0.2, 8.0, 2.0),
            Self::OverGain => ("dB", 1.0, 40.0, 20.0),
            Self::UnderGain => ("dB", -40.0, -1.0, -20.0),
            Self::Noise => ("dB", -60.0, -20.0, -32.0),
            Self::Clutter => ("dB", -15.0, 0.0, -6.0),
            Self::MotionAverage => ("frames", 2.0, 15.0, 9.0),
            Self::Static => ("share of the clip", 0.05, 1.0, 1.0),
            Self::Truncated => ("beats", 0.3, 1.5, 0.6),
            Self::LowFps => ("frames/s", 5.0, 25.0, 10.0),
            Self::RrJitter => ("% of RR", 5.0, 40.0, 15.0),
            Self::Dropout => ("share of the beams", 0.05, 0.8, 0.4),
            Self::Drift => ("mm", 1.0, 20.0, 12.0),
            Self::Foreshortening => ("% of the length", 5.0, 40.0, 18.0),
            Self::Jpeg => ("quality", 1.0, 100.0, 20.0),
            Self::Mirror | Self::ColourBox | Self::ColourBoxSilent | Self::NoFan => return None,
        };
        Some(Scale { unit, least, most, usual })
    }
}

impl fmt::Display for CorruptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for CorruptionKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A corruption and how bad it is. Written `KIND` or `KIND:SEVERITY`, for instance `blur:2` or `noise:-32`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Corruption {
    kind: CorruptionKind,
    severity: Option<f64>,
}

impl Corruption {
    /// A corruption of this severity, in the unit of [`CorruptionKind::scale`]. Where all severities are negative, a
    /// positive number is taken for the magnitude: `under_gain` by 20 is −20 dB.
    ///
    /// # Errors
    /// [`CorruptionError::Severity`] outside the scale, [`CorruptionError::NotGraded`] for a kind without one.
    pub fn new(kind: CorruptionKind, severity: f64) -> Result<Self, CorruptionError> {
        let scale = kind.scale().ok_or(CorruptionError::NotGraded { kind })?;
        let signed = if scale.least < 0.0 && severity > scale.most { -severity } else { severity };
        if !(scale.least..=scale.most).contains(&signed) {
            return Err(CorruptionError::Severity { kind, given: severity.to_string(), scale });
        }
        Ok(Self { kind, severity: Some(signed) })
    }

    /// The corruption at its usual severity.
    pub fn usual(kind: CorruptionKind) -> Self {
        Self { kind, severity: kind.scale().map(|scale| scale.usual) }
    }

    /// What is wrong.
    pub fn kind(self) -> CorruptionKind {
        self.kind
    }

    /// How bad it is, in the unit of [`CorruptionKind::scale`]; none for a kind without degrees.
    pub fn severity(self) -> Option<f64> {
        self.severity
    }
}

impl From<CorruptionKind> for Corruption {
    fn from(kind: CorruptionKind) -> Self {
        Self::usual(kind)
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.severity {
            Some(severity) => write!(f, "{}:{severity}", self.kind),
            None => write!(f, "{}", self.kind),
        }
    }
}

/// Why a text names no corruption.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CorruptionError {
    /// No such kind.
    #[error("unknown corruption {given:?}; the kinds are {}", kinds())]
    UnknownKind {
        /// The text in place of a kind.
        given: String,
    },
    /// The severity is no number, or none that the kind can have.
    #[error(
        "severity {given:?} of {kind} must be a number from {} to {} ({}); write for instance {kind}:{}",
        scale.least, scale.most, scale.unit, scale.usual
    )]
    Severity {
        /// The kind it was given for.
        kind: CorruptionKind,
        /// The text in place of a severity.
        given: String,
        /// What the kind can have.
        scale: Scale,
    },
    /// This kind is there or not.
    #[error("{kind} has no degrees; write {kind} alone")]
    NotGraded {
        /// The kind.
        kind: CorruptionKind,
    },
}

fn kinds() -> String {
    CorruptionKind::ALL.map(CorruptionKind::name).join(", ")
}

impl FromStr for Corruption {
    type Err = CorruptionError;

    fn from_str(text: &str) -> Result<Self, CorruptionError> {
        let (name, severity) = match text.split_once(':') {
            Some((name, severity)) => (name, Some(severity)),
            None => (text, None),
        };
        let kind = CorruptionKind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| CorruptionError::UnknownKind { given: name.to_owned() })?;
        let Some(text) = severity else { return Ok(Self::usual(kind)) };
        let scale = kind.scale().ok_or(CorruptionError::NotGraded { kind })?;
        let refused = || CorruptionError::Severity { kind, given: text.to_owned(), scale };
        let severity = text.parse().map_err(|_| refused())?;
        Self::new(kind, severity).map_err(|_| refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_from_its_name_and_its_text() {
        for kind in CorruptionKind::ALL {
            let usual = Corruption::usual(kind);
            assert_eq!(kind.name().parse(), Ok(usual));
            assert_eq!(usual.to_string().parse(), Ok(usual));
            if let Some(scale) = kind.scale() {
                assert!((scale.least..=scale.most).contains(&scale.usual), "{kind}");
            }
        }
        assert_eq!("blur:0.7".parse(), Corruption::new(CorruptionKind::Blur, 0.7));
    }

    #[test]
    fn a_negative_scale_takes_the_magnitude_too() {
        for text in ["under_gain:20", "under_gain:-20"] {
            assert_eq!(text.parse::<Corruption>().unwrap().severity(), Some(-20.0));
        }
        assert_eq!("noise:32".parse::<Corruption>().unwrap().severity(), Some(-32.0));
        assert!("over_gain:-20".parse::<Corruption>().is_err());
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_list() {
        let error = "respiration".parse::<Corruption>().unwrap_err().to_string();
        assert!(error.contains("respiration") && error.contains("blur, over_gain"), "{error}");
    }

    #[test]
    fn a_severity_outside_the_scale_is_answered_with_the_range_and_the_unit() {
        for bad in ["blur:0", "blur:9", "blur:-1", "blur:NaN", "blur:inf", "blur:", "blur:x", "blur:1:1"] {
            let error = bad.parse::<Corruption>().unwrap_err();
            assert!(matches!(error, CorruptionError::Severity { .. }), "{bad}");
            assert!(error.to_string().contains("from 0.2 to 8 (px of a fan 256 px high)"), "{error}");
        }
        assert_eq!(
            "no_fan:0.5".parse::<Corruption>(),
            Err(CorruptionError::NotGraded { kind: CorruptionKind::NoFan })
        );
    }
}
