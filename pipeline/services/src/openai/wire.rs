//! The part of the API's answers that is read.

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Models {
    pub(super) data: Vec<ModelEntry>,
}

#[derive(Deserialize)]
pub(super) struct ModelEntry {
    pub(super) id: String,
    /// vLLM: the folder or hub name. Ours: the checkpoint's digest.
    pub(super) root: Option<String>,
    /// Only ours says so.
    pub(super) prescreen: Option<Marks>,
}

#[derive(Deserialize)]
pub(super) struct Marks {
    pub(super) untrained: bool,
    pub(super) synthetic_only: bool,
    #[serde(default)]
    pub(super) presentation: Presentation,
}

#[derive(Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Presentation {
    #[default]
    Stills,
    Beats,
}

#[derive(Deserialize)]
pub(super) struct Completion {
    pub(super) model: String,
    pub(super) choices: Vec<Choice>,
    pub(super) usage: Option<Usage>,
}

#[derive(Deserialize)]
pub(super) struct Choice {
    pub(super) message: Message,
    pub(super) finish_reason: Option<String>,
    pub(super) logprobs: Option<LogProbs>,
}

#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) content: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct LogProbs {
    pub(super) content: Option<Vec<Token>>,
}

/// A generated token and what could have stood in its place.
#[derive(Deserialize)]
pub(super) struct Token {
    #[serde(flatten)]
    pub(super) score: TokenScore,
    #[serde(default)]
    pub(super) top_logprobs: Vec<TokenScore>,
}

#[derive(Deserialize)]
pub(super) struct TokenScore {
    token: String,
    logprob: f64,
    /// The token's text to the byte; a part of a character has no other form.
    bytes: Option<Vec<u8>>,
}

impl TokenScore {
    pub(super) fn text(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or(self.token.as_bytes())
    }

    /// Natural logarithm; JSON has no -∞, for which the API writes -9999.
    pub(super) fn log_probability(&self) -> f64 {
        if self.logprob <= -9999.0 { f64::NEG_INFINITY } else { self.logprob }
    }

    #[cfg(test)]
    pub(super) fn new(token: &str, logprob: f64) -> Self {
        Self { token: token.to_owned(), logprob, bytes: None }
    }
}

#[derive(Deserialize, Default)]
pub(super) struct Usage {
    pub(super) prompt_tokens: u32,
    pub(super) completion_tokens: u32,
    pub(super) prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Deserialize)]
pub(super) struct PromptTokens {
    pub(super) image_tokens: Option<u32>,
}
