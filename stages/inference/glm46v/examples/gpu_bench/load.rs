//! Studies of one shape after each other, so many at a time, by a plan that `benches/gpu/measure.py` writes.
//!
//! A study is one asking: pictures nobody has seen before, a system prompt that all studies share, and words of its own. So
//! many threads ask, each its next study when the last is answered; the engine sees what the stage would send it.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use glm46v::{
    Checkpoint, Engine, EngineHandle, EngineOptions, GenerateOptions, Generation, Message, Part, Prompt,
    RepetitionStop, Request, RgbImage, Role, Thinking,
};
use serde::Deserialize;
use serde_json::json;

use crate::memory::Watch;
use crate::{Failure, print};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    model: PathBuf,
    device: String,
    running: usize,
    step_rows: usize,
    kv_bytes: u64,
    vision_cache_bytes: u64,
    /// The system prompt of every study.
    system: String,
    loads: Vec<Load>,
    /// Seconds from the start after which no further study is begun.
    seconds: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Load {
    name: String,
    pictures: u32,
    height: u32,
    width: u32,
    /// What each study says, and the one that goes before them: one more than there are studies.
    words: Vec<String>,
    /// Of its first picture; pictures of other loads must not have been seen, so the script keeps loads far apart.
    first_seed: u32,
    new_tokens: usize,
    concurrency: usize,
}

pub(crate) fn run(plan: &Path) -> Result<(), Failure> {
    let start = Instant::now();
    let plan: Plan = serde_json::from_reader(BufReader::new(std::fs::File::open(plan)?))?;
    let end = start + Duration::try_from_secs_f64(plan.seconds)?;
    let device = plan.device.parse()?;
    let watch = Watch::start(device);
    let most = plan.loads.iter().map(|load| load.concurrency).max().unwrap_or(1);
    let options = EngineOptions {
        device,
        queue: most,
        running: plan.running,
        step_rows: plan.step_rows,
        kv_bytes: plan.kv_bytes,
        vision_cache_bytes: plan.vision_cache_bytes,
        ..EngineOptions::default()
    };
    let engine = Engine::start(Checkpoint::open(&plan.model)?, options)?;
    let handle = engine.handle();
    let compute = &handle.info().compute;
    print(&json!({
        "engine": {
            "started_s": start.elapsed().as_secs_f64(),
            "compute": compute.dtype(),
            "predicted_bytes": compute.memory.total(),
        }
    }));
    for load in &plan.loads {
        let measured = if Instant::now() < end { measure(&handle, &plan.system, load, end)? } else { None };
        print(&match measured {
            Some(measured) => line(load, &measured, watch.as_ref().and_then(Watch::peak)),
            None => json!({ "load": load.name, "concurrency": load.concurrency, "skipped": "no time left" }),
        });
    }
    Ok(())
}

struct Measured {
    answers: Vec<Generation>,
    wall: Duration,
    steps: u64,
}

/// `None` where the time ended before the first study.
fn measure(
    handle: &EngineHandle,
    system: &str,
    load: &Load,
    end: Instant,
) -> Result<Option<Measured>, Failure> {
    // Once before: kernels are compiled, tables made, the shared prompt is in the cache.
    let (before, studies) = load.words.split_last().ok_or("a load has no words")?;
    handle.generate(&study(system, load, studies.len(), before))?;
    let steps = handle.load().steps;
    let next = AtomicUsize::new(0);
    let (send, answers) = sync_channel(studies.len());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..load.concurrency {
            let send = send.clone();
            let next = &next;
            scope.spawn(move || {
                while Instant::now() < end {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(words) = studies.get(index) else { return };
                    // As many places as studies: it never waits, and the receiver outlives the threads.
                    let _ = send.send(handle.generate(&study(system, load, index, words)));
                }
            });
        }
    });
    let wall = start.elapsed();
    drop(send);
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    let steps = handle.load().steps - steps;
    Ok((!answers.is_empty()).then_some(Measured { answers, wall, steps }))
}

fn study(system: &str, load: &Load, index: usize, words: &str) -> Request {
    let first = load.first_seed + index as u32 * load.pictures;
    let mut content: Vec<Part> = (first..first + load.pictures)
        .map(|seed| Part::Image(noise(load.width, load.height, seed)))
        .collect();
    content.push(Part::Text(words.to_owned()));
    let messages = vec![Message::text(Role::System, system), Message { role: Role::User, content }];
    let options = GenerateOptions {
        max_new_tokens: load.new_tokens,
        repetition: RepetitionStop::Off,
        ..GenerateOptions::default()
    };
    Request::new(Prompt { messages, thinking: Thinking::Off }, options)
}

/// A picture of its own for each seed, by Knuth's 64-bit congruential generator.
fn noise(width: u32, height: u32, seed: u32) -> RgbImage {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [.., r, g, b] = state.to_be_bytes().map(|byte| byte ^ (state >> 32) as u8);
        image::Rgb([r, g, b])
    })
}

fn line(load: &Load, measured: &Measured, peak: Option<u64>) -> serde_json::Value {
    let answers = &measured.answers;
    let median_ms = |of: &dyn Fn(&Generation) -> Duration| {
        let mut times: Vec<Duration> = answers.iter().map(of).collect();
        times.sort();
        times.get(times.len() / 2).map(|time| time.as_secs_f64() * 1e3)
    };
    let sum = |of: &dyn Fn(&Generation) -> usize| answers.iter().map(of).sum::<usize>();
    json!({
        "load": load.name,
        "concurrency": load.concurrency,
        "studies": answers.len(),
        "wall_s": measured.wall.as_secs_f64(),
        "prompt_tokens": sum(&|answer| answer.prompt_tokens),
        "cached_tokens": sum(&|answer| answer.cached_tokens),
        "vision_tokens": sum(&|answer| answer.vision_tokens),
        "new_tokens": sum(&|answer| answer.token_ids.len()),
        "steps": measured.steps,
        "median_ms": {
            "preprocess": median_ms(&|answer| answer.timings.preprocess),
            "queue": median_ms(&|answer| answer.timings.queue),
            "vision": median_ms(&|answer| answer.timings.vision),
            "prefill": median_ms(&|answer| answer.timings.prefill),
            "decode": median_ms(&|answer| answer.timings.decode),
        },
        "peak_bytes": peak,
    })
}
