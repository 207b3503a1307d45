//! Bounds for pathology. Values live in `config/default.toml`; what they mean and where they come from is said here.

use serde::Deserialize;
use stage::ConfigError;

use crate::rule::{Limits, Worse};

/// Bounds for a slide or a field of view. Measures at 0.5 µm per pixel where the slide is that fine.
///
/// (M) marks what was measured on phantoms, not on patients; look at those again after the first 200 slides of each
/// scanner.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathologyLimits {
    /// Share of a field of view that is tissue; below it `BLANK`. Tiles of a slide are looked for where there is as
    /// much as `warn`.
    pub tissue: Limits,
    /// Share of a slide that is tissue; below it `BLANK`. A needle biopsy covers about a hundredth of its glass.
    pub slide_tissue: Limits,
    /// Tiles of 512 pixels, evenly spaced over the tissue of a slide, on which the picture is measured.
    pub sampled_tiles: u32,
    /// Raw tiles read for the overview at most; of a level with more, some stand for their neighbours.
    pub overview_tiles: u32,
    /// Variance of the Laplacian on tissue. `OUT_OF_FOCUS`. By texture and noise of the phantom: sharp 77 to 670,
    /// stained half as strongly 160 to 200, Gaussian blur of 1, 2 and 3 px 13 to 68, 5 to 13, 5 to 13 (M); two real
    /// tiles 1150 and 2470, blurred by 2 px 17 and 34.
    pub focus: Limits,
    /// The rejecting bound of `focus` counts only above this re-blur metric: a smooth sharp picture is no blurred one.
    /// Sharp 0.34 to 0.41, Gaussian blur of 1, 2 and 4 px 0.53, 0.64 to 0.72, 0.74 to 0.82 (M); two real tiles 0.29,
    /// blurred by 2 px 0.61.
    pub focus_reject_blur: f64,
    /// Share of a tile in the colours of green, blue or red pen. Clean tiles 0, a stroke 4.5 to 7.8 % (M). `PEN`.
    pub pen: Limits,
    /// Share of a tile in the colour of black pen. Clean tiles 0, a stroke 1.1 % (M). `PEN`.
    pub black_pen: Limits,
    /// Share of a tile whose saturation exceeds its value by 0.30 (after Kothari 2014), where it is 1.7 times as dense
    /// as the rest, above which `FOLD` warns. Folds 0.2 to 1.7 %; flat tissue, also stained 1.5 times as strongly,
    /// 0 to 0.13 % (M). Keratin reads as a fold.
    pub fold: f64,
    /// `fold` counts only in tiles whose 99th percentile of optical density exceeds this.
    pub fold_density: f64,
    /// Mean optical density of tissue below which `PALE` warns. Clean 0.36 to 0.43, stained half as strongly 0.20 to
    /// 0.23 (M); two real pictures 0.6 to 1.0.
    pub pale: f64,
    /// By how much a stain may absorb red or blue more than green before `STAIN_IMPLAUSIBLE` warns. Haematoxylin and
    /// eosin at most 1; diaminobenzidine 1.37, aniline blue 1.35 (vectors of Ruifrok and Johnston 2001).
    pub off_green: f64,
    /// Micrometres per pixel above which `LOW_RES` warns: a 20x objective gives 0.5.
    pub resolution: f64,
}

impl PathologyLimits {
    /// Refuses what cannot be meant.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        self.tissue.validated("pathology.tissue", Worse::Below)?;
        self.slide_tissue.validated("pathology.slide_tissue", Worse::Below)?;
        self.focus.validated("pathology.focus", Worse::Below)?;
        self.pen.validated("pathology.pen", Worse::Above)?;
        self.black_pen.validated("pathology.black_pen", Worse::Above)?;
        for (key, count) in [
            ("pathology.sampled_tiles", self.sampled_tiles),
            ("pathology.overview_tiles", self.overview_tiles),
        ] {
            if count == 0 {
                return Err(ConfigError { key, value: "0".to_owned(), expected: "at least 1".to_owned() });
            }
        }
        for (key, value) in [
            ("pathology.focus_reject_blur", self.focus_reject_blur),
            ("pathology.fold", self.fold),
            ("pathology.fold_density", self.fold_density),
            ("pathology.pale", self.pale),
            ("pathology.off_green", self.off_green),
            ("pathology.resolution", self.resolution),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                let expected = "a number, at least 0".to_owned();
                return Err(ConfigError { key, value: value.to_string(), expected });
            }
        }
        Ok(())
    }
}
