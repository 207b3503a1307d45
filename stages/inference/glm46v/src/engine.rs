//! One thread owns the model; any number of callers hold a handle.
//!
//! ```text
//!  caller's thread                                      engine's thread, owns Model
//!  EngineHandle::generate
//!    Processor::prepare     template, tokens, patches
//!    try_send ───────────▶ queue, bounded ───────────▶  vision ─ prefill ─ decode
//!    recv     ◀─────────── reply, one place ◀─────────  Generated
//!    decode the text
//! ```
//!
//! - A full queue refuses at once ([`RequestError::QueueFull`]); nothing waits without a bound.
//! - Dropping the [`Engine`] lets the request in progress finish, answers the others with
//!   [`RequestError::EngineGone`] and joins the thread. Handles that outlive it get the same error.
//! - A panic of the model ends the thread; callers see [`RequestError::EngineGone`] and may start a new engine.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use candle_core::Device;

use crate::checkpoint::{Checkpoint, ModelDigest};
use crate::config::{ModelConfig, ModelMarks};
use crate::error::{LoadError, RequestError};
use crate::generate::{Capture, FinishReason, GenerateOptions, Generated, Model};
use crate::processor::{Prepared, Processor, Prompt};

/// How an engine is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Requests that may wait behind the one in progress; at least 1.
    pub queue: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { queue: 16 }
    }
}

/// A request: what is said and shown, and how long to answer.
#[derive(Debug, Clone)]
pub struct Request {
    /// Messages and thinking.
    pub prompt: Prompt,
    /// Limits of the answer.
    pub options: GenerateOptions,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// Without control tokens; with `<think>…</think>` where the model wrote it.
    pub text: String,
    /// Generated ids, the end token included.
    pub token_ids: Vec<u32>,
    /// Why it ends.
    pub finish_reason: FinishReason,
    /// Tokens of the prompt, vision tokens included.
    pub prompt_tokens: usize,
    /// Tokens of the prompt that stand for pictures.
    pub vision_tokens: usize,
    /// Where the time went.
    pub timings: Timings,
    /// What [`Capture::Logits`] keeps.
    pub captured: Option<Captured>,
}

impl Generation {
    /// Number of generated ids.
    pub fn generated_tokens(&self) -> usize {
        self.token_ids.len()
    }
}

/// Wall time of the phases of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Template, tokenizer, resizing, patches; on the caller's thread.
    pub preprocess: Duration,
    /// Waiting for the engine.
    pub queue: Duration,
    /// Embeddings and vision tower.
    pub vision: Duration,
    /// The prompt through the language model.
    pub prefill: Duration,
    /// All further tokens.
    pub decode: Duration,
}

/// The model's input and scores, for comparisons.
#[derive(Debug, Clone, PartialEq)]
pub struct Captured {
    /// Ids of the prompt, placeholders repeated.
    pub input_ids: Vec<u32>,
    /// Per generated token, the scores of all ids it was chosen from.
    pub step_logits: Vec<Vec<f32>>,
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
    thread: Option<JoinHandle<()>>,
}

/// A way to ask the model; cheap to clone and to send to other threads.
#[derive(Clone)]
pub struct EngineHandle {
    queue: SyncSender<Message>,
    capacity: usize,
    processor: Arc<Processor>,
    info: Arc<ModelInfo>,
}

enum Message {
    Generate(Box<Job>),
    Stop,
}

struct Job {
    prepared: Prepared,
    options: GenerateOptions,
    queued_at: Instant,
    reply: SyncSender<Result<(Generated, Prepared, Duration), RequestError>>,
}

impl Engine {
    /// Converts the weights to f32 and starts the thread. The checkpoint's files are no longer needed afterwards.
    pub fn start(checkpoint: Checkpoint, options: EngineOptions) -> Result<Self, LoadError> {
        let processor = Arc::new(Processor::new(&checkpoint)?);
        let model = Model::load(&checkpoint, &Device::Cpu)?;
        let info = Arc::new(ModelInfo {
            digest: checkpoint.digest(),
            marks: checkpoint.config.marks,
            config: checkpoint.config,
        });
        let capacity = options.queue.max(1);
        let (queue, jobs) = sync_channel(capacity);
        let thread = std::thread::Builder::new()
            .name("glm46v-engine".to_owned())
            .spawn(move || serve(&model, &jobs))
            .map_err(|source| LoadError::Thread { source })?;
        Ok(Self { handle: EngineHandle { queue, capacity, processor, info }, thread: Some(thread) })
    }

    /// A handle for a caller.
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Waits for a free place in the queue, which the thread makes. An error means that it is gone already.
        let _ = self.handle.queue.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the panic hook and to every caller.
            let _ = thread.join();
        }
    }
}

fn serve(model: &Model, jobs: &Receiver<Message>) {
    while let Ok(Message::Generate(job)) = jobs.recv() {
        let Job { prepared, options, queued_at, reply } = *job;
        let waited = queued_at.elapsed();
        let answer = model.generate(&prepared, options).map(|generated| (generated, prepared, waited));
        // A caller that has gone away needs no answer.
        let _ = reply.send(answer);
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

    /// Answers a request, and blocks until then.
    pub fn generate(&self, request: &Request) -> Result<Generation, RequestError> {
        let start = Instant::now();
        let prepared = self.processor.prepare(&request.prompt, request.options.max_new_tokens)?;
        let preprocess = start.elapsed();

        let (reply, answer) = sync_channel(1);
        let job = Job { prepared, options: request.options, queued_at: Instant::now(), reply };
        self.queue.try_send(Message::Generate(Box::new(job))).map_err(|error| match error {
            TrySendError::Full(_) => RequestError::QueueFull { capacity: self.capacity },
            TrySendError::Disconnected(_) => RequestError::EngineGone,
        })?;
        let (generated, prepared, queue) = answer.recv().map_err(|_| RequestError::EngineGone)??;
        Ok(Generation {
            text: self.processor.decode(&generated.ids)?,
            finish_reason: generated.finish_reason,
            prompt_tokens: prepared.input_ids.len(),
            vision_tokens: prepared.vision_tokens(self.processor.merge_size()),
            timings: Timings {
                preprocess,
                queue,
                vision: generated.vision,
                prefill: generated.prefill,
                decode: generated.decode,
            },
            captured: (request.options.capture == Capture::Logits)
                .then_some(Captured { input_ids: prepared.input_ids, step_logits: generated.step_logits }),
            token_ids: generated.ids,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::chat::{Message as ChatMessage, Role, Thinking};
    use crate::sampler::RepetitionStop;

    #[test]
    fn full_queue_refuses_at_once() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/glm46v-v5");
        let engine = Engine::start(Checkpoint::open(folder).unwrap(), EngineOptions { queue: 1 }).unwrap();
        // A queue that nobody reads, with one place, taken.
        let (queue, _jobs) = sync_channel(1);
        queue.try_send(Message::Stop).unwrap();
        let handle = EngineHandle { queue, ..engine.handle() };
        let request = Request {
            prompt: Prompt { messages: vec![ChatMessage::text(Role::User, "a")], thinking: Thinking::Off },
            options: GenerateOptions {
                max_new_tokens: 1,
                repetition: RepetitionStop::Off,
                capture: Capture::Nothing,
            },
        };
        assert!(matches!(handle.generate(&request), Err(RequestError::QueueFull { capacity: 1 })));
        engine.handle().generate(&request).unwrap();
    }
}
