//! Which rows of which sequences the model computes next. Pure: time comes in, no tensor, no thread.
//!
//! ```text
//!             submit                 plan: blocks for the whole prompt are free
//!   caller ──────────▶ waiting ───────────────────────────────▶ running ──────────────▶ gone (finish, cancel, deadline)
//!                        ▲   urgent first, then by arrival        │   prefill in chunks, then one row a step
//!                        └────────────────────────────────────────┘
//!                          preempted: no free block is left; computed again later, mostly from published blocks
//! ```
//!
//! A step has at most [`Limits::step_rows`] rows: first one row for each sequence that decodes, then chunks of prompts.
//! Invariants, held by the property tests:
//! - no step exceeds the budget, and every row of a step has its block;
//! - a sequence that fits the store by itself ends: routine sequences that waited [`Limits::aging`] rank as urgent, so
//!   the oldest is never overtaken for ever, and the highest-ranking one is never preempted;
//! - a block is held by the sequences that use it and by nobody else.

mod block_pool;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use block_pool::{BLOCK, BlockHash, BlockId, BlockPool, TokenContent};

/// What a step and the engine may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Rows of one step.
    pub(crate) step_rows: usize,
    /// Sequences that run at once.
    pub(crate) running: usize,
    /// After so long in the queue, a routine sequence ranks as an urgent one of its arrival.
    pub(crate) aging: Duration,
}

/// How soon a request is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Before every routine request.
    Urgent,
    /// In order of arrival, and as urgent after some time of waiting.
    #[default]
    Routine,
}

/// Names a sequence while it is known to the scheduler; later ones are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SequenceId(pub(crate) u64);

/// A sequence that wants to run.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) prompt: Vec<TokenContent>,
    pub(crate) max_new_tokens: usize,
    /// Blocks besides those of its tokens, for whoever goes on from the prompt in several ways at once.
    pub(crate) spare_blocks: usize,
    pub(crate) priority: Priority,
    /// When it is of no more use, on the clock of `now`.
    pub(crate) deadline: Option<Duration>,
}

/// More tokens than the whole store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge {
    pub(crate) tokens: usize,
    pub(crate) capacity: usize,
}

/// Rows of one sequence in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) sequence: SequenceId,
    /// Tokens before these rows, all of them in the store.
    pub(crate) past: usize,
    pub(crate) rows: usize,
    /// Where the sequence's tokens lie, those of this chunk included; behind them, in a chunk that samples, its spare
    /// blocks. They are the sequence's until it is computed further or removed.
    pub(crate) blocks: Vec<BlockId>,
    /// Whether the last row is the last known token, so that the next one follows from it.
    pub(crate) samples: bool,
}

/// What to do next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) chunks: Vec<Chunk>,
    /// Their deadline has passed; they are gone.
    pub(crate) expired: Vec<SequenceId>,
    /// They run again later.
    pub(crate) preempted: Vec<SequenceId>,
}

#[derive(Debug)]
struct Sequence {
    arrived: Duration,
    priority: Priority,
    deadline: Option<Duration>,
    spare_blocks: usize,
    tokens: Vec<TokenContent>,
    /// Hashes of the full blocks of `tokens`, in order; made when first needed.
    hashes: Vec<BlockHash>,
    /// Empty while waiting.
    blocks: Vec<BlockId>,
    /// Tokens whose keys and values are in `blocks`.
    computed: usize,
    /// Tokens that were found in published blocks when it was last admitted.
    found: usize,
}

/// Ranks before another if less.
type Rank = (Priority, Duration, SequenceId);

impl Sequence {
    fn rank(&self, id: SequenceId, now: Duration, aging: Duration) -> Rank {
        let aged = now.saturating_sub(self.arrived) >= aging;
        (if aged { Priority::Urgent } else { self.priority }, self.arrived, id)
    }

    /// Blocks that it holds when its first `tokens` are in the store.
    fn blocks_for(&self, tokens: usize) -> usize {
        let spare = if tokens == self.tokens.len() { self.spare_blocks } else { 0 };
        tokens.div_ceil(BLOCK) + spare
    }

    fn hash(&mut self, block: usize) -> Option<BlockHash> {
        while self.hashes.len() <= block {
            let start = self.hashes.len() * BLOCK;
            let content = self.tokens.get(start..start + BLOCK)?;
            self.hashes.push(BlockHash::of(self.hashes.last().copied(), content));
        }
        self.hashes.get(block).copied()
    }
}

/// The queue, the running sequences and the blocks they hold.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    pool: BlockPool,
    waiting: BTreeMap<SequenceId, Sequence>,
    running: BTreeMap<SequenceId, Sequence>,
    submitted: u64,
    preemptions: u64,
}

impl Scheduler {
    pub(crate) fn new(limits: Limits, blocks: u32) -> Self {
        Self {
            limits: Limits {
                step_rows: limits.step_rows.max(1),
                running: limits.running.clamp(1, limits.step_rows.max(1)),
                ..limits
            },
            pool: BlockPool::new(blocks),
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            submitted: 0,
            preemptions: 0,
        }
    }

    /// Sequences that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Sequences that run.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Blocks of the store, and how many of them are held.
    pub(crate) fn blocks(&self) -> (usize, usize) {
        (self.pool.capacity(), self.pool.capacity() - self.pool.free())
    }

    /// Times that a running sequence had to give way.
    pub(crate) fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// Tokens of a running sequence that were found computed when it was admitted.
    pub(crate) fn found(&self, id: SequenceId) -> usize {
        self.running.get(&id).map_or(0, |sequence| sequence.found)
    }

    /// Puts a sequence in the queue, unless even an empty store could not hold it.
    pub(crate) fn submit(&mut self, arrival: Arrival, now: Duration) -> Result<SequenceId, TooLarge> {
        let capacity = self.pool.capacity() * BLOCK;
        let tokens = arrival.prompt.len().saturating_add(arrival.max_new_tokens);
        let tokens = match arrival.spare_blocks {
            0 => tokens,
            spare => tokens.next_multiple_of(BLOCK).saturating_add(spare.saturating_mul(BLOCK)),
        };
        if tokens > capacity || arrival.prompt.is_empty() {
            return Err(TooLarge { tokens, capacity });
        }
        self.submitted += 1;
        let id = SequenceId(self.submitted);
        let sequence = Sequence {
            arrived: now,
            priority: arrival.priority,
            deadline: arrival.deadline,
            spare_blocks: arrival.spare_blocks,
            tokens: arrival.prompt,
            hashes: Vec::new(),
            blocks: Vec::new(),
            computed: 0,
            found: 0,
        };
        self.waiting.insert(id, sequence);
        Ok(id)
    }

    /// The next step. Blocks of its rows are held from here on.
    pub(crate) fn plan(&mut self, now: Duration) -> Plan {
        let mut plan = Plan { expired: self.expire(now), ..Plan::default() };
        let mut budget = self.limits.step_rows;

        let aging = self.limits.aging;
        let ranked = |one: &BTreeMap<SequenceId, Sequence>| {
            let mut ranks: Vec<Rank> =
                one.iter().map(|(id, sequence)| sequence.rank(*id, now, aging)).collect();
            ranks.sort_unstable();
            ranks
        };
        let order = ranked(&self.running);
        // A prompt leaves every sequence that decodes its one row: they are nearest to their end.
        let mut decoding = order.iter().filter(|rank| self.missing(rank.2) == 1).count();
        for rank in order {
            // It may have been preempted for one before it.
            if self.running.contains_key(&rank.2) {
                let missing = self.missing(rank.2);
                decoding -= usize::from(missing == 1);
                budget -= self.continue_running(rank, missing.min(budget - decoding), now, &mut plan);
            }
        }

        // Nobody overtakes a sequence that waits for blocks: else a large one could wait for ever.
        if plan.preempted.is_empty() {
            for (_, _, id) in ranked(&self.waiting) {
                if budget == 0 || self.running.len() >= self.limits.running || !self.admit(id) {
                    break;
                }
                let rows = self.missing(id).min(budget);
                if self.reserve(id, rows) {
                    budget -= rows;
                    plan.chunks.extend(self.chunk(id, rows));
                }
            }
        }
        plan
    }

    /// The rows of a chunk are in the store; `next` is the token that followed, if the chunk samples and goes on.
    pub(crate) fn computed(&mut self, chunk: &Chunk, next: Option<TokenContent>) {
        let Some(sequence) = self.running.get_mut(&chunk.sequence) else { return };
        sequence.computed = chunk.past + chunk.rows;
        for block in chunk.past / BLOCK..sequence.computed / BLOCK {
            if let (Some(hash), Some(id)) = (sequence.hash(block), sequence.blocks.get(block)) {
                self.pool.publish(*id, hash);
            }
        }
        sequence.tokens.extend(next);
    }

    /// Forgets a sequence, wherever it is, and gives its blocks back.
    pub(crate) fn remove(&mut self, id: SequenceId) {
        self.waiting.remove(&id);
        if let Some(sequence) = self.running.remove(&id) {
            self.release(sequence.blocks);
        }
    }

    fn expire(&mut self, now: Duration) -> Vec<SequenceId> {
        let late = |(id, sequence): (&SequenceId, &Sequence)| {
            sequence.deadline.is_some_and(|deadline| deadline <= now).then_some(*id)
        };
        let expired: Vec<SequenceId> =
            self.running.iter().filter_map(late).chain(self.waiting.iter().filter_map(late)).collect();
        for id in &expired {
            self.remove(*id);
        }
        expired
    }

    /// Known tokens of a running sequence that are not in the store.
    fn missing(&self, id: SequenceId) -> usize {
        self.running.get(&id).map_or(0, |sequence| sequence.tokens.len() - sequence.computed)
    }

    /// Adds rows of a running sequence to the plan and says how many. Makes room by preempting those that rank behind
    /// it, and if there are none, itself.
    fn continue_running(&mut self, rank: Rank, rows: usize, now: Duration, plan: &mut Plan) -> usize {
        let id = rank.2;
        if rows == 0 {
            return 0;
        }
        while !self.reserve(id, rows) {
            let rank_of =
                |(id, sequence): (&SequenceId, &Sequence)| sequence.rank(*id, now, self.limits.aging);
            let Some((_, _, victim)) = self.running.iter().map(rank_of).max() else { return 0 };
            self.preempt(victim);
            plan.preempted.push(victim);
            if victim == id {
                return 0;
            }
        }
        plan.chunks.extend(self.chunk(id, rows));
        rows
    }

    /// Holds the blocks that the next `rows` of a running sequence lie in; all of them or none.
    fn reserve(&mut self, id: SequenceId, rows: usize) -> bool {
        let Some(sequence) = self.running.get_mut(&id) else { return false };
        let needed = sequence.blocks_for(sequence.computed + rows).saturating_sub(sequence.blocks.len());
        if needed > self.pool.free() {
            return false;
        }
        sequence.blocks.extend((0..needed).map_while(|_| self.pool.allocate()));
        true
    }

    fn chunk(&self, id: SequenceId, rows: usize) -> Option<Chunk> {
        let sequence = self.running.get(&id)?;
        Some(Chunk {
            sequence: id,
            past: sequence.computed,
            rows,
            blocks: sequence.blocks.clone(),
            samples: sequence.computed + rows == sequence.tokens.len(),
        })
    }

    /// Moves a waiting sequence to the running ones if the rest of its known tokens has free blocks.
    fn admit(&mut self, id: SequenceId) -> bool {
        let Some(mut sequence) = self.waiting.remove(&id) else { return false };
        // The last token is always computed: the next one follows from its row.
        let reusable = (sequence.tokens.len() - 1) / BLOCK;
        let mut found = Vec::new();
        while found.len() < reusable
            && let Some(block) = sequence.hash(found.len()).and_then(|hash| self.pool.find(hash))
        {
            found.push(block);
        }
        let needed = sequence.blocks_for(sequence.tokens.len()) - found.len();
        if needed > self.pool.free() {
            self.release(found);
            self.waiting.insert(id, sequence);
            return false;
        }
        sequence.computed = found.len() * BLOCK;
        sequence.found = sequence.computed;
        sequence.blocks = found;
        self.running.insert(id, sequence);
        true
    }

    fn preempt(&mut self, id: SequenceId) {
        let Some(mut sequence) = self.running.remove(&id) else { return };
        self.preemptions += 1;
        self.release(std::mem::take(&mut sequence.blocks));
        sequence.computed = 0;
        self.waiting.insert(id, sequence);
    }

    /// The last block first: of a sequence's blocks, the first are the ones that others share.
    fn release(&mut self, blocks: Vec<BlockId>) {
        for block in blocks.into_iter().rev() {
            self.pool.release(block);
        }
    }
}

#[cfg(test)]
mod tests;
