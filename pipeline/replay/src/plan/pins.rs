//! What decides the answers of one arm, named so that a later run can tell whether it is still the same.

use std::collections::BTreeMap;

use schemas::{Digest, ModelIdentity};
use serde::{Deserialize, Serialize};

/// Which build answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// Its version.
    pub version: String,
    /// Commit it was built from, where that is known.
    pub revision: Option<String>,
}

/// What decides one stage's answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagePins {
    /// SHA-256 of its table, with the files it names in place of their names.
    pub table_sha256: Digest,
    /// SHA-256 of each prompt's text, by the key it is configured under.
    pub prompts: BTreeMap<String, Digest>,
}

/// What decides the answers of one arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// The tables of the effective configuration that may decide an answer, as TOML.
    pub config: String,
    /// SHA-256 of `config`.
    pub config_sha256: Digest,
    /// The model as it was when the plan was made.
    pub model: ModelIdentity,
    /// Folder of its adapter; empty: none.
    pub adapter: String,
    /// The stages done, by name.
    pub stages: BTreeMap<String, StagePins>,
    /// The build.
    pub code: Code,
}

/// What is no longer as it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {arm}'s {what} is not the one that was planned with ({found} instead of {planned}); plan again")]
pub struct PinMismatch {
    /// `baseline` or `candidate`.
    pub arm: &'static str,
    /// What differs.
    pub what: String,
    /// As planned.
    pub planned: String,
    /// As found.
    pub found: String,
}

impl Pins {
    /// Compares with what is there now.
    pub fn check(&self, arm: &'static str, now: &Self) -> Result<(), PinMismatch> {
        let differs = |what: String, planned: String, found: String| {
            if planned == found { Ok(()) } else { Err(PinMismatch { arm, what, planned, found }) }
        };
        let code = |code: &Code| match &code.revision {
            Some(revision) => format!("{} ({revision})", code.version),
            None => code.version.clone(),
        };
        differs("build".to_owned(), code(&self.code), code(&now.code))?;
        differs("configuration".to_owned(), self.config_sha256.to_string(), now.config_sha256.to_string())?;
        let model = |model: &ModelIdentity| {
            format!("{} {}, {}, {}", model.name, model.digest, model.dtype, model.device)
        };
        differs("model".to_owned(), model(&self.model), model(&now.model))?;
        for (name, planned) in &self.stages {
            let Some(found) = now.stages.get(name) else {
                return differs(format!("stage {name}"), "there".to_owned(), "gone".to_owned());
            };
            let prompts = |pins: &StagePins| {
                let texts = pins.prompts.iter().map(|(key, sha256)| format!("{key} {sha256}"));
                texts.collect::<Vec<_>>().join(", ")
            };
            differs(format!("prompts of {name}"), prompts(planned), prompts(found))?;
            let table = |pins: &StagePins| pins.table_sha256.to_string();
            differs(format!("table stages.{name} or a file it names"), table(planned), table(found))?;
        }
        Ok(())
    }
}
