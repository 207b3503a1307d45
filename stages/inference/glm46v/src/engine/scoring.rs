//! Scoring continuations behind a prompt that is in the store.
//!
//! ```text
//! blocks of the prompt      p0  p1  p2 (half full)      shared by all branches; none of them writes here
//! depth 1, a block each          "5"  ▸ copy of p2, one row      all rows of one depth are one step
//!                                "7"  ▸ copy of p2, one row
//! depth 2                        "52" ▸ takes over the block of "5", one row more
//!                                "53" ▸ copy of it, one row
//! ```
//!
//! Rows are as many as the tree has nodes, and blocks at most those of its widest depth. They are the spare blocks of the
//! request's own sequence, so that no other request notices. Between depths the request may be cancelled or late.

use candle_core::Result as Computed;

use super::core::Parts;
use super::job::Job;
use super::setup::SCORED_TOGETHER;
use crate::continuations::{ROOT, Tree, branch_blocks};
use crate::error::RequestError;
use crate::kv_store::Span;
use crate::model::{Sequence, Work};
use crate::scheduler::{BLOCK, BlockId, Chunk};

/// One prompt in the store, and where its branches may lie.
pub(super) struct Branches<'a> {
    parts: &'a Parts,
    job: &'a Job,
    /// Tokens of the prompt.
    past: usize,
    /// Its full blocks.
    shared: &'a [BlockId],
    /// The one that is not full.
    partial: Option<BlockId>,
    free: Vec<BlockId>,
}

/// A node of the tree whose row is in the store.
struct Branch {
    node: usize,
    /// Its own blocks, behind the shared ones.
    blocks: Vec<BlockId>,
}

impl<'a> Branches<'a> {
    /// Behind the prompt whose last rows are `chunk`.
    pub(super) fn new(parts: &'a Parts, job: &'a Job, chunk: &'a Chunk) -> Self {
        let past = chunk.past + chunk.rows;
        let (of_prompt, spare) = chunk.blocks.split_at_checked(past.div_ceil(BLOCK)).unwrap_or_default();
        let (shared, partial) = of_prompt.split_at_checked(past / BLOCK).unwrap_or_default();
        Self { parts, job, past, shared, partial: partial.first().copied(), free: spare.to_vec() }
    }

    /// Scores of the continuations of all trees, from the scores that follow the prompt.
    pub(super) fn score(
        mut self,
        trees: &[Tree],
        continuations: usize,
        after_prompt: &[f32],
    ) -> Result<Vec<f64>, RequestError> {
        let mut scores = vec![f64::NEG_INFINITY; continuations];
        for tree in trees {
            let mut reached = vec![0.0; tree.rows() + 1];
            finite(after_prompt, 0)?;
            tree.follow(ROOT, after_prompt, &mut reached, &mut scores);
            let mut depth = vec![Branch { node: ROOT, blocks: Vec::new() }];
            for tokens in 1.. {
                depth = self.branch(tree, depth, tokens)?;
                if depth.is_empty() {
                    break;
                }
                self.job.still_wanted()?;
                for (branch, logits) in depth.iter().zip(self.step(tree, &depth)?) {
                    finite(&logits, tokens)?;
                    tree.follow(branch.node, &logits, &mut reached, &mut scores);
                }
            }
        }
        Ok(scores)
    }

    /// The branches one token further, each with the blocks for `tokens` tokens behind the prompt.
    fn branch(&mut self, tree: &Tree, parents: Vec<Branch>, tokens: usize) -> Computed<Vec<Branch>> {
        let mut grown = Vec::new();
        let (parents, ended): (Vec<Branch>, Vec<Branch>) =
            parents.into_iter().partition(|parent| !tree.children(parent.node).is_empty());
        self.free.extend(ended.into_iter().flat_map(|branch| branch.blocks));
        for parent in parents {
            let mut children = tree.children(parent.node);
            // One child takes over what its parent has, after the others have copied it.
            let heir = if parent.node == ROOT { None } else { children.next_back() };
            for node in children {
                let copied =
                    if parent.node == ROOT { self.partial.as_slice() } else { parent.blocks.as_slice() };
                let mut blocks = Vec::with_capacity(copied.len() + 1);
                for from in copied {
                    let to = take(&mut self.free)?;
                    self.parts.store.copy(*from, to)?;
                    blocks.push(to);
                }
                grown.push(Branch { node, blocks });
            }
            grown.extend(heir.map(|node| Branch { node, blocks: parent.blocks }));
        }
        for branch in &mut grown {
            while branch.blocks.len() < branch_blocks(self.past % BLOCK, tokens) {
                branch.blocks.push(take(&mut self.free)?);
            }
        }
        Ok(grown)
    }

    /// The scores that follow each branch, from one step. One that fails is halved.
    fn step(&self, tree: &Tree, depth: &[Branch]) -> Computed<Vec<Vec<f32>>> {
        let mut scores = Vec::with_capacity(depth.len());
        let mut parts: Vec<&[Branch]> =
            depth.chunks(self.parts.step_rows.clamp(1, SCORED_TOGETHER)).rev().collect();
        while let Some(part) = parts.pop() {
            match self.forward(tree, part) {
                Ok(of_part) => {
                    self.parts.load.note_step(part.len());
                    scores.extend(of_part);
                }
                Err(error) if part.len() == 1 => return Err(error),
                Err(_) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(scores)
    }

    fn forward(&self, tree: &Tree, part: &[Branch]) -> Computed<Vec<Vec<f32>>> {
        let tables: Vec<Vec<BlockId>> =
            part.iter().map(|branch| [self.shared, &branch.blocks].concat()).collect();
        let work: Vec<Work<'_>> = part
            .iter()
            .zip(&tables)
            .map(|(branch, blocks)| {
                let path = tree.path(branch.node);
                Work {
                    // The prompt's pictures lie before these rows.
                    sequence: Sequence { prompt: &self.job.prepared, generated: path, pictures: &[] },
                    span: Span { past: self.past + path.len() - 1, rows: 1, blocks },
                    samples: true,
                }
            })
            .collect();
        self.parts.model.step(&work, self.parts.products, &self.parts.store)
    }
}

fn take(free: &mut Vec<BlockId>) -> Computed<BlockId> {
    match free.pop() {
        Some(block) => Ok(block),
        None => candle_core::bail!("the branches have no block left"),
    }
}

fn finite(logits: &[f32], step: usize) -> Result<(), RequestError> {
    if logits.iter().all(|score| score.is_finite()) {
        Ok(())
    } else {
        Err(RequestError::LogitsNotFinite { step })
    }
}
