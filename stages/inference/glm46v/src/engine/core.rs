//! The engine's thread: arrivals to the scheduler, plans to the model, tokens to the callers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use candle_core::Tensor;

use super::EngineLoad;
use super::places::Place;
use crate::error::RequestError;
use crate::kv_store::{KvStore, Span};
use crate::layers::Products;
use crate::model::{Model, Sequence, Work};
use crate::patches::Grid;
use crate::processor::{PictureDigest, Prepared};
use crate::request::{Capture, FinishReason, GenerateOptions, Timings};
use crate::sampler::{Chosen, Sampler, TokenScore};
use crate::scheduler::{Arrival, Chunk, Plan, Priority, Scheduler, SequenceId, TokenContent};
use crate::vision_cache::VisionCache;

/// Patches that go through the vision tower at once, where pictures may share a pass.
const VISION_PATCHES: usize = 4096;

/// To the thread.
pub(crate) enum Message {
    Generate(Box<Job>),
    /// Only wakes it: the flag beside the channel says that it is to stop.
    Stop,
}

/// A prepared request.
pub(crate) struct Job {
    pub(crate) prepared: Prepared,
    pub(crate) options: GenerateOptions,
    pub(crate) sampler: Sampler,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Instant>,
    pub(crate) queued_at: Instant,
    pub(crate) cancelled: Arc<AtomicBool>,
    /// Where each token goes as it comes.
    pub(crate) stream: Option<SyncSender<TokenScore>>,
    pub(crate) reply: SyncSender<Result<Finished, RequestError>>,
    /// Held until the request is gone.
    pub(crate) place: Place,
}

/// What the model made of a request.
pub(crate) struct Finished {
    pub(crate) job: Unanswered,
    pub(crate) ids: Vec<u32>,
    pub(crate) scores: Vec<TokenScore>,
    pub(crate) step_logits: Vec<Vec<f32>>,
    pub(crate) finish_reason: FinishReason,
    pub(crate) vision_tokens: usize,
    pub(crate) cached_tokens: usize,
    pub(crate) timings: Timings,
}

/// What is left of a job when its channels are gone.
pub(crate) struct Unanswered {
    pub(crate) prepared: Prepared,
    pub(crate) options: GenerateOptions,
}

/// What the thread owns.
pub(crate) struct Parts {
    pub(crate) model: Model,
    pub(crate) store: KvStore,
    pub(crate) scheduler: Scheduler,
    pub(crate) eos_token_ids: Vec<u32>,
    pub(crate) merge: usize,
    pub(crate) products: Products,
    pub(crate) vision_cache_bytes: u64,
    pub(crate) load: Arc<Load>,
}

pub(crate) struct Core {
    parts: Parts,
    vision_cache: VisionCache,
    started: Instant,
    active: BTreeMap<SequenceId, Active>,
}

/// A request that the scheduler knows.
struct Active {
    job: Job,
    ids: Vec<u32>,
    scores: Vec<TokenScore>,
    step_logits: Vec<Vec<f32>>,
    /// Vision tokens, from the step that first needs them to the end of the prompt.
    pictures: Vec<Option<Tensor>>,
    first_step: Option<Instant>,
    first_token: Option<Instant>,
    vision: Duration,
    cached_tokens: usize,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Self {
        let vision_cache = VisionCache::new(parts.vision_cache_bytes);
        parts.load.set_store(parts.scheduler.blocks().0);
        Self { parts, vision_cache, started: Instant::now(), active: BTreeMap::new() }
    }

    /// Works until `stop` is set and nothing runs, or until all handles are gone.
    pub(crate) fn serve(mut self, inbox: &Receiver<Message>, stop: &AtomicBool) {
        loop {
            if !self.take_in(inbox) {
                return;
            }
            if stop.load(Ordering::Acquire) {
                self.give_up_waiting();
                if self.active.is_empty() {
                    return;
                }
            }
            self.drop_cancelled();
            let plan = self.parts.scheduler.plan(self.started.elapsed());
            for id in &plan.expired {
                self.answer(*id, Err(RequestError::DeadlineExceeded));
            }
            self.run(&plan);
            self.parts.load.note_state(&self.parts.scheduler);
        }
    }

    /// Takes what has arrived, waiting for it when there is nothing else to do. False when nobody can ask any more.
    fn take_in(&mut self, inbox: &Receiver<Message>) -> bool {
        if self.active.is_empty() {
            match inbox.recv() {
                Ok(message) => self.note(message),
                Err(_) => return false,
            }
        }
        loop {
            match inbox.try_recv() {
                Ok(message) => self.note(message),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return !self.active.is_empty(),
            }
        }
    }

    fn note(&mut self, message: Message) {
        let Message::Generate(job) = message else { return };
        let arrival = Arrival {
            prompt: job.prepared.contents(self.parts.merge),
            max_new_tokens: job.options.max_new_tokens,
            priority: job.priority,
            deadline: job.deadline.map(|deadline| deadline.saturating_duration_since(self.started)),
        };
        match self.parts.scheduler.submit(arrival, self.started.elapsed()) {
            Ok(id) => {
                let pictures = vec![None; job.prepared.grids.len()];
                self.active.insert(id, Active::new(*job, pictures));
            }
            Err(too_large) => {
                let error =
                    RequestError::StoreTooSmall { tokens: too_large.tokens, capacity: too_large.capacity };
                // A caller that has gone away needs no answer.
                let _ = job.reply.send(Err(error));
            }
        }
    }

    /// Requests that have not begun: their reply channels close, which callers read as a stopped engine.
    fn give_up_waiting(&mut self) {
        let waiting: Vec<SequenceId> =
            self.active.iter().filter(|(_, active)| active.first_step.is_none()).map(|(id, _)| *id).collect();
        for id in waiting {
            self.parts.scheduler.remove(id);
            self.active.remove(&id);
        }
    }

    fn drop_cancelled(&mut self) {
        let cancelled = |active: &Active| active.job.cancelled.load(Ordering::Acquire);
        let gone: Vec<SequenceId> =
            self.active.iter().filter(|(_, active)| cancelled(active)).map(|(id, _)| *id).collect();
        for id in gone {
            self.answer(id, Err(RequestError::Cancelled));
        }
    }

    fn run(&mut self, plan: &Plan) {
        for chunk in &plan.chunks {
            if let Some(active) = self.active.get_mut(&chunk.sequence)
                && active.first_step.is_none()
            {
                active.first_step = Some(Instant::now());
                active.cached_tokens = self.parts.scheduler.found(chunk.sequence);
                self.parts.load.note_prompt(active.job.prepared.input_ids.len(), active.cached_tokens);
            }
        }
        let mut chunks: Vec<&Chunk> = plan.chunks.iter().collect();
        self.look(&mut chunks);
        self.step(&chunks);
    }

    /// Looks at the pictures that the rows of `chunks` stand for. Chunks of a request whose pictures cannot be looked at
    /// are taken out.
    fn look(&mut self, chunks: &mut Vec<&Chunk>) {
        let mut unseen: BTreeMap<PictureDigest, (SequenceId, usize)> = BTreeMap::new();
        let mut wanted = Vec::new();
        for chunk in chunks.iter() {
            let Some(active) = self.active.get_mut(&chunk.sequence) else { continue };
            let prepared = &active.job.prepared;
            for index in self.parts.model.pictures_in(prepared, chunk.past..chunk.past + chunk.rows) {
                let (Some(digest), Some(place)) =
                    (prepared.picture_digests.get(index).copied(), active.pictures.get_mut(index))
                else {
                    continue;
                };
                if place.is_some() {
                    continue;
                }
                *place = self.vision_cache.get(&digest);
                if place.is_some() {
                    self.parts.load.cached_pictures.fetch_add(1, Ordering::Relaxed);
                } else {
                    unseen.entry(digest).or_insert((chunk.sequence, index));
                    wanted.push((chunk.sequence, index, digest));
                }
            }
        }
        let mut seen: BTreeMap<PictureDigest, Tensor> = BTreeMap::new();
        for batch in self.vision_batches(unseen.into_iter().collect()) {
            let start = Instant::now();
            match self.look_at(&batch) {
                Ok(tokens) => {
                    self.parts.load.pictures.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    let share = start.elapsed() / batch.len().max(1) as u32;
                    for ((digest, (id, _)), tokens) in batch.into_iter().zip(tokens) {
                        if let Some(active) = self.active.get_mut(&id) {
                            active.vision += share;
                        }
                        self.vision_cache.put(digest, tokens.clone());
                        seen.insert(digest, tokens);
                    }
                }
                Err(error) => {
                    // One request is told what went wrong, all of them that they have no answer.
                    let mut error = Some(error);
                    for (_, (id, _)) in batch {
                        let source =
                            error.take().unwrap_or_else(|| candle_core::Error::msg("as for another picture"));
                        self.answer(id, Err(source.into()));
                    }
                }
            }
        }
        for (id, index, digest) in wanted {
            let tokens = seen.get(&digest).cloned();
            if tokens.is_none() && self.active.contains_key(&id) {
                self.answer(id, Err(candle_core::Error::msg("the picture could not be looked at").into()));
            }
            if let Some(place) = self.active.get_mut(&id).and_then(|active| active.pictures.get_mut(index)) {
                *place = tokens;
            }
        }
        chunks.retain(|chunk| self.active.contains_key(&chunk.sequence));
    }

    /// Pictures of one pass each. Alone where scores must not depend on the pictures beside it.
    fn vision_batches(&self, unseen: Vec<Picture>) -> Vec<Vec<Picture>> {
        let patches = |(_, (id, index)): &Picture| {
            let grid = self.active.get(id).and_then(|active| active.job.prepared.grids.get(*index));
            grid.map_or(0, |grid| grid.patches())
        };
        let mut batches: Vec<(usize, Vec<Picture>)> = Vec::new();
        for picture in unseen {
            let size = patches(&picture);
            match batches.last_mut() {
                Some((held, batch))
                    if self.parts.products == Products::Whole && *held + size <= VISION_PATCHES =>
                {
                    *held += size;
                    batch.push(picture);
                }
                _ => batches.push((size, vec![picture])),
            }
        }
        batches.into_iter().map(|(_, batch)| batch).collect()
    }

    fn look_at(&self, batch: &[Picture]) -> candle_core::Result<Vec<Tensor>> {
        let (mut pixels, mut grids): (Vec<f32>, Vec<Grid>) = (Vec::new(), Vec::new());
        for (_, (id, index)) in batch {
            let Some(active) = self.active.get(id) else { candle_core::bail!("the request is gone") };
            pixels.extend_from_slice(active.job.prepared.pixels_of(*index));
            grids.extend(active.job.prepared.grids.get(*index));
        }
        self.parts.model.look(&pixels, &grids)
    }

    /// Runs chunks in one step. What fails is split: first by request, then by rows, so that one request's failure, or a
    /// step too large for the device, costs as little as possible.
    fn step(&mut self, chunks: &[&Chunk]) {
        if chunks.is_empty() {
            return;
        }
        match self.forward(chunks) {
            Ok(logits) => {
                self.parts.load.note_step(chunks.iter().map(|chunk| chunk.rows).sum());
                let mut logits = logits.into_iter();
                for chunk in chunks {
                    let scores = if chunk.samples { logits.next() } else { None };
                    self.feed_back(chunk, scores);
                }
            }
            Err(error) => match chunks {
                [chunk] if chunk.rows == 1 => self.answer(chunk.sequence, Err(error.into())),
                [chunk] => {
                    let rows = chunk.rows / 2;
                    let first = Chunk { rows, samples: false, ..(*chunk).clone() };
                    let second =
                        Chunk { past: chunk.past + rows, rows: chunk.rows - rows, ..(*chunk).clone() };
                    self.step(&[&first]);
                    if self.active.contains_key(&chunk.sequence) {
                        self.step(&[&second]);
                    }
                }
                chunks => {
                    let (first, second) = chunks.split_at(chunks.len() / 2);
                    self.step(first);
                    self.step(second);
                }
            },
        }
    }

    fn forward(&self, chunks: &[&Chunk]) -> candle_core::Result<Vec<Vec<f32>>> {
        let mut work = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let Some(active) = self.active.get(&chunk.sequence) else {
                candle_core::bail!("the request is gone")
            };
            work.push(Work {
                sequence: Sequence {
                    prompt: &active.job.prepared,
                    generated: &active.ids,
                    pictures: &active.pictures,
                },
                span: Span { past: chunk.past, rows: chunk.rows, blocks: &chunk.blocks },
                samples: chunk.samples,
            });
        }
        self.parts.model.step(&work, self.parts.products, &self.parts.store)
    }

    /// Notes a chunk's rows as computed, and the token that its scores give.
    fn feed_back(&mut self, chunk: &Chunk, scores: Option<Vec<f32>>) {
        let id = chunk.sequence;
        let Some(active) = self.active.get_mut(&id) else { return };
        let Some(logits) = scores else {
            self.parts.scheduler.computed(chunk, None);
            return;
        };
        let next = match active.job.sampler.next(&logits, &active.ids) {
            Ok(next) => next,
            Err(error) => return self.answer(id, Err(error)),
        };
        let Chosen { id: next, completes } = next;
        active.push(next, logits);
        self.parts.load.generated_tokens.fetch_add(1, Ordering::Relaxed);
        let ended = if completes {
            Some(FinishReason::Stop)
        } else {
            finished(&active.ids, next, active.job.options, &self.parts.eos_token_ids)
        };
        self.parts.scheduler.computed(chunk, ended.is_none().then(|| TokenContent::text(next)));
        if let Some(reason) = ended {
            self.parts.scheduler.remove(id);
            if let Some(active) = self.active.remove(&id) {
                active.finish(reason, self.parts.merge);
            }
        }
    }

    /// Ends a request with an error.
    fn answer(&mut self, id: SequenceId, answer: Result<Finished, RequestError>) {
        self.parts.scheduler.remove(id);
        if let Some(active) = self.active.remove(&id) {
            // A caller that has gone away needs no answer.
            let _ = active.job.reply.send(answer);
        }
    }
}

/// A picture, and the request and place to take it from.
type Picture = (PictureDigest, (SequenceId, usize));

fn finished(ids: &[u32], last: u32, options: GenerateOptions, eos: &[u32]) -> Option<FinishReason> {
    if eos.contains(&last) {
        Some(FinishReason::Stop)
    } else if options.repetition.is_looping(ids) {
        Some(FinishReason::Repetition)
    } else if ids.len() >= options.max_new_tokens {
        Some(FinishReason::Length)
    } else {
        None
    }
}

impl Active {
    fn new(job: Job, pictures: Vec<Option<Tensor>>) -> Self {
        Self {
            job,
            ids: Vec::new(),
            scores: Vec::new(),
            step_logits: Vec::new(),
            pictures,
            first_step: None,
            first_token: None,
            vision: Duration::ZERO,
            cached_tokens: 0,
        }
    }

    fn push(&mut self, id: u32, logits: Vec<f32>) {
        if self.first_token.is_none() {
            self.first_token = Some(Instant::now());
            // The prompt is in the store; should it have to be computed again, the cache may still have them.
            self.pictures.fill(None);
        }
        self.ids.push(id);
        let top = self.job.options.top_logprobs;
        if top.is_some() || self.job.stream.is_some() {
            let score = TokenScore::of(&logits, id, top.unwrap_or(0));
            if let Some(stream) = &self.job.stream {
                // A reader that has gone away cancels the whole request.
                let _ = stream.try_send(score.clone());
            }
            if top.is_some() {
                self.scores.push(score);
            }
        }
        if self.job.options.capture == Capture::Logits {
            self.step_logits.push(logits);
        }
    }

    fn finish(self, finish_reason: FinishReason, merge: usize) {
        let Job { prepared, options, queued_at, reply, stream, place, .. } = self.job;
        let (first_step, first_token) =
            (self.first_step.unwrap_or(queued_at), self.first_token.unwrap_or(queued_at));
        let timings = Timings {
            preprocess: Duration::ZERO,
            queue: first_step - queued_at,
            vision: self.vision,
            prefill: first_token.saturating_duration_since(first_step).saturating_sub(self.vision),
            decode: first_token.elapsed(),
        };
        let finished = Finished {
            vision_tokens: prepared.vision_tokens(merge),
            job: Unanswered { prepared, options },
            ids: self.ids,
            scores: self.scores,
            step_logits: self.step_logits,
            finish_reason,
            cached_tokens: self.cached_tokens,
            timings,
        };
        // Free before the caller hears of it, who may ask again at once.
        drop((place, stream));
        // A caller that has gone away needs no answer.
        let _ = reply.send(Ok(finished));
    }
}

/// [`EngineLoad`] as the thread keeps it. Single numbers for metrics: read one by one, they may be of two steps.
#[derive(Debug, Default)]
pub(crate) struct Load {
    waiting: AtomicU64,
    running: AtomicU64,
    kv_blocks_used: AtomicU64,
    kv_blocks: AtomicU64,
    steps: AtomicU64,
    rows: AtomicU64,
    generated_tokens: AtomicU64,
    prompt_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    preemptions: AtomicU64,
    pictures: AtomicU64,
    cached_pictures: AtomicU64,
}

impl Load {
    pub(super) fn read(&self) -> EngineLoad {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        EngineLoad {
            waiting: of(&self.waiting),
            running: of(&self.running),
            kv_blocks_used: of(&self.kv_blocks_used),
            kv_blocks: of(&self.kv_blocks),
            steps: of(&self.steps),
            rows: of(&self.rows),
            generated_tokens: of(&self.generated_tokens),
            prompt_tokens: of(&self.prompt_tokens),
            cached_tokens: of(&self.cached_tokens),
            preemptions: of(&self.preemptions),
            pictures: of(&self.pictures),
            cached_pictures: of(&self.cached_pictures),
        }
    }

    fn set_store(&self, blocks: usize) {
        self.kv_blocks.store(blocks as u64, Ordering::Relaxed);
    }

    fn note_prompt(&self, tokens: usize, cached: usize) {
        self.prompt_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        self.cached_tokens.fetch_add(cached as u64, Ordering::Relaxed);
    }

    fn note_step(&self, rows: usize) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    fn note_state(&self, scheduler: &Scheduler) {
        self.waiting.store(scheduler.waiting() as u64, Ordering::Relaxed);
        self.running.store(scheduler.running() as u64, Ordering::Relaxed);
        self.kv_blocks_used.store(scheduler.blocks().1 as u64, Ordering::Relaxed);
        self.preemptions.store(scheduler.preemptions(), Ordering::Relaxed);
    }
}
