//! What of a picture may be seen: the tissue, and nothing around it.
//!
//! Names, dates and logos are burned into the margin of ultrasound pictures. So a frame leaves only as [`MaskedFrame`],
//! and the only way to one is through a [`Mask`]:
//!
//! ```text
//!   tissue region in the header ─▶ that rectangle, cut down to the fan found in it        MaskSource::DicomRegion
//!   none usable                 ─▶ the fan found in the whole picture, else NO_FAN        MaskSource::Fan
//!   slide microscopy, bright still image ─▶ all of it: a field of view has no margin      MaskSource::WholeImage
//! ```
//! The fan is the convex hull of what is ever brighter than black, and dense as text is not.

mod fan;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stage::{Image, MaskSource};

use fan::Search;

use crate::{
    frame::{Frame, Pixels},
    header::{DataType, ImageHeader, Rect},
};

/// A fan covers at least this share of the picture, and at most that one.
const FAN_SHARE: std::ops::RangeInclusive<f64> = 0.15..=0.85;
/// A still picture with more than this share of near-black pixels has a margin, and is taken for ultrasound.
const DARK_SHARE: f64 = 1.0 / 3.0;

/// Why no mask can be made: the picture does not leave.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum MaskError {
    /// No tissue region in the header, and no fan in the pixels.
    #[error(
        "no tissue region in the header and no fan in the pixels: the brightest part covers {share:.2} of the picture"
    )]
    NoFan {
        /// Share of the picture that the largest bright part's hull covers.
        share: f64,
    },
    /// No frame to look at, or frames of different size.
    #[error("frames of {width} x {height} pixels expected to make a mask from")]
    Frames {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

/// Visible pixels of one row: from `start` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// The visible part of every frame of a clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask {
    width: u32,
    rows: Vec<Span>,
    source: MaskSource,
}

impl Mask {
    /// Makes the mask of a DICOM clip from its header and a few of its frames (all of the header's size).
    pub fn of_clip(header: &ImageHeader, frames: &[Frame]) -> Result<Self, MaskError> {
        let (width, height) = (u32::from(header.columns), u32::from(header.rows));
        if header.object.modality.as_deref() == Some("SM") {
            return Ok(Self::whole(width, height));
        }
        let brightest = brightest(frames, (width, height))?;
        let tissue =
            header.regions.iter().filter(|region| region.is_tissue()).filter_map(|region| region.rect);
        if let Some(rect) = tissue.max_by_key(|rect| rect.area()) {
            let hull = fan::hull(&brightest, width, Search::Region(rect));
            let share = share(&hull, rect.area());
            let rows = if share >= *FAN_SHARE.start() { hull } else { rectangle(rect, height) };
            return Ok(Self { width, rows, source: MaskSource::DicomRegion });
        }
        Self::fan(&brightest, width, height)
    }

    /// Makes the mask of a still picture without header: the fan if it has a dark margin, else all of it.
    pub fn of_still(frame: &Frame) -> Result<Self, MaskError> {
        let luma = frame.luma();
        let dark = luma.iter().filter(|value| **value <= fan::BLACK).count();
        if dark as f64 <= DARK_SHARE * luma.len() as f64 {
            return Ok(Self::whole(frame.width, frame.height));
        }
        Self::fan(&luma, frame.width, frame.height)
    }

    fn whole(width: u32, height: u32) -> Self {
        let rows = vec![Span { start: 0, end: width }; height as usize];
        Self { width, rows, source: MaskSource::WholeImage }
    }

    fn fan(luma: &[u8], width: u32, height: u32) -> Result<Self, MaskError> {
        let rows = fan::hull(luma, width, Search::Picture);
        let share = share(&rows, u64::from(width) * u64::from(height));
        if !FAN_SHARE.contains(&share) {
            return Err(MaskError::NoFan { share });
        }
        Ok(Self { width, rows, source: MaskSource::Fan })
    }

    /// Where the mask came from.
    pub fn source(&self) -> MaskSource {
        self.source
    }

    /// The smallest rectangle around what is visible.
    pub fn visible(&self) -> Rect {
        let seen = |span: &&Span| span.start < span.end;
        let x0 = self.rows.iter().filter(seen).map(|span| span.start).min().unwrap_or(0);
        let x1 = self.rows.iter().filter(seen).map(|span| span.end).max().unwrap_or(0);
        let y0 = self.rows.iter().position(|span| span.start < span.end).unwrap_or(0) as u32;
        let y1 = self.rows.iter().rposition(|span| span.start < span.end).map_or(0, |y| y as u32 + 1);
        Rect { x0, y0, x1, y1 }
    }

    /// Blacks out everything that is not visible. The frame must have the size the mask was made for.
    pub fn apply(&self, frame: Frame) -> Result<MaskedFrame, MaskError> {
        let height = self.rows.len() as u32;
        if (frame.width, frame.height) != (self.width, height) {
            return Err(MaskError::Frames { width: self.width, height });
        }
        let Frame { width, height, mut pixels } = frame;
        let (bytes, depth) = match &mut pixels {
            Pixels::Grey(bytes) => (bytes, 1),
            Pixels::Rgb(bytes) => (bytes, 3),
        };
        for (row, span) in bytes.chunks_mut(width as usize * depth).zip(&self.rows) {
            let (start, end) = (span.start as usize * depth, span.end as usize * depth);
            for (at, byte) in row.iter_mut().enumerate() {
                if at < start || at >= end {
                    *byte = 0;
                }
            }
        }
        Ok(MaskedFrame { frame: Frame { width, height, pixels }, source: self.source })
    }
}

/// A frame with everything outside the tissue black: the only form in which a picture leaves this crate's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedFrame {
    frame: Frame,
    source: MaskSource,
}

impl MaskedFrame {
    /// Where the mask came from.
    pub fn source(&self) -> MaskSource {
        self.source
    }

    /// The picture.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The picture as stages see it.
    pub fn into_image(self) -> Image {
        let (width, height) = (self.frame.width, self.frame.height);
        Image { width, height, rgb: Arc::from(self.frame.into_rgb()) }
    }
}

/// The ECG trace, cut out of a frame: for the R-wave detector alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcgStrip {
    /// Where it lay in the frame.
    pub rect: Rect,
    /// The cut-out.
    pub frame: Frame,
}

impl EcgStrip {
    /// Cuts out the region of data type 10; `None` if the header has none inside the image.
    pub fn cut(header: &ImageHeader, frame: Frame) -> Option<Self> {
        let is_ecg = |region: &&crate::header::Region| region.data_type == DataType::Ecg;
        let rect =
            header.regions.iter().filter(is_ecg).filter_map(|region| region.rect).max_by_key(|r| r.area())?;
        let width = frame.width as usize;
        let rgb = frame.into_rgb();
        let cut = (rect.y0..rect.y1)
            .filter_map(|y| {
                let row = y as usize * width;
                rgb.get(3 * (row + rect.x0 as usize)..3 * (row + rect.x1 as usize))
            })
            .collect::<Vec<_>>()
            .concat();
        Some(Self {
            rect,
            frame: Frame { width: rect.width(), height: rect.height(), pixels: Pixels::Rgb(cut) },
        })
    }
}

/// The greatest luma each pixel ever has.
fn brightest(frames: &[Frame], (width, height): (u32, u32)) -> Result<Vec<u8>, MaskError> {
    if frames.is_empty() || frames.iter().any(|frame| (frame.width, frame.height) != (width, height)) {
        return Err(MaskError::Frames { width, height });
    }
    let mut brightest = vec![0; width as usize * height as usize];
    for frame in frames {
        for (most, value) in brightest.iter_mut().zip(frame.luma()) {
            *most = value.max(*most);
        }
    }
    Ok(brightest)
}

fn rectangle(rect: Rect, height: u32) -> Vec<Span> {
    let inside = |y| rect.y0 <= y && y < rect.y1;
    (0..height)
        .map(|y| if inside(y) { Span { start: rect.x0, end: rect.x1 } } else { Span::default() })
        .collect()
}

fn share(rows: &[Span], of: u64) -> f64 {
    let visible: u64 = rows.iter().map(|span| u64::from(span.end.saturating_sub(span.start))).sum();
    visible as f64 / of.max(1) as f64
}
