//! The same checkpoint in process and behind a server gives the same findings.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, time::Duration};

use glm46v::{Checkpoint, Determinism, Engine, EngineOptions};
use model_server::{ApiKey, ModelServer, ServerConfig, ServerMetrics};
use services::{EngineBackend, OpenAiBackend, OpenAiConfig, OpenAiError};
use stage::{BackendError, Image, ModelBackend as _, ModelRequest};
use tokio::{runtime::Runtime, sync::watch};

const KEY: &str = "a-key-for-tests-only";

struct Served {
    url: String,
    engine: Option<Engine>,
    _stop: watch::Sender<bool>,
    _runtime: Runtime,
}

fn engine() -> Engine {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../stages/inference/glm46v/checkpoints/untrained");
    let options = EngineOptions { determinism: Determinism::Exact, ..EngineOptions::default() };
    Engine::start(Checkpoint::open(folder).unwrap(), options).unwrap()
}

fn serve() -> Served {
    let engine = engine();
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        keys: vec![ApiKey::new(KEY).unwrap()],
        model: "untrained".to_owned(),
        max_body: 8 << 20,
        max_pixels: 2000 * 2000,
        default_tokens: 16,
    };
    let runtime = Runtime::new().unwrap();
    let server =
        runtime.block_on(ModelServer::bind(engine.handle(), config, ServerMetrics::new().unwrap())).unwrap();
    let url = format!("http://{}", server.address().unwrap());
    let (stop, stopped) = watch::channel(false);
    runtime.spawn(server.serve(stopped));
    Served { url, engine: Some(engine), _stop: stop, _runtime: runtime }
}

fn config(served: &Served) -> OpenAiConfig {
    OpenAiConfig {
        url: served.url.clone(),
        model: "untrained".to_owned(),
        key: Some(KEY.to_owned()),
        request_timeout: Duration::from_mins(1),
        breaker_failures: 2,
        breaker_pause: Duration::from_hours(1),
    }
}

fn request(width: u32, height: u32) -> ModelRequest {
    let rgb: Vec<u8> = (0..width * height * 3).map(|i| (i * 7 % 251) as u8).collect();
    let image = Image { width, height, rgb: rgb.into() };
    ModelRequest {
        system: Some("Answer.".into()),
        images: vec![image.clone(), image],
        prompt: "Which view?".into(),
        max_new_tokens: 24,
    }
}

#[test]
fn server_answers_as_the_engine_does() {
    let served = serve();
    let remote = OpenAiBackend::connect(config(&served)).unwrap();
    let in_process = engine();
    let local = EngineBackend::new(in_process.handle(), "untrained");
    assert_eq!(remote.identity().digest, local.identity().digest);
    assert!(remote.identity().untrained && remote.identity().synthetic_only);
    for (width, height) in [(60, 80), (200, 150), (33, 300)] {
        let request = request(width, height);
        assert_eq!(remote.generate(&request).unwrap(), local.generate(&request).unwrap());
    }
}

#[test]
fn wrong_address_key_or_model_is_named_before_anything_is_asked() {
    let served = serve();
    let other = |change: fn(&mut OpenAiConfig)| {
        let mut config = config(&served);
        change(&mut config);
        OpenAiBackend::connect(config).err().unwrap()
    };
    assert!(
        matches!(other(|c| c.model = "gpt".into()), OpenAiError::OtherModel { served, .. } if served == ["untrained"])
    );
    assert!(matches!(other(|c| c.key = None), OpenAiError::NoModels { status: 401, .. }));
    assert!(matches!(other(|c| c.url = "http://127.0.0.1:9".into()), OpenAiError::Unreachable { .. }));
}

#[test]
fn request_that_can_never_work_is_refused_and_a_dead_server_is_waited_for() {
    let mut served = serve();
    let remote = OpenAiBackend::connect(config(&served)).unwrap();
    let narrow = remote.generate(&request(900, 3));
    assert!(matches!(narrow, Err(BackendError::Refused(_))), "{narrow:?}");

    // The engine behind it is gone: 500, twice, then nothing is asked any more.
    drop(served.engine.take());
    for _ in 0..2 {
        assert!(matches!(remote.generate(&request(60, 60)), Err(BackendError::Unavailable(_))));
    }
    let Err(BackendError::Unavailable(source)) = remote.generate(&request(60, 60)) else {
        panic!("it answered")
    };
    assert!(source.to_string().contains("left alone"), "{source}");
}
