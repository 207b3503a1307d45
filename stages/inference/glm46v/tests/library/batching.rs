//! However requests share the engine, each gets the answer it would get alone: bit for bit where the engine is exact,
//! else within rounding.

use std::time::{Duration, Instant};

use glm46v::{
    Capture, Checkpoint, Determinism, Engine, EngineOptions, Generation, Message, Part, Priority, Prompt,
    RepetitionStop, Request, RequestError, Role, Thinking,
};
use glm46v::{GenerateOptions, Sampling};
use image::{Rgb, RgbImage};

use crate::support::fixtures;

const BOTH: [Determinism; 2] = [Determinism::Exact, Determinism::Fast];

fn engine(options: EngineOptions) -> Engine {
    Engine::start(Checkpoint::open(fixtures().join("glm46v-v5")).unwrap(), options).unwrap()
}

fn picture(seed: u32, width: u32, height: u32) -> Part {
    let pixel = |x: u32, y: u32| [(x * 7 + seed) as u8, (y * 5) as u8, (x * y + seed * 31) as u8];
    Part::Image(RgbImage::from_fn(width, height, |x, y| Rgb(pixel(x, y))))
}

fn request(content: Vec<Part>, max_new_tokens: usize) -> Request {
    let system = Message::text(
        Role::System,
        "You look at one study at a time and answer with the view, the quality and what can be seen, or that you cannot tell.",
    );
    let prompt =
        Prompt { messages: vec![system, Message { role: Role::User, content }], thinking: Thinking::Off };
    let options = GenerateOptions {
        max_new_tokens,
        repetition: RepetitionStop::Off,
        capture: Capture::Logits,
        ..GenerateOptions::default()
    };
    Request::new(prompt, options)
}

/// Requests of different lengths, some with the same beginning, the same picture, or several.
fn load() -> Vec<Request> {
    let text = |text: &str| Part::Text(text.to_owned());
    vec![
        request(vec![text("Which view is this?")], 20),
        request(vec![picture(1, 60, 90), text("Which view?")], 24),
        request(vec![picture(1, 60, 90), text("How good is it?")], 9),
        request(vec![picture(2, 300, 40), picture(3, 140, 140), text("Compare them.")], 30),
        request(vec![text("a")], 40),
        request(vec![picture(3, 140, 140), picture(1, 60, 90), picture(3, 140, 140)], 12),
        request(vec![text(&"Say it again. ".repeat(12))], 17),
    ]
}

fn all_at_once(engine: &Engine, requests: &[Request]) -> Vec<Generation> {
    let pending = engine.handle().submit_all(requests).unwrap();
    pending.into_iter().map(|pending| pending.wait().unwrap()).collect()
}

fn each_alone(determinism: Determinism, requests: &[Request]) -> Vec<Generation> {
    let alone = |request| {
        engine(EngineOptions { determinism, ..EngineOptions::default() }).handle().generate(request)
    };
    requests.iter().map(|request| alone(request).unwrap()).collect()
}

fn assert_same(what: &str, determinism: Determinism, found: &[Generation], wanted: &[Generation]) {
    for (number, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_eq!(found.token_ids, wanted.token_ids, "{what}: request {number}");
        let logits = |one: &Generation| one.captured.as_ref().unwrap().step_logits.concat();
        let (found, wanted) = (logits(found), logits(wanted));
        if determinism == Determinism::Exact {
            assert_eq!(found, wanted, "{what}: scores of request {number}");
        } else {
            let length = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
            let apart: Vec<f32> = found.iter().zip(&wanted).map(|(a, b)| a - b).collect();
            let relative = length(&apart) / length(&wanted);
            assert!(relative <= 1e-5, "{what}: scores of request {number} differ by {relative}");
        }
    }
}

#[test]
fn together_in_chunks_cached_or_preempted_as_alone() {
    let requests = load();
    for determinism in BOTH {
        let wanted = each_alone(determinism, &requests);
        let wide = EngineOptions { running: 8, step_rows: 4096, determinism, ..EngineOptions::default() };

        let engine_ = engine(wide);
        assert_same("together", determinism, &all_at_once(&engine_, &requests), &wanted);
        let before = engine_.handle().load();
        let again = all_at_once(&engine_, &requests);
        assert_same("cached", determinism, &again, &wanted);
        let after = engine_.handle().load();
        assert!(again.iter().skip(1).all(|answer| answer.cached_tokens > 0));
        assert!(after.cached_tokens > before.cached_tokens);
        assert_eq!(after.pictures, before.pictures, "no picture is looked at twice");

        let narrow = engine(EngineOptions { step_rows: 19, ..wide });
        assert_same("in chunks", determinism, &all_at_once(&narrow, &requests), &wanted);
        assert!(narrow.handle().load().steps > 40);

        // Room for the largest request alone, and not for what all of them grow to: met together, in one order always.
        let blocks = 11;
        let info = narrow.handle().info().config.text.clone();
        let block_bytes = 2 * 32 * 4 * info.layers * info.kv_heads * info.head_dim;
        let small = engine(EngineOptions { kv_bytes: (blocks * block_bytes) as u64, ..wide });
        assert_same("preempted", determinism, &all_at_once(&small, &requests), &wanted);
        assert!(small.handle().load().preemptions > 0, "nothing had to give way");
        assert_eq!(small.handle().load().kv_blocks, blocks as u64);
    }
}

#[test]
fn chance_follows_the_requests_own_seed_whoever_runs_beside_it() {
    let mut requests = load();
    for (seed, request) in (0..).zip(&mut requests) {
        request.options.sampling = Sampling::Random {
            temperature: 0.8,
            top_k: Some(20),
            top_p: Some(0.9),
            repetition_penalty: 1.1,
            seed,
        };
    }
    let wanted = each_alone(Determinism::Exact, &requests);
    let options = EngineOptions { determinism: Determinism::Exact, ..EngineOptions::default() };
    assert_same("sampled", Determinism::Exact, &all_at_once(&engine(options), &requests), &wanted);
    let other_seed = |request: &Request| {
        let mut request = request.clone();
        if let Sampling::Random { seed, .. } = &mut request.options.sampling {
            *seed += 100;
        }
        request
    };
    let others = each_alone(Determinism::Exact, &requests.iter().map(other_seed).collect::<Vec<_>>());
    assert!(wanted.iter().zip(&others).any(|(a, b)| a.token_ids != b.token_ids));
}

#[test]
fn tokens_come_one_by_one_with_what_the_model_thought_of_them() {
    let engine = engine(EngineOptions::default());
    let mut request = request(vec![picture(1, 60, 90), Part::Text("Which view?".to_owned())], 10);
    request.options.top_logprobs = Some(3);
    let mut pending = engine.handle().submit_streaming(&request).unwrap();
    let streamed: Vec<_> = std::iter::from_fn(|| pending.next_token()).collect();
    let answer = pending.wait().unwrap();
    assert_eq!(streamed, answer.scores);
    assert_eq!(answer.scores.iter().map(|score| score.id).collect::<Vec<_>>(), answer.token_ids);
    for score in &answer.scores {
        // Greedy: the chosen one is the likeliest.
        assert_eq!(score.top.first(), Some(&(score.id, score.logprob)));
        assert_eq!(score.top.len(), 3);
        assert!(score.top.is_sorted_by(|a, b| a.1 >= b.1) && score.logprob <= 0.0);
    }
}

#[test]
fn full_engine_refuses_at_once_and_takes_several_together_or_none() {
    let engine = engine(EngineOptions { queue: 1, running: 1, ..EngineOptions::default() });
    let handle = engine.handle();
    let short = request(vec![Part::Text("a".to_owned())], 2);
    let three = [short.clone(), short.clone(), short.clone()];
    assert!(matches!(handle.submit_all(&three).err(), Some(RequestError::QueueFull { capacity: 2 })));
    // One of several that cannot be prepared: none of them keeps its place.
    let wrong = Request { answer_prefix: "<|user|>".to_owned(), ..short.clone() };
    let refused = handle.submit_all(&[short.clone(), wrong]).err();
    assert!(matches!(refused, Some(RequestError::ControlTokenInAnswer { .. })), "{refused:?}");
    let both = handle.submit_all(&three[..2]).unwrap();
    assert!(both.into_iter().all(|pending| pending.wait().unwrap().generated_tokens() == 2));
}

#[test]
fn given_up_request_ends_as_cancelled_and_leaves_its_place() {
    let engine = engine(EngineOptions { queue: 1, running: 1, ..EngineOptions::default() });
    let handle = engine.handle();
    // Would write for seconds.
    let long = request(vec![Part::Text("Go on.".to_owned())], 16_000);
    let mut both = handle.submit_all(&[long.clone(), long]).unwrap();
    let waiting = both.pop().unwrap();
    drop(waiting.canceller());
    assert!(matches!(waiting.wait(), Err(RequestError::Cancelled)));
    drop(both);
    // Both places come back without either answer being waited for.
    let answer = loop {
        match handle.submit(&request(vec![Part::Text("a".to_owned())], 2)) {
            Ok(pending) => break pending.wait().unwrap(),
            Err(RequestError::QueueFull { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(answer.generated_tokens(), 2);
}

#[test]
fn passed_deadline_ends_a_request_and_leaves_the_others() {
    let engine = engine(EngineOptions::default());
    let mut late = request(vec![Part::Text("Go on.".to_owned())], 3000);
    late.deadline = Some(Instant::now());
    assert!(matches!(engine.handle().generate(&late), Err(RequestError::DeadlineExceeded)));
    late.deadline = Some(Instant::now() + Duration::from_hours(1));
    late.options.max_new_tokens = 2;
    late.priority = Priority::Urgent;
    engine.handle().generate(&late).unwrap();
}

#[test]
fn what_the_store_can_never_hold_is_refused_with_its_size() {
    let info = engine(EngineOptions::default()).handle().info().config.text.clone();
    let block_bytes = (2 * 32 * 4 * info.layers * info.kv_heads * info.head_dim) as u64;
    let engine = engine(EngineOptions { kv_bytes: 4 * block_bytes, ..EngineOptions::default() });
    let refused = engine.handle().generate(&request(vec![Part::Text("a".to_owned())], 200)).unwrap_err();
    assert!(matches!(refused, RequestError::StoreTooSmall { capacity: 128, .. }), "{refused}");
    let checkpoint = Checkpoint::open(fixtures().join("glm46v-v5")).unwrap();
    assert!(
        Engine::start(checkpoint, EngineOptions { kv_bytes: block_bytes - 1, ..EngineOptions::default() })
            .is_err()
    );
}
