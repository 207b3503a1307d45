//! A request as the model takes it: ids, positions, and the patches of its pictures.

use std::ops::Range;

use crate::patches::Grid;
use crate::rope::Position;
use crate::scheduler::TokenContent;

/// A prompt as the model takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// One id per token, placeholders repeated.
    pub input_ids: Vec<u32>,
    /// One position per token.
    pub positions: Vec<Position>,
    /// The position of the first generated token, on all axes.
    pub next_position: u32,
    /// Pictures and frame groups in the order of the prompt.
    pub grids: Vec<Grid>,
    /// Patches of all grids, one after the other: patches × patch length values.
    pub pixel_values: Vec<f32>,
    /// Where in `input_ids` each grid's vision tokens begin.
    pub(crate) picture_starts: Vec<usize>,
    /// What each grid's patches were made of: equal digests, equal vision tokens.
    pub(crate) picture_digests: Vec<PictureDigest>,
    /// So many of the last ids are what the answer begins with.
    pub(crate) prefix_tokens: usize,
}

/// SHA-256 over a picture's pixels and the sizes and settings that its patches depend on.
pub(crate) type PictureDigest = [u8; 32];

impl Prepared {
    /// Tokens that stand for pictures.
    pub fn vision_tokens(&self, merge: usize) -> usize {
        self.grids.iter().map(|grid| grid.vision_tokens(merge)).sum()
    }

    /// The ids that the answer begins with.
    pub(crate) fn answer_prefix(&self) -> &[u32] {
        self.input_ids.get(self.input_ids.len() - self.prefix_tokens..).unwrap_or_default()
    }

    /// Where in `input_ids` the vision tokens of each grid lie.
    pub(crate) fn picture_places(&self, merge: usize) -> impl Iterator<Item = Range<usize>> {
        self.picture_starts
            .iter()
            .zip(&self.grids)
            .map(move |(start, grid)| *start..start + grid.vision_tokens(merge))
    }

    /// The patches of one grid.
    pub(crate) fn pixels_of(&self, picture: usize) -> &[f32] {
        let patches: usize = self.grids.iter().map(|grid| grid.patches()).sum();
        let patch_len = self.pixel_values.len() / patches.max(1);
        let before: usize = self.grids.iter().take(picture).map(|grid| grid.patches()).sum();
        let own = self.grids.get(picture).map_or(0, |grid| grid.patches());
        self.pixel_values.get(before * patch_len..(before + own) * patch_len).unwrap_or_default()
    }

    /// Every token as far as it decides its keys and values.
    pub(crate) fn contents(&self, merge: usize) -> Vec<TokenContent> {
        let mut contents: Vec<TokenContent> =
            self.input_ids.iter().map(|id| TokenContent::text(*id)).collect();
        for (place, digest) in self.picture_places(merge).zip(&self.picture_digests) {
            for (offset, content) in (0..).zip(contents.get_mut(place).unwrap_or_default()) {
                content.picture = Some((*digest, offset));
            }
        }
        contents
    }
}
