//! A model behind an OpenAI-compatible server (vLLM, SGLang, `prescreen serve-model`) as a stage's model.
//!
//! ```text
//!   connect ─▶ GET /v1/models ─▶ the model is there: identity, fixed from here on
//!
//!   generate ─▶ breaker ─ closed ─▶ POST /v1/chat/completions, pictures as PNG, greedy
//!   score, several of these, one token each (walk.rs)
//!                  │                   │ 200            answer
//!                  │ open: Unavailable │ 400, 413, 422  Refused: this request can never work
//!                  │ at once, until    │ 401, 403, 404  Broken: key or model is wrong
//!                  │ its pause is over │ 429, 5xx, none Unavailable: the stage waits; opens the breaker when repeated
//!                  └───────────────────┘
//! ```
//! Health is judged by answers: a server that answers nothing for `request_timeout` is unavailable, whatever its health
//! page says. A changed identity is `Broken`: reports must not name a model that did not write them.

mod breaker;
mod question;
mod walk;
mod wire;

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use inference_metrics::{Call, Fault, RemoteMetrics};
use schemas::{Digest, FinishReason, ModelIdentity};
use serde_json::Value;
use stage::{BackendError, Generation, ModelBackend, ModelRequest, Presentation};

use breaker::Breaker;
use question::Question;
use wire::{Completion, Models, TokenScore};

use crate::schema::SchemaFault;

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
    /// Likeliest tokens asked for at each place when continuations are scored; at least 1. A continuation that goes on
    /// with none of them scores -∞. vLLM gives up to its `--max-logprobs`, 20; `prescreen serve-model` up to 128.
    pub top_logprobs: u32,
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
    presentation: Presentation,
    logprobs: LogProbs,
    // A lock, because all workers of the stage share one server's state; held to read or write two numbers.
    breaker: Mutex<Breaker>,
    /// Absent where nobody watches.
    metrics: Option<RemoteMetrics>,
}

/// What the log-probabilities of generated tokens mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogProbs {
    /// The model's own, whatever the answer is held to.
    Unmasked,
    /// Among what the schema allows, as vLLM reckons them: the model's own only where there is no schema.
    MaskedBySchema,
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
    #[error(transparent)]
    Schema(#[from] SchemaFault),
    #[error("continuation {index} is empty; expected at least one character")]
    EmptyContinuation { index: usize },
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
        let ours = entry.prescreen.as_ref();
        let identity = ModelIdentity {
            name: config.model.clone(),
            // Our own server names the checkpoint's digest; of others, all that they say of the model.
            digest: root.parse().unwrap_or_else(|_| Digest::of(format!("{}\n{root}", entry.id).as_bytes())),
            dtype: "remote".to_owned(),
            device: "remote".to_owned(),
            untrained: ours.is_some_and(|marks| marks.untrained),
            synthetic_only: ours.is_some_and(|marks| marks.synthetic_only),
        };
        let presentation = match ours.map(|marks| marks.presentation) {
            Some(wire::Presentation::Beats) => Presentation::Beats,
            Some(wire::Presentation::Stills) | None => Presentation::Stills,
        };
        let logprobs = if ours.is_some() { LogProbs::Unmasked } else { LogProbs::MaskedBySchema };
        Ok(Self { agent, config, identity, presentation, logprobs, breaker: Mutex::default(), metrics: None })
    }

    /// The same, counting in `metrics`.
    #[must_use]
    pub fn with_metrics(mut self, metrics: RemoteMetrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    fn breaker<T>(&self, with: impl FnOnce(&mut Breaker) -> T) -> T {
        with(&mut self.breaker.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One answer, counted.
    fn ask(&self, call: Call, body: &Value) -> Result<Completion, BackendError> {
        let asked_at = Instant::now();
        let answer = self.ask_unless_left_alone(body);
        if let Some(metrics) = &self.metrics {
            match &answer {
                Ok(completion) => {
                    let usage = completion.usage.as_ref();
                    let (prompt, generated) =
                        usage.map_or((0, 0), |usage| (usage.prompt_tokens, usage.completion_tokens));
                    metrics.answered(call, asked_at.elapsed(), prompt, generated);
                }
                Err(error) => metrics.failed(fault(error)),
            }
        }
        answer.map_err(reaction)
    }

    /// One answer, unless the server is left alone.
    fn ask_unless_left_alone(&self, body: &Value) -> Result<Completion, AskError> {
        let pause = self.config.breaker_pause;
        if !self.breaker(|breaker| breaker.admits(Instant::now(), pause)) {
            return Err(AskError::BreakerOpen);
        }
        let answer = self.post(body);
        match answer {
            Ok(_) | Err(AskError::Status { status: 400 | 413 | 422 }) => self.breaker(Breaker::succeeded),
            // Full is no failure: the server works.
            Err(AskError::Status { status: 401 | 403 | 404 | 429 } | AskError::OtherModel { .. }) => {}
            Err(_) => {
                let most = self.config.breaker_failures;
                self.breaker(|breaker| breaker.failed(Instant::now(), most, pause));
            }
        }
        answer
    }

    fn post(&self, body: &Value) -> Result<Completion, AskError> {
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

    /// The likeliest next tokens after the answer so far.
    fn likeliest(&self, question: &Question) -> Result<Vec<TokenScore>, BackendError> {
        let scores = self
            .ask(Call::Score, question.body())?
            .choices
            .into_iter()
            .next()
            .and_then(|choice| choice.logprobs);
        let first = scores.and_then(|scores| scores.content?.into_iter().next());
        match first {
            Some(token) if !token.top_logprobs.is_empty() => Ok(token.top_logprobs),
            _ => Err(reaction(AskError::Answer { what: "it has no log-probabilities" })),
        }
    }
}

impl ModelBackend for OpenAiBackend {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn presentation(&self) -> Presentation {
        self.presentation
    }

    fn generate(&self, request: &ModelRequest) -> Result<Generation, BackendError> {
        let question = Question::new(&self.config.model, request).map_err(reaction)?;
        let held = question.held_to_schema(request).map_err(reaction)?;
        let completion = self.ask(Call::Generate, held.body())?;
        let mut generation = generation(completion)?;
        if let Some(metrics) = &self.metrics {
            metrics.finished(generation.finish_reason == FinishReason::Stop);
        }
        if self.logprobs == LogProbs::MaskedBySchema && request.schema.is_some() {
            generation.log_probability = None;
        }
        Ok(generation)
    }

    fn score(&self, request: &ModelRequest, continuations: &[String]) -> Result<Vec<f64>, BackendError> {
        if let Some(index) = continuations.iter().position(String::is_empty) {
            return Err(reaction(AskError::EmptyContinuation { index }));
        }
        let question = Question::new(&self.config.model, request).map_err(reaction)?;
        let mut question = question.of_one_token(self.config.top_logprobs);
        walk::scores(continuations, |path| {
            question.set_answer_prefix(&format!("{}{path}", request.answer_prefix));
            self.likeliest(&question)
        })
    }
}

fn fault(error: &AskError) -> Fault {
    match error {
        AskError::Status { status: 429 } => Fault::Full,
        AskError::Status { status: 400 | 413 | 422 } => Fault::Refused,
        AskError::Status { status: 401 | 403 | 404 } | AskError::OtherModel { .. } => Fault::Broken,
        _ => Fault::Unavailable,
    }
}

fn reaction(error: AskError) -> BackendError {
    match error {
        AskError::Status { status: 400 | 413 | 422 }
        | AskError::Picture { .. }
        | AskError::Schema(_)
        | AskError::EmptyContinuation { .. } => BackendError::Refused(error.into()),
        AskError::Status { status: 401 | 403 | 404 } | AskError::OtherModel { .. } => {
            BackendError::Broken(error.into())
        }
        _ => BackendError::Unavailable(error.into()),
    }
}

fn generation(completion: Completion) -> Result<Generation, BackendError> {
    let no = |what| reaction(AskError::Answer { what });
    let Some(choice) = completion.choices.into_iter().next() else { return Err(no("it has no choice")) };
    let usage = completion.usage.unwrap_or_default();
    let tokens = choice.logprobs.and_then(|scores| scores.content);
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
        log_probability: tokens.map(|tokens| tokens.iter().map(|token| token.score.log_probability()).sum()),
    })
}
