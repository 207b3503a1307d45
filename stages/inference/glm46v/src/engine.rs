//! One thread owns the model; any number of callers hold a handle.
//!
//! ```text
//!  caller's thread                                        engine's thread, owns Model, KvStore, Scheduler
//!  EngineHandle::submit
//!    Processor::prepare     template, tokens, patches      ┌──────────────────────────────────────────────┐
//!    a place (queue + running; none free: QueueFull)       │ arrivals, cancellations ─▶ scheduler         │
//!    send ─────────────▶ channel of as many places ──────▶ │ plan ─▶ pictures not seen yet ─▶ vision tower │
//!  Pending                                                 │      ─▶ rows of all sequences ─▶ one step     │
//!    wait, next_token ◀─── tokens, the answer ◀─────────── │      ─▶ one token each, or an end             │
//!                                                          └───────────────── until nothing is left ───────┘
//! ```
//!
//! - A full engine refuses at once ([`RequestError::QueueFull`]); nothing waits without a bound.
//! - The CPU work of a request is done on its caller's thread, beside the model's work on others.
//! - Dropping a [`Pending`] cancels its request at the next step.
//! - Dropping the [`Engine`] lets running requests finish, answers the waiting ones with [`RequestError::EngineGone`]
//!   and joins the thread. Handles that outlive it get the same error.
//! - A step that fails is split until the request at fault is alone; that one fails, the others go on.
//! - A panic of the model ends the thread; callers see [`RequestError::EngineGone`] and may start a new engine.

mod core;
mod places;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use candle_core::Device;

use self::core::{Core, Finished, Job, Message};
use self::places::Places;
use crate::checkpoint::{Checkpoint, ModelDigest};
use crate::config::{ModelConfig, ModelMarks};
use crate::error::{LoadError, RequestError};
use crate::kv_store::KvStore;
use crate::layers::Products;
use crate::model::Model;
use crate::processor::Processor;
use crate::request::{Capture, Captured, Generation, Request, Timings};
use crate::sampler::{Sampler, TokenScore};
use crate::scheduler::{BLOCK, Limits, Scheduler};

/// How an engine is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Requests that may wait behind those that run.
    pub queue: usize,
    /// Requests that run at once; at least 1.
    pub running: usize,
    /// Rows of one step: tokens of prompts, and one for each request that is being answered. At least `running`.
    pub step_rows: usize,
    /// Memory of the key-value store in bytes. What does not fit waits; what never fits is refused.
    pub kv_bytes: u64,
    /// Memory for the vision tokens of pictures seen lately, in bytes.
    pub vision_cache_bytes: u64,
    /// After so long in the queue, a routine request ranks as an urgent one.
    pub aging: Duration,
    /// Whether an answer may depend, in the last bits of its scores, on the requests beside it.
    pub determinism: Determinism,
}

/// Whether an answer may depend, in the last bits of its scores, on the requests beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Determinism {
    /// It may: scores agree within 1e-5 of their size. Fastest.
    Fast,
    /// It does not: the same request on the same kind of machine has the same scores, bit for bit.
    Exact,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            queue: 16,
            running: 8,
            step_rows: 1024,
            kv_bytes: 256 << 20,
            vision_cache_bytes: 64 << 20,
            aging: Duration::from_secs(30),
            determinism: Determinism::Fast,
        }
    }
}

/// What is fixed while an engine runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// SHA-256 over the files of the checkpoint that answers depend on.
    pub digest: ModelDigest,
    /// What the checkpoint says about itself.
    pub marks: ModelMarks,
    /// The architecture's numbers.
    pub config: ModelConfig,
}

/// The running model. Dropping it stops the thread.
pub struct Engine {
    handle: EngineHandle,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A way to ask the model; cheap to clone and to send to other threads.
#[derive(Clone)]
pub struct EngineHandle {
    messages: SyncSender<Message>,
    places: Places,
    processor: Arc<Processor>,
    info: Arc<ModelInfo>,
    load: Arc<core::Load>,
}

/// What an engine is doing, and has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineLoad {
    /// Requests that wait.
    pub waiting: u64,
    /// Requests that run.
    pub running: u64,
    /// Blocks of the key-value store in use.
    pub kv_blocks_used: u64,
    /// Blocks of the key-value store.
    pub kv_blocks: u64,
    /// Steps of the language model.
    pub steps: u64,
    /// Rows of all steps.
    pub rows: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Of these, tokens that another request had computed.
    pub cached_tokens: u64,
    /// Times a running request had to give way to another.
    pub preemptions: u64,
    /// Pictures that the vision tower looked at.
    pub pictures: u64,
    /// Pictures found in the cache instead.
    pub cached_pictures: u64,
}

/// How an answer reaches its caller.
#[derive(Clone, Copy)]
enum Delivery {
    Whole,
    TokenByToken,
}

/// A request on its way. Dropping it cancels the request.
pub struct Pending {
    answer: Receiver<Result<Finished, RequestError>>,
    tokens: Option<Receiver<TokenScore>>,
    cancelled: Arc<AtomicBool>,
    processor: Arc<Processor>,
    preprocess: Duration,
}

impl Engine {
    /// Converts the weights to f32, makes the key-value store and starts the thread. The checkpoint's files are no
    /// longer needed afterwards.
    pub fn start(checkpoint: Checkpoint, options: EngineOptions) -> Result<Self, LoadError> {
        let processor = Arc::new(Processor::new(&checkpoint)?);
        let model = Model::load(&checkpoint, &Device::Cpu)?;
        let block_bytes = KvStore::block_bytes(&checkpoint.config.text);
        let blocks = u32::try_from(options.kv_bytes / block_bytes).unwrap_or(u32::MAX);
        if blocks == 0 {
            return Err(LoadError::StoreTooSmall { given: options.kv_bytes, least: block_bytes });
        }
        let limits = Limits {
            step_rows: options.step_rows.max(options.running),
            running: options.running.max(1),
            aging: options.aging,
        };
        let info = Arc::new(ModelInfo {
            digest: checkpoint.digest(),
            marks: checkpoint.config.marks,
            config: checkpoint.config,
        });
        let places = Places::new(options.queue + options.running.max(1));
        let (messages, inbox) = sync_channel(places.capacity() + 1);
        let stop = Arc::new(AtomicBool::new(false));
        let load = Arc::new(core::Load::default());
        let core = Core::new(core::Parts {
            store: model.store(blocks)?,
            scheduler: Scheduler::new(limits, blocks),
            eos_token_ids: info.config.eos_token_ids.clone(),
            merge: info.config.vision.spatial_merge_size,
            products: match options.determinism {
                Determinism::Fast => Products::Whole,
                Determinism::Exact => Products::OfFixedRows,
            },
            vision_cache_bytes: options.vision_cache_bytes,
            load: load.clone(),
            model,
        });
        let stopping = stop.clone();
        let thread = std::thread::Builder::new()
            .name("glm46v-engine".to_owned())
            .spawn(move || core.serve(&inbox, &stopping))
            .map_err(|source| LoadError::Thread { source })?;
        let handle = EngineHandle { messages, places, processor, info, load };
        Ok(Self { handle, stop, thread: Some(thread) })
    }

    /// A handle for a caller.
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the thread if it sleeps. Full or gone, it does not sleep.
        let _ = self.handle.messages.try_send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the panic hook and to every caller.
            let _ = thread.join();
        }
    }
}

impl EngineHandle {
    /// Digest, marks and numbers of the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The preprocessing, which needs no engine.
    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    /// What the engine is doing.
    pub fn load(&self) -> EngineLoad {
        self.load.read()
    }

    /// Requests that can wait or run at once.
    pub fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// Tokens that the key-value store holds: no prompt and answer together may have more.
    pub fn store_tokens(&self) -> u64 {
        self.load.read().kv_blocks * BLOCK as u64
    }

    /// Answers a request, and blocks until then.
    pub fn generate(&self, request: &Request) -> Result<Generation, RequestError> {
        self.submit(request)?.wait()
    }

    /// Prepares a request on this thread, hands it to the engine and returns.
    pub fn submit(&self, request: &Request) -> Result<Pending, RequestError> {
        self.send(request, Delivery::Whole)
    }

    /// Like [`EngineHandle::submit`]; [`Pending::next_token`] gives each token as it is generated.
    pub fn submit_streaming(&self, request: &Request) -> Result<Pending, RequestError> {
        self.send(request, Delivery::TokenByToken)
    }

    fn send(&self, request: &Request, delivery: Delivery) -> Result<Pending, RequestError> {
        // Before the expensive part: an engine that is full is spared the preprocessing as well.
        let place = self.places.take().ok_or(RequestError::QueueFull { capacity: self.places.capacity() })?;
        let start = Instant::now();
        let sampler = Sampler::new(request.options.sampling, request.grammar.as_ref())?;
        let prepared = self.processor.prepare(&request.prompt, request.options.max_new_tokens)?;
        let preprocess = start.elapsed();

        let (reply, answer) = sync_channel(1);
        let (stream, tokens) = match delivery {
            Delivery::Whole => (None, None),
            // As many places as tokens can come: the engine never waits for a slow reader.
            Delivery::TokenByToken => {
                let (stream, tokens) = sync_channel(request.options.max_new_tokens);
                (Some(stream), Some(tokens))
            }
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        let job = Job {
            prepared,
            options: request.options,
            sampler,
            priority: request.priority,
            deadline: request.deadline,
            queued_at: Instant::now(),
            cancelled: cancelled.clone(),
            stream,
            reply,
            place,
        };
        self.messages.try_send(Message::Generate(Box::new(job))).map_err(|error| match error {
            TrySendError::Full(_) => RequestError::QueueFull { capacity: self.places.capacity() },
            TrySendError::Disconnected(_) => RequestError::EngineGone,
        })?;
        Ok(Pending { answer, tokens, cancelled, processor: self.processor.clone(), preprocess })
    }
}

/// Cancels a request when dropped, from wherever it is; of no effect once the request has ended.
pub struct Canceller(Arc<AtomicBool>);

impl Drop for Canceller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Pending {
    /// For whoever must be able to give the request up while another thread waits for it.
    pub fn canceller(&self) -> Canceller {
        Canceller(self.cancelled.clone())
    }

    /// The next token, when it is generated; `None` when there is no further one, or for a request that does not stream.
    pub fn next_token(&mut self) -> Option<TokenScore> {
        self.tokens.as_ref()?.recv().ok()
    }

    /// Waits for the whole answer.
    pub fn wait(self) -> Result<Generation, RequestError> {
        let finished = self.answer.recv().map_err(|_| RequestError::EngineGone)??;
        let Finished { job, ids, scores, step_logits, finish_reason, cached_tokens, timings, vision_tokens } =
            finished;
        Ok(Generation {
            text: self.processor.text(&ids)?,
            scores,
            finish_reason,
            prompt_tokens: job.prepared.input_ids.len(),
            vision_tokens,
            cached_tokens,
            timings: Timings { preprocess: self.preprocess, ..timings },
            captured: (job.options.capture == Capture::Logits)
                .then_some(Captured { input_ids: job.prepared.input_ids, step_logits }),
            token_ids: ids,
        })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Release);
    }
}
