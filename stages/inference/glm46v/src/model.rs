//! Both towers on one device: pictures to vision tokens, and rows of any number of sequences to scores.
//!
//! ```text
//! Prepared.pixel_values ─ vision tower ─ vision tokens, one tensor a picture ──┐
//! rows of sequences ─ embedding table ─────────────────────────────────────────┴─ language model ─▶ scores of the next
//!                                                                                   reads and writes the KvStore   tokens
//! ```
//! The model has no state of its own: what it remembers of a sequence lies in the blocks of the store.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};

use crate::checkpoint::Loader;
use crate::config::ModelConfig;
use crate::error::LoadError;
use crate::kv_store::{KvStore, Span};
use crate::layers::Products;
use crate::patches::Grid;
use crate::prepared::Prepared;
use crate::rope::Position;
use crate::text::{Rows, TextModel};
use crate::vision::VisionTower;

/// Both towers.
pub(crate) struct Model {
    text: TextModel,
    vision: VisionTower,
    /// Patches on a side of one vision token.
    merge: usize,
}

/// A sequence as the model sees it.
#[derive(Clone, Copy)]
pub(crate) struct Sequence<'a> {
    pub(crate) prompt: &'a Prepared,
    /// What followed the prompt so far.
    pub(crate) generated: &'a [u32],
    /// Vision tokens of the prompt's pictures. Only those of pictures that overlap the rows are needed.
    pub(crate) pictures: &'a [Option<Tensor>],
}

/// Rows of one sequence in a step.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) sequence: Sequence<'a>,
    pub(crate) span: Span<'a>,
    /// Whether the scores of the token after the last row are wanted.
    pub(crate) samples: bool,
}

impl Model {
    pub(crate) fn load(
        config: &ModelConfig,
        loader: &Loader<'_>,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        Ok(Self {
            text: TextModel::load(config, loader, device)?,
            vision: VisionTower::load(&config.vision, loader, device)?,
            merge: config.vision.spatial_merge_size,
        })
    }

    /// An empty store of so many blocks.
    pub(crate) fn store(&self, blocks: u32) -> Result<KvStore> {
        self.text.store(blocks)
    }

    /// Vision tokens of pictures, one tensor `[tokens, hidden]` each. `pixel_values` are theirs behind each other.
    pub(crate) fn look(&self, pixel_values: &[f32], grids: &[Grid]) -> Result<Vec<Tensor>> {
        let tokens = self.vision.forward(pixel_values, grids)?;
        let mut first = 0;
        let of_picture = |grid: &Grid| {
            let count = grid.vision_tokens(self.merge);
            let part = tokens.narrow(0, first, count)?;
            first += count;
            // Of its own: a picture that is kept does not keep those beside it.
            if grids.len() == 1 { Ok(part) } else { part.force_contiguous() }
        };
        grids.iter().map(of_picture).collect()
    }

    /// Runs the rows and returns the scores for those sequences that want them, in order.
    pub(crate) fn step(
        &self,
        work: &[Work<'_>],
        products: Products,
        store: &KvStore,
    ) -> Result<Vec<Vec<f32>>> {
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        for one in work {
            for token in one.span.past..one.span.total() {
                let Some((id, position)) = one.sequence.token(token) else {
                    candle_core::bail!("token {token} is not known yet")
                };
                ids.push(id);
                positions.push(position);
            }
        }
        let x = self.text.embed(&ids)?;
        let mut row = 0;
        for one in work {
            self.place_pictures(one, &x, row)?;
            row += one.span.rows;
        }
        let spans: Vec<Span<'_>> = work.iter().map(|one| one.span).collect();
        let rows = Rows { positions: &positions, spans: &spans, products };
        let hidden = self.text.forward(x, &rows, store)?;
        let sampling: Vec<u32> = (0..).zip(work).filter(|(_, one)| one.samples).map(|(row, _)| row).collect();
        if sampling.is_empty() {
            return Ok(Vec::new());
        }
        let hidden = hidden.index_select(&Tensor::new(sampling, hidden.device())?, 0)?;
        let logits = self.text.logits(&hidden, products)?;
        logits.to_vec2()
    }

    /// Puts vision tokens in the places of the placeholders among the rows of `work`, which begin at `row` of `x`.
    fn place_pictures(&self, work: &Work<'_>, x: &Tensor, row: usize) -> Result<()> {
        let Sequence { prompt, pictures, .. } = work.sequence;
        for (index, place) in prompt.picture_places(self.merge).enumerate() {
            let overlap = place.start.max(work.span.past)..place.end.min(work.span.total());
            if overlap.is_empty() {
                continue;
            }
            let Some(tokens) = pictures.get(index).and_then(Option::as_ref) else {
                candle_core::bail!("picture {index} has not been looked at")
            };
            let part = tokens.narrow(0, overlap.start - place.start, overlap.len())?;
            let part = part.to_dtype(x.dtype())?.contiguous()?;
            x.slice_set(&part, 0, row + overlap.start - work.span.past)?;
        }
        Ok(())
    }

    /// Pictures of a prompt that rows `past` to `total` stand for.
    pub(crate) fn pictures_in(&self, prompt: &Prepared, rows: Range<usize>) -> Vec<usize> {
        let overlaps = |place: &Range<usize>| place.start < rows.end && rows.start < place.end;
        prompt
            .picture_places(self.merge)
            .enumerate()
            .filter(|(_, place)| overlaps(place))
            .map(|(index, _)| index)
            .collect()
    }
}

impl Sequence<'_> {
    fn token(&self, index: usize) -> Option<(u32, Position)> {
        match index.checked_sub(self.prompt.input_ids.len()) {
            None => Some((*self.prompt.input_ids.get(index)?, *self.prompt.positions.get(index)?)),
            Some(step) => Some((*self.generated.get(step)?, [self.prompt.next_position + step as u32; 3])),
        }
    }
}

#[cfg(test)]
mod tests;
