//! The model as a stage sees it.

use schemas::{FinishReason, ModelIdentity};

use crate::{Image, Source, StageError};

/// One question to the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRequest {
    /// The system turn, if the prompt has one.
    pub system: Option<String>,
    /// The pictures, in the order the prompt speaks of them.
    pub images: Vec<Image>,
    /// The user turn; the pictures stand before it.
    pub prompt: String,
    /// The cap on generated tokens.
    pub max_new_tokens: u32,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The text, special tokens removed.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens in, images included.
    pub prompt_tokens: u32,
    /// Of these, image tokens.
    pub vision_tokens: u32,
    /// Tokens out.
    pub generated_tokens: u32,
}

/// Why the model did not answer.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The request can never work: too long, an image of impossible shape.
    #[error("model cannot take this request")]
    Refused(#[source] Source),
    /// The backend is full, slow or down.
    #[error("model backend is not available at the moment")]
    Unavailable(#[source] Source),
    /// The backend is broken for good.
    #[error("model backend cannot go on")]
    Broken(#[source] Source),
}

impl From<BackendError> for StageError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Refused(_) => Self::invalid(error),
            BackendError::Unavailable(_) => Self::dependency(error),
            BackendError::Broken(_) => Self::Fatal(error.into()),
        }
    }
}

/// A vision-language model, wherever it runs.
pub trait ModelBackend: Send + Sync {
    /// Which model this is. Fixed for the life of the process.
    fn identity(&self) -> &ModelIdentity;

    /// Asks and waits. Greedy: the same request gives the same answer.
    fn generate(&self, request: &ModelRequest) -> Result<Generation, BackendError>;
}
