//! Who holds which block of the key-value store, and which blocks can be found again by what they hold.
//!
//! ```text
//!            allocate                    release, last holder
//!   free ───────────────▶ held by 1…n ─────────────────────────▶ free
//!    ▲  oldest first         │  ▲  hold: one more sequence          │ with its hash, if it was published:
//!    │                       ▼  │                                   │ `find` can take it back until `allocate`
//!    └── its hash is gone ── publish: full, found by hash ◀─────────┘ hands it out again
//! ```
//!
//! Invariants: a block is free or held, never both; a hash names at most one block; a block is handed out for new
//! content only when nobody holds it. There are no tensors here.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest as _, Sha256};

/// Tokens of one block.
pub(crate) const BLOCK: usize = 32;

/// Index of a block in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlockId(pub(crate) u32);

/// What a block holds: its tokens, the pictures among them, and everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BlockHash([u8; 32]);

impl BlockHash {
    /// The hash of the block behind `before`, whose tokens are `content`.
    pub(crate) fn of(before: Option<Self>, content: &[TokenContent]) -> Self {
        let mut hash = Sha256::new();
        hash.update(before.map_or([0; 32], |BlockHash(bytes)| bytes));
        for token in content {
            hash.update(token.id.to_le_bytes());
            if let Some((picture, offset)) = &token.picture {
                hash.update(picture);
                hash.update(offset.to_le_bytes());
            }
        }
        Self(hash.finalize().into())
    }
}

/// A token as far as it decides its keys and values; its position follows from the tokens before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenContent {
    pub(crate) id: u32,
    /// Of a token that stands for a picture: the picture's digest, and the token's place in it.
    pub(crate) picture: Option<([u8; 32], u32)>,
}

impl TokenContent {
    /// A token of text.
    pub(crate) fn text(id: u32) -> Self {
        Self { id, picture: None }
    }
}

#[derive(Debug, Clone, Default)]
struct Block {
    holders: u32,
    hash: Option<BlockHash>,
    /// Its place among the free ones; of no meaning while held.
    freed_at: u64,
}

/// The blocks of one store.
#[derive(Debug)]
pub(crate) struct BlockPool {
    blocks: Vec<Block>,
    /// Free blocks by the time they became free.
    free: BTreeMap<u64, BlockId>,
    published: HashMap<BlockHash, BlockId>,
    releases: u64,
}

impl BlockPool {
    /// So many free blocks.
    pub(crate) fn new(blocks: u32) -> Self {
        let mut pool = Self {
            blocks: vec![Block::default(); blocks as usize],
            free: BTreeMap::new(),
            published: HashMap::new(),
            releases: 0,
        };
        for id in 0..blocks {
            pool.set_free(BlockId(id));
        }
        pool
    }

    /// All blocks, held or not.
    pub(crate) fn capacity(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks that nobody holds.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// A block for new content: the one that has been free for longest. What it held can no longer be found.
    pub(crate) fn allocate(&mut self) -> Option<BlockId> {
        let (_, id) = self.free.pop_first()?;
        let block = self.blocks.get_mut(id.0 as usize)?;
        block.holders = 1;
        if let Some(hash) = block.hash.take() {
            self.published.remove(&hash);
        }
        Some(id)
    }

    /// The block that holds `hash`, with one more holder.
    pub(crate) fn find(&mut self, hash: BlockHash) -> Option<BlockId> {
        let id = *self.published.get(&hash)?;
        let block = self.blocks.get_mut(id.0 as usize)?;
        if block.holders == 0 {
            self.free.remove(&block.freed_at);
        }
        block.holders += 1;
        Some(id)
    }

    /// Makes a full, held block one that [`BlockPool::find`] finds. Of two blocks with the same content the first stays.
    pub(crate) fn publish(&mut self, id: BlockId, hash: BlockHash) {
        let Some(block) = self.blocks.get_mut(id.0 as usize) else { return };
        if block.hash.is_none() && !self.published.contains_key(&hash) {
            block.hash = Some(hash);
            self.published.insert(hash, id);
        }
    }

    /// One holder less.
    pub(crate) fn release(&mut self, id: BlockId) {
        let Some(block) = self.blocks.get_mut(id.0 as usize) else { return };
        debug_assert!(block.holders > 0, "block {} is released twice", id.0);
        block.holders = block.holders.saturating_sub(1);
        if block.holders == 0 {
            self.set_free(id);
        }
    }

    fn set_free(&mut self, id: BlockId) {
        self.releases += 1;
        if let Some(block) = self.blocks.get_mut(id.0 as usize) {
            block.freed_at = self.releases;
            self.free.insert(self.releases, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u32) -> BlockHash {
        BlockHash::of(None, &[TokenContent::text(n)])
    }

    #[test]
    fn content_is_found_until_its_block_is_handed_out_again() {
        let mut pool = BlockPool::new(2);
        let first = pool.allocate().unwrap();
        pool.publish(first, hash(1));
        assert_eq!(pool.find(hash(1)), Some(first));
        pool.release(first);
        pool.release(first);
        assert_eq!(pool.free(), 2);

        // The other one has been free for longer.
        let second = pool.allocate().unwrap();
        assert_ne!(second, first);
        assert_eq!(pool.find(hash(1)), Some(first));
        assert_eq!((pool.free(), pool.allocate()), (0, None));
        pool.release(first);
        assert_eq!(pool.allocate(), Some(first));
        assert_eq!(pool.find(hash(1)), None);
    }

    #[test]
    fn hash_depends_on_what_lies_before_and_on_the_picture() {
        let token = |digest: u8, offset| TokenContent { id: 7, picture: Some(([digest; 32], offset)) };
        let hashes = [
            BlockHash::of(None, &[TokenContent::text(7)]),
            BlockHash::of(Some(hash(1)), &[TokenContent::text(7)]),
            BlockHash::of(None, &[token(1, 0)]),
            BlockHash::of(None, &[token(2, 0)]),
            BlockHash::of(None, &[token(1, 1)]),
        ];
        for (i, a) in hashes.iter().enumerate() {
            assert!(hashes.iter().skip(i + 1).all(|b| a != b));
        }
    }

    #[test]
    fn of_two_blocks_with_the_same_content_the_first_is_found() {
        let mut pool = BlockPool::new(2);
        let (first, second) = (pool.allocate().unwrap(), pool.allocate().unwrap());
        pool.publish(first, hash(1));
        pool.publish(second, hash(1));
        assert_eq!(pool.find(hash(1)), Some(first));
    }
}
