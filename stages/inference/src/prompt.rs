//! A prompt: a Markdown file of two turns, versioned by its id and its hash.
//!
//! ```text
//! # system        optional; everything up to the next turn
//! # user          required; holds `{pictures}` once, where the list of pictures goes, and names the keys of its form
//! ```

use schemas::Digest;
use serde::Deserialize;
use stage::ConfigError;

use crate::Form;

const PICTURES: &str = "{pictures}";

/// Longest prompt file in bytes: far above any sensible one, far below the context of the model.
const MAX_BYTES: usize = 16 * 1024;

/// A prompt as configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptConfig {
    /// Name and version, for example `echo.en`.
    pub id: String,
    /// The file's text.
    pub text: String,
}

/// A prompt that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    id: String,
    digest: Digest,
    system: Option<String>,
    before_pictures: String,
    after_pictures: String,
}

/// The keys to name when a prompt is refused.
struct ConfigKeys {
    id: &'static str,
    text: &'static str,
}

impl ConfigKeys {
    const fn of(form: Form) -> Self {
        match form {
            Form::Echo => Self { id: "prompts.echo.id", text: "prompts.echo.text" },
            Form::Pathology => Self { id: "prompts.pathology.id", text: "prompts.pathology.text" },
        }
    }
}

impl Prompt {
    /// Reads a prompt file that asks for `form`.
    pub fn parse(config: PromptConfig, form: Form) -> Result<Self, ConfigError> {
        let PromptConfig { id, text } = config;
        let keys = ConfigKeys::of(form);
        let refuse = |expected: &str| {
            Err(ConfigError {
                key: keys.text,
                value: format!("{} bytes", text.len()),
                expected: expected.into(),
            })
        };
        if id.is_empty() || id.len() > 64 {
            let value = format!("{} bytes long", id.len());
            return Err(ConfigError { key: keys.id, value, expected: "expected 1 to 64 bytes".into() });
        }
        if text.len() > MAX_BYTES {
            return refuse("expected at most 16384 bytes");
        }
        let unix = format!("\n{}", text.replace("\r\n", "\n"));
        let Some((head, user)) = unix.split_once("\n# user\n") else {
            return refuse("expected a line `# user`");
        };
        let system = match head.trim() {
            "" => None,
            head => match head.strip_prefix("# system\n") {
                Some(system) => Some(system.trim().to_owned()),
                None => return refuse("expected nothing but a turn `# system` before the line `# user`"),
            },
        };
        let pieces: Vec<&str> = user.trim().split(PICTURES).collect();
        let [before, after] = pieces.as_slice() else {
            return refuse("expected {pictures} once in the turn `# user`");
        };
        // A prompt of the other form would be answered, and no answer would fit.
        if let Some(missing) = form.keys().iter().find(|key| !user.contains(&format!("\"{key}\""))) {
            return refuse(&format!("expected the key \"{missing}\" of the form in the turn `# user`"));
        }
        Ok(Self {
            id,
            digest: Digest::of(text.as_bytes()),
            system,
            before_pictures: (*before).to_owned(),
            after_pictures: (*after).to_owned(),
        })
    }

    /// Name and version.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// SHA-256 of the file's text.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The system turn.
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// The user turn, with the list of pictures in its place.
    pub fn user(&self, pictures: &str) -> String {
        [self.before_pictures.as_str(), pictures, self.after_pictures.as_str()].concat()
    }
}
