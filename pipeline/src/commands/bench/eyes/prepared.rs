//! Decoded frames that are handed over as a decode worker hands them: whole, to whoever asked. The copies are made
//! beforehand, so that none of their cost is taken for that of a stage.

use std::sync::{Mutex, PoisonError};

use schemas::{BlobRef, FrameNumber, ReasonCode};
use stage::{ClipHeader, EcgStrip, Frame, FrameError, Frames, Image, SlideHeader, TilePosition};

/// One clip, each frame to be asked for at most so many times.
pub(crate) struct Prepared {
    header: ClipHeader,
    // A lock, because `Frames` is shared by reference; a stage asks for one frame after the other.
    copies: Mutex<Vec<Vec<Image>>>,
}

impl Prepared {
    /// Of `frames`, in order.
    pub(crate) fn new(header: ClipHeader, frames: &[Image], times: usize) -> Self {
        let copies = frames.iter().map(|frame| vec![frame.clone(); times]).collect();
        Self { header, copies: Mutex::new(copies) }
    }
}

impl Frames for Prepared {
    fn header(&self, _: &BlobRef) -> Result<ClipHeader, FrameError> {
        Ok(self.header.clone())
    }

    fn frame(&self, _: &BlobRef, number: FrameNumber) -> Result<Frame, FrameError> {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = copies.get_mut(number.index() as usize).and_then(Vec::pop);
        copy.map(|image| Frame { number, image }).ok_or_else(|| FrameError::Damaged {
            code: ReasonCode::known("FRAME_OUT_OF_RANGE"),
            detail: format!("no copy is left of frame {}", number.0),
        })
    }

    fn ecg(&self, _: &BlobRef, _: FrameNumber) -> Result<Option<EcgStrip>, FrameError> {
        Ok(None)
    }

    fn slide(&self, instance: &BlobRef) -> Result<SlideHeader, FrameError> {
        Err(FrameError::NotFound { key: instance.key() })
    }

    fn tile(&self, instance: &BlobRef, _: TilePosition) -> Result<Option<Image>, FrameError> {
        Err(FrameError::NotFound { key: instance.key() })
    }
}
