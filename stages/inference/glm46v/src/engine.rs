//! One thread owns the model; any number of callers hold a handle.
//!
//! ```text
//!  caller's thread                                        engine's thread, owns Model, KvStore, Scheduler
//!  EngineHandle::submit, submit_score
//!    Processor::prepare     template, tokens, patches      ┌──────────────────────────────────────────────┐
//!    a place (queue + running; none free: QueueFull)       │ arrivals, cancellations ─▶ scheduler         │
//!    send ─────────────▶ channel of as many places ──────▶ │ plan ─▶ pictures not seen yet ─▶ vision tower │
//!  Pending, PendingScores                                  │      ─▶ rows of all sequences ─▶ one step     │
//!    wait, next_token ◀─── tokens, answer, scores ◀─────── │      ─▶ one token each, or an end, or a tree  │
//!                                                          └───────────────── until nothing is left ───────┘
//! ```
//!
//! - Whatever is handed over together ([`EngineHandle::submit_all`]) the scheduler meets together: one message, not one
//!   for each request.
//! - A full engine refuses at once ([`RequestError::QueueFull`]); nothing waits without a bound.
//! - The CPU work of a request is done on its caller's thread, beside the model's work on others.
//! - Dropping a [`Pending`] or [`PendingScores`] cancels its request at the next step.
//! - Dropping the [`Engine`] lets running requests finish, answers the waiting ones with [`RequestError::EngineGone`]
//!   and joins the thread. Handles that outlive it get the same error.
//! - A step that fails is split until the request at fault is alone; that one fails, the others go on.
//! - A panic of the model ends the thread; callers see [`RequestError::EngineGone`] and may start a new engine.

mod core;
mod job;
mod load;
mod pending;
mod pictures;
mod places;
mod scoring;
mod setup;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::core::Core;
use self::job::{Answer, Job, Message, Scoring, Task, Writing};
pub use self::load::EngineLoad;
use self::load::Load;
use self::pending::GivenUp;
pub use self::pending::{Canceller, Pending, PendingScores};
use self::places::{Place, Places};
pub use self::setup::ComputeInfo;
use self::setup::Setup;
use crate::checkpoint::{Checkpoint, ModelDigest};
use crate::config::{ModelConfig, ModelMarks};
use crate::continuations::trees;
use crate::error::{LoadError, RequestError};
use crate::layers::Products;
use crate::numerics::{DeviceChoice, Precision, WeightFormat};
use crate::prepared::Prepared;
use crate::processor::Processor;
use crate::request::{Generation, Request};
use crate::sampler::Sampler;
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
    /// How weights are held.
    pub weights: WeightFormat,
    /// Where the model runs.
    pub device: DeviceChoice,
    /// The type of activations; `None` for the device's own ([`crate::Numerics`]).
    pub precision: Option<Precision>,
    /// Memory that the engine may use, in bytes: one that needs more is refused before it is loaded. `None`: on a CUDA
    /// card what is free there, on the CPU no limit.
    pub memory_bytes: Option<u64>,
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
            weights: WeightFormat::Float,
            device: DeviceChoice::Cpu,
            precision: None,
            memory_bytes: None,
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
    /// Where it runs, in which number formats, in how much memory.
    pub compute: ComputeInfo,
    /// Whether an answer may depend, in the last bits of its scores, on the requests beside it.
    pub determinism: Determinism,
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
    load: Arc<Load>,
}

/// How an answer reaches its caller.
#[derive(Clone, Copy)]
enum Delivery {
    Whole,
    TokenByToken,
}

impl Engine {
    /// Loads the weights, makes the key-value store and starts the thread. The checkpoint's files are no longer needed
    /// afterwards. What does not fit the memory is refused first, with what would.
    pub fn start(checkpoint: Checkpoint, options: EngineOptions) -> Result<Self, LoadError> {
        let processor = Arc::new(Processor::new(&checkpoint)?);
        let setup = Setup::new(&checkpoint, &options)?;
        let (model, compute) = setup.load(&checkpoint)?;
        let limits = Limits {
            step_rows: options.step_rows.max(options.running),
            running: options.running.max(1),
            aging: options.aging,
        };
        let info = Arc::new(ModelInfo {
            digest: checkpoint.digest(),
            marks: checkpoint.config.marks,
            config: checkpoint.config,
            compute,
            determinism: options.determinism,
        });
        let places = Places::new(options.queue + options.running.max(1));
        let (messages, inbox) = sync_channel(places.capacity() + 1);
        let stop = Arc::new(AtomicBool::new(false));
        let load = Arc::new(Load::default());
        let core = Core::new(core::Parts {
            store: model.store(setup.blocks)?,
            scheduler: Scheduler::new(limits, setup.blocks),
            eos_token_ids: info.config.eos_token_ids.clone(),
            merge: info.config.vision.spatial_merge_size,
            products: match options.determinism {
                Determinism::Fast => Products::Whole,
                Determinism::Exact => Products::OfFixedRows,
            },
            step_rows: limits.step_rows,
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
        self.send(&[request], Delivery::Whole)?.pop().ok_or(RequestError::EngineGone)
    }

    /// The same for several requests, which the engine meets together: it begins with none of them before it knows them
    /// all. Either all are taken or none.
    pub fn submit_all(&self, requests: &[Request]) -> Result<Vec<Pending>, RequestError> {
        self.send(&requests.iter().collect::<Vec<_>>(), Delivery::Whole)
    }

    /// Like [`EngineHandle::submit`]; [`Pending::next_token`] gives each token as it is generated.
    pub fn submit_streaming(&self, request: &Request) -> Result<Pending, RequestError> {
        self.send(&[request], Delivery::TokenByToken)?.pop().ok_or(RequestError::EngineGone)
    }

    /// Log-probabilities (natural logarithm) of `continuations` as the next words of the answer to `request`, behind its
    /// prefix; blocks until then. See [`EngineHandle::submit_score`].
    pub fn score(&self, request: &Request, continuations: &[String]) -> Result<Vec<f64>, RequestError> {
        self.submit_score(request, continuations)?.wait()
    }

    /// Prepares a request and hands it to the engine, which scores `continuations`: each with the log-probability that the
    /// answer's text goes on with it. Prompt, answer prefix, priority and deadline of `request` count; its grammar and its
    /// options do not, and what the model thinks of other words is not held against these.
    ///
    /// The prompt is computed once, and what continuations have in common too: one row for each beginning of theirs that a
    /// token ends at, all of one depth in one step. A continuation includes those that begin with it: end numbers with the
    /// sign that follows them. The last token of a continuation may be any whose text begins like it. None may be empty.
    pub fn submit_score(
        &self,
        request: &Request,
        continuations: &[String],
    ) -> Result<PendingScores, RequestError> {
        let place = self.place()?;
        let tokens = self.processor.continuations(&request.answer_prefix, continuations)?;
        let longest = tokens.iter().map(|one| one.path.len() + 1).max().unwrap_or(1);
        let prepared = self.processor.prepare_continued(&request.prompt, &request.answer_prefix, longest)?;
        let prompt_tokens = prepared.input_ids.len();
        // A quarter of the store: scoring leaves room for the others, and takes a few steps more instead.
        let capacity = usize::try_from(self.load.read().kv_blocks).unwrap_or(usize::MAX);
        let count = tokens.len();
        let (trees, spare_blocks) = trees(tokens, prompt_tokens % BLOCK, (capacity / 4).max(1));
        let (reply, scores) = sync_channel(1);
        let task = Task::Score(Scoring { trees, continuations: count, spare_blocks, reply });
        let (job, given_up) = job(request, prepared, task, place);
        self.hand_over(vec![job])?;
        Ok(PendingScores::new(scores, given_up))
    }

    fn place(&self) -> Result<Place, RequestError> {
        self.places.take().ok_or(RequestError::QueueFull { capacity: self.places.capacity() })
    }

    fn send(&self, requests: &[&Request], delivery: Delivery) -> Result<Vec<Pending>, RequestError> {
        // Before the expensive part: an engine that is full is spared the preprocessing as well.
        let places = requests.iter().map(|_| self.place()).collect::<Result<Vec<_>, _>>()?;
        let (mut jobs, mut pending) = (Vec::new(), Vec::new());
        for (request, place) in requests.iter().zip(places) {
            let start = Instant::now();
            let options = request.options;
            let prepared = self.processor.prepare_continued(
                &request.prompt,
                &request.answer_prefix,
                options.max_new_tokens,
            )?;
            let sampler = Sampler::new(options.sampling, request.grammar.as_ref(), prepared.answer_prefix())?;
            let preprocess = start.elapsed();
            let (reply, answer) = sync_channel(1);
            let (stream, tokens) = match delivery {
                Delivery::Whole => (None, None),
                // As many places as tokens can come: the engine never waits for a slow reader.
                Delivery::TokenByToken => {
                    let (stream, tokens) = sync_channel(options.max_new_tokens);
                    (Some(stream), Some(tokens))
                }
            };
            let task =
                Task::Write(Box::new(Writing { options, sampler, stream, reply, so_far: Answer::default() }));
            let (job, given_up) = job(request, prepared, task, place);
            jobs.push(job);
            pending.push(Pending::new(answer, tokens, given_up, self.processor.clone(), preprocess));
        }
        self.hand_over(jobs)?;
        Ok(pending)
    }

    fn hand_over(&self, jobs: Vec<Job>) -> Result<(), RequestError> {
        self.messages.try_send(Message::Arrivals(jobs)).map_err(|error| match error {
            TrySendError::Full(_) => RequestError::QueueFull { capacity: self.places.capacity() },
            TrySendError::Disconnected(_) => RequestError::EngineGone,
        })
    }
}

fn job(request: &Request, prepared: Prepared, task: Task, place: Place) -> (Job, GivenUp) {
    let given_up = GivenUp::default();
    let job = Job {
        prepared,
        task,
        priority: request.priority,
        deadline: request.deadline,
        queued_at: Instant::now(),
        cancelled: given_up.flag(),
        place,
    };
    (job, given_up)
}
