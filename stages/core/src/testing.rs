//! The shared harness: what every stage must hold, checked through its public door.
//!
//! - the same input twice gives the same outcome;
//! - a batch of n equals n batches of one;
//! - what it emits fits the message it declares, byte for byte after a round trip;
//! - invalid input is an error or a rejection, never a panic.
//!
//! Also real, in-memory implementations of the outside world for stage tests.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use schemas::{Area, BlobRef, FrameNumber, decode, encode};

use crate::{
    BlobError, Blobs, ClipHeader, Ctx, EcgStrip, Frame, FrameError, Frames, Image, MemoKey, Outcome,
    SlideHeader, Stage, StageError, TilePosition,
};

/// Blobs in memory.
#[derive(Debug, Default)]
pub struct MemoryBlobs {
    // A lock, because `Blobs` is shared by reference between workers; held for one map access.
    entries: Mutex<HashMap<String, Vec<u8>>>,
}

impl MemoryBlobs {
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Vec<u8>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what is stored under `blob`, as a disk that rots would.
    pub fn corrupt(&self, blob: &BlobRef, bytes: Vec<u8>) {
        self.entries().insert(blob.key(), bytes);
    }
}

impl Blobs for MemoryBlobs {
    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, BlobError> {
        let bytes =
            self.entries().get(&blob.key()).cloned().ok_or(BlobError::NotFound { key: blob.key() })?;
        if BlobRef::of(blob.area, &bytes) == *blob {
            Ok(bytes)
        } else {
            Err(BlobError::Mismatch { key: blob.key() })
        }
    }

    fn put(&self, area: Area, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        let blob = BlobRef::of(area, bytes);
        self.entries().insert(blob.key(), bytes.to_vec());
        Ok(blob)
    }

    fn put_file(&self, area: Area, path: &Path) -> Result<BlobRef, BlobError> {
        let unread = |source: std::io::Error| BlobError::Unavailable {
            key: area.folder().to_owned(),
            source: source.into(),
        };
        self.put(area, &std::fs::read(path).map_err(unread)?)
    }

    fn memo(&self, key: MemoKey) -> Result<Option<Vec<u8>>, BlobError> {
        Ok(self.entries().get(&format!("memo/{}", key.0)).cloned())
    }

    fn remember(&self, key: MemoKey, answer: &[u8]) -> Result<Vec<u8>, BlobError> {
        Ok(self.entries().entry(format!("memo/{}", key.0)).or_insert_with(|| answer.to_vec()).clone())
    }
}

/// Clips and slides in memory, already decoded and masked.
#[derive(Debug, Default)]
pub struct MemoryFrames {
    clips: HashMap<BlobRef, (ClipHeader, Vec<Frame>)>,
    strips: HashMap<BlobRef, EcgStrip>,
    slides: HashMap<BlobRef, (SlideHeader, HashMap<TilePosition, Image>)>,
}

impl MemoryFrames {
    /// Adds a clip under `instance`.
    pub fn insert(&mut self, instance: BlobRef, header: ClipHeader, frames: Vec<Frame>) {
        self.clips.insert(instance, (header, frames));
    }

    /// Adds the electrocardiogram that every frame of `instance` shows.
    pub fn insert_ecg(&mut self, instance: BlobRef, strip: EcgStrip) {
        self.strips.insert(instance, strip);
    }

    /// Adds a slide under `instance`; a position without a tile is glass.
    pub fn insert_slide(
        &mut self,
        instance: BlobRef,
        header: SlideHeader,
        tiles: HashMap<TilePosition, Image>,
    ) {
        self.slides.insert(instance, (header, tiles));
    }

    fn slide_of(
        &self,
        instance: &BlobRef,
    ) -> Result<&(SlideHeader, HashMap<TilePosition, Image>), FrameError> {
        self.slides.get(instance).ok_or(FrameError::NotFound { key: instance.key() })
    }

    fn clip(&self, instance: &BlobRef) -> Result<&(ClipHeader, Vec<Frame>), FrameError> {
        self.clips.get(instance).ok_or(FrameError::NotFound { key: instance.key() })
    }
}

impl Frames for MemoryFrames {
    fn header(&self, instance: &BlobRef) -> Result<ClipHeader, FrameError> {
        Ok(self.clip(instance)?.0.clone())
    }

    fn frame(&self, instance: &BlobRef, number: FrameNumber) -> Result<Frame, FrameError> {
        let (_, frames) = self.clip(instance)?;
        frames.get(number.index() as usize).cloned().ok_or_else(|| FrameError::Damaged {
            code: schemas::ReasonCode::known("FRAME_OUT_OF_RANGE"),
            detail: format!("frame {} of {}", number.0, frames.len()),
        })
    }

    fn ecg(&self, instance: &BlobRef, _: FrameNumber) -> Result<Option<EcgStrip>, FrameError> {
        Ok(self.strips.get(instance).cloned())
    }

    fn slide(&self, instance: &BlobRef) -> Result<SlideHeader, FrameError> {
        Ok(self.slide_of(instance)?.0.clone())
    }

    fn tile(&self, instance: &BlobRef, position: TilePosition) -> Result<Option<Image>, FrameError> {
        Ok(self.slide_of(instance)?.1.get(&position).cloned())
    }
}

/// A context over the two, at a fixed record time.
pub fn ctx<'a>(blobs: &'a dyn Blobs, frames: &'a dyn Frames) -> Ctx<'a> {
    Ctx::new(blobs, frames, Timestamp::UNIX_EPOCH, tracing::Span::none())
}

/// Runs `inputs` through stages made by `build` and checks what every stage must hold. Returns the outcomes.
///
/// # Panics
/// When the stage breaks a rule; the message says which and for which input.
pub fn check<S: Stage>(
    mut build: impl FnMut() -> S,
    inputs: &[S::In],
    ctx: &mut Ctx<'_>,
) -> Vec<Result<Outcome<S::Out>, StageError>> {
    let mut run_one = |index: usize, input: &S::In, ctx: &mut Ctx<'_>| {
        let mut stage = build();
        catch_unwind(AssertUnwindSafe(|| stage.process(input, ctx)))
            .unwrap_or_else(|_| panic!("stage {} panicked on input {index}", S::NAME))
    };
    let mut single = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        let first = run_one(index, input, ctx);
        let second = run_one(index, input, ctx);
        assert_eq!(shape(&first), shape(&second), "stage {} is not deterministic on input {index}", S::NAME);
        if let Ok(Outcome::Emit(message)) = &first {
            let version = <S::Out as schemas::Message>::TOPIC;
            let bytes = encode(message);
            let back: S::Out = decode(&bytes, version.major, version.minor)
                .unwrap_or_else(|error| panic!("stage {} emits what its message refuses: {error}", S::NAME));
            assert_eq!(
                encode(&back),
                bytes,
                "stage {} emits a message that does not survive a round trip",
                S::NAME
            );
        }
        single.push(first);
    }
    let batch = build().process_batch(inputs, ctx);
    assert_eq!(batch.len(), inputs.len(), "stage {} answers a batch with another number of results", S::NAME);
    for (index, (alone, together)) in single.iter().zip(&batch).enumerate() {
        assert_eq!(
            shape(alone),
            shape(together),
            "stage {} answers input {index} otherwise in a batch",
            S::NAME
        );
    }
    single
}

/// An outcome as comparable text: emitted bytes, reasons, or the class of error.
fn shape<T: schemas::Message>(result: &Result<Outcome<T>, StageError>) -> String {
    match result {
        Ok(Outcome::Emit(message)) => String::from_utf8_lossy(&encode(message)).into_owned(),
        Ok(Outcome::Reject(rejection)) => format!("reject {rejection:?}"),
        Err(StageError::Invalid(source)) => format!("invalid {source}"),
        Err(StageError::Transient { scope, source }) => format!("transient {scope:?} {source}"),
        Err(StageError::Fatal(source)) => format!("fatal {source}"),
    }
}
