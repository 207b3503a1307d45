//! A model behind an OpenAI-compatible server (vLLM, SGLang, `prescreen serve-model`) as a stage's model.
//!
//! ```text
//!   connect ─▶ GET /v1/models ─▶ the model is there: identity, fixed from here on
//!
//!   generate ─▶ breaker ─ closed ─▶ POST /v1/chat/completions, pictures as PNG, greedy
//!                  │                   │ 200            answer
//!                  │ open: Unavailable │ 400, 413, 422  Refused: this request can never work
//!                  │ at once, until    │ 401, 403, 404  Broken: key or model is wrong
//!                  │ its pause is over │ 429, 5xx, none Unavailable: the stage waits; opens the breaker when repeated
//!                  └───────────────────┘
//! ```
//! Health is judged by answers: a server that answers nothing for `request_timeout` is unavailable, whatever its health
//! page says. A changed identity is `Broken`: reports must not name a model that did not write them.

use std::{
    io::Cursor,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{ImageFormat, RgbImage};
use schemas::{Digest, FinishReason, ModelIdentity};
use serde::Deserialize;
use serde_json::{Value, json};
use stage::{BackendError, Generation, Image, ModelBackend, ModelRequest};

/// Where the server is and how it is asked.
#[derive(Clone)]
pub struct OpenAiConfig {
    /// Base URL, for example `http://10.0.0.5:8000`; `/v1/…` is added.
    pub url: String,
    /// The model's name on that server.
    pub model: String,
    /// Bearer key, if the server wants one. Never printed.
    pub key: Option<String>,
    /// Longest wait for one answer.
    pub request_timeout: Duration,
    /// Failures in a row after which the server is left alone for a while.
    pub breaker_failures: u32,
    /// For how long it is left alone.
    pub breaker_pause: Duration,
}

/// Why a server cannot be used as the model.
#[derive(Debug, thiserror::Error)]
pub enum OpenAiError {
    /// It does not answer.
    #[error("model server {url} does not answer; is it running, and is model.openai.url right?")]
    Unreachable {
        /// The base URL.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// It answers, but not with a list of models.
    #[error(
        "model server {url} answers {status} to a list of its models; check model.openai.url and the key"
    )]
    NoModels {
        /// The base URL.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// It serves other models.
    #[error("model server {url} serves {served:?}, not {wanted:?}; set model.openai.model")]
    OtherModel {
        /// The base URL.
        url: String,
        /// The name asked for.
        wanted: String,
        /// Names found.
        served: Vec<String>,
    },
}

/// The backend.
pub struct OpenAiBackend {
    agent: ureq::Agent,
    config: OpenAiConfig,
    identity: ModelIdentity,
    // A lock, because all workers of the stage share one server's state; held to read or write two numbers.
    breaker: Mutex<Breaker>,
}

/// Whether a server is asked at all. Time is passed in.
#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Whether a request may go out: closed, or one try after the pause.
    fn admits(&mut self, now: Instant, pause: Duration) -> bool {
        match self.open_until {
            Some(until) if now < until => false,
            Some(_) => {
                // One request tries; until it has ended, the others wait another pause.
                self.open_until = Some(now + pause);
                true
            }
            None => true,
        }
    }

    fn succeeded(&mut self) {
        *self = Self::default();
    }

    fn failed(&mut self, now: Instant, most: u32, pause: Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= most.max(1) {
            self.open_until = Some(now + pause);
        }
    }
}

/// Why one request was not answered. Repeats nothing of prompts and answers.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("model server answers {status}")]
    Status { status: u16 },
    #[error("model server cannot be reached")]
    Transport(#[source] Box<ureq::Error>),
    #[error("model server failed several times in a row and is left alone for a while")]
    BreakerOpen,
    #[error("model server's answer is no chat completion: {what}")]
    Answer { what: &'static str },
    #[error("model server says that {found:?} answered, not {expected:?}")]
    OtherModel { found: String, expected: String },
    #[error("picture of {width}x{height} cannot be encoded")]
    Picture { width: u32, height: u32 },
}

#[derive(Deserialize)]
struct Models {
    data: Vec<ModelEntry>,
}

#[derive(Deserialize)]
struct ModelEntry {
    id: String,
    /// vLLM: the folder or hub name. Ours: the checkpoint's digest.
    root: Option<String>,
    /// Only ours says so.
    prescreen: Option<Marks>,
}

#[derive(Deserialize)]
struct Marks {
    untrained: bool,
    synthetic_only: bool,
}

#[derive(Deserialize)]
struct Completion {
    model: String,
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

#[derive(Deserialize, Default)]
struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
    prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Deserialize)]
struct PromptTokens {
    image_tokens: Option<u32>,
}

impl OpenAiBackend {
    /// Asks the server what it serves and takes that for this backend's identity.
    pub fn connect(config: OpenAiConfig) -> Result<Self, OpenAiError> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(config.request_timeout))
            .build()
            .into();
        let url = config.url.clone();
        let unreachable = |source| OpenAiError::Unreachable { url: url.clone(), source: Box::new(source) };
        let mut request = agent.get(format!("{}/v1/models", config.url.trim_end_matches('/')));
        if let Some(key) = &config.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = request.call().map_err(unreachable)?;
        let status = response.status().as_u16();
        let models: Models = response
            .body_mut()
            .read_json()
            .map_err(|_| OpenAiError::NoModels { url: url.clone(), status })?;
        let entry = models.data.iter().find(|entry| entry.id == config.model).ok_or_else(|| {
            let served = models.data.iter().map(|entry| entry.id.clone()).collect();
            OpenAiError::OtherModel { url, wanted: config.model.clone(), served }
        })?;
        let root = entry.root.as_deref().unwrap_or_default();
        let identity = ModelIdentity {
            name: config.model.clone(),
            // Our own server names the checkpoint's digest; of others, all that they say of the model.
            digest: root.parse().unwrap_or_else(|_| Digest::of(format!("{}\n{root}", entry.id).as_bytes())),
            dtype: "remote".to_owned(),
            device: "remote".to_owned(),
            untrained: entry.prescreen.as_ref().is_some_and(|marks| marks.untrained),
            synthetic_only: entry.prescreen.as_ref().is_some_and(|marks| marks.synthetic_only),
        };
        Ok(Self { agent, config, identity, breaker: Mutex::default() })
    }

    fn breaker<T>(&self, with: impl FnOnce(&mut Breaker) -> T) -> T {
        with(&mut self.breaker.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask(&self, body: &Value) -> Result<Completion, AskError> {
        let url = format!("{}/v1/chat/completions", self.config.url.trim_end_matches('/'));
        let mut request = self.agent.post(url);
        if let Some(key) = &self.config.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = request.send_json(body).map_err(|source| AskError::Transport(Box::new(source)))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(AskError::Status { status });
        }
        let completion: Completion = response.body_mut().read_json().map_err(|source| match source {
            ureq::Error::Json(_) => AskError::Answer { what: "a field is missing or has the wrong type" },
            source => AskError::Transport(Box::new(source)),
        })?;
        if completion.model != self.config.model {
            return Err(AskError::OtherModel {
                found: completion.model,
                expected: self.config.model.clone(),
            });
        }
        Ok(completion)
    }
}

impl ModelBackend for OpenAiBackend {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn generate(&self, request: &ModelRequest) -> Result<Generation, BackendError> {
        let body = question(&self.config.model, request)?;
        let breaker_pause = self.config.breaker_pause;
        if !self.breaker(|breaker| breaker.admits(Instant::now(), breaker_pause)) {
            return Err(BackendError::Unavailable(AskError::BreakerOpen.into()));
        }
        match self.ask(&body) {
            Ok(completion) => {
                self.breaker(Breaker::succeeded);
                generation(completion)
            }
            Err(error) => Err(self.reaction(error)),
        }
    }
}

impl OpenAiBackend {
    fn reaction(&self, error: AskError) -> BackendError {
        let OpenAiConfig { breaker_failures, breaker_pause, .. } = self.config;
        match error {
            AskError::Status { status: 400 | 413 | 422 } => {
                self.breaker(Breaker::succeeded);
                BackendError::Refused(error.into())
            }
            AskError::Status { status: 401 | 403 | 404 } | AskError::OtherModel { .. } => {
                BackendError::Broken(error.into())
            }
            // Full is no failure: the server works.
            AskError::Status { status: 429 } => BackendError::Unavailable(error.into()),
            _ => {
                self.breaker(|breaker| breaker.failed(Instant::now(), breaker_failures, breaker_pause));
                BackendError::Unavailable(error.into())
            }
        }
    }
}

/// The same turns as the engine gets: a system turn, then pictures before the text.
fn question(model: &str, request: &ModelRequest) -> Result<Value, BackendError> {
    let mut content = Vec::with_capacity(request.images.len() + 1);
    for image in &request.images {
        let url = data_url(image).map_err(|error| BackendError::Refused(error.into()))?;
        content.push(json!({"type": "image_url", "image_url": {"url": url}}));
    }
    content.push(json!({"type": "text", "text": request.prompt}));
    let mut messages = Vec::with_capacity(2);
    messages.extend(request.system.as_ref().map(|system| json!({"role": "system", "content": system})));
    messages.push(json!({"role": "user", "content": content}));
    Ok(json!({
        "model": model, "messages": messages, "max_tokens": request.max_new_tokens, "temperature": 0,
        "chat_template_kwargs": {"enable_thinking": false},
    }))
}

/// PNG: what the server sees is what was sent, to the last bit.
fn data_url(image: &Image) -> Result<String, AskError> {
    let Image { width, height, rgb } = image;
    let (width, height) = (*width, *height);
    let picture =
        RgbImage::from_raw(width, height, rgb.to_vec()).ok_or(AskError::Picture { width, height })?;
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png).map_err(|_| AskError::Picture { width, height })?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(png.into_inner())))
}

fn generation(completion: Completion) -> Result<Generation, BackendError> {
    let no = |what| BackendError::Unavailable(AskError::Answer { what }.into());
    let Some(choice) = completion.choices.into_iter().next() else { return Err(no("it has no choice")) };
    let usage = completion.usage.unwrap_or_default();
    Ok(Generation {
        text: choice.message.content.unwrap_or_default(),
        finish_reason: match choice.finish_reason.as_deref() {
            Some("stop") => FinishReason::Stop,
            Some("length") => FinishReason::Length,
            _ => return Err(no("its finish_reason is neither stop nor length")),
        },
        prompt_tokens: usage.prompt_tokens,
        vision_tokens: usage.prompt_tokens_details.and_then(|details| details.image_tokens).unwrap_or(0),
        generated_tokens: usage.completion_tokens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaker_opens_after_failures_in_a_row_and_lets_one_try_after_its_pause() {
        let (start, pause) = (Instant::now(), Duration::from_secs(10));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::default();
        breaker.failed(at(0), 2, pause);
        breaker.succeeded();
        breaker.failed(at(1), 2, pause);
        assert!(breaker.admits(at(1), pause));
        breaker.failed(at(2), 2, pause);
        assert!(!breaker.admits(at(11), pause));
        assert!(breaker.admits(at(12), pause), "one tries");
        assert!(!breaker.admits(at(13), pause), "the others wait for it");
        breaker.succeeded();
        assert!(breaker.admits(at(13), pause));
    }
}
