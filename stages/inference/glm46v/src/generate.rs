//! The model, and greedy generation of one answer.
//!
//! ```text
//! Prepared ─ vision tower ─┐
//!          ─ embeddings ───┴─ prefill: all rows at once ─▶ logits ─ greedy ─▶ id ─┬─▶ end token, loop, length: done
//!                                     ▲                                           │
//!                                     └── decode: one row, next position ◀────────┘
//! ```

use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};

use crate::checkpoint::Checkpoint;
use crate::error::{LoadError, RequestError};
use crate::processor::Prepared;
use crate::sampler::{RepetitionStop, greedy};
use crate::text::{Segment, TextModel};
use crate::vision::VisionTower;

/// Both towers on one device, in f32.
pub(crate) struct Model {
    text: TextModel,
    vision: VisionTower,
    eos_token_ids: Vec<u32>,
    merge: usize,
}

/// When to stop, and what to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerateOptions {
    /// Tokens after which the answer is cut off; at least 1.
    pub max_new_tokens: usize,
    /// When a repeating answer is cut off.
    pub repetition: RepetitionStop,
    /// Whether the prompt's ids and the scores of every step are kept.
    pub capture: Capture,
}

/// What to keep of the computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// Only the answer.
    Nothing,
    /// The prompt's ids and, per generated token, the scores it was chosen from: vocabulary × 4 bytes each.
    Logits,
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model wrote an end token.
    Stop,
    /// `max_new_tokens` are written.
    Length,
    /// The answer repeats itself.
    Repetition,
}

/// What one sequence produced.
pub(crate) struct Generated {
    /// Including the end token, if that is the reason.
    pub(crate) ids: Vec<u32>,
    pub(crate) finish_reason: FinishReason,
    pub(crate) step_logits: Vec<Vec<f32>>,
    pub(crate) vision: Duration,
    pub(crate) prefill: Duration,
    pub(crate) decode: Duration,
}

impl Model {
    pub(crate) fn load(checkpoint: &Checkpoint, device: &Device) -> Result<Self, LoadError> {
        Ok(Self {
            text: TextModel::load(checkpoint, device)?,
            vision: VisionTower::load(checkpoint, device)?,
            eos_token_ids: checkpoint.config.eos_token_ids.clone(),
            merge: checkpoint.config.vision.spatial_merge_size,
        })
    }

    /// Answers one prepared prompt.
    pub(crate) fn generate(
        &self,
        prompt: &Prepared,
        options: GenerateOptions,
    ) -> Result<Generated, RequestError> {
        let start = Instant::now();
        let embedded = self.embed(prompt)?;
        let vision = start.elapsed();

        let start = Instant::now();
        let mut cache = self.text.cache()?;
        let segment = Segment { rows: prompt.input_ids.len(), cache: &mut cache };
        let hidden = self.text.forward(embedded, &prompt.positions, &mut [segment])?;
        let mut logits: Vec<f32> = self.text.logits(&hidden)?.squeeze(0)?.to_vec1()?;
        let prefill = start.elapsed();

        let start = Instant::now();
        let (mut ids, mut step_logits) = (Vec::new(), Vec::new());
        let finish_reason = loop {
            let step = ids.len();
            let id = greedy(&logits).ok_or(RequestError::LogitsNotFinite { step })?;
            ids.push(id);
            if options.capture == Capture::Logits {
                step_logits.push(logits);
            }
            if let Some(reason) = self.finished(&ids, id, options) {
                break reason;
            }
            let position = [prompt.next_position + step as u32; 3];
            let segment = Segment { rows: 1, cache: &mut cache };
            let hidden = self.text.forward(self.text.embed(&[id])?, &[position], &mut [segment])?;
            logits = self.text.logits(&hidden)?.squeeze(0)?.to_vec1()?;
        };
        Ok(Generated { ids, finish_reason, step_logits, vision, prefill, decode: start.elapsed() })
    }

    /// Embeddings of the prompt with vision tokens in the places of the placeholders.
    fn embed(&self, prompt: &Prepared) -> Result<Tensor, RequestError> {
        let embedded = self.text.embed(&prompt.input_ids)?;
        if !prompt.grids.is_empty() {
            let vision = self.vision.forward(&prompt.pixel_values, &prompt.grids)?;
            let mut first = 0;
            for (grid, start) in prompt.grids.iter().zip(&prompt.picture_starts) {
                let tokens = grid.patches() / (self.merge * self.merge);
                embedded.slice_set(&vision.narrow(0, first, tokens)?, 0, *start)?;
                first += tokens;
            }
        }
        Ok(embedded)
    }

    fn finished(&self, ids: &[u32], last: u32, options: GenerateOptions) -> Option<FinishReason> {
        if self.eos_token_ids.contains(&last) {
            Some(FinishReason::Stop)
        } else if options.repetition.is_looping(ids) {
            Some(FinishReason::Repetition)
        } else if ids.len() >= options.max_new_tokens {
            Some(FinishReason::Length)
        } else {
            None
        }
    }
}
