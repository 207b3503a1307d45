//! What a corruption does to the making of a clip.

use super::{Corruption, CorruptionKind};

/// Whether colour Doppler lies over the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// B-mode only.
    None,
    /// A box of colour that the header declares.
    Declared,
    /// A box of colour that the header is silent about.
    Silent,
}

/// What is changed, in physical units; [`Effects::NONE`] changes nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effects {
    /// Standard deviation in pixels of a fan 256 px high.
    pub(crate) blur_sigma_px: f64,
    pub(crate) gain_db: f64,
    /// Replaces the sampled noise floor.
    pub(crate) noise_db: Option<f64>,
    /// Replaces the usual reverberation at the probe.
    pub(crate) clutter_db: Option<f64>,
    /// How many neighbouring frames are averaged.
    pub(crate) averaged_frames: usize,
    /// Share of the frames before the picture freezes.
    pub(crate) live_share: f64,
    /// Replaces the sampled length.
    pub(crate) beats: Option<f64>,
    /// Replaces the sampled frame rate.
    pub(crate) frame_rate: Option<f64>,
    /// Replaces the usual beat-to-beat variation: standard deviation as a share of RR.
    pub(crate) rr_variation: Option<f64>,
    /// Share of the beams in shadow.
    pub(crate) shadow_share: f64,
    /// Way of the heart within a breath, from end to end, mm.
    pub(crate) respiration_mm: f64,
    /// Share of the ventricle's length that the plane does not show.
    pub(crate) foreshortening: f64,
    pub(crate) mirrored: bool,
    pub(crate) colour: Colour,
    /// Replaces the usual quality of JPEG.
    pub(crate) jpeg_quality: Option<u8>,
    /// Snow instead of a sector.
    pub(crate) snow: bool,
}

impl Effects {
    pub(crate) const NONE: Self = Self {
        blur_sigma_px: 0.0,
        gain_db: 0.0,
        noise_db: None,
        clutter_db: None,
        averaged_frames: 1,
        live_share: 1.0,
        beats: None,
        frame_rate: None,
        rr_variation: None,
        shadow_share: 0.0,
        respiration_mm: 0.0,
        foreshortening: 0.0,
        mirrored: false,
        colour: Colour::None,
        jpeg_quality: None,
        snow: false,
    };

    pub(crate) fn of(corruption: Option<Corruption>) -> Self {
        let Some(Corruption { kind, severity }) = corruption else { return Self::NONE };
        let severity = severity.unwrap_or(1.0);
        match kind {
            CorruptionKind::Blur => Self { blur_sigma_px: severity, ..Self::NONE },
            CorruptionKind::OverGain | CorruptionKind::UnderGain => Self { gain_db: severity, ..Self::NONE },
            CorruptionKind::Noise => Self { noise_db: Some(severity), ..Self::NONE },
            CorruptionKind::Clutter => Self { clutter_db: Some(severity), ..Self::NONE },
            CorruptionKind::MotionAverage => {
                Self { averaged_frames: severity.round() as usize, ..Self::NONE }
            }
            CorruptionKind::Static => Self { live_share: 1.0 - severity, ..Self::NONE },
            CorruptionKind::Truncated => Self { beats: Some(severity), ..Self::NONE },
            CorruptionKind::LowFps => Self { frame_rate: Some(severity), ..Self::NONE },
            CorruptionKind::RrJitter => Self { rr_variation: Some(severity / 100.0), ..Self::NONE },
            CorruptionKind::Dropout => Self { shadow_share: severity, ..Self::NONE },
            CorruptionKind::Drift => Self { respiration_mm: severity, ..Self::NONE },
            CorruptionKind::Foreshortening => Self { foreshortening: severity / 100.0, ..Self::NONE },
            CorruptionKind::Mirror => Self { mirrored: true, ..Self::NONE },
            CorruptionKind::ColourBox => Self { colour: Colour::Declared, ..Self::NONE },
            CorruptionKind::ColourBoxSilent => Self { colour: Colour::Silent, ..Self::NONE },
            CorruptionKind::Jpeg => Self { jpeg_quality: Some(severity.round() as u8), ..Self::NONE },
            CorruptionKind::NoFan => Self { snow: true, ..Self::NONE },
        }
    }
}
