//! The engine as a stage's model.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use glm46v::{
    Determinism, EngineHandle, FinishReason, GenerateOptions, Grammar, Message, Part, Presentation, Prompt,
    Request, RequestError, Role, Thinking, Video,
};
use image::RgbImage;
use inference_metrics::EngineMetrics;
use schemas::{Digest, ModelIdentity};
use stage::{BackendError, Generation, Image, ModelBackend, ModelRequest, Picture, Source};

use crate::schema;

/// A handle to the engine that this process runs. The engine itself belongs to whoever started it: dropped, it lets the
/// request in progress finish, and this backend is [`BackendError::Broken`] from then on.
pub struct EngineBackend {
    engine: EngineHandle,
    identity: ModelIdentity,
    /// Grammars by the text of their schema: compiling one takes longer than an answer of a small model. A lock, because
    /// every worker asks; held while one is looked up, or compiled for the first time.
    grammars: Mutex<Vec<(String, Grammar)>>,
    /// Absent where nobody watches.
    metrics: Option<EngineMetrics>,
}

/// Grammars kept. Stages hold their answers to a few schemas, again and again.
const GRAMMARS: usize = 16;

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
            // Two engines that differ in this may differ in the last bits of their scores.
            dtype: match info.determinism {
                Determinism::Exact => format!("{}, deterministic", info.compute.dtype()),
                Determinism::Fast => info.compute.dtype(),
            },
            device: info.compute.device.to_string(),
            untrained: info.marks.untrained,
            synthetic_only: info.marks.synthetic_only,
        };
        Self { engine, identity, grammars: Mutex::default(), metrics: None }
    }

    /// The same, counting in `metrics`.
    #[must_use]
    pub fn with_metrics(mut self, metrics: EngineMetrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    fn answer(&self, request: &Request) -> Result<glm46v::Generation, RequestError> {
        let Some(metrics) = &self.metrics else { return self.engine.generate(request) };
        let asked_at = Instant::now();
        let streamed = self.engine.submit_streaming(request);
        let answer = streamed.and_then(|pending| metrics.answer(pending, asked_at));
        answer.inspect_err(|error| metrics.failed(error))
    }

    fn grammar(&self, request: &ModelRequest) -> Result<Option<Grammar>, BackendError> {
        let (Some(text), Some(schema)) = (&request.schema, schema::of(request).map_err(refused)?) else {
            return Ok(None);
        };
        let mut grammars = self.grammars.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, grammar)) = grammars.iter().find(|(known, _)| known == text) {
            return Ok(Some(grammar.clone()));
        }
        let grammar = self.engine.processor().grammar(schema).map_err(refused)?;
        if grammars.len() == GRAMMARS {
            grammars.remove(0);
        }
        grammars.push((text.clone(), grammar.clone()));
        Ok(Some(grammar))
    }
}

impl ModelBackend for EngineBackend {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn presentation(&self) -> stage::Presentation {
        match self.engine.info().marks.presentation {
            Presentation::Stills => stage::Presentation::Stills,
            Presentation::Beats => stage::Presentation::Beats,
        }
    }

    fn generate(&self, request: &ModelRequest) -> Result<Generation, BackendError> {
        let held = Request { grammar: self.grammar(request)?, ..asked(request)? };
        let answer = self.answer(&held).map_err(reaction)?;
        Ok(Generation {
            finish_reason: match answer.finish_reason {
                FinishReason::Stop => schemas::FinishReason::Stop,
                FinishReason::Length => schemas::FinishReason::Length,
                FinishReason::Repetition => schemas::FinishReason::Repetition,
            },
            prompt_tokens: answer.prompt_tokens as u32,
            vision_tokens: answer.vision_tokens as u32,
            generated_tokens: answer.generated_tokens() as u32,
            log_probability: answer.log_probability(),
            text: answer.text,
        })
    }

    fn score(&self, request: &ModelRequest, continuations: &[String]) -> Result<Vec<f64>, BackendError> {
        let asked_at = Instant::now();
        let scores = self.engine.score(&asked(request)?, continuations);
        if let Some(metrics) = &self.metrics {
            match &scores {
                Ok(_) => metrics.scored(asked_at.elapsed()),
                Err(error) => metrics.failed(error),
            }
        }
        scores.map_err(reaction)
    }
}

/// The same turns for every way of asking: a system turn, then pictures before the text.
fn asked(request: &ModelRequest) -> Result<Request, BackendError> {
    let pictures = request.pictures.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let system = request.system.as_ref().map(|system| Message::text(Role::System, system));
    let content = pictures.into_iter().chain([Part::Text(request.prompt.clone())]).collect();
    let messages = system.into_iter().chain([Message { role: Role::User, content }]).collect();
    let options = GenerateOptions {
        max_new_tokens: request.max_new_tokens as usize,
        // Scores without alternatives: for the sum of log-probabilities.
        top_logprobs: Some(0),
        ..GenerateOptions::default()
    };
    Ok(Request {
        answer_prefix: request.answer_prefix.clone(),
        ..Request::new(Prompt { messages, thinking: Thinking::Off }, options)
    })
}

fn part(picture: &Picture) -> Result<Part, BackendError> {
    Ok(match picture {
        Picture::Still(image) => Part::Image(rgb(image)?),
        Picture::Beat([diastole, systole]) => Part::Video(Video::pair([rgb(diastole)?, rgb(systole)?])),
    })
}

fn rgb(image: &Image) -> Result<RgbImage, BackendError> {
    let Image { width, height, rgb } = image;
    RgbImage::from_raw(*width, *height, rgb.to_vec())
        .ok_or_else(|| refused(PictureSize { width: *width, height: *height, bytes: rgb.len() }))
}

fn refused(error: impl Into<Source>) -> BackendError {
    BackendError::Refused(error.into())
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
