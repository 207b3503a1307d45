//! What of a picture may be seen: the tissue, and nothing around it.
//!
//! Names, dates and logos are burned into the margin of ultrasound pictures. So a frame leaves only as [`MaskedFrame`],
//! and the only way to one is through a [`Mask`]:
//!
//! ```text
//!   tissue region in the header ─▶ the fan found in that rectangle, else NO_FAN           MaskSource::DicomRegion
//!   none usable                 ─▶ the fan found in the whole picture, else NO_FAN        MaskSource::Fan
//!   slide microscopy, bright still image ─▶ all of it: a field of view has no margin      MaskSource::WholeImage
//! ```
//! The fan is the convex hull of what is ever brighter than black, and dense as text is not. A region alone is no mask: devices
//! write text into the corners that a sector leaves.

mod fan;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stage::{Image, MaskSource};

use fan::Search;

use crate::{
    frame::{Frame, Pixels},
    header::{ImageHeader, Rect},
};

/// A fan covers at least this share of the picture, and at most that one.
const FAN_SHARE: std::ops::RangeInclusive<f64> = 0.15..=0.85;
/// A fan covers at least this share of its declared region, which it may fill. Less than for a picture: the device says that
/// there is tissue, and it may be dark.
const REGION_SHARE: f64 = 0.05;
/// Luma from which a pixel outside the tissue counts as bright: a quarter of full scale. Letters are drawn to be read on
/// black and lie above it; the noise that lossy coding leaves around them, and a dark grey screen, lie below.
const BRIGHT: u8 = 64;
/// A still picture with more than this share of near-black pixels has a margin, and is taken for ultrasound.
const DARK_SHARE: f64 = 1.0 / 3.0;

/// Why no mask can be made: the picture does not leave.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum MaskError {
    /// No fan in the pixels.
    #[error("no fan in the pixels: the largest bright part covers {share:.2} of where it should lie")]
    NoFan {
        /// Share of the declared region, or else of the picture, that the largest bright part's hull covers.
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
    outside: Outside,
}

/// What the looked-at frames show outside the tissue and the ECG, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Outside {
    pixels: u64,
    bright: u64,
}

impl Outside {
    /// Counts in the brightest picture. Tissue reaches beyond the hull, which errs towards hiding, most of all at corners: what
    /// lies within twice the finder's reach of it is neither tissue nor outside.
    fn of(brightest: &[u8], width: u32, rows: &[Span], ecg: &[Rect]) -> Self {
        let reach = 2 * fan::reach(rows.len());
        let mut outside = Self::default();
        for (y, line) in brightest.chunks_exact((width as usize).max(1)).enumerate() {
            let near = rows.get(y.saturating_sub(reach)..(y + reach + 1).min(rows.len())).unwrap_or_default();
            let near = near.iter().filter(|span| span.start < span.end);
            let tissue = near.fold(None, |widest: Option<Span>, span| {
                let widest = widest.unwrap_or(*span);
                Some(Span { start: widest.start.min(span.start), end: widest.end.max(span.end) })
            });
            let tissue = tissue.map_or(0..0, |span| {
                (span.start as usize).saturating_sub(reach)..(span.end as usize).saturating_add(reach)
            });
            let in_ecg = |x: usize| ecg.iter().any(|rect| rect.contains(x as u32, y as u32));
            for (_, luma) in line.iter().enumerate().filter(|(x, _)| !tissue.contains(x) && !in_ecg(*x)) {
                outside.pixels += 1;
                outside.bright += u64::from(*luma >= BRIGHT);
            }
        }
        outside
    }
}

impl Mask {
    /// Makes the mask of a DICOM clip from its header and what its frames show.
    pub(crate) fn of_clip(header: &ImageHeader, Brightest { luma }: &Brightest) -> Result<Self, MaskError> {
        let (width, height) = (u32::from(header.columns), u32::from(header.rows));
        if luma.len() as u64 != u64::from(width) * u64::from(height) {
            return Err(MaskError::Frames { width, height });
        }
        let ecg: Vec<_> = header.ecg_regions().filter_map(|region| region.rect).collect();
        let tissue =
            header.regions.iter().filter(|region| region.is_tissue()).filter_map(|region| region.rect);
        if let Some(rect) = tissue.max_by_key(|rect| rect.area()) {
            let rows = fan::hull(luma, width, Search::Region(rect));
            let share = share(&rows, rect.area());
            if share < REGION_SHARE {
                return Err(MaskError::NoFan { share });
            }
            let outside = Outside::of(luma, width, &rows, &ecg);
            return Ok(Self { width, rows, source: MaskSource::DicomRegion, outside });
        }
        Self::fan(luma, (width, height), &ecg)
    }

    /// Makes the mask of a still picture without header: the fan if it has a dark margin, else all of it.
    pub(crate) fn of_still(frame: &Frame) -> Result<Self, MaskError> {
        let luma = frame.luma();
        let dark = luma.iter().filter(|value| **value <= fan::BLACK).count();
        if dark as f64 <= DARK_SHARE * luma.len() as f64 {
            return Ok(Self::whole(frame.width, frame.height));
        }
        Self::fan(&luma, (frame.width, frame.height), &[])
    }

    /// Nothing is hidden: slide microscopy, where no device writes on the picture.
    pub(crate) fn whole(width: u32, height: u32) -> Self {
        let rows = vec![Span { start: 0, end: width }; height as usize];
        Self { width, rows, source: MaskSource::WholeImage, outside: Outside::default() }
    }

    fn fan(luma: &[u8], (width, height): (u32, u32), ecg: &[Rect]) -> Result<Self, MaskError> {
        let rows = fan::hull(luma, width, Search::Picture);
        let share = share(&rows, u64::from(width) * u64::from(height));
        if !FAN_SHARE.contains(&share) {
            return Err(MaskError::NoFan { share });
        }
        let outside = Outside::of(luma, width, &rows, ecg);
        Ok(Self { width, rows, source: MaskSource::Fan, outside })
    }

    /// Where the mask came from.
    pub fn source(&self) -> MaskSource {
        self.source
    }

    /// Share, 0 to 1, of the pixels outside the tissue and the ECG regions that are bright in the looked-at frames: burned-in
    /// text, as a rule. 0 where nothing lies outside.
    pub fn bright_outside(&self) -> f64 {
        self.outside.bright as f64 / self.outside.pixels.max(1) as f64
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
            let (start, end) = (span.start as usize * depth, span.end.max(span.start) as usize * depth);
            let (left, rest) = row.split_at_mut(start.min(row.len()));
            let (_, right) = rest.split_at_mut((end - start).min(rest.len()));
            left.fill(0);
            right.fill(0);
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

/// The greatest luma each pixel has in the frames looked at, one frame at a time.
#[derive(Default)]
pub(crate) struct Brightest {
    luma: Vec<u8>,
}

impl Brightest {
    pub(crate) fn add(&mut self, frame: &Frame) {
        let luma = frame.luma();
        self.luma.resize(luma.len(), 0);
        self.luma.iter_mut().zip(luma).for_each(|(most, value)| *most = value.max(*most));
    }
}

fn share(rows: &[Span], of: u64) -> f64 {
    let visible: u64 = rows.iter().map(|span| u64::from(span.end.saturating_sub(span.start))).sum();
    visible as f64 / of.max(1) as f64
}
