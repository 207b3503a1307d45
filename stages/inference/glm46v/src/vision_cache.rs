//! Vision tokens of pictures seen lately: the same picture in another request costs nothing.
//!
//! Bounded by bytes; the one unused for longest goes first. A picture larger than the whole cache is not kept. What was
//! handed out stays valid: tensors are shared, not moved.

use std::collections::HashMap;

use candle_core::Tensor;

use crate::prepared::PictureDigest;

/// The cache.
#[derive(Debug)]
pub(crate) struct VisionCache {
    capacity: u64,
    held: u64,
    uses: u64,
    entries: HashMap<PictureDigest, Entry>,
}

#[derive(Debug)]
struct Entry {
    tokens: Tensor,
    bytes: u64,
    last_use: u64,
}

impl VisionCache {
    /// An empty cache of so many bytes.
    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity, held: 0, uses: 0, entries: HashMap::new() }
    }

    pub(crate) fn get(&mut self, picture: &PictureDigest) -> Option<Tensor> {
        let entry = self.entries.get_mut(picture)?;
        self.uses += 1;
        entry.last_use = self.uses;
        Some(entry.tokens.clone())
    }

    pub(crate) fn put(&mut self, picture: PictureDigest, tokens: Tensor) {
        let bytes = (tokens.elem_count() * tokens.dtype().size_in_bytes()) as u64;
        if bytes > self.capacity || self.entries.contains_key(&picture) {
            return;
        }
        while self.held + bytes > self.capacity {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last_use).map(|(key, _)| *key);
            let Some(entry) = oldest.and_then(|key| self.entries.remove(&key)) else { break };
            self.held -= entry.bytes;
        }
        self.uses += 1;
        self.held += bytes;
        self.entries.insert(picture, Entry { tokens, bytes, last_use: self.uses });
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn the_one_unused_for_longest_makes_room() {
        let tokens = |rows: usize| Tensor::zeros((rows, 1), DType::F32, &Device::Cpu).unwrap();
        let mut cache = VisionCache::new(40);
        cache.put([1; 32], tokens(4));
        cache.put([2; 32], tokens(4));
        cache.put([9; 32], tokens(11));
        assert!(cache.get(&[1; 32]).is_some());
        cache.put([3; 32], tokens(4));
        let held = [1, 2, 3, 9].map(|name| cache.get(&[name; 32]).is_some());
        assert_eq!(held, [true, false, true, false]);
        assert_eq!(cache.held, 32);
    }
}
