//! What an engine counts of itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::scheduler::Scheduler;

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
    /// Continuations scored.
    pub scored_continuations: u64,
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
    scored_continuations: AtomicU64,
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
            scored_continuations: of(&self.scored_continuations),
            prompt_tokens: of(&self.prompt_tokens),
            cached_tokens: of(&self.cached_tokens),
            preemptions: of(&self.preemptions),
            pictures: of(&self.pictures),
            cached_pictures: of(&self.cached_pictures),
        }
    }

    pub(super) fn set_store(&self, blocks: usize) {
        self.kv_blocks.store(blocks as u64, Ordering::Relaxed);
    }

    pub(super) fn note_prompt(&self, tokens: usize, cached: usize) {
        self.prompt_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        self.cached_tokens.fetch_add(cached as u64, Ordering::Relaxed);
    }

    pub(super) fn note_token(&self) {
        self.generated_tokens.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_scored(&self, continuations: usize) {
        self.scored_continuations.fetch_add(continuations as u64, Ordering::Relaxed);
    }

    pub(super) fn note_pictures(&self, looked_at: usize, found: usize) {
        self.pictures.fetch_add(looked_at as u64, Ordering::Relaxed);
        self.cached_pictures.fetch_add(found as u64, Ordering::Relaxed);
    }

    pub(super) fn note_step(&self, rows: usize) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(super) fn note_state(&self, scheduler: &Scheduler) {
        self.waiting.store(scheduler.waiting() as u64, Ordering::Relaxed);
        self.running.store(scheduler.running() as u64, Ordering::Relaxed);
        self.kv_blocks_used.store(scheduler.blocks().1 as u64, Ordering::Relaxed);
        self.preemptions.store(scheduler.preemptions(), Ordering::Relaxed);
    }
}
