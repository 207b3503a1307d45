//! The stage's table in the configuration.

use serde::Deserialize;
use stage::ConfigError;

use crate::{PromptConfig, Variation, fingerprint::Settings};

/// The stage's table in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A prompt for each kind of examination.
    pub prompts: PromptsConfig,
    /// Most beats of an echo study asked about, 1 to 5.
    pub beats: u32,
    /// Most tiles of a pathology study asked about, 1 to 16.
    pub tiles: u32,
    /// How each is shown, one after the other: distinct, the original first.
    pub variations: Vec<Variation>,
    /// Most askings of one study, 1 to 80; beats and tiles come before variations of them.
    pub askings: u32,
    /// Cap on generated tokens, at most 4096. At least as many as the longest answer of a form has bytes.
    pub max_new_tokens: u32,
    /// Lets a model trained on phantoms only answer for studies of patients. For demonstrations.
    pub allow_demo_model: bool,
}

/// A prompt for each kind of examination.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptsConfig {
    /// Echocardiography.
    pub echo: PromptConfig,
    /// H&E pathology.
    pub pathology: PromptConfig,
}

impl Config {
    /// What the prompts do not say, checked.
    pub(crate) fn settings(&self) -> Result<Settings, ConfigError> {
        within("beats", self.beats, 1, 5)?;
        within("tiles", self.tiles, 1, 16)?;
        within("askings", self.askings, 1, 80)?;
        within("max_new_tokens", self.max_new_tokens, 1, 4096)?;
        distinct(&self.variations)?;
        Ok(Settings {
            allow_demo_model: self.allow_demo_model,
            askings: self.askings,
            beats: self.beats,
            max_new_tokens: self.max_new_tokens,
            tiles: self.tiles,
            variations: self.variations.clone(),
        })
    }
}

fn within(key: &'static str, value: u32, least: u32, most: u32) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ConfigError { key, value: value.to_string(), expected: format!("expected {least} to {most}") })
}

fn distinct(variations: &[Variation]) -> Result<(), ConfigError> {
    let repeated = |(index, variation)| variations.iter().take(index).any(|earlier| earlier == variation);
    if variations.first() == Some(&Variation::Original) && !variations.iter().enumerate().any(repeated) {
        return Ok(());
    }
    Err(ConfigError {
        key: "variations",
        value: format!("{variations:?}"),
        expected: "expected distinct names, \"original\" first".to_owned(),
    })
}
