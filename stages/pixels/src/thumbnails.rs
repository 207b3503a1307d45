//! Thumbnails of clips lately looked at: the gate reads every frame of a clip, and the keyframes read them again soon
//! after. Kept, they cost a clip one pass of decoding, not two.
//!
//! A thumbnail is a function of the instance's bytes, which its reference is the digest of: what is kept never gets
//! stale. The clip unused for longest makes room for the next.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use schemas::{BlobRef, FrameNumber};
use stage::Thumbnail;

/// Thumbnails by instance, frame and height, up to so many bytes.
pub struct Thumbnails {
    most_bytes: usize,
    // A lock, because the threads of all stages share what one of them has seen; held to look up or put one thumbnail.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    bytes: usize,
    /// The clip used last stands last.
    clips: VecDeque<Clip>,
}

struct Clip {
    instance: BlobRef,
    bytes: usize,
    frames: HashMap<(FrameNumber, u32), Thumbnail>,
}

impl Thumbnails {
    /// An empty store of at most `most_bytes` of pixels.
    pub fn new(most_bytes: usize) -> Self {
        Self { most_bytes, kept: Mutex::default() }
    }

    /// The thumbnail of a frame, kept or made now. Made outside the lock: two threads that want the same one may both
    /// make it, and neither waits.
    pub fn get_or_make<E>(
        &self,
        instance: &BlobRef,
        frame: (FrameNumber, u32),
        make: impl FnOnce() -> Result<Thumbnail, E>,
    ) -> Result<Thumbnail, E> {
        if let Some(kept) = self.get(instance, frame) {
            return Ok(kept);
        }
        let made = make()?;
        self.put(instance, frame, made.clone());
        Ok(made)
    }

    /// The thumbnail of a frame, if it is kept.
    fn get(&self, instance: &BlobRef, frame: (FrameNumber, u32)) -> Option<Thumbnail> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.touch(instance)?.frames.get(&frame).cloned()
    }

    /// Keeps a thumbnail; one larger than the whole store is not kept.
    fn put(&self, instance: &BlobRef, frame: (FrameNumber, u32), thumbnail: Thumbnail) {
        let bytes = thumbnail.luma.len();
        if bytes > self.most_bytes {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.touch(instance).is_none() {
            kept.clips.push_back(Clip { instance: instance.clone(), bytes: 0, frames: HashMap::new() });
        }
        let Some(clip) = kept.clips.back_mut() else { return };
        if clip.frames.insert(frame, thumbnail).is_some() {
            return;
        }
        clip.bytes += bytes;
        kept.bytes += bytes;
        while kept.bytes > self.most_bytes {
            let Some(oldest) = kept.clips.pop_front() else { return };
            kept.bytes -= oldest.bytes;
        }
    }
}

impl Kept {
    /// The clip of `instance`, now the one used last.
    fn touch(&mut self, instance: &BlobRef) -> Option<&mut Clip> {
        let place = self.clips.iter().rposition(|clip| clip.instance == *instance)?;
        let clip = self.clips.remove(place)?;
        self.clips.push_back(clip);
        self.clips.back_mut()
    }
}

#[cfg(test)]
mod tests {
    use schemas::Area;

    use super::*;

    fn thumbnail(level: u8) -> Thumbnail {
        Thumbnail { width: 5, height: 2, luma: vec![level; 10].into() }
    }

    #[test]
    fn the_clip_unused_for_longest_makes_room_and_never_more_is_kept_than_said() {
        let clips: Vec<BlobRef> = [b"a", b"b", b"c"].map(|bytes| BlobRef::of(Area::Raw, bytes)).into();
        let first = (FrameNumber(1), 128);
        let kept = Thumbnails::new(25);
        kept.put(&clips[0], first, thumbnail(1));
        kept.put(&clips[1], first, thumbnail(2));
        assert_eq!(kept.get(&clips[0], first), Some(thumbnail(1)));
        kept.put(&clips[2], first, thumbnail(3));
        assert_eq!(kept.get(&clips[1], first), None, "b was unused for longest");
        assert_eq!(kept.get(&clips[0], first), Some(thumbnail(1)));
        assert_eq!(kept.get(&clips[2], first), Some(thumbnail(3)));
        assert_eq!(kept.get(&clips[2], (FrameNumber(1), 64)), None, "of another height");
        for number in 2..10 {
            kept.put(&clips[2], (FrameNumber(number), 128), thumbnail(number as u8));
            assert!(kept.kept.lock().unwrap().bytes <= 25);
        }
        kept.put(&clips[0], first, Thumbnail { width: 1, height: 26, luma: vec![0; 26].into() });
        assert_eq!(kept.get(&clips[0], first), None, "larger than the store");
    }
}
