//! The engine's thread: arrivals to the scheduler, plans to the model, tokens to the callers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use candle_core::Tensor;

use super::job::{Job, Message, Progress, Task, Written};
use super::load::Load;
use super::scoring::Branches;
use crate::error::RequestError;
use crate::kv_store::{KvStore, Span};
use crate::layers::Products;
use crate::model::{Model, Sequence, Work};
use crate::request::FinishReason;
use crate::sampler::Chosen;
use crate::scheduler::{Arrival, Chunk, Plan, Scheduler, SequenceId, TokenContent};
use crate::vision_cache::VisionCache;

/// What the thread owns.
pub(crate) struct Parts {
    pub(crate) model: Model,
    pub(crate) store: KvStore,
    pub(crate) scheduler: Scheduler,
    pub(crate) eos_token_ids: Vec<u32>,
    pub(crate) merge: usize,
    pub(crate) products: Products,
    /// Rows of one step at most.
    pub(crate) step_rows: usize,
    pub(crate) vision_cache_bytes: u64,
    pub(crate) load: Arc<Load>,
}

pub(crate) struct Core {
    pub(super) parts: Parts,
    pub(super) vision_cache: VisionCache,
    started: Instant,
    pub(super) active: BTreeMap<SequenceId, Active>,
}

/// A request that the scheduler knows.
pub(super) struct Active {
    pub(super) job: Job,
    /// Vision tokens, from the step that first needs them to the end of the prompt.
    pub(super) pictures: Vec<Option<Tensor>>,
    pub(super) progress: Progress,
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
                self.fail(*id, RequestError::DeadlineExceeded);
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
        let Message::Arrivals(jobs) = message else { return };
        for job in jobs {
            let (max_new_tokens, spare_blocks) = job.room();
            let arrival = Arrival {
                prompt: job.prepared.contents(self.parts.merge),
                max_new_tokens,
                spare_blocks,
                priority: job.priority,
                deadline: job.deadline.map(|deadline| deadline.saturating_duration_since(self.started)),
            };
            match self.parts.scheduler.submit(arrival, self.started.elapsed()) {
                Ok(id) => {
                    let pictures = vec![None; job.prepared.grids.len()];
                    self.active.insert(id, Active { job, pictures, progress: Progress::default() });
                }
                Err(too_large) => job.fail(RequestError::StoreTooSmall {
                    tokens: too_large.tokens,
                    capacity: too_large.capacity,
                }),
            }
        }
    }

    /// Requests that have not begun: their reply channels close, which callers read as a stopped engine.
    fn give_up_waiting(&mut self) {
        let waiting: Vec<SequenceId> = self
            .active
            .iter()
            .filter(|(_, active)| active.progress.first_step.is_none())
            .map(|(id, _)| *id)
            .collect();
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
            self.fail(id, RequestError::Cancelled);
        }
    }

    fn run(&mut self, plan: &Plan) {
        for chunk in &plan.chunks {
            if let Some(active) = self.active.get_mut(&chunk.sequence)
                && active.progress.first_step.is_none()
            {
                active.progress.first_step = Some(Instant::now());
                let found = self.parts.scheduler.found(chunk.sequence);
                active.progress.cached_tokens = found;
                self.parts.load.note_prompt(active.job.prepared.input_ids.len(), found);
            }
        }
        let mut chunks: Vec<&Chunk> = plan.chunks.iter().collect();
        self.look(&mut chunks);
        self.step(&chunks);
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
                [chunk] if chunk.rows == 1 => self.fail(chunk.sequence, error.into()),
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
                    generated: active.job.written(),
                    pictures: &active.pictures,
                },
                span: Span { past: chunk.past, rows: chunk.rows, blocks: &chunk.blocks },
                samples: chunk.samples,
            });
        }
        self.parts.model.step(&work, self.parts.products, &self.parts.store)
    }

    /// Notes a chunk's rows as computed, and goes on from the scores that follow them.
    fn feed_back(&mut self, chunk: &Chunk, scores: Option<Vec<f32>>) {
        let id = chunk.sequence;
        let Some(active) = self.active.get_mut(&id) else { return };
        let Some(logits) = scores else {
            self.parts.scheduler.computed(chunk, None);
            return;
        };
        if active.progress.first_token.is_none() {
            active.progress.first_token = Some(Instant::now());
            // The prompt is in the store; should it have to be computed again, the cache may still have them.
            active.pictures.fill(None);
        }
        let writing = match &mut active.job.task {
            Task::Write(writing) => writing,
            Task::Score(_) => return self.score(chunk, &logits),
        };
        let Chosen { id: next, completes } = match writing.sampler.next(&logits, &writing.so_far.ids) {
            Ok(next) => next,
            Err(error) => return self.fail(id, error),
        };
        writing.push(next, logits);
        self.parts.load.note_token();
        let ended =
            if completes { Some(FinishReason::Stop) } else { writing.ends(&self.parts.eos_token_ids) };
        self.parts.scheduler.computed(chunk, ended.is_none().then(|| TokenContent::text(next)));
        if let Some(reason) = ended {
            self.parts.scheduler.remove(id);
            if let Some(active) = self.active.remove(&id) {
                active.finish(reason, self.parts.merge);
            }
        }
    }

    /// Scores the continuations behind a prompt whose last rows are `chunk`. The steps this takes are the request's own:
    /// others go on when it is done.
    fn score(&mut self, chunk: &Chunk, after_prompt: &[f32]) {
        let id = chunk.sequence;
        // Whatever becomes of it, the prompt is there for the next one.
        self.parts.scheduler.computed(chunk, None);
        let Some(Active { job, .. }) = self.active.get(&id) else { return };
        let Task::Score(scoring) = &job.task else { return };
        let scores =
            Branches::new(&self.parts, job, chunk).score(&scoring.trees, scoring.continuations, after_prompt);
        match scores {
            Ok(scores) => {
                self.parts.load.note_scored(scores.len());
                self.parts.scheduler.remove(id);
                let Some(Active { job: Job { task: Task::Score(scoring), place, .. }, .. }) =
                    self.active.remove(&id)
                else {
                    return;
                };
                // Free before the caller hears of it, who may ask again at once.
                drop(place);
                // A caller that has gone away needs no answer.
                let _ = scoring.reply.send(Ok(scores));
            }
            Err(error) => self.fail(id, error),
        }
    }

    /// Ends a request with an error.
    pub(super) fn fail(&mut self, id: SequenceId, error: RequestError) {
        self.parts.scheduler.remove(id);
        if let Some(active) = self.active.remove(&id) {
            active.job.fail(error);
        }
    }
}

impl Active {
    fn finish(self, finish_reason: FinishReason, merge: usize) {
        let Job { prepared, task, queued_at, place, .. } = self.job;
        let Task::Write(writing) = task else { return };
        let written = Written {
            vision_tokens: prepared.vision_tokens(merge),
            prepared,
            answer: writing.so_far,
            options: writing.options,
            finish_reason,
            cached_tokens: self.progress.cached_tokens,
            timings: self.progress.timings(queued_at),
        };
        // Free before the caller hears of it, who may ask again at once.
        drop((place, writing.stream));
        // A caller that has gone away needs no answer.
        let _ = writing.reply.send(Ok(written));
    }
}
