//! What stands between an arm's stages and the world: a model that counts, and blobs without a memo.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use replay::result::ModelUse;
use schemas::{Area, BlobRef, ModelIdentity};
use stage::{BackendError, BlobError, Blobs, Generation, MemoKey, ModelBackend, ModelRequest, Presentation};

/// A model, and what it was asked for.
pub(super) struct Counted {
    model: Arc<dyn ModelBackend>,
    requests: AtomicU64,
    prompt_tokens: AtomicU64,
    vision_tokens: AtomicU64,
    generated_tokens: AtomicU64,
}

impl Counted {
    pub(super) fn new(model: Arc<dyn ModelBackend>) -> Self {
        Self {
            model,
            requests: AtomicU64::new(0),
            prompt_tokens: AtomicU64::new(0),
            vision_tokens: AtomicU64::new(0),
            generated_tokens: AtomicU64::new(0),
        }
    }

    /// What was asked for since the last call.
    pub(super) fn take(&self) -> ModelUse {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        ModelUse {
            requests: take(&self.requests),
            prompt_tokens: take(&self.prompt_tokens),
            vision_tokens: take(&self.vision_tokens),
            generated_tokens: take(&self.generated_tokens),
        }
    }
}

impl ModelBackend for Counted {
    fn identity(&self) -> &ModelIdentity {
        self.model.identity()
    }

    fn presentation(&self) -> Presentation {
        self.model.presentation()
    }

    fn generate(&self, request: &ModelRequest) -> Result<Generation, BackendError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let generation = self.model.generate(request)?;
        let add = |counter: &AtomicU64, tokens: u32| counter.fetch_add(tokens.into(), Ordering::Relaxed);
        add(&self.prompt_tokens, generation.prompt_tokens);
        add(&self.vision_tokens, generation.vision_tokens);
        add(&self.generated_tokens, generation.generated_tokens);
        Ok(generation)
    }

    /// No backend says how many tokens a scoring takes.
    fn score(&self, request: &ModelRequest, continuations: &[String]) -> Result<Vec<f64>, BackendError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.model.score(request, continuations)
    }
}

/// Blobs in which nothing is remembered.
pub(super) struct WithoutMemo<B>(pub(super) Arc<B>);

impl<B: Blobs> Blobs for WithoutMemo<B> {
    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, BlobError> {
        self.0.get(blob)
    }

    fn put(&self, area: Area, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        self.0.put(area, bytes)
    }

    fn put_file(&self, area: Area, path: &Path) -> Result<BlobRef, BlobError> {
        self.0.put_file(area, path)
    }

    fn memo(&self, _: MemoKey) -> Result<Option<Vec<u8>>, BlobError> {
        Ok(None)
    }

    fn remember(&self, _: MemoKey, answer: &[u8]) -> Result<Vec<u8>, BlobError> {
        Ok(answer.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use schemas::Digest;
    use stage::{NoModel, testing::MemoryBlobs};

    use super::*;

    #[test]
    fn nothing_is_remembered_and_what_was_remembered_is_not_seen() {
        let live = Arc::new(MemoryBlobs::default());
        let (known, fresh) = (MemoKey(Digest::of(b"known")), MemoKey(Digest::of(b"fresh")));
        live.remember(known, b"the live answer").expect("remembered");
        let replay = WithoutMemo(Arc::clone(&live));
        assert_eq!(replay.memo(known).expect("an answer"), None);
        assert_eq!(replay.remember(known, b"another").expect("an answer"), b"another");
        replay.remember(fresh, b"mine").expect("an answer");
        assert_eq!(live.memo(fresh).expect("an answer"), None, "and the live memo is as it was");
        assert_eq!(live.memo(known).expect("an answer").as_deref(), Some(b"the live answer".as_slice()));
        let blob = replay.put(Area::Frames, b"a picture").expect("stored");
        assert_eq!(live.get(&blob).expect("a blob"), b"a picture", "pictures are shared by content");
    }

    #[test]
    fn every_asking_is_counted_once_answered_or_not() {
        let counted = Counted::new(Arc::new(NoModel::default()));
        let request = ModelRequest {
            system: None,
            pictures: Vec::new(),
            prompt: "?".to_owned(),
            answer_prefix: String::new(),
            schema: None,
            max_new_tokens: 1,
        };
        assert!(counted.generate(&request).is_err() && counted.score(&request, &[]).is_err());
        assert_eq!(counted.take(), ModelUse { requests: 2, ..ModelUse::default() });
        assert_eq!(counted.take(), ModelUse::default());
    }
}
