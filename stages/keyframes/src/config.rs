//! The stage's table in the configuration. Values live in `config/default.toml`, each with its source. The constants of
//! the method are no configuration: they stand beside the code that they belong to, with their source.

use serde::Deserialize;
use stage::ConfigError;

use crate::pathology::TileRules;

/// The stage's table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Frames looked at; of a longer clip the first ones. A frame takes about 60 KiB.
    pub max_frames: u32,
    /// Beats kept of a clip, the clearest ones.
    pub max_beats: u32,
    /// When the phases of a clip are doubted.
    pub phase: PhaseRules,
    /// When a measurement is dropped.
    pub geometry: GeometryRules,
    /// How tiles of a slide are chosen.
    pub pathology: TileRules,
}

/// When the phases of a clip are not to be relied on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseRules {
    /// Least and most beats a minute.
    pub heart_rate: [f64; 2],
    /// Least |correlation| of the chosen component with the blood signal.
    pub least_likeness: f64,
    /// Least autocorrelation at the period, for clips of two beats or more.
    pub least_periodicity: f64,
    /// Least vote on which way round the component is.
    pub least_vote: f64,
    /// Most variation (standard deviation over mean) from beat to beat.
    pub most_variation: f64,
    /// Least and most share of a beat from end-diastole to end-systole.
    pub systole: [f64; 2],
    /// Most milliseconds between the end-systoles of the component and of the blood signal.
    pub most_systole_gap_ms: f64,
    /// Most disagreement of a heart rate or electrocardiogram with the picture, as share of the period.
    pub most_rate_gap: f64,
    /// Drift in millimetres above which it is undone first.
    pub undo_drift_mm: f64,
}

/// When the outlines of a beat are not those of one ventricle.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeometryRules {
    /// Most movement of the centroid from end-diastole to end-systole, as share of the length at end-diastole.
    pub most_centroid_shift: f64,
    /// Least and most length at end-systole, as share of that at end-diastole.
    pub length_ratio: [f64; 2],
}

impl Config {
    /// Refuses what cannot be meant.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        at_least("max_frames", self.max_frames, 2)?;
        at_least("max_beats", self.max_beats, 1)?;
        let PhaseRules {
            heart_rate,
            least_likeness,
            least_periodicity,
            least_vote,
            most_variation,
            systole,
            most_systole_gap_ms,
            most_rate_gap,
            undo_drift_mm,
        } = &self.phase;
        ascending("phase.heart_rate", *heart_rate)?;
        ascending("phase.systole", *systole)?;
        ascending("geometry.length_ratio", self.geometry.length_ratio)?;
        share("phase.least_likeness", *least_likeness)?;
        share("phase.least_periodicity", *least_periodicity)?;
        for (key, value) in [
            ("phase.least_vote", *least_vote),
            ("phase.most_variation", *most_variation),
            ("phase.most_systole_gap_ms", *most_systole_gap_ms),
            ("phase.most_rate_gap", *most_rate_gap),
            ("phase.undo_drift_mm", *undo_drift_mm),
            ("geometry.most_centroid_shift", self.geometry.most_centroid_shift),
        ] {
            refuse_unless(value.is_finite() && value >= 0.0, key, value, "a number, at least 0")?;
        }
        self.pathology.validate()
    }
}

fn refuse_unless(
    meant: bool,
    key: &'static str,
    value: impl ToString,
    expected: impl Into<String>,
) -> Result<(), ConfigError> {
    let error = || ConfigError { key, value: value.to_string(), expected: expected.into() };
    if meant { Ok(()) } else { Err(error()) }
}

pub(crate) fn at_least(key: &'static str, value: u32, least: u32) -> Result<(), ConfigError> {
    refuse_unless(value >= least, key, value, format!("at least {least}"))
}

pub(crate) fn share(key: &'static str, value: f64) -> Result<(), ConfigError> {
    refuse_unless((0.0..=1.0).contains(&value), key, value, "a share from 0 to 1")
}

fn ascending(key: &'static str, [least, most]: [f64; 2]) -> Result<(), ConfigError> {
    let meant = least >= 0.0 && least < most && most.is_finite();
    refuse_unless(meant, key, format!("[{least}, {most}]"), "least and most, both at least 0, in this order")
}
