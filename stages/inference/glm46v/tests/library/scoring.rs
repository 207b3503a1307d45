//! How likely given continuations are, and answers that go on from a given beginning.

use std::time::Instant;

use glm46v::{
    Capture, Checkpoint, Determinism, Engine, EngineHandle, EngineOptions, GenerateOptions, GrammarError,
    Message, Part, Prompt, RepetitionStop, Request, RequestError, Role, Thinking, longest_answer,
};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use crate::support::fixtures;

const PREFIX: &str = r#"{"view":"A4C","lvef":"#;

fn engine(options: EngineOptions) -> Engine {
    Engine::start(Checkpoint::open(fixtures().join("glm46v-v5")).unwrap(), options).unwrap()
}

fn exact() -> EngineOptions {
    EngineOptions { determinism: Determinism::Exact, ..EngineOptions::default() }
}

fn question(answer_prefix: &str) -> Request {
    let picture = RgbImage::from_fn(60, 90, |x, y| Rgb([(x * 7) as u8, (y * 5) as u8, (x * y) as u8]));
    let content = vec![Part::Image(picture), Part::Text("Ejection fraction?".to_owned())];
    let prompt = Prompt { messages: vec![Message { role: Role::User, content }], thinking: Thinking::Off };
    let options = GenerateOptions { max_new_tokens: 1, ..GenerateOptions::default() };
    Request { answer_prefix: answer_prefix.to_owned(), ..Request::new(prompt, options) }
}

/// "0," to "100,", and null.
fn numbers() -> Vec<String> {
    (0..=100).map(|number| format!("{number},")).chain(["null".to_owned()]).collect()
}

/// Log-probabilities of all tokens behind `answer_prefix`, by asking for one token.
fn next_token(handle: &EngineHandle, answer_prefix: &str) -> Vec<f64> {
    let mut request = question(answer_prefix);
    request.options.capture = Capture::Logits;
    let answer = handle.generate(&request).unwrap();
    let logits = answer.captured.unwrap().step_logits.remove(0);
    let sum: f64 = logits.iter().map(|score| f64::from(*score).exp()).sum();
    logits.iter().map(|score| f64::from(*score) - sum.ln()).collect()
}

/// ln Σ exp over the tokens whose text `counts`.
fn total(handle: &EngineHandle, logprobs: &[f64], counts: impl Fn(&str) -> bool) -> f64 {
    let text = |id: usize| handle.processor().token_text(id as u32);
    let all = logprobs.iter().enumerate().filter(|(id, _)| counts(&text(*id)));
    all.map(|(_, logprob)| logprob.exp()).sum::<f64>().ln()
}

fn assert_close(found: f64, wanted: f64, what: &str) {
    assert!((found - wanted).abs() <= 1e-4, "{what}: {found} and {wanted}");
}

#[test]
fn score_is_the_product_of_what_the_model_gives_each_token() {
    let engine = engine(exact());
    let handle = engine.handle();
    let texts = ["7,", "52,", "12,", "100", "null"].map(str::to_owned);
    let scores = handle.score(&question(PREFIX), &texts).unwrap();
    let after = |more: &str| next_token(&handle, &format!("{PREFIX}{more}"));
    let one = |logprobs: &[f64], text: &str| total(&handle, logprobs, |token| token == text);
    let comma = |more: &str| total(&handle, &after(more), |token| token.starts_with(','));

    let first = after("");
    assert_close(scores[0], one(&first, "7") + comma("7"), "one digit");
    assert_close(scores[1], one(&first, "5") + one(&after("5"), "2") + comma("52"), "two tokens");
    // A number that is one token of this vocabulary.
    assert_close(scores[2], one(&first, "12") + comma("12"), "a token of two digits");
    assert_close(scores[3], total(&handle, &first, |token| token.starts_with("100")), "one token, the last");
    assert!(scores[4] < 0.0 && scores[4].is_finite());
}

#[test]
fn last_token_may_be_any_that_begins_like_it() {
    let engine = engine(exact());
    let handle = engine.handle();
    let prefix = r#"{"view":"A4C"#;
    let after = next_token(&handle, prefix);
    let scores = handle.score(&question(prefix), &[r#"""#.to_owned(), r#"","#.to_owned()]).unwrap();
    assert_close(scores[0], total(&handle, &after, |token| token.starts_with('"')), "a quote or more");
    assert_close(scores[1], total(&handle, &after, |token| token.starts_with("\",")), "quote and comma");
    assert!(scores[0] > scores[1]);
}

#[test]
fn together_as_alone_whatever_else_runs_and_however_little_room_there_is() {
    let texts = &numbers()[70..];
    let wide = engine(exact());
    let together = wide.handle().score(&question(PREFIX), texts).unwrap();
    for (text, together) in texts.iter().zip(&together).step_by(7) {
        let alone = engine(exact()).handle().score(&question(PREFIX), std::slice::from_ref(text)).unwrap();
        assert_eq!(alone, [*together], "{text}");
    }

    // Beside requests that write and one that scores too.
    let mut writes = question("");
    writes.options.max_new_tokens = 8;
    writes.options.repetition = RepetitionStop::Off;
    let writing = wide.handle().submit_all(&vec![writes.clone(); 2]).unwrap();
    let scoring = [(); 2].map(|()| wide.handle().submit_score(&question(PREFIX), texts).unwrap());
    for pending in scoring {
        assert_eq!(pending.wait().unwrap(), together);
    }
    assert!(writing.into_iter().all(|pending| pending.wait().is_ok()));

    // Twelve blocks, of which the branches get a quarter; and a step of three rows.
    let info = wide.handle().info().config.text.clone();
    let block_bytes = 2 * 32 * 4 * info.layers * info.kv_heads * info.head_dim;
    let narrow =
        engine(EngineOptions { kv_bytes: 12 * block_bytes as u64, step_rows: 3, running: 2, ..exact() });
    assert_eq!(narrow.handle().load().kv_blocks, 12);
    let writing = narrow.handle().submit(&writes).unwrap();
    assert_eq!(narrow.handle().score(&question(PREFIX), texts).unwrap(), together);
    assert!(writing.wait().is_ok());

    let fast = engine(EngineOptions::default());
    for (found, wanted) in fast.handle().score(&question(PREFIX), texts).unwrap().iter().zip(&together) {
        assert!((found - wanted).abs() <= 1e-4, "{found} and {wanted}");
    }
}

#[test]
fn each_beginning_is_computed_once_and_one_depth_is_one_step() {
    let engine = engine(EngineOptions::default());
    let handle = engine.handle();
    // Whatever of the prompt can be shared is shared from here on.
    let prompt = handle.generate(&question(PREFIX)).unwrap();
    let before = handle.load();
    let numbers = &numbers()[..=100];
    let scores = handle.score(&question(PREFIX), numbers).unwrap();
    let after = handle.load();
    // Ten digits; 90 of two, some of them one token of this vocabulary and the others behind their first; 100, one token.
    let rows = 10 + 90 + 1;
    let of_prompt = prompt.prompt_tokens as u64 - (after.cached_tokens - before.cached_tokens);
    assert_eq!(after.rows - before.rows, of_prompt + rows);
    assert_eq!(after.steps - before.steps, 1 + 2);
    assert_eq!(after.scored_continuations - before.scored_continuations, 101);
    assert_eq!(after.prompt_tokens - before.prompt_tokens, prompt.prompt_tokens as u64);
    let mass: f64 = scores.iter().map(|score| score.exp()).sum();
    assert!(mass > 0.0 && mass < 1.0, "{mass}");
}

fn engine_with_queue() -> Engine {
    engine(EngineOptions { queue: 1, running: 1, ..EngineOptions::default() })
}

#[test]
fn what_cannot_be_scored_is_refused_by_type_and_leaves_its_place() {
    let engine = engine(EngineOptions { queue: 0, running: 1, ..EngineOptions::default() });
    let handle = engine.handle();
    let score = |request: &Request, text: &str| handle.score(request, &["1".to_owned(), text.to_owned()]);
    assert!(matches!(score(&question(PREFIX), ""), Err(RequestError::EmptyContinuation { index: 1 })));
    for (prefix, text) in [(PREFIX, "<|image|>"), ("<|user|>", "1")] {
        let refused = score(&question(prefix), text);
        assert!(matches!(refused, Err(RequestError::ControlTokenInAnswer { .. })), "{prefix}, {text}");
    }
    let late = Request { deadline: Some(Instant::now()), ..question(PREFIX) };
    assert!(matches!(score(&late, "2"), Err(RequestError::DeadlineExceeded)));
    // Given up before it can have begun: it waits behind one that writes for seconds.
    let busy = engine_with_queue();
    let mut long = question("");
    long.options.max_new_tokens = 16_000;
    let writing = busy.handle().submit(&long).unwrap();
    let scoring = busy.handle().submit_score(&question(PREFIX), &numbers()).unwrap();
    drop(scoring.canceller());
    assert!(matches!(scoring.wait(), Err(RequestError::Cancelled)));
    drop(writing);
    assert_eq!(handle.score(&question(PREFIX), &[]).unwrap(), Vec::<f64>::new());
    assert!(score(&question(PREFIX), "2").is_ok());
}

fn schema() -> Value {
    json!({"type": "object", "additionalProperties": false, "required": ["view", "lvef"], "properties": {
        "view": {"enum": ["A4C", "A2C"]}, "lvef": {"type": "integer", "minimum": 0, "maximum": 100}}})
}

#[test]
fn answer_goes_on_from_its_prefix_and_the_schema_holds_for_the_whole() {
    let engine = engine(EngineOptions::default());
    let handle = engine.handle();
    let grammar = handle.processor().grammar(schema()).unwrap();
    let ask = |prefix: &str| {
        let mut request = question(prefix);
        request.options.max_new_tokens = longest_answer(&schema()).unwrap();
        request.options.top_logprobs = Some(0);
        request.grammar = Some(grammar.clone());
        handle.generate(&request)
    };
    let whole = r#"{"view":"A2C","lvef":52}"#;
    for end in 0..whole.len() {
        let prefix = &whole[..end];
        let answer = ask(prefix).unwrap();
        let text = format!("{prefix}{}", answer.text);
        let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(json["lvef"].as_i64().is_some_and(|lvef| (0..=100).contains(&lvef)), "{text}");
        assert_eq!(json.to_string().len(), text.len());
        let sum: f64 = answer.scores.iter().map(|score| f64::from(score.logprob)).sum();
        assert_eq!(answer.log_probability(), Some(sum));
    }
    for wrong in [r#"{"lvef""#, r#"{"view":"A3"#, r#"{ "view""#, r#"{"view":"A4C","lvef":101"#, whole] {
        let refused = ask(wrong);
        assert!(
            matches!(refused, Err(RequestError::Grammar { source: GrammarError::Prefix })),
            "{wrong}: {refused:?}"
        );
    }
}

#[test]
fn log_probability_is_the_models_own_before_the_schema() {
    let engine = engine(exact());
    let handle = engine.handle();
    let mut request = question("");
    request.options.top_logprobs = Some(1);
    request.grammar = Some(handle.processor().grammar(schema()).unwrap());
    let answer = handle.generate(&request).unwrap();
    // The schema allows only tokens that begin an object; the model's own favourite is another.
    let favourite = answer.scores[0].top[0];
    assert_ne!(favourite.0, answer.token_ids[0]);
    let free = next_token(&handle, "");
    assert_close(answer.log_probability().unwrap(), free[answer.token_ids[0] as usize], "first token");
}

#[test]
fn scores_are_those_of_transformers() {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(fixtures().join("scoring.json")).unwrap()).unwrap();
    let checkpoint = Checkpoint::open(fixtures().join(expected["checkpoint"].as_str().unwrap())).unwrap();
    let engine = Engine::start(checkpoint, EngineOptions::default()).unwrap();
    let text = expected["messages"][0]["content"][0]["text"].as_str().unwrap();
    let prompt = Prompt { messages: vec![Message::text(Role::User, text)], thinking: Thinking::Off };
    let answer_prefix = expected["answer_prefix"].as_str().unwrap();
    let prepared = engine.handle().processor().prepare_continued(&prompt, answer_prefix, 1).unwrap();
    let ids: Vec<u32> = serde_json::from_value(expected["input_ids"].clone()).unwrap();
    assert_eq!(prepared.input_ids, ids, "as continue_final_message");

    let (texts, wanted): (Vec<String>, Vec<f64>) = expected["scores"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(text, score)| (text.clone(), score.as_f64().unwrap()))
        .unzip();
    assert!(texts.len() >= 9);
    let request = Request {
        answer_prefix: answer_prefix.to_owned(),
        ..Request::new(prompt, GenerateOptions::default())
    };
    for ((text, found), wanted) in
        texts.iter().zip(engine.handle().score(&request, &texts).unwrap()).zip(wanted)
    {
        assert!((found - wanted).abs() <= 1e-4, "{text}: {found} and {wanted}");
    }
}
