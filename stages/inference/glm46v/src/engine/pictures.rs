//! Pictures that the rows of a step stand for go through the vision tower before it, once each: the same picture in
//! several requests, or again later, comes from the cache.

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::Tensor;

use super::core::Core;
use crate::layers::Products;
use crate::patches::Grid;
use crate::prepared::PictureDigest;
use crate::scheduler::{Chunk, SequenceId};

/// Patches that go through the vision tower at once, where pictures may share a pass.
pub(super) const VISION_PATCHES: usize = 4096;

/// A picture, and the request and place to take it from.
type Picture = (PictureDigest, (SequenceId, usize));

impl Core {
    /// Looks at the pictures that the rows of `chunks` stand for. Chunks of a request whose pictures cannot be looked at
    /// are taken out.
    pub(super) fn look(&mut self, chunks: &mut Vec<&Chunk>) {
        let mut unseen: BTreeMap<PictureDigest, (SequenceId, usize)> = BTreeMap::new();
        let mut wanted = Vec::new();
        for chunk in chunks.iter() {
            let Some(active) = self.active.get_mut(&chunk.sequence) else { continue };
            let prepared = &active.job.prepared;
            for index in self.parts.model.pictures_in(prepared, chunk.past..chunk.past + chunk.rows) {
                let (Some(digest), Some(place)) =
                    (prepared.picture_digests.get(index).copied(), active.pictures.get_mut(index))
                else {
                    continue;
                };
                if place.is_some() {
                    continue;
                }
                *place = self.vision_cache.get(&digest);
                if place.is_some() {
                    self.parts.load.note_pictures(0, 1);
                } else {
                    unseen.entry(digest).or_insert((chunk.sequence, index));
                    wanted.push((chunk.sequence, index, digest));
                }
            }
        }
        let mut seen: BTreeMap<PictureDigest, Tensor> = BTreeMap::new();
        let mut batches = self.vision_batches(unseen.into_iter().collect());
        while let Some(mut batch) = batches.pop() {
            let start = Instant::now();
            match self.look_at(&batch) {
                Ok(tokens) => {
                    self.parts.load.note_pictures(batch.len(), 0);
                    let share = start.elapsed() / batch.len().max(1) as u32;
                    for ((digest, (id, _)), tokens) in batch.into_iter().zip(tokens) {
                        if let Some(active) = self.active.get_mut(&id) {
                            active.progress.vision += share;
                        }
                        self.vision_cache.put(digest, tokens.clone());
                        seen.insert(digest, tokens);
                    }
                }
                // Too large for the device, perhaps, or one of them at fault: the others shall not be.
                Err(_) if batch.len() > 1 => {
                    let second = batch.split_off(batch.len() / 2);
                    batches.extend([second, batch]);
                }
                Err(error) => {
                    // Those who wait for the same picture are told below.
                    if let Some((_, (id, _))) = batch.first() {
                        self.fail(*id, error.into());
                    }
                }
            }
        }
        for (id, index, digest) in wanted {
            let tokens = seen.get(&digest).cloned();
            if tokens.is_none() && self.active.contains_key(&id) {
                self.fail(id, candle_core::Error::msg("the picture could not be looked at").into());
            }
            if let Some(place) = self.active.get_mut(&id).and_then(|active| active.pictures.get_mut(index)) {
                *place = tokens;
            }
        }
        chunks.retain(|chunk| self.active.contains_key(&chunk.sequence));
    }

    /// Pictures of one pass each. Alone where scores must not depend on the pictures beside it.
    fn vision_batches(&self, unseen: Vec<Picture>) -> Vec<Vec<Picture>> {
        let patches = |(_, (id, index)): &Picture| {
            let grid = self.active.get(id).and_then(|active| active.job.prepared.grids.get(*index));
            grid.map_or(0, |grid| grid.patches())
        };
        let mut batches: Vec<(usize, Vec<Picture>)> = Vec::new();
        for picture in unseen {
            let size = patches(&picture);
            match batches.last_mut() {
                Some((held, batch))
                    if self.parts.products == Products::Whole && *held + size <= VISION_PATCHES =>
                {
                    *held += size;
                    batch.push(picture);
                }
                _ => batches.push((size, vec![picture])),
            }
        }
        batches.into_iter().map(|(_, batch)| batch).collect()
    }

    fn look_at(&self, batch: &[Picture]) -> candle_core::Result<Vec<Tensor>> {
        let (mut pixels, mut grids): (Vec<f32>, Vec<Grid>) = (Vec::new(), Vec::new());
        for (_, (id, index)) in batch {
            let Some(active) = self.active.get(id) else { candle_core::bail!("the request is gone") };
            pixels.extend_from_slice(active.job.prepared.pixels_of(*index));
            grids.extend(active.job.prepared.grids.get(*index));
        }
        self.parts.model.look(&pixels, &grids)
    }
}
