//! Weights in few bits, their cache, and the memory an engine needs: what changes in an answer, what must not, and what
//! is refused.

use std::path::{Path, PathBuf};

use glm46v::{
    CacheFault, CacheUse, Capture, Checkpoint, Determinism, DeviceChoice, Engine, EngineOptions,
    GenerateOptions, Generation, LoadError, Message, Part, Precision, Prompt, RepetitionStop, Request, Role,
    Thinking, WeightFormat,
};
use image::{Rgb, RgbImage};

use crate::support::{fixtures, untrained};
use crate::wide::wide_checkpoint;

fn with_format(weights: WeightFormat) -> EngineOptions {
    EngineOptions { weights, ..EngineOptions::default() }
}

fn start(folder: &Path, options: EngineOptions) -> Engine {
    Engine::start(Checkpoint::open(folder).unwrap(), options).unwrap()
}

fn picture(seed: u32, width: u32, height: u32) -> Part {
    let pixel = |x: u32, y: u32| [(x * 7 + seed) as u8, (y * 5) as u8, (x * y + seed * 31) as u8];
    Part::Image(RgbImage::from_fn(width, height, |x, y| Rgb(pixel(x, y))))
}

fn request(content: Vec<Part>, max_new_tokens: usize) -> Request {
    let prompt = Prompt { messages: vec![Message { role: Role::User, content }], thinking: Thinking::Off };
    let options = GenerateOptions {
        max_new_tokens,
        repetition: RepetitionStop::Off,
        capture: Capture::Logits,
        ..GenerateOptions::default()
    };
    Request::new(prompt, options)
}

/// Different prompts, half of them with a picture.
fn questions(max_new_tokens: usize) -> Vec<Request> {
    (0..8)
        .map(|seed: u32| {
            let text = Part::Text(format!("Question {seed}: which view is this, and how good is it?"));
            let pictures = (seed % 2 == 1).then(|| picture(seed, 56 + 14 * seed, 84));
            request(pictures.into_iter().chain([text]).collect(), max_new_tokens)
        })
        .collect()
}

fn logits(answer: &Generation) -> &[Vec<f32>] {
    &answer.captured.as_ref().unwrap().step_logits
}

/// Scores of the first token of every question: later ones would be scores of other texts.
fn first_scores(engine: &Engine) -> Vec<Vec<f32>> {
    let answer = |request: &Request| logits(&engine.handle().generate(request).unwrap())[0].clone();
    questions(1).iter().map(answer).collect()
}

/// Length of the difference over the length of what it should be.
fn relative(found: &[f32], wanted: &[f32]) -> f64 {
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let apart = &mut found.iter().zip(wanted).map(|(a, b)| f64::from(a - b));
    length(apart) / length(&mut wanted.iter().map(|v| f64::from(*v)))
}

/// Kullback-Leibler divergence of the distribution of `found` from that of `wanted`, in nats.
fn divergence(wanted: &[f32], found: &[f32]) -> f64 {
    let log_softmax = |logits: &[f32]| {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shifted: Vec<f64> = logits.iter().map(|l| f64::from(l - largest)).collect();
        let sum: f64 = shifted.iter().map(|l| l.exp()).sum();
        shifted.into_iter().map(|l| l - sum.ln()).collect::<Vec<f64>>()
    };
    log_softmax(wanted).iter().zip(log_softmax(found)).map(|(p, q)| p.exp() * (p - q)).sum()
}

#[derive(Clone, Copy)]
struct Apart {
    /// Largest of all questions.
    relative: f64,
    /// Mean of all questions.
    divergence: f64,
}

fn apart(found: &[Vec<f32>], wanted: &[Vec<f32>]) -> Apart {
    let pairs = || found.iter().zip(wanted);
    Apart {
        relative: pairs().map(|(found, wanted)| relative(found, wanted)).fold(0.0, f64::max),
        divergence: pairs().map(|(found, wanted)| divergence(wanted, found)).sum::<f64>()
            / wanted.len() as f64,
    }
}

#[test]
fn fewer_bits_answer_like_floating_point_within_bounds() {
    let wide = wide_checkpoint();
    // Measured on random weights, in which nothing is redundant: Q8_0 2.7 to 5.2 % and up to 0.0008 nats (bf16: 3 %), Q4K
    // 20 % and 0.016 nats. Kernels of other processors round activations to other blocks.
    let eight_bits = Apart { relative: 0.08, divergence: 0.002 };
    for (folder, format, at_most) in [
        (wide.path().to_owned(), WeightFormat::Q8_0, eight_bits),
        (wide.path().to_owned(), WeightFormat::Q4K, Apart { relative: 0.3, divergence: 0.04 }),
        (untrained(), WeightFormat::Q8_0, eight_bits),
        (fixtures().join("glm46v-v5"), WeightFormat::Q8_0, eight_bits),
        // Its rows are shorter than blocks of 256, so this is 8 bits as well; its scores are the least flat.
        (fixtures().join("glm4v-v4"), WeightFormat::Q4K, Apart { relative: 0.08, divergence: 0.01 }),
    ] {
        let wanted = first_scores(&start(&folder, EngineOptions::default()));
        let engine = start(&folder, with_format(format));
        let found = first_scores(&engine);
        let Apart { relative, divergence } = apart(&found, &wanted);
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        assert!(relative > 0.0, "{name} in {format}: nothing was quantised");
        assert!(relative <= at_most.relative, "{name} in {format}: scores differ by {relative}");
        assert!(divergence <= at_most.divergence, "{name} in {format}: divergence {divergence}");
        let compute = engine.handle().info().compute.clone();
        assert_eq!((compute.weights, compute.dtype()), (format, format!("{format}/f32")));
    }
}

#[test]
fn what_a_format_cannot_take_stays_floating_point_and_is_named() {
    let wide = wide_checkpoint();
    let kept =
        |folder: &Path, format| start(folder, with_format(format)).handle().info().compute.kept_float.clone();
    let patches = "model.visual.patch_embed.proj.weight".to_owned();
    assert_eq!(kept(wide.path(), WeightFormat::Float), Vec::<String>::new());
    assert_eq!(kept(wide.path(), WeightFormat::Q4K), std::slice::from_ref(&patches));
    // Rows of 48 in the vision tower, of 80 in its merger.
    let tiny = kept(&fixtures().join("glm46v-v5"), WeightFormat::Q8_0);
    assert!(tiny.contains(&patches) && tiny.contains(&"model.visual.blocks.1.attn.qkv.weight".to_owned()));
    assert!(tiny.contains(&"model.visual.merger.down_proj.weight".to_owned()), "{tiny:?}");
    assert!(tiny.iter().all(|name| name.starts_with("model.visual.")), "{tiny:?}");
}

fn cached(folder: &Path, cache: &Path, format: WeightFormat) -> Engine {
    let checkpoint = Checkpoint::open(folder).unwrap().with_weight_cache(cache);
    Engine::start(checkpoint, with_format(format)).unwrap()
}

fn only_file(folder: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|one| one.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[test]
fn weights_from_the_cache_are_those_that_were_written_and_take_little_room() {
    let wide = wide_checkpoint();
    for (format, share) in [(WeightFormat::Q8_0, 0.55), (WeightFormat::Q4K, 0.50)] {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("not/yet/there");
        let made = first_scores(&start(wide.path(), with_format(format)));
        for wanted in [CacheUse::Written, CacheUse::Read, CacheUse::Read] {
            let engine = cached(wide.path(), &folder, format);
            assert_eq!(engine.handle().info().compute.cache, wanted);
            assert_eq!(first_scores(&engine), made, "{format}, {wanted:?}");
        }
        // Everything of two dimensions but the patch embedding, at two bytes each.
        let bf16 = 2 * quantised_numbers(wide.path());
        let held = std::fs::metadata(only_file(&folder)).unwrap().len();
        assert!((held as f64) < share * bf16 as f64, "{format}: {held} bytes of {bf16}");
    }
    let cache = tempfile::tempdir().unwrap();
    let engine = cached(wide.path(), cache.path(), WeightFormat::Float);
    assert_eq!(engine.handle().info().compute.cache, CacheUse::Off);
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
}

fn quantised_numbers(folder: &Path) -> u64 {
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let quantised = tensors
        .iter()
        .filter(|(name, view)| {
            view.shape().len() > 1 && !name.contains("patch_embed") && !name.contains("position_embedding")
        })
        .map(|(_, view)| view.shape().iter().product::<usize>() as u64);
    quantised.sum()
}

#[test]
fn a_cache_that_is_damaged_or_of_something_else_is_never_believed() {
    let folder = fixtures().join("glm46v-v5");
    let format = WeightFormat::Q8_0;
    let cache = tempfile::tempdir().unwrap();
    let wanted = first_scores(&cached(&folder, cache.path(), format));
    let file = only_file(cache.path());
    let whole = std::fs::read(&file).unwrap();

    let other = tempfile::tempdir().unwrap();
    drop(cached(&fixtures().join("glm4v-v4"), other.path(), format));
    let of_another = std::fs::read(only_file(other.path())).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let gguf_alone = whole[..whole.len() - 48].to_vec();
    for (what, bytes, fault) in [
        ("a bit of a weight", flipped(whole.len() / 2), CacheFault::Changed),
        ("a bit of the header", flipped(9), CacheFault::Changed),
        ("a bit of the seal", flipped(whole.len() - 20), CacheFault::Changed),
        ("a file cut short", whole[..whole.len() / 3].to_vec(), CacheFault::NoSeal),
        ("an empty file", Vec::new(), CacheFault::NoSeal),
        ("a GGUF file of another program", gguf_alone, CacheFault::NoSeal),
        ("another checkpoint's cache", of_another, CacheFault::Foreign),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let engine = cached(&folder, cache.path(), format);
        assert_eq!(engine.handle().info().compute.cache, CacheUse::Replaced(fault), "{what}");
        assert_eq!(first_scores(&engine), wanted, "{what}");
        assert_eq!(std::fs::read(&file).unwrap(), whole, "{what}: the file is whole again");
    }
    assert_eq!(cached(&folder, cache.path(), format).handle().info().compute.cache, CacheUse::Read);
}

#[test]
fn a_cache_folder_that_cannot_be_is_refused_with_its_path() {
    let cache = tempfile::tempdir().unwrap();
    let blocked = cache.path().join("file");
    std::fs::write(&blocked, "a file, not a folder").unwrap();
    let checkpoint = Checkpoint::open(fixtures().join("glm46v-v5")).unwrap().with_weight_cache(&blocked);
    let refusal = Engine::start(checkpoint, with_format(WeightFormat::Q8_0)).err().unwrap();
    assert!(matches!(refusal, LoadError::WeightCache { .. }), "{refusal}");
    assert!(refusal.to_string().contains(&*blocked.to_string_lossy()));
    assert_eq!(only_file(cache.path()), blocked, "nothing is left over");
}

#[test]
fn requests_together_have_the_scores_of_each_alone_to_the_last_bit_in_fewer_bits_too() {
    let wide = wide_checkpoint();
    for format in [WeightFormat::Q8_0, WeightFormat::Q4K] {
        let options = EngineOptions { determinism: Determinism::Exact, ..with_format(format) };
        let requests = questions(10);
        let alone = |request| start(wide.path(), options).handle().generate(request).unwrap();
        let wanted: Vec<Generation> = requests.iter().map(alone).collect();
        for step_rows in [1024, 23] {
            let engine = start(wide.path(), EngineOptions { step_rows, ..options });
            let handle = engine.handle();
            let pending: Vec<_> = requests.iter().map(|request| handle.submit(request).unwrap()).collect();
            for (pending, wanted) in pending.into_iter().zip(&wanted) {
                let found = pending.wait().unwrap();
                assert_eq!(found.token_ids, wanted.token_ids, "{format}");
                assert_eq!(logits(&found), logits(wanted), "{format}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_the_memory_is_refused_with_what_would() {
    let folder = untrained();
    let refused = |options| {
        Engine::start(Checkpoint::open(&folder).unwrap(), options).err().map(|error| match error {
            LoadError::MemoryTooSmall { need, would_fit, .. } => (need, would_fit),
            other => panic!("{other}"),
        })
    };
    let info = |options| start(&folder, options).handle().info().compute.clone();
    let float = info(EngineOptions::default());
    let quantised = info(with_format(WeightFormat::Q8_0));
    assert!(quantised.memory.weights < float.memory.weights);
    assert_eq!(float.available, None);

    // As much as it says that it needs is enough, one byte less is not.
    let enough = float.memory.total();
    let with = |memory_bytes| EngineOptions { memory_bytes: Some(memory_bytes), ..EngineOptions::default() };
    assert_eq!(refused(with(enough)), None);
    let (need, would_fit) = refused(with(enough - 1)).unwrap();
    assert_eq!(*need, float.memory);
    assert_eq!(would_fit.formats.first(), Some(&(WeightFormat::Q8_0, quantised.memory.total())));
    // What it proposes is taken.
    let kv_bytes = would_fit.kv_bytes.unwrap();
    assert_eq!(refused(EngineOptions { kv_bytes, ..with(enough - 1) }), None);
    assert_eq!(refused(EngineOptions { weights: WeightFormat::Q8_0, ..with(enough - 1) }), None);

    let (_, none) = refused(with(1_000_000)).unwrap();
    assert!(none.formats.is_empty() && none.kv_bytes.is_none());
    let error = Engine::start(Checkpoint::open(&folder).unwrap(), with(1_000_000)).err().unwrap().to_string();
    assert!(error.starts_with("the model needs ") && error.contains("but there are 1.0 MB"), "{error}");
}

#[test]
fn formats_and_devices_that_are_not_there_are_refused_by_name() {
    let refusal =
        |options| Engine::start(Checkpoint::open(untrained()).unwrap(), options).err().unwrap().to_string();
    let half = EngineOptions { precision: Some(Precision::Bf16), ..EngineOptions::default() };
    assert_eq!(refusal(half), "bf16 cannot be computed on the CPU; expected f32");
    if !cfg!(feature = "cuda") {
        let card = EngineOptions { device: DeviceChoice::Cuda(0), ..EngineOptions::default() };
        assert!(refusal(card).contains("cuda:0") && refusal(card).contains("has no CUDA"));
    }
}
