//! One decoded picture, as it is: unmasked, and so not for anyone outside the decode worker.

use std::{fmt, sync::Arc};

use stage::Image;

use crate::header::Rect;

/// Display pixels, row by row, no padding.
#[derive(Clone, PartialEq, Eq)]
pub enum Pixels {
    /// One byte a pixel.
    Grey(Vec<u8>),
    /// Three bytes a pixel.
    Rgb(Vec<u8>),
}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grey(grey) => write!(f, "Grey({} bytes)", grey.len()),
            Self::Rgb(rgb) => write!(f, "Rgb({} bytes)", rgb.len()),
        }
    }
}

/// One decoded frame. May show burned-in identity: turn it into a [`MaskedFrame`](crate::MaskedFrame) before it leaves.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The pixels.
    pub pixels: Pixels,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({}x{})", self.width, self.height)
    }
}

impl Frame {
    /// Luma after ITU-R BT.601, in the fixed point of OpenCV's `cvtColor(RGB2GRAY)`, one byte a pixel.
    pub fn luma(&self) -> Vec<u8> {
        match &self.pixels {
            Pixels::Grey(grey) => grey.clone(),
            Pixels::Rgb(rgb) => {
                let (triples, _) = rgb.as_chunks::<3>();
                triples.iter().map(|triple| luma(*triple)).collect()
            }
        }
    }

    /// The part of the picture inside `rect`, which must lie in it.
    pub(crate) fn cut(self, rect: Rect) -> Image {
        let width = self.width as usize;
        let rgb = self.into_rgb();
        let rows = rgb.chunks_exact(3 * width.max(1)).take(rect.y1 as usize).skip(rect.y0 as usize);
        let cut = rows.filter_map(|row| row.get(3 * rect.x0 as usize..3 * rect.x1 as usize));
        Image { width: rect.width(), height: rect.height(), rgb: Arc::from(cut.collect::<Vec<_>>().concat()) }
    }

    /// Three bytes a pixel; grey repeated.
    pub fn into_rgb(self) -> Vec<u8> {
        match self.pixels {
            Pixels::Grey(grey) => grey.into_iter().flat_map(|value| [value; 3]).collect(),
            Pixels::Rgb(rgb) => rgb,
        }
    }
}

fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 9798 + u32::from(g) * 19235 + u32::from(b) * 3735 + (1 << 14)) >> 15) as u8
}
