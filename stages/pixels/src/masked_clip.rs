//! A clip as stages may see it: everything that leaves is masked, but for the electrocardiogram's own strip.

use std::io::{Read, Seek};

use raster::{Plane, Window};
use stage::{ClipHeader, EcgStrip, Image, Thumbnail};

use crate::{Clip, DecodeError, Mask, PixelCoding};

/// An opened clip with its mask, which is looked for once, when it is first needed. Frames by their index from 0.
pub struct MaskedClip<R> {
    clip: Clip<R>,
    mask: Option<Mask>,
    /// The frame asked for last: its thumbnail is often asked for next.
    last: Option<(u32, Image)>,
}

impl<R: Read + Seek> MaskedClip<R> {
    /// As [`Clip::open`].
    pub fn open(reader: R) -> Result<Self, DecodeError> {
        Ok(Self { clip: Clip::open(reader)?, mask: None, last: None })
    }

    /// How its pixels are written; `None` for a picture file.
    pub fn coding(&self) -> Option<PixelCoding> {
        self.clip.header().map(|header| header.object.transfer_syntax.coding())
    }

    /// What a stage may know of the clip.
    pub fn header(&mut self) -> Result<ClipHeader, DecodeError> {
        let (clip, mask) = self.masked()?;
        Ok(clip.clip_header(mask))
    }

    /// The masked frame at `index`.
    pub fn frame(&mut self, index: u32) -> Result<Image, DecodeError> {
        if let Some((_, image)) = self.last.as_ref().filter(|(last, _)| *last == index) {
            return Ok(image.clone());
        }
        self.last = None;
        let (clip, mask) = self.masked()?;
        let image = clip.masked_frame(index, mask)?.into_image();
        self.last = Some((index, image.clone()));
        Ok(image)
    }

    /// The luma of the visible part of the frame at `index`, reduced to at most `height` rows.
    pub fn thumbnail(&mut self, index: u32, height: u32) -> Result<Thumbnail, DecodeError> {
        let image = self.frame(index)?;
        let (_, mask) = self.masked()?;
        let visible = mask.visible();
        Ok(thumbnail(&image, [visible.x0, visible.y0, visible.width(), visible.height()], height))
    }

    /// As [`Clip::ecg`]; needs no mask.
    pub fn ecg(&mut self, index: u32) -> Result<Option<EcgStrip>, DecodeError> {
        self.clip.ecg(index)
    }

    fn masked(&mut self) -> Result<(&mut Clip<R>, &Mask), DecodeError> {
        let mask = match self.mask.take() {
            Some(mask) => mask,
            None => self.clip.mask()?,
        };
        Ok((&mut self.clip, self.mask.insert(mask)))
    }
}

/// The luma of the part `visible` (x, y, width, height in pixels) of `image`, reduced to at most `height` rows.
pub fn thumbnail(image: &Image, visible: [u32; 4], height: u32) -> Thumbnail {
    let window = Window::inside(visible, image.width, image.height);
    let plane = Plane::luma_reduced_to_height(image, window, height as usize);
    Thumbnail { width: plane.width() as u32, height: plane.height() as u32, luma: plane.samples().into() }
}
