//! The same checkpoint in process and behind a server gives the same findings.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, time::Duration};

use glm46v::{Checkpoint, Determinism, Engine, EngineHandle, EngineOptions};
use inference_metrics::{EngineMetrics, RemoteMetrics};
use model_server::{ApiKey, ModelServer, ServerConfig};
use prometheus::{Registry, TextEncoder};
use serde_json::json;
use services::{EngineBackend, OpenAiBackend, OpenAiConfig, OpenAiError};
use stage::{BackendError, Generation, Image, ModelBackend as _, ModelRequest, Picture, Presentation};
use tokio::{runtime::Runtime, sync::watch};

const KEY: &str = "a-key-for-tests-only";

struct Served {
    url: String,
    engine: Option<Engine>,
    _stop: watch::Sender<bool>,
    _runtime: Runtime,
}

fn engine() -> Engine {
    engine_of(&untrained())
}

fn untrained() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../stages/inference/glm46v/checkpoints/untrained")
}

fn engine_of(folder: &Path) -> Engine {
    let options = EngineOptions { determinism: Determinism::Exact, ..EngineOptions::default() };
    Engine::start(Checkpoint::open(folder).unwrap(), options).unwrap()
}

fn serve() -> Served {
    serve_engine(engine())
}

fn serve_engine(engine: Engine) -> Served {
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        keys: vec![ApiKey::new(KEY).unwrap()],
        model: "untrained".to_owned(),
        max_body: 8 << 20,
        max_pixels: 2000 * 2000,
        default_tokens: 16,
    };
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(ModelServer::bind(engine.handle(), config, Registry::new())).unwrap();
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
        top_logprobs: 128,
    }
}

fn request(width: u32, height: u32) -> ModelRequest {
    let rgb: Vec<u8> = (0..width * height * 3).map(|i| (i * 7 % 251) as u8).collect();
    let image = Image { width, height, rgb: rgb.into() };
    ModelRequest {
        system: Some("Answer.".into()),
        pictures: vec![
            Picture::Still(image.clone()),
            Picture::Beat([image.clone(), image.clone()]),
            Picture::Still(image),
        ],
        prompt: "Which view?".into(),
        answer_prefix: String::new(),
        schema: None,
        max_new_tokens: 24,
    }
}

/// Log-probabilities travel as decimals.
fn assert_same(found: Generation, wanted: Generation) {
    let apart = found.log_probability.unwrap() - wanted.log_probability.unwrap();
    assert!(apart.abs() <= 1e-4, "{found:?} and {wanted:?}");
    assert_eq!(Generation { log_probability: None, ..found }, Generation { log_probability: None, ..wanted });
}

#[test]
fn server_answers_as_the_engine_does() {
    let served = serve();
    let remote = OpenAiBackend::connect(config(&served)).unwrap();
    let in_process = engine();
    let local = EngineBackend::new(in_process.handle(), "untrained");
    assert_eq!(remote.identity().digest, local.identity().digest);
    assert!(remote.identity().untrained && remote.identity().synthetic_only);
    assert_eq!(remote.presentation(), Presentation::Stills);
    for (width, height) in [(60, 80), (200, 150), (33, 300)] {
        let request = request(width, height);
        assert_same(remote.generate(&request).unwrap(), local.generate(&request).unwrap());
        let schema = json!({"type": "object", "additionalProperties": false, "required": ["view", "lvef"],
            "properties": {"view": {"enum": ["A4C", "A2C"]}, "lvef": {"type": "integer", "minimum": 0, "maximum": 9}}});
        for answer_prefix in ["", r#"{"view":"A4C","lvef":"#] {
            let held = ModelRequest {
                answer_prefix: answer_prefix.into(),
                schema: Some(schema.to_string()),
                max_new_tokens: 40,
                ..request.clone()
            };
            let answer = remote.generate(&held).unwrap();
            assert!(answer.text.ends_with('}'), "{answer:?}");
            assert_same(answer, local.generate(&held).unwrap());
        }
    }
}

/// Characters that are a token and that no other token begins with, so that all that the model gives them is one place of
/// its list.
fn unmistakable_characters(engine: &EngineHandle) -> Vec<String> {
    let vocabulary = engine.info().config.text.vocab_size as u32;
    let texts: Vec<String> = (0..vocabulary).map(|id| engine.processor().token_text(id)).collect();
    let alone = |text: &&String| {
        matches!(text.as_bytes(), [c] if c.is_ascii_graphic())
            && texts.iter().filter(|other| other.starts_with(text.as_str())).count() == 1
    };
    texts.iter().filter(alone).cloned().collect()
}

#[test]
fn server_scores_as_the_engine_does_what_is_among_its_likeliest() {
    let served = serve();
    let remote = OpenAiBackend::connect(config(&served)).unwrap();
    let in_process = engine();
    let local = EngineBackend::new(in_process.handle(), "untrained");
    let asked = ModelRequest { answer_prefix: r#"{"lvef_percent":"#.into(), ..request(60, 80) };

    let texts = unmistakable_characters(&in_process.handle());
    assert!(texts.len() > 20, "{}", texts.len());
    let (found, wanted) = (remote.score(&asked, &texts).unwrap(), local.score(&asked, &texts).unwrap());
    let likeliest: Vec<_> = found.iter().zip(&wanted).filter(|(found, _)| found.is_finite()).collect();
    assert!(likeliest.len() > 3, "{} of {}", likeliest.len(), texts.len());
    let least = likeliest.iter().map(|(_, wanted)| **wanted).fold(0.0, f64::min);
    for ((text, found), wanted) in texts.iter().zip(&found).zip(&wanted) {
        let same = (found - wanted).abs() <= 1e-4;
        assert!(same || (*found == f64::NEG_INFINITY && *wanted <= least), "{text}: {found} and {wanted}");
    }

    // Of two digits that are two tokens and can be nothing else (12 is also one token, and 20 the beginning of one, 200):
    // what the server leaves out can only be missing.
    let texts: Vec<String> = (10..100)
        .map(|number| number.to_string())
        .filter(|text| !text.ends_with('0') && !["12", "34", "56", "75", "78"].contains(&text.as_str()))
        .collect();
    let (found, wanted) = (remote.score(&asked, &texts).unwrap(), local.score(&asked, &texts).unwrap());
    assert!(found.iter().zip(&wanted).all(|(found, wanted)| *found <= wanted + 1e-4));
    let equal = found.iter().zip(&wanted).filter(|(found, wanted)| (*found - *wanted).abs() <= 1e-4).count();
    assert!(equal > 0, "no number of two digits is among the likeliest");

    assert_eq!(remote.score(&asked, &[]).unwrap(), Vec::<f64>::new());
    assert!(matches!(remote.score(&asked, &[String::new()]), Err(BackendError::Refused(_))));
}

#[test]
fn model_that_wants_beats_says_so_through_the_server() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(untrained()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let path = folder.path().join("config.json");
    let mut marks: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    marks["prescreen"]["presentation"] = json!("beats");
    std::fs::write(&path, marks.to_string()).unwrap();
    let engine = engine_of(folder.path());
    assert_eq!(EngineBackend::new(engine.handle(), "beats").presentation(), Presentation::Beats);
    let served = serve_engine(engine);
    assert_eq!(OpenAiBackend::connect(config(&served)).unwrap().presentation(), Presentation::Beats);
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
    let unbounded = ModelRequest { schema: Some(r#"{"type":"string"}"#.into()), ..request(60, 60) };
    assert!(matches!(remote.generate(&unbounded), Err(BackendError::Refused(_))));
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

/// The value of the sample `line` on the page of `registry`, 0 if there is none.
fn sample(registry: &Registry, line: &str) -> f64 {
    let page = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let value = page.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

#[test]
fn both_ways_of_asking_count_what_was_asked_and_whether_the_model_is_there() {
    let mut served = serve();
    let (near, far) = (Registry::new(), Registry::new());
    let in_process = engine();
    let metrics = EngineMetrics::register(&near, in_process.handle()).unwrap();
    let local = EngineBackend::new(in_process.handle(), "untrained").with_metrics(metrics);
    let metrics = RemoteMetrics::register(&far).unwrap();
    let remote = OpenAiBackend::connect(config(&served)).unwrap().with_metrics(metrics);
    let answer = remote.generate(&request(60, 80)).unwrap();
    assert_same(answer.clone(), local.generate(&request(60, 80)).unwrap());
    local.score(&request(60, 80), &["a".to_owned()]).unwrap();

    for (registry, backend, kind) in [(&near, "engine", "computed"), (&far, "openai", "remote")] {
        let sample = |line: &str| sample(registry, &format!("prescreen_inference_{line}"));
        assert_eq!(sample(&format!("backend_up{{backend=\"{backend}\"}}")), 1.0);
        assert_eq!(sample("request_seconds_count{call=\"generate\"}"), 1.0);
        let reason = if answer.finish_reason == schemas::FinishReason::Stop { "stop" } else { "length" };
        assert_eq!(sample(&format!("finished_total{{reason=\"{reason}\"}}")), 1.0);
        assert!(
            sample(&format!("prompt_tokens_total{{kind=\"{kind}\"}}")) >= f64::from(answer.prompt_tokens)
        );
    }
    let near_sample = |line: &str| sample(&near, &format!("prescreen_inference_{line}"));
    assert_eq!(near_sample("request_seconds_count{call=\"score\"}"), 1.0);
    assert_eq!(near_sample("time_to_first_token_seconds_count"), 1.0);
    let gaps = f64::from(answer.generated_tokens) - 1.0;
    assert_eq!(near_sample("inter_token_latency_seconds_count"), gaps);
    assert_eq!(near_sample("generated_tokens_total"), f64::from(answer.generated_tokens));
    assert!(near_sample("kv_blocks") > 0.0 && near_sample("step_rows_total") >= near_sample("steps_total"));
    assert_eq!(near_sample("pictures_total{kind=\"computed\"}"), 2.0, "a still and a beat");
    let in_other_words = ModelRequest { system: Some("Speak.".into()), ..request(60, 80) };
    local.generate(&in_other_words).unwrap();
    assert_eq!(near_sample("pictures_total{kind=\"computed\"}"), 2.0, "they were seen lately");
    assert!(near_sample("pictures_total{kind=\"cached\"}") >= 2.0);

    // What no model could answer says nothing about this one; an engine that is gone does.
    let empty = [String::new()];
    assert!(matches!(local.score(&request(60, 80), &empty), Err(BackendError::Refused(_))));
    assert_eq!(near_sample("backend_up{backend=\"engine\"}"), 1.0);
    assert_eq!(near_sample("errors_total{kind=\"refused\"}"), 1.0);
    drop(in_process);
    assert!(matches!(local.generate(&request(60, 80)), Err(BackendError::Broken(_))));
    assert_eq!(near_sample("backend_up{backend=\"engine\"}"), 0.0);
    drop(served.engine.take());
    assert!(matches!(remote.generate(&request(60, 80)), Err(BackendError::Unavailable(_))));
    assert_eq!(sample(&far, "prescreen_inference_backend_up{backend=\"openai\"}"), 0.0);
    assert_eq!(sample(&far, "prescreen_inference_errors_total{kind=\"unavailable\"}"), 1.0);
}
