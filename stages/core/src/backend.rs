//! The model as a stage sees it.

use schemas::{Digest, FinishReason, ModelIdentity};

use crate::{Image, Source, StageError};

/// What the model is shown at one place of its prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Picture {
    /// One picture by itself.
    Still(Image),
    /// End-diastole and end-systole of one beat, of equal size, as a video of two frames.
    Beat([Image; 2]),
}

/// How a model wants to see a beat. A checkpoint says it of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presentation {
    /// Two stills.
    Stills,
    /// One video of two frames ([`Picture::Beat`]).
    Beats,
}

/// One question to the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRequest {
    /// The system turn, if the prompt has one.
    pub system: Option<String>,
    /// The pictures, in the order the prompt speaks of them.
    pub pictures: Vec<Picture>,
    /// The user turn; the pictures stand before it.
    pub prompt: String,
    /// What the answer begins with; the model goes on from there. Empty for an answer from its start.
    pub answer_prefix: String,
    /// JSON schema that the answer (prefix included) is held to, token by token, in compact form.
    pub schema: Option<String>,
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
    /// Sum of the log-probabilities of the tokens out, natural logarithm, as the model gave them before any schema held
    /// it to its form; absent where the backend gives none.
    pub log_probability: Option<f64>,
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

    /// How it wants to see a beat.
    fn presentation(&self) -> Presentation {
        Presentation::Stills
    }

    /// Asks and waits. Greedy: the same request gives the same answer.
    fn generate(&self, request: &ModelRequest) -> Result<Generation, BackendError>;

    /// Log-probability (natural logarithm) of each of `continuations` as the next words of the answer, after
    /// [`ModelRequest::answer_prefix`]; neither schema nor cap have a say. In the order given; none is empty.
    fn score(&self, request: &ModelRequest, continuations: &[String]) -> Result<Vec<f64>, BackendError>;
}

/// The model's place where no stage asks for one. Whoever asks all the same is told so.
#[derive(Debug, Clone)]
pub struct NoModel(ModelIdentity);

#[derive(Debug, thiserror::Error)]
#[error("no model stands behind this stage; build it with services that have one")]
struct ModelMissing;

impl Default for NoModel {
    fn default() -> Self {
        Self(ModelIdentity {
            name: "none".to_owned(),
            digest: Digest::of(b""),
            dtype: "none".to_owned(),
            device: "none".to_owned(),
            untrained: true,
            synthetic_only: true,
        })
    }
}

impl ModelBackend for NoModel {
    fn identity(&self) -> &ModelIdentity {
        &self.0
    }

    fn generate(&self, _: &ModelRequest) -> Result<Generation, BackendError> {
        Err(BackendError::Broken(ModelMissing.into()))
    }

    fn score(&self, _: &ModelRequest, _: &[String]) -> Result<Vec<f64>, BackendError> {
        Err(BackendError::Broken(ModelMissing.into()))
    }
}
