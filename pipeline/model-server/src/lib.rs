//! The engine behind the part of the OpenAI HTTP API that its clients use: `/v1/models` and `/v1/chat/completions`.
//!
//! ```text
//!   client ─ HTTP, bearer key ─▶ key ─▶ body, at most max_body ─▶ question: JSON to a glm46v::Request
//!                                 │401           │413                │400 names the field
//!                                 ▼                                  ▼
//!                               refused                    EngineHandle::submit, on a thread that may block
//!                                                                    │429 full
//!            JSON, or server-sent events ◀─ answer ◀─ tokens ◀───────┘
//! ```
//! - A client that goes away gives its place in the engine back: what waits for the answer cancels it when dropped.
//! - Beside what OpenAI has, as vLLM writes it: frames of a video as `video_url` `data:video/jpeg;base64,<frame>,<frame>…`,
//!   an answer that has begun (`continue_final_message`), up to 128 `top_logprobs`.
//! - A field that would change the answer and is not supported is refused by name; nothing is silently ignored.
//! - Neither prompts nor pictures nor answers are logged or kept.

mod answer;
mod body;
mod metrics;
mod pictures;
mod question;
mod refusal;
mod stream;

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::header,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use glm46v::{EngineHandle, Generation, Pending, Presentation};
use jiff::Timestamp;
use prometheus::Registry;
use subtle::ConstantTimeEq as _;
use tokio::{net::TcpListener, sync::watch, task::spawn_blocking};

use answer::{ChatCompletion, Named};
use metrics::ServerMetrics;
use question::{Limits, Question};
use refusal::Refusal;

/// A bearer key. Compared in constant time, never printed.
#[derive(Clone)]
pub struct ApiKey(Arc<str>);

impl ApiKey {
    /// A key; at least 16 characters, so that it cannot be guessed.
    pub fn new(text: &str) -> Option<Self> {
        (text.len() >= 16).then(|| Self(text.into()))
    }

    fn admits(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

/// How the server is set up.
#[derive(Clone)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may ask. Never empty.
    pub keys: Vec<ApiKey>,
    /// What clients call the model.
    pub model: String,
    /// Longest request in bytes, pictures included.
    pub max_body: usize,
    /// Most pixels of one picture.
    pub max_pixels: u64,
    /// Tokens of an answer whose request does not say.
    pub default_tokens: usize,
}

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port cannot be had.
    #[error("cannot listen on {address}; is it in use? choose another with --listen")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Without keys nobody could ask.
    #[error("no API key is configured; set at least one")]
    NoKeys,
    /// The registry has a family of this name already.
    #[error("metrics of the model server cannot be declared")]
    Metrics(#[from] prometheus::Error),
    /// Serving ended.
    #[error("model server stopped serving")]
    Serve(#[source] std::io::Error),
}

/// The server, listening but not yet serving.
pub struct ModelServer {
    listener: TcpListener,
    router: Router,
}

/// What every handler shares.
#[derive(Clone)]
struct Shared {
    engine: EngineHandle,
    config: Arc<ServerConfig>,
    metrics: ServerMetrics,
}

impl ModelServer {
    /// Takes the port, and declares on `registry` what the server counts; `/metrics` shows all that is declared there. Must be
    /// called inside a tokio runtime.
    pub async fn bind(
        engine: EngineHandle,
        config: ServerConfig,
        registry: Registry,
    ) -> Result<Self, ServerError> {
        if config.keys.is_empty() {
            return Err(ServerError::NoKeys);
        }
        let metrics = ServerMetrics::new(registry, engine.clone())?;
        let address = config.listen;
        let listener =
            TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })?;
        let shared = Shared { engine, config: Arc::new(config), metrics };
        let router = Router::new()
            .route("/v1/models", get(models))
            .route("/v1/chat/completions", post(chat))
            .layer(middleware::from_fn_with_state(shared.clone(), admit))
            .route("/health", get(|| async { "ok" }))
            .route("/metrics", get(metrics_page))
            .with_state(shared);
        Ok(Self { listener, router })
    }

    /// Where it listens: the port that was taken, if 0 was asked for.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` changes; answers that are under way are finished.
    pub async fn serve(self, mut stop: watch::Receiver<bool>) -> Result<(), ServerError> {
        let stopped = async move {
            // An error means that whoever could stop it is gone.
            let _ = stop.changed().await;
        };
        axum::serve(self.listener, self.router)
            .with_graceful_shutdown(stopped)
            .await
            .map_err(ServerError::Serve)
    }
}

async fn admit(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
    let key = given.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
    let mut admitted = false;
    for own in &shared.config.keys {
        admitted |= own.admits(key);
    }
    if !admitted {
        shared.metrics.wrong_key();
        return Refusal::WrongKey.into_response();
    }
    next.run(request).await
}

async fn models(State(shared): State<Shared>) -> Json<serde_json::Value> {
    let info = shared.engine.info();
    Json(serde_json::json!({"object": "list", "data": [{
        "id": shared.config.model, "object": "model", "created": 0, "owned_by": "prescreen",
        "root": info.digest.to_string(), "max_model_len": info.config.text.max_position_embeddings,
        "prescreen": {
            "untrained": info.marks.untrained, "synthetic_only": info.marks.synthetic_only,
            "presentation": match info.marks.presentation {
                Presentation::Stills => "stills",
                Presentation::Beats => "beats",
            },
        },
    }]}))
}

async fn metrics_page(State(shared): State<Shared>) -> Response {
    match shared.metrics.page() {
        Ok(page) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response(),
        Err(error) => Refusal::Internal(error.to_string()).into_response(),
    }
}

async fn chat(State(shared): State<Shared>, body: Body) -> Response {
    match answer(&shared, body).await {
        Ok(response) => response,
        Err(refusal) => {
            shared.metrics.refused(refusal.status());
            refusal.into_response()
        }
    }
}

async fn answer(shared: &Shared, body: Body) -> Result<Response, Refusal> {
    let body = body::read(body, shared.config.max_body).await?;
    let asked_at = Instant::now();
    let named = Named::new(&shared.config.model, Timestamp::now());
    // Decoding pictures, resizing, patches: seconds of processor time that must not hold up the network's threads.
    let for_thread = shared.clone();
    let submitted = spawn_blocking(move || submit(&for_thread, &body)).await;
    let (question, pending) =
        submitted.map_err(|_| Refusal::Internal("preparing the request failed".to_owned()))??;
    if question.stream {
        return Ok(stream::events(shared.clone(), named, question, pending, asked_at));
    }
    // Dropped with this future when the client goes away.
    let _cancel = pending.canceller();
    let metrics = shared.metrics.engine.clone();
    let answer = spawn_blocking(move || metrics.answer(pending, asked_at)).await;
    let answer: Generation = answer
        .map_err(|_| Refusal::Internal("the engine's answer was lost".to_owned()))?
        .inspect_err(|error| shared.metrics.engine.failed(error))
        .map_err(Refusal::of)?;
    let text = |id| shared.engine.processor().token_text(id);
    Ok(Json(ChatCompletion::new(&named, &question, &answer, &text)).into_response())
}

fn submit(shared: &Shared, body: &[u8]) -> Result<(Question, Pending), Refusal> {
    let limits =
        Limits { max_pixels: shared.config.max_pixels, default_tokens: shared.config.default_tokens };
    let question = Question::parse(body, &shared.config.model, limits)?;
    let request = question.request(shared.engine.processor(), limits)?;
    // Token by token for whole answers too: that is how the time between tokens is seen.
    let pending = shared.engine.submit_streaming(&request);
    let pending = pending.inspect_err(|error| shared.metrics.engine.failed(error)).map_err(Refusal::of)?;
    Ok((question, pending))
}
