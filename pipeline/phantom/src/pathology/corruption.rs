//! Ways to spoil a field or slide, each in the unit a laboratory would name.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// What is wrong with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CorruptionKind {
    /// Out of focus: Gaussian blur.
    Blur,
    /// A stroke of green marker over tissue.
    PenGreen,
    /// A stroke of blue marker.
    PenBlue,
    /// A stroke of black marker.
    PenBlack,
    /// A stroke of red marker.
    PenRed,
    /// A fold: the section lies double along a band.
    Fold,
    /// This much tissue, the rest glass.
    Tissue,
    /// Too little of both dyes.
    Pale,
    /// Too much of both dyes.
    Dark,
    /// Glass only.
    Blank,
    /// Glass only, seen by a noisy camera.
    NoisyBlank,
    /// No eosin.
    HematoxylinOnly,
    /// No haematoxylin.
    EosinOnly,
    /// Compressed as JPEG of this quality.
    Jpeg,
}

/// How a kind is graded: the unit, the plain value, and the bounds.
struct Scale {
    unit: &'static str,
    plain: f64,
    least: f64,
    most: f64,
}

impl CorruptionKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::Blur,
        Self::PenGreen,
        Self::PenBlue,
        Self::PenBlack,
        Self::PenRed,
        Self::Fold,
        Self::Tissue,
        Self::Pale,
        Self::Dark,
        Self::Blank,
        Self::NoisyBlank,
        Self::HematoxylinOnly,
        Self::EosinOnly,
        Self::Jpeg,
    ];

    /// The name on the command line and in `truth.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blur => "blur",
            Self::PenGreen => "pen_green",
            Self::PenBlue => "pen_blue",
            Self::PenBlack => "pen_black",
            Self::PenRed => "pen_red",
            Self::Fold => "fold",
            Self::Tissue => "tissue",
            Self::Pale => "pale",
            Self::Dark => "dark",
            Self::Blank => "blank",
            Self::NoisyBlank => "noisy_blank",
            Self::HematoxylinOnly => "hematoxylin_only",
            Self::EosinOnly => "eosin_only",
            Self::Jpeg => "jpeg",
        }
    }

    /// None: the kind has no degrees.
    fn scale(self) -> Option<Scale> {
        let scale = |unit, plain, least, most| Some(Scale { unit, plain, least, most });
        match self {
            Self::Blur => scale("px", 3.0, 0.2, 12.0),
            Self::PenGreen | Self::PenBlue | Self::PenBlack | Self::PenRed => scale("opacity", 0.9, 0.1, 1.0),
            Self::Fold => scale("layers", 2.4, 1.1, 4.0),
            Self::Tissue => scale("share", 0.03, 0.0, 1.0),
            Self::Pale => scale("factor", 0.45, 0.05, 0.95),
            Self::Dark => scale("factor", 1.5, 1.05, 3.0),
            Self::NoisyBlank => scale("grey levels", 3.0, 0.1, 20.0),
            Self::Jpeg => scale("quality", 20.0, 1.0, 100.0),
            Self::Blank | Self::HematoxylinOnly | Self::EosinOnly => None,
        }
    }

    /// The unit of its severity; none where it has no degrees.
    pub fn unit(self) -> Option<&'static str> {
        self.scale().map(|scale| scale.unit)
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

/// A corruption and how bad it is. Written `KIND` (a plain case) or `KIND:SEVERITY` in the kind's own unit, for
/// instance `blur:2` for σ 2 px.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Corruption {
    kind: CorruptionKind,
    severity: Option<f64>,
}

impl Corruption {
    /// The kind at a plain severity.
    pub fn plain(kind: CorruptionKind) -> Self {
        Self { kind, severity: kind.scale().map(|scale| scale.plain) }
    }

    /// The kind at a severity in its own unit.
    ///
    /// # Errors
    /// [`CorruptionError::NotGraded`] where the kind has no degrees, [`CorruptionError::Severity`] out of its bounds.
    pub fn new(kind: CorruptionKind, severity: f64) -> Result<Self, CorruptionError> {
        let scale = kind.scale().ok_or(CorruptionError::NotGraded { kind })?;
        if !(scale.least..=scale.most).contains(&severity) {
            return Err(CorruptionError::severity(kind, &scale, severity.to_string()));
        }
        Ok(Self { kind, severity: Some(severity) })
    }

    /// What is wrong.
    pub fn kind(self) -> CorruptionKind {
        self.kind
    }

    /// How bad it is, in the unit of [`CorruptionKind::unit`]; none where the kind has no degrees.
    pub fn severity(self) -> Option<f64> {
        self.severity
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
    /// The severity is out of bounds or not a number.
    #[error("severity {given:?} of {kind} must be a number from {least} to {most} ({unit})")]
    Severity {
        /// The kind it was given for.
        kind: CorruptionKind,
        /// What was given.
        given: String,
        /// The least allowed.
        least: f64,
        /// The greatest allowed.
        most: f64,
        /// Their unit.
        unit: &'static str,
    },
    /// The kind has no degrees.
    #[error("{kind} has no degrees; write {kind} alone")]
    NotGraded {
        /// The kind.
        kind: CorruptionKind,
    },
}

impl CorruptionError {
    fn severity(kind: CorruptionKind, scale: &Scale, given: String) -> Self {
        Self::Severity { kind, given, least: scale.least, most: scale.most, unit: scale.unit }
    }
}

fn kinds() -> String {
    CorruptionKind::ALL.map(CorruptionKind::name).join(", ")
}

impl FromStr for Corruption {
    type Err = CorruptionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, severity) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let kind = CorruptionKind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| CorruptionError::UnknownKind { given: name.to_owned() })?;
        let Some(given) = severity else { return Ok(Self::plain(kind)) };
        let scale = kind.scale().ok_or(CorruptionError::NotGraded { kind })?;
        match given.parse() {
            Ok(severity) => Self::new(kind, severity),
            Err(_) => Err(CorruptionError::severity(kind, &scale, given.to_owned())),
        }
    }
}

/// A marker's colour.
pub(crate) type Ink = [f32; 3];

/// What the drawing code has to do; the default is nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effects {
    /// Standard deviation of the blur, pixels of the finest level.
    pub(crate) blur_sigma_px: f32,
    /// (colour, opacity) of a stroke.
    pub(crate) pen: Option<(Ink, f32)>,
    /// How many layers lie in the fold.
    pub(crate) fold_layers: Option<f32>,
    /// Replaces the share of tissue.
    pub(crate) tissue_share: Option<f64>,
    /// Factors on the concentration of haematoxylin and eosin.
    pub(crate) strength: [f32; 2],
    /// Standard deviation of the camera's noise, grey levels.
    pub(crate) noise: f32,
    /// Quality of lossy compression, where it is the corruption.
    pub(crate) jpeg_quality: Option<u8>,
}

impl Effects {
    pub(crate) fn of(corruption: Option<Corruption>) -> Self {
        let none = Self {
            blur_sigma_px: 0.0,
            pen: None,
            fold_layers: None,
            tissue_share: None,
            strength: [1.0, 1.0],
            noise: 1.0,
            jpeg_quality: None,
        };
        let Some(Corruption { kind, severity }) = corruption else { return none };
        let severity = severity.unwrap_or_default();
        let degree = severity as f32;
        let pen = |ink| Self { pen: Some((ink, degree)), ..none };
        match kind {
            CorruptionKind::Blur => Self { blur_sigma_px: degree, ..none },
            CorruptionKind::PenGreen => pen([30.0, 125.0, 60.0]),
            CorruptionKind::PenBlue => pen([35.0, 60.0, 165.0]),
            CorruptionKind::PenBlack => pen([18.0, 18.0, 20.0]),
            CorruptionKind::PenRed => pen([190.0, 35.0, 45.0]),
            CorruptionKind::Fold => Self { fold_layers: Some(degree), ..none },
            CorruptionKind::Tissue => Self { tissue_share: Some(severity), ..none },
            CorruptionKind::Pale | CorruptionKind::Dark => Self { strength: [degree; 2], ..none },
            CorruptionKind::Blank => Self { tissue_share: Some(0.0), ..none },
            CorruptionKind::NoisyBlank => Self { tissue_share: Some(0.0), noise: degree, ..none },
            CorruptionKind::HematoxylinOnly => Self { strength: [1.0, 0.0], ..none },
            CorruptionKind::EosinOnly => Self { strength: [0.0, 1.0], ..none },
            CorruptionKind::Jpeg => Self { jpeg_quality: Some(severity.round() as u8), ..none },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_from_its_name() {
        for kind in CorruptionKind::ALL {
            assert_eq!(kind.name().parse(), Ok(Corruption::plain(kind)));
            if let Some(severity) = Corruption::plain(kind).severity() {
                assert_eq!(format!("{kind}:{severity}").parse(), Corruption::new(kind, severity));
            }
        }
    }

    #[test]
    fn what_names_no_corruption_is_answered_with_kinds_and_bounds() {
        let error = "smudge".parse::<Corruption>().unwrap_err().to_string();
        assert!(error.contains("smudge") && error.contains("blur, pen_green"), "{error}");
        for bad in ["blur:0", "blur:13", "blur:-1", "blur:NaN", "blur:inf", "blur:", "blur:x", "tissue:1.1"] {
            let error = bad.parse::<Corruption>().unwrap_err();
            assert!(matches!(error, CorruptionError::Severity { .. }), "{bad}: {error}");
        }
        assert_eq!(
            "blank:1".parse::<Corruption>(),
            Err(CorruptionError::NotGraded { kind: CorruptionKind::Blank })
        );
    }
}
