//! Continuations of one prompt as a tree of tokens, so that what they have in common is computed once.
//!
//! ```text
//! continuations "5,"  "52,"  "null"            root ── 5 ─┬─ · "," or ",\"" or …      end of "5,"
//!                                                │        └─ 2 ── · "," or ",\"" or …  end of "52,"
//!                                                └─ · "null" or "nullify" or …          end of "null"
//! ```
//!
//! The score of a continuation is the log-probability that the answer's text goes on with it, by this rule:
//! - The prefix that the answer begins with keeps its own tokens, as the model would have them before it when it goes on
//!   by itself. A continuation has the tokens that the tokenizer gives prefix and continuation together, behind the
//!   prefix's; where it would merge tokens across that seam, the continuation's own. (GLM's tokenizer never merges a
//!   digit with a sign beside it.)
//! - Its last token may be any whose text begins like it: after `"lvef":52` some vocabularies write `,` and some `,"`,
//!   and both go on with `52,`. So scores do not depend on where tokens end, and a continuation that another one begins
//!   with includes it: end numbers with the sign that follows them.
//! - Other ways to cut the same text into tokens do not count: for "10" as 1 and 0, not a token 100.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::scheduler::BLOCK;

/// The tokens of one continuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Continuation {
    /// All but the last.
    pub(crate) path: Vec<u32>,
    /// Every token that may be the last. Never empty.
    pub(crate) last: Vec<u32>,
}

/// Continuations that are scored together.
#[derive(Debug)]
pub(crate) struct Tree {
    /// By depth, then by tokens; the root first. Only inner nodes: the tokens that a row is computed for.
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    /// Tokens behind the prompt up to and with this one; empty for the root.
    path: Vec<u32>,
    children: Range<usize>,
    /// Continuations whose last token follows this node.
    ends: Vec<End>,
}

#[derive(Debug)]
struct End {
    continuation: usize,
    last: Vec<u32>,
}

/// The root of every [`Tree`].
pub(crate) const ROOT: usize = 0;

impl Tree {
    fn new(continuations: &[(usize, Continuation)]) -> Self {
        // Ordered by depth first, so that the children of a node lie side by side.
        let mut ends: BTreeMap<(usize, &[u32]), Vec<End>> = BTreeMap::from([((0, &[][..]), Vec::new())]);
        for (index, continuation) in continuations {
            let path = continuation.path.as_slice();
            for depth in 0..path.len() {
                ends.entry((depth, path.get(..depth).unwrap_or_default())).or_default();
            }
            let end = End { continuation: *index, last: continuation.last.clone() };
            ends.entry((path.len(), path)).or_default().push(end);
        }
        let mut nodes: Vec<Node> = ends
            .into_iter()
            .map(|((_, path), ends)| Node { path: path.to_vec(), children: 0..0, ends })
            .collect();
        let mut first = 1;
        for at in 0..nodes.len() {
            let Some(path) = nodes.get(at).map(|node| node.path.clone()) else { break };
            let is_child = |node: &&Node| node.path.split_last().is_some_and(|(_, parent)| parent == path);
            let count = nodes.iter().skip(first).take_while(is_child).count();
            if let Some(node) = nodes.get_mut(at) {
                node.children = first..first + count;
            }
            first += count;
        }
        Self { nodes }
    }

    /// Nodes that need a row of their own: all but the root, whose row is the prompt's last.
    pub(crate) fn rows(&self) -> usize {
        self.nodes.len() - 1
    }

    /// The nodes below a node.
    pub(crate) fn children(&self, node: usize) -> Range<usize> {
        self.nodes.get(node).map_or(0..0, |node| node.children.clone())
    }

    /// The tokens behind the prompt that lead to a node, its own the last.
    pub(crate) fn path(&self, node: usize) -> &[u32] {
        self.nodes.get(node).map_or(&[], |node| &node.path)
    }

    /// From the scores that follow a node: how likely its children and ends are. `reached` has a log-probability for each
    /// node, `scores` one for each continuation.
    pub(crate) fn follow(&self, node: usize, logits: &[f32], reached: &mut [f64], scores: &mut [f64]) {
        let (Some(found), Some(here)) = (self.nodes.get(node), reached.get(node).copied()) else { return };
        let normalise = log_sum_exp(logits.iter().copied());
        let of = |id: u32| logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
        for child in found.children.clone() {
            if let (Some(token), Some(place)) = (self.path(child).last(), reached.get_mut(child)) {
                *place = here + f64::from(of(*token)) - normalise;
            }
        }
        for end in &found.ends {
            if let Some(score) = scores.get_mut(end.continuation) {
                *score = here + log_sum_exp(end.last.iter().map(|id| of(*id))) - normalise;
            }
        }
    }

    /// Blocks that hold the rows of any one depth, for a prompt whose last block has `filled` rows.
    fn blocks(&self, filled: usize) -> usize {
        let mut of_depth: BTreeMap<usize, usize> = BTreeMap::new();
        for node in self.nodes.iter().skip(1) {
            *of_depth.entry(node.path.len()).or_default() += 1;
        }
        of_depth.into_iter().map(|(depth, nodes)| nodes * branch_blocks(filled, depth)).max().unwrap_or(0)
    }
}

/// Blocks that a branch of so many tokens has for itself, behind a prompt whose last block has `filled` rows: a copy of
/// that block, and what does not fit it.
pub(crate) fn branch_blocks(filled: usize, tokens: usize) -> usize {
    (filled + tokens).div_ceil(BLOCK)
}

/// Trees of all continuations, none of which needs more than `most_blocks` unless a single continuation does, and the
/// blocks that the largest needs.
pub(crate) fn trees(
    continuations: Vec<Continuation>,
    filled: usize,
    most_blocks: usize,
) -> (Vec<Tree>, usize) {
    let mut numbered: Vec<(usize, Continuation)> = continuations.into_iter().enumerate().collect();
    numbered.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
    let mut trees = Vec::new();
    let mut parts = vec![numbered.as_slice()];
    while let Some(part) = parts.pop() {
        let tree = Tree::new(part);
        if part.len() > 1 && tree.blocks(filled) > most_blocks {
            let (first, second) = part.split_at(part.len() / 2);
            parts.extend([second, first]);
        } else {
            trees.push(tree);
        }
    }
    let blocks = trees.iter().map(|tree| tree.blocks(filled)).max().unwrap_or(0);
    (trees, blocks)
}

/// ln Σ exp(x), in f64 over f32 scores.
fn log_sum_exp(scores: impl Iterator<Item = f32> + Clone) -> f64 {
    let largest = scores.clone().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    f64::from(largest) + scores.map(|score| f64::from(score - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn continuation(tokens: &[u32]) -> Continuation {
        let (last, path) = tokens.split_last().unwrap();
        Continuation { path: path.to_vec(), last: vec![*last] }
    }

    fn numbers() -> Vec<Continuation> {
        let digits = |n: u32| n.to_string().bytes().map(|digit| u32::from(digit - b'0')).collect::<Vec<_>>();
        (0..=100).map(|n| continuation(&[digits(n), vec![10]].concat())).collect()
    }

    #[test]
    fn numbers_to_a_hundred_need_a_row_for_each_of_their_beginnings() {
        let (trees, blocks) = trees(numbers(), 5, usize::MAX);
        let [tree] = trees.as_slice() else { panic!("{} trees", trees.len()) };
        // Ten digits, ninety pairs, one hundred.
        assert_eq!((tree.rows(), blocks), (10 + 90 + 1, 90));
        assert_eq!(tree.children(ROOT), 1..11);
        for node in 0..=tree.rows() {
            for child in tree.children(node) {
                assert!(tree.path(child).starts_with(tree.path(node)));
            }
        }
    }

    #[test]
    fn what_finds_no_room_at_once_is_split_and_nothing_is_lost() {
        let (trees, blocks) = trees(numbers(), 5, 12);
        assert!(trees.len() > 1 && blocks <= 12, "{} trees of up to {blocks} blocks", trees.len());
        let mut ends: Vec<usize> = trees
            .iter()
            .flat_map(|tree| tree.nodes.iter().flat_map(|node| node.ends.iter().map(|end| end.continuation)))
            .collect();
        ends.sort_unstable();
        assert_eq!(ends, (0..101).collect::<Vec<_>>());
    }

    #[test]
    fn probabilities_multiply_along_a_path_and_add_up_over_last_tokens() {
        let two = Continuation { path: vec![1], last: vec![0, 2] };
        let (trees, _) = trees(vec![two, continuation(&[3])], 0, usize::MAX);
        let (tree, logits) = (&trees[0], [0.5_f32, 1.0, -1.0, 2.0]);
        let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        let p = |id: usize| f64::from(logits[id]).exp() / sum;
        let (mut reached, mut scores) = (vec![0.0; tree.rows() + 1], vec![f64::NAN; 2]);
        for node in 0..=tree.rows() {
            tree.follow(node, &logits, &mut reached, &mut scores);
        }
        assert!((scores[0].exp() - p(1) * (p(0) + p(2))).abs() < 1e-12);
        assert!((scores[1].exp() - p(3)).abs() < 1e-12);
    }
}
