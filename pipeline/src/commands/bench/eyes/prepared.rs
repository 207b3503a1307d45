//! One clip, decoded: frames as a pool of decode workers has them at hand, with the thumbnails that it keeps.

use pixels::Thumbnails;
use schemas::{BlobRef, FrameNumber, ReasonCode};
use stage::{ClipHeader, EcgStrip, Frame, FrameError, Frames, Image, SlideHeader, Thumbnail, TilePosition};

/// Of thumbnails kept: more than any clip here has.
const THUMBNAIL_BYTES: usize = 64 << 20;

pub(crate) struct Prepared {
    header: ClipHeader,
    frames: Vec<Image>,
    thumbnails: Thumbnails,
}

impl Prepared {
    /// Of `frames`, in order.
    pub(crate) fn new(header: ClipHeader, frames: Vec<Image>) -> Self {
        Self { header, frames, thumbnails: Thumbnails::new(THUMBNAIL_BYTES) }
    }

    fn image(&self, number: FrameNumber) -> Result<&Image, FrameError> {
        self.frames.get(number.index() as usize).ok_or_else(|| FrameError::Damaged {
            code: ReasonCode::known("FRAME_OUT_OF_RANGE"),
            detail: format!("frame {} of {}", number.0, self.frames.len()),
        })
    }
}

impl Frames for Prepared {
    fn header(&self, _: &BlobRef) -> Result<ClipHeader, FrameError> {
        Ok(self.header.clone())
    }

    fn frame(&self, _: &BlobRef, number: FrameNumber) -> Result<Frame, FrameError> {
        Ok(Frame { number, image: self.image(number)?.clone() })
    }

    fn thumbnail(
        &self,
        instance: &BlobRef,
        number: FrameNumber,
        height: u32,
    ) -> Result<Option<Thumbnail>, FrameError> {
        let made = self.thumbnails.get_or_make(instance, (number, height), || {
            Ok(pixels::thumbnail(self.image(number)?, self.header.visible, height))
        });
        made.map(Some)
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
