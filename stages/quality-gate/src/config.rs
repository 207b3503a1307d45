//! The gate's table in the configuration. Values live in `config/default.toml`; what they mean and where they come
//! from is said here.

use serde::Deserialize;
use stage::ConfigError;

use crate::{
    pathology::PathologyLimits,
    rule::{Limits, Range, Worse},
};

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
    /// Bounds for a slide or a pathology field of view.
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
    /// 0.50, 0.63 and 0.72; of 800x600 JPEG, where coding noise leaves a variance of the Laplacian of 38 to 97, 2 px
    /// give 0.67 to 0.71: hence a rejecting bound of 0.65. `BLUR`.
    pub blur: Limits,
    /// Variance of the Laplacian, grey levels squared. Sharp phantoms 4127; Gaussian blur of 1.0 and 1.5 px 100 and
    /// 32. The rejecting bound of 50 is the usual one in the literature; alone it rejects nothing, see `blur`.
    pub laplacian_variance: Limits,
    /// Share of pixels at 250 or more. +8, +14, +20 dB: 0.02, 0.13, 0.30 on bright phantoms; 0.02 to 0.08 at +14 and 0.13
    /// to 0.32 at +20 on darker ones, of which a rejecting bound of 0.20 let a quarter pass. `OVER_GAIN`.
    pub saturation: Limits,
    /// Mean grey level of the darker class (blood). +8, +14, +20 dB: 104, 132, 160 on bright phantoms; 111 to 143 at +14
    /// and 131 to 167 at +20 on darker ones: blood warns early, and rejects where +14 dB never comes. `OVER_GAIN`.
    pub blood_level: Limits,
    /// Share of pixels at 5 or less. -8, -14, -20 dB: 0.06, 0.23, 0.48. `UNDER_GAIN`.
    pub black: Limits,
    /// Mean grey level of the brighter class (tissue). It tells too little gain from a device that draws blood black, as
    /// good ones do. Clean phantoms 128 to 170; -20 dB 50 to 79. `UNDER_GAIN`.
    pub tissue_level: Limits,
    /// Grey levels between the classes. Clean phantoms 73 to 100, by their dynamic range; noise floor at -32 dB 40 to
    /// 56. `LOW_CONTRAST`.
    pub contrast: Limits,
    /// 95th percentile of the temporal standard deviation, grey levels. Clean 15.7; frozen 0.0 to 0.2. `STATIC`.
    pub motion: Limits,
    /// Share of frames equal to the one before. `STATIC`.
    pub duplicate_frames: Limits,
    /// Half the way, in mm, that the picture as a whole wanders beyond which `DRIFT` warns. It reads low: still hearts
    /// up to 1.4 (here 0.4), 5 mm drawn 1.9 to 2.3, 12 mm drawn 3.2 to 4.8 (here 3.0 to 5.3).
    pub drift_warn: f64,
    /// The same beyond which it is a breath: `RESPIRATORY` warns.
    pub respiratory_warn: f64,
    /// Depth of the fan in mm where the header calibrates nothing: the middle of what apical views are scanned at. Used
    /// for `drift_warn` and `respiratory_warn` alone.
    pub assumed_depth_mm: f64,
    /// Share of beams that show no tissue at all. `DROPOUT`: a rib's shadow takes a tenth of the sector and can hide a
    /// segment of the wall; with a third gone a whole wall is.
    pub dropout: Limits,
    /// Share of bright pixels outside the sector above which `BURNED_IN_TEXT` is noted. It never fails.
    pub burned_in_text: f64,
    /// Degrees between the ventricle's axis and the vertical above which `VIEW_UNCONFIRMED` warns.
    pub axis_tilt_warn: f64,
    /// Distance of the mitral hinges in widths of the ventricle; outside it `VIEW_UNCONFIRMED` warns.
    pub mitral_annulus: Range,
    /// Area of the right ventricle over that of the left at end-diastole above which `RV_LV_RATIO` warns (ASE 2015: two
    /// thirds).
    pub rv_lv_ratio_warn: f64,
    /// Length over width of the left ventricle at end-diastole below which `FORESHORTENED` warns.
    pub elongation_warn: f64,
    /// Depth of the apex, as share of the fan's height, above which it lies in the near field: `FORESHORTENED` warns.
    /// Clean phantoms, their apex 18 mm below the probe, 0.086 to 0.16: a bound of 0.12 would warn of them.
    pub apex_depth_warn: f64,
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
        let echo = &self.echo;
        echo.frame_rate.validated("echo.frame_rate", Worse::Below)?;
        echo.duration.validated("echo.duration", Worse::Below)?;
        echo.fan.validated("echo.fan")?;
        echo.blur.validated("echo.blur", Worse::Above)?;
        echo.laplacian_variance.validated("echo.laplacian_variance", Worse::Below)?;
        echo.saturation.validated("echo.saturation", Worse::Above)?;
        echo.blood_level.validated("echo.blood_level", Worse::Above)?;
        echo.black.validated("echo.black", Worse::Above)?;
        echo.tissue_level.validated("echo.tissue_level", Worse::Below)?;
        echo.contrast.validated("echo.contrast", Worse::Below)?;
        echo.motion.validated("echo.motion", Worse::Below)?;
        echo.duplicate_frames.validated("echo.duplicate_frames", Worse::Above)?;
        let drift = Limits { warn: echo.drift_warn, reject: echo.respiratory_warn };
        drift.validated("echo.respiratory_warn", Worse::Above)?;
        echo.dropout.validated("echo.dropout", Worse::Above)?;
        echo.mitral_annulus.validated("echo.mitral_annulus")?;
        let positive = |key, value: f64| {
            (value.is_finite() && value > 0.0).then_some(()).ok_or_else(|| ConfigError {
                key,
                value: value.to_string(),
                expected: "a number above 0".to_owned(),
            })
        };
        positive("echo.assumed_depth_mm", echo.assumed_depth_mm)?;
        self.pathology.validate()
    }
}
