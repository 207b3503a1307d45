//! Ways to spoil a clip, each with a severity from 0 (exclusive) to 1, where 1 is plainly unreadable.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// What is wrong with a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CorruptionKind {
    /// Gaussian blur, σ up to 5 px where the fan is 256 px high.
    Blur,
    /// Receiver gain too high, up to +28 dB.
    OverGain,
    /// Receiver gain too low, down to −20 dB.
    UnderGain,
    /// Noise floor raised from −60 dB up to −32 dB.
    Noise,
    /// The picture freezes; severity is the share of the clip that is frozen.
    Static,
    /// Fewer beats: 1.3 down to 0.6.
    Truncated,
    /// Fewer frames a second: 25 down to 10.
    LowFps,
    /// Acoustic shadows (ribs, no contact) over up to 60 % of the beams.
    Dropout,
    /// No sector at all: the screen shows snow, and no ultrasound region is declared. Has no severity.
    NoFan,
}

impl CorruptionKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Blur,
        Self::OverGain,
        Self::UnderGain,
        Self::Noise,
        Self::Static,
        Self::Truncated,
        Self::LowFps,
        Self::Dropout,
        Self::NoFan,
    ];

    /// The name on the command line and in `truth.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blur => "blur",
            Self::OverGain => "over_gain",
            Self::UnderGain => "under_gain",
            Self::Noise => "noise",
            Self::Static => "static",
            Self::Truncated => "truncated",
            Self::LowFps => "low_fps",
            Self::Dropout => "dropout",
            Self::NoFan => "no_fan",
        }
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

/// A corruption and how bad it is. Written `KIND` or `KIND:SEVERITY`, for instance `blur:0.5`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Corruption {
    kind: CorruptionKind,
    severity: f64,
}

impl Corruption {
    /// A corruption at `severity` in (0, 1].
    ///
    /// # Errors
    /// [`CorruptionError::Severity`] outside that range, [`CorruptionError::NotGraded`] for `no_fan` below 1.
    pub fn new(kind: CorruptionKind, severity: f64) -> Result<Self, CorruptionError> {
        if !(severity > 0.0 && severity <= 1.0) {
            return Err(CorruptionError::Severity { kind, given: severity.to_string() });
        }
        if kind == CorruptionKind::NoFan && severity < 1.0 {
            return Err(CorruptionError::NotGraded { kind });
        }
        Ok(Self { kind, severity })
    }

    /// What is wrong.
    pub fn kind(self) -> CorruptionKind {
        self.kind
    }

    /// How bad it is, (0, 1].
    pub fn severity(self) -> f64 {
        self.severity
    }
}

/// Why a text names no corruption.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorruptionError {
    /// No such kind.
    #[error("unknown corruption {given:?}; the kinds are {}", kinds())]
    UnknownKind {
        /// The text in place of a kind.
        given: String,
    },
    /// The severity is not a number in (0, 1].
    #[error(
        "severity {given:?} of {kind} is not a number above 0 and at most 1; write for instance {kind}:0.5"
    )]
    Severity {
        /// The kind it was given for.
        kind: CorruptionKind,
        /// The text in place of a severity.
        given: String,
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
        let severity = match severity {
            None => 1.0,
            Some(text) => {
                text.parse().map_err(|_| CorruptionError::Severity { kind, given: text.to_owned() })?
            }
        };
        Self::new(kind, severity)
    }
}

/// What a corruption changes, in physical units; [`Effects::NONE`] changes nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effects {
    /// Standard deviation in pixels of a fan 256 px high.
    pub(crate) blur_sigma_px: f64,
    pub(crate) gain_db: f64,
    /// Replaces the sampled noise floor.
    pub(crate) noise_db: Option<f64>,
    /// Share of the frames before the picture freezes.
    pub(crate) live_share: f64,
    /// Replaces the sampled length.
    pub(crate) beats: Option<f64>,
    /// Replaces the sampled frame rate.
    pub(crate) frame_rate: Option<f64>,
    /// Share of the beams in shadow.
    pub(crate) shadow_share: f64,
    /// Snow instead of a sector.
    pub(crate) snow: bool,
}

impl Effects {
    const NONE: Self = Self {
        blur_sigma_px: 0.0,
        gain_db: 0.0,
        noise_db: None,
        live_share: 1.0,
        beats: None,
        frame_rate: None,
        shadow_share: 0.0,
        snow: false,
    };

    pub(crate) fn of(corruption: Option<Corruption>) -> Self {
        let Some(Corruption { kind, severity }) = corruption else { return Self::NONE };
        match kind {
            CorruptionKind::Blur => Self { blur_sigma_px: 5.0 * severity, ..Self::NONE },
            CorruptionKind::OverGain => Self { gain_db: 28.0 * severity, ..Self::NONE },
            CorruptionKind::UnderGain => Self { gain_db: -20.0 * severity, ..Self::NONE },
            CorruptionKind::Noise => Self { noise_db: Some(-60.0 + 28.0 * severity), ..Self::NONE },
            CorruptionKind::Static => Self { live_share: 1.0 - severity, ..Self::NONE },
            CorruptionKind::Truncated => Self { beats: Some(1.3 - 0.7 * severity), ..Self::NONE },
            CorruptionKind::LowFps => Self { frame_rate: Some(25.0 - 15.0 * severity), ..Self::NONE },
            CorruptionKind::Dropout => Self { shadow_share: 0.6 * severity, ..Self::NONE },
            CorruptionKind::NoFan => Self { snow: true, ..Self::NONE },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_from_its_name() {
        for kind in CorruptionKind::ALL {
            assert_eq!(kind.name().parse(), Corruption::new(kind, 1.0));
        }
        assert_eq!("blur:0.25".parse(), Corruption::new(CorruptionKind::Blur, 0.25));
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_list() {
        let error = "respiration".parse::<Corruption>().unwrap_err().to_string();
        assert!(error.contains("respiration") && error.contains("blur, over_gain"), "{error}");
    }

    #[test]
    fn a_severity_must_lie_above_zero_and_at_most_one() {
        for bad in ["blur:0", "blur:1.1", "blur:-1", "blur:NaN", "blur:inf", "blur:", "blur:x", "blur:1:1"] {
            assert!(matches!(bad.parse::<Corruption>(), Err(CorruptionError::Severity { .. })), "{bad}");
        }
        assert_eq!(
            "no_fan:0.5".parse::<Corruption>(),
            Err(CorruptionError::NotGraded { kind: CorruptionKind::NoFan })
        );
    }
}
