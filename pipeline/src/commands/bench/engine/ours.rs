//! Our side: an engine, and the clocks around it.

use std::{cell::Cell, path::Path, thread, time::Instant};

use glm46v::{
    Checkpoint, Engine, EngineHandle, EngineOptions, GenerateOptions, Generation, RepetitionStop, Request,
    RequestError, WeightFormat,
};

use super::{
    super::processor_seconds,
    questions::{Question, STUDIES},
};
use crate::exit::Failure;

/// Of keys and values: eight prompts and answers, and as many beginnings again.
const KV_BYTES: u64 = 512 << 20;

/// The engine on the model of the bench.
pub(super) struct Ours<'a> {
    engine: Engine,
    questions: &'a [Question],
    /// Askings so far: each begins differently, so that no beginning is in the store.
    askings: Cell<usize>,
}

/// One answer, measured.
pub(super) struct Answered {
    /// Processor seconds until the first token, preprocessing included.
    pub(super) prefill: f64,
    /// And for each further one.
    pub(super) decode: f64,
}

/// Our ids for the question as transformers is asked it.
pub(super) struct Ids {
    pub(super) input: Vec<u32>,
    pub(super) answer: Vec<u32>,
}

impl<'a> Ours<'a> {
    pub(super) fn start(
        checkpoint: &Path,
        weights: WeightFormat,
        questions: &'a [Question],
    ) -> Result<Self, Failure> {
        let options = EngineOptions {
            running: STUDIES,
            kv_bytes: KV_BYTES,
            vision_cache_bytes: 0,
            weights,
            ..EngineOptions::default()
        };
        let engine = Engine::start(Checkpoint::open(checkpoint)?, options)?;
        Ok(Self { engine, questions, askings: Cell::new(0) })
    }

    pub(super) fn handle(&self) -> EngineHandle {
        self.engine.handle()
    }

    /// A number that no asking has had.
    fn next_asking(&self) -> usize {
        self.askings.set(self.askings.get() + 1);
        self.askings.get()
    }

    fn request(&self, study: usize, asking: usize, tokens: usize) -> Result<Request, Failure> {
        let question = self.questions.get(study).ok_or("no such study")?;
        Ok(Request::new(question.prompt(asking), how(tokens)))
    }

    /// One study, asked as never before.
    pub(super) fn lone(&self, study: usize, tokens: usize) -> Result<Answered, Failure> {
        let request = self.request(study, self.next_asking(), tokens)?;
        let begun = processor_seconds();
        let arrivals = arrivals(&self.handle(), &request)?;
        let (first, last) = arrivals.first().zip(arrivals.last()).ok_or("an answer without a token")?;
        let steps = (arrivals.len() - 1).max(1) as f64;
        Ok(Answered { prefill: first - begun, decode: (last - first) / steps })
    }

    /// One study, asked as transformers is.
    pub(super) fn alike(&self, study: usize, tokens: usize) -> Result<Ids, Failure> {
        let request = self.request(study, 0, tokens)?;
        let input = self.handle().processor().prepare(&request.prompt, tokens)?.input_ids;
        Ok(Ids { input, answer: self.handle().generate(&request)?.token_ids })
    }

    /// Puts the prompts of [`Ours::crowd`] into the store.
    pub(super) fn fill(&self) -> Result<(), Failure> {
        let requests = self.requests(0, 1)?;
        requests.iter().try_for_each(|request| self.handle().generate(request).map(drop))?;
        Ok(())
    }

    /// Processor seconds of a step while all studies are answered. Their prompts are in the store ([`Ours::fill`]).
    pub(super) fn crowd(&self, tokens: usize) -> Result<f64, Failure> {
        let requests = self.requests(0, tokens)?;
        let handle = self.handle();
        let all = in_threads(&requests, |request| arrivals(&handle, request))?;
        // From where the last one has its first token to where the first one has its last: all of them are under way.
        let begun = all.iter().filter_map(|times| times.first()).fold(0.0, |a: f64, b| a.max(*b));
        let ended = all.iter().filter_map(|times| times.last()).fold(f64::INFINITY, |a, b| a.min(*b));
        let written = all.iter().flatten().filter(|time| (begun..=ended).contains(time)).count();
        if ended <= begun {
            return Err("the studies were not answered side by side".into());
        }
        Ok((ended - begun) / (written as f64 / STUDIES as f64))
    }

    /// Wall seconds for all studies at once.
    pub(super) fn at_once(&self, tokens: usize) -> Result<f64, Failure> {
        let asking = self.next_asking();
        let requests = self.requests(asking, tokens)?;
        let handle = self.handle();
        let begun = Instant::now();
        let answers = in_threads(&requests, |request| handle.generate(request))?;
        whole(&answers, tokens)?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Wall seconds for all studies, each when the one before it has its answer.
    pub(super) fn one_by_one(&self, tokens: usize) -> Result<f64, Failure> {
        let asking = self.next_asking();
        let requests = self.requests(asking, tokens)?;
        let begun = Instant::now();
        let answers =
            requests.iter().map(|request| self.handle().generate(request)).collect::<Result<Vec<_>, _>>()?;
        whole(&answers, tokens)?;
        Ok(begun.elapsed().as_secs_f64())
    }

    fn requests(&self, asking: usize, tokens: usize) -> Result<Vec<Request>, Failure> {
        (0..STUDIES).map(|study| self.request(study, asking, tokens)).collect()
    }
}

/// Greedy, of exactly so many tokens.
pub(super) fn how(tokens: usize) -> GenerateOptions {
    GenerateOptions { max_new_tokens: tokens, repetition: RepetitionStop::Off, ..GenerateOptions::default() }
}

/// Processor seconds of this process when each token came.
fn arrivals(handle: &EngineHandle, request: &Request) -> Result<Vec<f64>, RequestError> {
    let mut pending = handle.submit_streaming(request)?;
    let mut times = Vec::new();
    while pending.next_token().is_some() {
        times.push(processor_seconds());
    }
    pending.wait()?;
    Ok(times)
}

fn whole(answers: &[Generation], tokens: usize) -> Result<(), Failure> {
    match answers.iter().find(|answer| answer.generated_tokens() != tokens) {
        Some(answer) => {
            Err(format!("an answer ended after {} of {tokens} tokens", answer.generated_tokens()).into())
        }
        None => Ok(()),
    }
}

/// `ask` for each request in a thread of its own.
fn in_threads<T: Send>(
    requests: &[Request],
    ask: impl Fn(&Request) -> Result<T, RequestError> + Sync,
) -> Result<Vec<T>, Failure> {
    thread::scope(|scope| {
        let threads: Vec<_> = requests.iter().map(|request| scope.spawn(|| ask(request))).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|answer| Ok(answer.map_err(|_| "a thread of the bench panicked")??)).collect()
    })
}

/// From one instant to a later one; 0 if it is not later.
pub(super) fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}
