//! The stage's table in the configuration. Values live in `config/default.toml`. The constants of the method are no
//! configuration: they stand beside the code that they belong to, with their source.

use serde::Deserialize;
use stage::ConfigError;

/// The stage's table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Frames looked at; of a longer clip the first ones. A plane of one frame takes about 16 KiB.
    pub max_frames: u32,
    /// Beats kept of a clip, the clearest ones.
    pub max_beats: u32,
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
        at_least("max_frames", self.max_frames, 2)?;
        at_least("max_beats", self.max_beats, 1)
    }
}
