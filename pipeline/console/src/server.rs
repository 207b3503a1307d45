//! The listener, the routes, and who may change something.

use std::{future::pending, net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use subtle::ConstantTimeEq as _;
use tokio::{net::TcpListener, sync::watch, task::spawn_blocking};

use crate::{
    api, assets,
    error::Refusal,
    live::{self, Live},
    pages,
    site::{Site, SiteError},
};

/// The API's bearer token. Compared in constant time, never printed.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    /// A token; at least 32 characters, so that it cannot be guessed.
    pub fn new(text: &str) -> Option<Self> {
        (text.len() >= 32).then(|| Self(text.into()))
    }

    fn admits(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

/// Why the console cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The port cannot be had.
    #[error("cannot listen on {address} for the console; is it in use? set console.listen or --port")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Serving ended.
    #[error("console stopped serving")]
    Serve(#[source] std::io::Error),
}

/// The console, listening but not yet serving.
pub struct Console {
    listener: TcpListener,
    router: Router,
    feed: Feed,
}

/// What tells the listeners of `/api/live`, for as long as it is polled.
type Feed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What every handler shares.
pub(crate) struct Shared<S> {
    pub(crate) site: Arc<S>,
    token: Token,
    /// Where uploads are streamed to before intake takes them.
    pub(crate) uploads: PathBuf,
    pub(crate) live: Live,
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self {
            site: self.site.clone(),
            token: self.token.clone(),
            uploads: self.uploads.clone(),
            live: self.live.clone(),
        }
    }
}

impl<S: Site> Shared<S> {
    /// Asks the site on a thread that may block.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&S) -> Result<T, SiteError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let site = self.site.clone();
        match spawn_blocking(move || question(&site)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the question could not be answered".to_owned(),
            )),
        }
    }
}

impl Console {
    /// Binds `address`. `uploads` is a folder on the spool's file system, for uploads on their way in.
    pub async fn bind<S: Site>(
        address: SocketAddr,
        site: Arc<S>,
        token: Token,
        uploads: PathBuf,
    ) -> Result<Self, ConsoleError> {
        let (feed, live) = live::feed(site.clone());
        let shared = Shared { site, token, uploads, live };
        let changing = Router::new()
            .route("/api/instances", post(api::receive::<S>).layer(DefaultBodyLimit::disable()))
            .route("/api/studies/{uid}/close", post(api::close::<S>))
            .merge(api::watch::changing())
            .merge(api::replays::changing())
            .route_layer(middleware::from_fn_with_state(shared.clone(), require_token::<S>));
        let pages = Router::new()
            .route("/", get(pages::overview::overview::<S>))
            .route("/pipeline", get(pages::pipeline::pipeline::<S>))
            .route("/studies", get(pages::studies::studies::<S>))
            .route("/studies/{uid}", get(pages::study::study::<S>))
            .route("/dead-letters", get(pages::dead_letters::dead_letters::<S>))
            .route("/replays", get(pages::replays::replays::<S>))
            .route("/replays/{run}", get(pages::replays::replay::<S>))
            .route("/replays/{run}/report", get(pages::replays::report::<S>))
            .route("/acquisition", get(pages::acquisition::senders::<S>))
            .route("/acquisition/{ae}", get(pages::acquisition::arrivals::<S>))
            .fallback(pages::nowhere)
            .layer(middleware::from_fn(pages::show_refusals));
        let router = Router::new()
            .route("/pictures/{digest}/{bytes}", get(api::picture::<S>))
            .route("/api/status", get(api::status::<S>))
            .route("/api/acquisition", get(api::senders::<S>))
            .route("/api/acquisition/{ae}", get(api::arrivals::<S>))
            .route("/api/calibration/studies", get(api::confirmed_studies::<S>))
            .route("/api/studies", get(api::studies::<S>))
            .route("/api/studies/{uid}", get(api::study::<S>))
            .route("/api/openapi.json", get(api::openapi))
            .route("/metrics", get(api::metrics::<S>))
            .merge(api::watch::reading())
            .merge(api::replays::reading())
            .merge(changing)
            .merge(pages)
            .merge(assets::routes())
            .with_state(shared);
        Self::listen(address, router, Box::pin(feed.run())).await
    }

    /// Binds `address` for `/metrics` alone, for a process without pages.
    pub async fn bind_metrics(
        address: SocketAddr,
        render: impl Fn() -> String + Clone + Send + Sync + 'static,
    ) -> Result<Self, ConsoleError> {
        let answer = move || {
            let text = render();
            async move { api::exposition(text) }
        };
        Self::listen(address, Router::new().route("/metrics", get(answer)), Box::pin(pending())).await
    }

    async fn listen(address: SocketAddr, router: Router, feed: Feed) -> Result<Self, ConsoleError> {
        let listener =
            TcpListener::bind(address).await.map_err(|source| ConsoleError::Listen { address, source })?;
        Ok(Self { listener, router: router.layer(middleware::from_fn(harden)), feed })
    }

    /// The address bound, with the real port where 0 was asked for.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` turns true.
    pub async fn serve(self, mut stop: watch::Receiver<bool>) -> Result<(), ConsoleError> {
        let feed = self.feed;
        let stopped = async move {
            tokio::select! {
                // A closed channel means that nobody can stop us any more: stop.
                _ = stop.wait_for(|stop| *stop) => {}
                // It never ends by itself; dropped here, it ends every event stream, which would else outlive the server.
                () = feed => {}
            }
        };
        axum::serve(self.listener, self.router)
            .with_graceful_shutdown(stopped)
            .await
            .map_err(ConsoleError::Serve)
    }
}

async fn require_token<S: Site>(State(shared): State<Shared<S>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    match given.and_then(|given| given.strip_prefix(b"Bearer ")) {
        Some(given) if shared.token.admits(given) => next.run(request).await,
        _ => {
            shared.site.auth_failed();
            Refusal(StatusCode::UNAUTHORIZED, "this needs the API token as a bearer token".to_owned())
                .into_response()
        }
    }
}

/// Everything is our own: nothing may be loaded from elsewhere, framed, or guessed. A foreign Host header is a page
/// of somebody else rebinding its name to our loopback address.
async fn harden(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let name = if is_port { host.strip_suffix(port).unwrap_or(host).trim_end_matches(':') } else { host };
    if !matches!(name, "localhost" | "127.0.0.1" | "[::1]" | "") {
        return Refusal(StatusCode::FORBIDDEN, "this console answers on loopback names only".to_owned())
            .into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    // A stored report has its own, stricter where it matters: it runs nothing.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
