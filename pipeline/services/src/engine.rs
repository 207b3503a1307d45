//! The engine as a stage's model.

use glm46v::{
    EngineHandle, FinishReason, GenerateOptions, Message, Part, Prompt, Request, RequestError, Role, Thinking,
};
use image::RgbImage;
use schemas::{Digest, ModelIdentity};
use stage::{BackendError, Generation, Image, ModelBackend, ModelRequest, Source};

/// A handle to the engine that this process runs. The engine itself belongs to whoever started it: dropped, it lets the
/// request in progress finish, and this backend is [`BackendError::Broken`] from then on.
pub struct EngineBackend {
    engine: EngineHandle,
    identity: ModelIdentity,
}

#[derive(Debug, thiserror::Error)]
#[error("picture of {width}x{height} has {bytes} bytes; expected three for each pixel")]
struct PictureSize {
    width: u32,
    height: u32,
    bytes: usize,
}

impl EngineBackend {
    /// The backend over `engine`; `name` is what reports call the checkpoint, for example its folder's name.
    pub fn new(engine: EngineHandle, name: impl Into<String>) -> Self {
        let info = engine.info();
        let identity = ModelIdentity {
            name: name.into(),
            digest: Digest::from_bytes(*info.digest.as_bytes()),
            // What the engine computes in, whatever the files hold.
            dtype: "f32".to_owned(),
            device: "cpu".to_owned(),
            untrained: info.marks.untrained,
            synthetic_only: info.marks.synthetic_only,
        };
        Self { engine, identity }
    }
}

impl ModelBackend for EngineBackend {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn generate(&self, request: &ModelRequest) -> Result<Generation, BackendError> {
        let pictures = request.images.iter().map(picture).collect::<Result<Vec<_>, _>>()?;
        let system = request.system.as_ref().map(|system| Message::text(Role::System, system));
        let content =
            pictures.into_iter().map(Part::Image).chain([Part::Text(request.prompt.clone())]).collect();
        let messages = system.into_iter().chain([Message { role: Role::User, content }]).collect();
        let answer = self
            .engine
            .generate(&Request::new(
                Prompt { messages, thinking: Thinking::Off },
                GenerateOptions {
                    max_new_tokens: request.max_new_tokens as usize,
                    ..GenerateOptions::default()
                },
            ))
            .map_err(reaction)?;
        Ok(Generation {
            finish_reason: match answer.finish_reason {
                FinishReason::Stop => schemas::FinishReason::Stop,
                FinishReason::Length => schemas::FinishReason::Length,
                FinishReason::Repetition => schemas::FinishReason::Repetition,
            },
            prompt_tokens: answer.prompt_tokens as u32,
            vision_tokens: answer.vision_tokens as u32,
            generated_tokens: answer.generated_tokens() as u32,
            text: answer.text,
        })
    }
}

fn picture(image: &Image) -> Result<RgbImage, BackendError> {
    let Image { width, height, rgb } = image;
    RgbImage::from_raw(*width, *height, rgb.to_vec()).ok_or_else(|| {
        let source: Source = Box::new(PictureSize { width: *width, height: *height, bytes: rgb.len() });
        BackendError::Refused(source)
    })
}

/// Who is at fault: the moment, the engine or its weights, or the request.
fn reaction(error: RequestError) -> BackendError {
    match error {
        RequestError::QueueFull { .. } => BackendError::Unavailable(error.into()),
        RequestError::EngineGone | RequestError::LogitsNotFinite { .. } | RequestError::Compute { .. } => {
            BackendError::Broken(error.into())
        }
        _ => BackendError::Refused(error.into()),
    }
}
