//! The server over real HTTP, with the checkpoint that knows nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader, Cursor, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use glm46v::{Checkpoint, Determinism, Engine, EngineOptions};
use image::{ImageFormat, Rgb, RgbImage};
use model_server::{ApiKey, ModelServer, ServerConfig};
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::watch};

const KEY: &str = "a-key-for-tests-only";
const MODEL: &str = "untrained";

struct Server {
    address: SocketAddr,
    engine: Engine,
    _stop: watch::Sender<bool>,
    _runtime: Runtime,
}

impl Server {
    fn start(options: EngineOptions) -> Self {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../stages/inference/glm46v/checkpoints/untrained");
        let engine = Engine::start(Checkpoint::open(folder).unwrap(), options).unwrap();
        let config = ServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            keys: vec![ApiKey::new(KEY).unwrap()],
            model: MODEL.to_owned(),
            max_body: 2 << 20,
            max_pixels: 512 * 512,
            default_tokens: 16,
        };
        let runtime = Runtime::new().unwrap();
        let server = ModelServer::bind(engine.handle(), config, Registry::new());
        let server = runtime.block_on(server).unwrap();
        let address = server.address().unwrap();
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(server.serve(stopped));
        Self { address, engine, _stop: stop, _runtime: runtime }
    }

    fn send(&self, path: &str, key: &str, body: Option<&Value>) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("http://{}{path}", self.address);
        let bearer = format!("Bearer {key}");
        let mut response = match body {
            Some(body) => agent.post(&url).header("authorization", &bearer).send_json(body).unwrap(),
            None => agent.get(&url).header("authorization", &bearer).call().unwrap(),
        };
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    fn ask(&self, body: &Value) -> (u16, Value) {
        let (status, text) = self.send("/v1/chat/completions", KEY, Some(body));
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}")))
    }
}

fn png(width: u32, height: u32, seed: u8) -> String {
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8 ^ seed, y as u8, seed]));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    format!("data:image/png;base64,{}", STANDARD.encode(bytes.into_inner()))
}

fn video_url(frames: &[(u32, u32)]) -> String {
    let frames: Vec<String> = (0..)
        .zip(frames)
        .map(|(seed, (width, height))| png(*width, *height, seed).split_once(',').unwrap().1.to_owned())
        .collect();
    format!("data:video/jpeg;base64,{}", frames.join(","))
}

fn question(text: &str) -> Value {
    json!({"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": text}]})
}

fn schema() -> Value {
    json!({"type": "object", "additionalProperties": false, "required": ["view", "lvef"], "properties": {
        "view": {"enum": ["A4C", "A2C"]}, "lvef": {"type": "integer", "minimum": 0, "maximum": 100}}})
}

#[test]
fn model_is_listed_and_answers_with_picture_schema_and_log_probabilities() {
    let server = Server::start(EngineOptions::default());
    let (status, models) = server.send("/v1/models", KEY, None);
    assert_eq!(status, 200);
    let models: Value = serde_json::from_str(&models).unwrap();
    assert_eq!(models["data"][0]["id"], MODEL);

    let (status, answer) = server.ask(&json!({
        "model": MODEL, "max_completion_tokens": 40, "logprobs": true, "top_logprobs": 2,
        "messages": [
            {"role": "system", "content": "Answer."},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": png(60, 80, 1)}},
                {"type": "text", "text": "Which view?"}]}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "view", "strict": true, "schema": schema()}},
    }));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["object"], "chat.completion");
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    let content: Value = serde_json::from_str(choice["message"]["content"].as_str().unwrap()).unwrap();
    assert!(content["lvef"].as_i64().is_some_and(|lvef| (0..=100).contains(&lvef)));
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.len() as u64, answer["usage"]["completion_tokens"].as_u64().unwrap());
    assert!(tokens.iter().all(|token| token["top_logprobs"].as_array().unwrap().len() == 2));
    let text: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(text, choice["message"]["content"].as_str().unwrap());
    assert!(answer["usage"]["prompt_tokens_details"]["image_tokens"].as_u64().unwrap() > 0);
}

#[test]
fn answer_goes_on_from_the_assistants_last_turn_under_its_schema() {
    let server = Server::start(EngineOptions::default());
    let ask = |begun: Value| {
        server.ask(&json!({
            "model": MODEL, "max_tokens": 40, "logprobs": true, "top_logprobs": 128,
            "continue_final_message": true, "add_generation_prompt": false,
            "messages": [
                {"role": "user", "content": [
                    {"type": "video_url", "video_url": {"url": video_url(&[(60, 80), (60, 80)])}},
                    {"type": "text", "text": "Ejection fraction?"}]},
                begun],
            "response_format": {"type": "json_schema", "json_schema": {"name": "view", "schema": schema()}},
        }))
    };
    let begun = r#"{"view":"A4C","lvef":"#;
    let (status, answer) = ask(json!({"role": "assistant", "content": begun}));
    assert_eq!(status, 200, "{answer}");
    let choice = &answer["choices"][0];
    let whole = format!("{begun}{}", choice["message"]["content"].as_str().unwrap());
    let json: Value = serde_json::from_str(&whole).unwrap_or_else(|error| panic!("{whole}: {error}"));
    assert!(json["view"] == "A4C" && json["lvef"].is_i64(), "{whole}");
    assert_eq!(choice["logprobs"]["content"][0]["top_logprobs"].as_array().unwrap().len(), 128);

    for (begun, param) in [
        (json!({"role": "user", "content": "a"}), "continue_final_message"),
        (json!({"role": "assistant", "content": ""}), "continue_final_message"),
        (json!({"role": "assistant", "content": r#"{"lvef""#}), "response_format"),
        (json!({"role": "assistant", "content": "<|user|>"}), "messages"),
    ] {
        let (status, refused) = ask(begun);
        assert_eq!((status, refused["error"]["param"].as_str()), (400, Some(param)), "{refused}");
    }
}

#[test]
fn streamed_answer_is_the_answer() {
    let server = Server::start(EngineOptions { determinism: Determinism::Exact, ..EngineOptions::default() });
    let mut body = question("Which view is this?");
    body["max_tokens"] = 30.into();
    let (_, whole) = server.ask(&body);
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let (status, events) = server.send("/v1/chat/completions", KEY, Some(&body));
    assert_eq!(status, 200);
    let data: Vec<&str> = events.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> =
        data[..data.len() - 1].iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let text: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, whole["choices"][0]["message"]["content"].as_str().unwrap());
    assert_eq!(chunks.last().unwrap()["usage"], {
        let mut usage = whole["usage"].clone();
        // The second asking finds the beginning of the first.
        usage["prompt_tokens_details"]["cached_tokens"] =
            chunks.last().unwrap()["usage"]["prompt_tokens_details"]["cached_tokens"].clone();
        usage
    });
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
}

#[test]
fn what_cannot_be_answered_is_refused_with_its_status_and_field() {
    let server = Server::start(EngineOptions::default());
    assert_eq!(server.send("/v1/models", "a-key-for-tests-onlx", None).0, 401);
    assert_eq!(server.send("/v1/chat/completions", "", Some(&question("a"))).0, 401);
    let picture = |url: &str| json!([{"type": "image_url", "image_url": {"url": url}}]);
    let mut cases = vec![];
    let mut case = |status: u16, param: Value, field: &str, value: Value| {
        let mut body = question("a");
        body[field] = value;
        cases.push((status, param, body));
    };
    case(404, json!("model"), "model", json!("gpt-4"));
    case(400, json!("n"), "n", json!(2));
    case(400, json!("tools"), "tools", json!([{"type": "function"}]));
    case(400, json!("stop"), "stop", json!("."));
    case(400, json!("top_logprobs"), "logprobs", json!(true));
    case(400, json!("temperature"), "temperature", json!(-1.0));
    case(400, json!("messages[0].role"), "messages", json!([{"role": "tool", "content": "a"}]));
    for url in ["https://example.org/a.png", "data:image/png;base64,!!", "data:image/png;base64,AAAA"] {
        let messages = json!([{"role": "user", "content": picture(url)}]);
        case(400, json!("messages[0].content[0].image_url"), "messages", messages);
    }
    case(413, Value::Null, "messages", json!([{"role": "user", "content": picture(&png(600, 500, 0))}]));
    for url in
        ["data:video/mp4;base64,AAAA", "data:video/jpeg;base64,AAAA", &video_url(&[(56, 56), (600, 500)])]
    {
        let messages =
            json!([{"role": "user", "content": [{"type": "video_url", "video_url": {"url": url}}]}]);
        let is_large = url.len() > 1000;
        let param = if is_large { Value::Null } else { json!("messages[0].content[0].video_url") };
        case(if is_large { 413 } else { 400 }, param, "messages", messages);
    }
    let one_frame = json!([{"role": "user", "content": [{"type": "video_url", "video_url": {"url": video_url(&[(56, 56)])}}]}]);
    case(400, json!("messages"), "messages", one_frame);
    case(400, json!("add_generation_prompt"), "add_generation_prompt", json!(false));
    case(400, json!("add_generation_prompt"), "continue_final_message", json!(true));
    let unbounded =
        json!({"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "string"}}});
    case(400, json!("response_format"), "response_format", unbounded);
    let too_long = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": schema()}});
    case(400, json!("response_format"), "response_format", too_long);
    for (status, param, mut body) in cases {
        if body["continue_final_message"] == json!(true) {
            body["add_generation_prompt"] = true.into();
        }
        if param == json!("top_logprobs") {
            body["top_logprobs"] = 129.into();
        }
        let (found, error) = server.ask(&body);
        assert_eq!((found, &error["error"]["param"]), (status, &param), "{body}: {error}");
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    }
    // Larger than any body: not even read.
    let (status, _) = server.send("/v1/chat/completions", KEY, Some(&question(&"a".repeat(3 << 20))));
    assert_eq!(status, 413);
    assert_eq!(server.ask(&question("a")).0, 200);
}

#[test]
fn each_of_128_gets_its_own_answer_or_is_told_to_come_back() {
    let server = Server::start(EngineOptions {
        queue: 24,
        running: 8,
        determinism: Determinism::Exact,
        ..EngineOptions::default()
    });
    // What each asks for comes back in its answer: a schema that only its own number fits.
    let only = |number: usize| {
        let mut body = question(&format!("Number {number}"));
        let schema = json!({"const": format!("number-{number}")});
        body["max_tokens"] = 20.into();
        body["response_format"] =
            json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
        body
    };
    let outcomes: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..128)
            .map(|number| {
                scope.spawn({
                    let (server, body) = (&server, only(number));
                    move || server.ask(&body)
                })
            })
            .collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut answered = 0;
    for (number, (status, answer)) in outcomes.iter().enumerate() {
        match status {
            200 => {
                answered += 1;
                let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
                assert_eq!(content, format!("\"number-{number}\""));
            }
            429 => assert_eq!(answer["error"]["type"], "rate_limit_error"),
            _ => panic!("request {number}: {status} {answer}"),
        }
    }
    assert!(answered >= 32, "{answered} answered");
    let page = server.send("/metrics", KEY, None).1;
    assert!(
        page.contains(&format!("prescreen_inference_finished_total{{reason=\"stop\"}} {answered}")),
        "{page}"
    );
    let full = "prescreen_inference_refused_total{status=\"429\"} ";
    let full = page.lines().find_map(|line| line.strip_prefix(full));
    let errors =
        page.lines().find_map(|line| line.strip_prefix("prescreen_inference_errors_total{kind=\"full\"} "));
    assert_eq!(errors, full.or(Some("0")), "{page}");
}

#[test]
fn client_that_goes_away_gives_its_place_back() {
    let server = Server::start(EngineOptions { queue: 0, running: 1, ..EngineOptions::default() });
    let mut long = question("Go on.");
    // Would take many seconds.
    long["max_tokens"] = 12_000.into();
    for stream in [false, true] {
        long["stream"] = stream.into();
        let body = long.to_string();
        let before = server.engine.handle().load().prompt_tokens;
        let mut connection = TcpStream::connect(server.address).unwrap();
        write!(
            connection,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        if stream {
            let mut line = String::new();
            BufReader::new(&connection).read_line(&mut line).unwrap();
            assert!(line.contains("200"), "{line}");
        } else {
            // It has begun when the engine has counted its prompt.
            while server.engine.handle().load().prompt_tokens == before {
                std::thread::yield_now();
            }
        }
        drop(connection);
        // The place comes back before 12,000 tokens are written: the next one is answered.
        loop {
            let (status, answer) = server.ask(&question("a"));
            match status {
                429 => std::thread::yield_now(),
                status => break assert_eq!(status, 200, "{answer}"),
            }
        }
        let generated = server.engine.handle().load().generated_tokens;
        assert!(generated < 12_000, "{generated} tokens were generated");
    }
}
