//! The gate's table in the configuration. Values live in `config/default.toml`; what they mean and where they come
//! from is said here.

use serde::Deserialize;
use stage::ConfigError;

use crate::rule::{Limits, Range, Worse};

/// The gate's table.
///
/// The thresholds were measured on phantoms (256 px high, 10 clips for each corruption), not on patients: look at
/// them again after the first 200 studies of each vendor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Frames looked at; a longer clip is judged by its first frames.
    pub max_frames: u32,
    /// Frames, evenly spaced, on which the picture is measured; the median counts.
    pub sampled_frames: u32,
    /// Share of frames that do not decode.
    pub damaged: Limits,
    /// Bounds for an apical B-mode loop.
    pub echo: EchoLimits,
    /// Bounds for a pathology field of view.
    pub pathology: PathologyLimits,
}

/// Bounds for an apical B-mode loop from which an ejection fraction is to be read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EchoLimits {
    /// Frames that one beat needs; below it `TRUNCATED`.
    pub min_frames: u32,
    /// Frames per second; below it `LOW_FPS`. Isovolumic relaxation lasts about 80 ms: 25 frames a second put two
    /// frames inside the end-systolic plateau.
    pub frame_rate: Limits,
    /// Heart beats in the clip; below it `TRUNCATED`.
    pub duration: Limits,
    /// Height of the fan in pixels below which `LOW_RES` warns: 256 px over 1.5.
    pub resolution_warn: f64,
    /// Share of the tissue window that the fan fills; outside it `NO_FAN`. Noise without a picture fills all of it.
    pub fan: Range,
    /// Share of fan pixels with more than 30 grey levels between their channels above which a clip is
    /// `COLOR_DOPPLER`, hence not meant for the ejection fraction.
    pub colour: f64,
    /// Re-blur metric of Crété 2007, 0 sharp to 1 blurred. Sharp phantoms 0.26; Gaussian blur of 1.0, 1.5 and 2 px
    /// 0.50, 0.63 and 0.72. `BLUR`.
    pub blur: Limits,
    /// Variance of the Laplacian, grey levels squared. Sharp phantoms 4127; Gaussian blur of 1.0 and 1.5 px 100 and
    /// 32. The rejecting bound of 50 is the usual one in the literature; alone it rejects nothing, see `blur`.
    pub laplacian_variance: Limits,
    /// Share of pixels at 250 or more. +8, +14, +20 dB: 0.02, 0.13, 0.30. `OVER_GAIN`.
    pub saturation: Limits,
    /// Mean grey level of the darker class (blood). +8, +14, +20 dB: 104, 132, 160. `OVER_GAIN`.
    pub blood_level: Limits,
    /// Share of pixels at 5 or less. -8, -14, -20 dB: 0.06, 0.23, 0.48. `UNDER_GAIN`.
    pub black: Limits,
    /// Grey levels between the classes. Clean phantoms 73 to 100, by their dynamic range; noise floor at -32 dB 40 to
    /// 56. `LOW_CONTRAST`.
    pub contrast: Limits,
    /// 95th percentile of the temporal standard deviation, grey levels. Clean 15.7; frozen 0.0 to 0.2. `STATIC`.
    pub motion: Limits,
    /// Share of frames equal to the one before. `STATIC`.
    pub duplicate_frames: Limits,
}

/// Bounds for a pathology field of view.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathologyLimits {
    /// Share of the picture that is tissue; below it `BLANK`.
    pub tissue: Limits,
    /// Variance of the Laplacian on tissue: sharp 77, Gaussian blur of 1 and 2 px 13 and 5. `OUT_OF_FOCUS`.
    pub focus: Limits,
    /// The rejecting bound of `focus` counts only above this re-blur metric: a pale sharp picture is no blurred one.
    pub focus_reject_blur: f64,
}

impl Config {
    /// Refuses what cannot be meant.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let at_least = |key, value: u32, least: u32| {
            (value >= least).then_some(()).ok_or_else(|| ConfigError {
                key,
                value: value.to_string(),
                expected: format!("at least {least}"),
            })
        };
        at_least("sampled_frames", self.sampled_frames, 1)?;
        at_least("echo.min_frames", self.echo.min_frames, 2)?;
        at_least("max_frames", self.max_frames, self.sampled_frames.max(self.echo.min_frames))?;
        self.damaged.validated("damaged", Worse::Above)?;
        let (echo, pathology) = (&self.echo, &self.pathology);
        echo.frame_rate.validated("echo.frame_rate", Worse::Below)?;
        echo.duration.validated("echo.duration", Worse::Below)?;
        echo.fan.validated("echo.fan")?;
        echo.blur.validated("echo.blur", Worse::Above)?;
        echo.laplacian_variance.validated("echo.laplacian_variance", Worse::Below)?;
        echo.saturation.validated("echo.saturation", Worse::Above)?;
        echo.blood_level.validated("echo.blood_level", Worse::Above)?;
        echo.black.validated("echo.black", Worse::Above)?;
        echo.contrast.validated("echo.contrast", Worse::Below)?;
        echo.motion.validated("echo.motion", Worse::Below)?;
        echo.duplicate_frames.validated("echo.duplicate_frames", Worse::Above)?;
        pathology.tissue.validated("pathology.tissue", Worse::Below)?;
        pathology.focus.validated("pathology.focus", Worse::Below)
    }
}
