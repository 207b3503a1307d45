//! From samples to 8-bit grey or RGB, converted once and with the right signs.

use crate::{
    frame::{Frame, Pixels},
    header::{ImageHeader, Photometric},
    palette::Palette,
};

/// What the samples of a decoded frame mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColourModel {
    Grey,
    Palette,
    Rgb,
    Ybr,
}

impl ColourModel {
    pub(crate) fn by_photometric(photometric: Photometric) -> Self {
        match photometric {
            Photometric::Monochrome1 | Photometric::Monochrome2 => Self::Grey,
            Photometric::PaletteColor => Self::Palette,
            Photometric::Rgb | Photometric::YbrByCodec => Self::Rgb,
            Photometric::YbrFull | Photometric::YbrFull422 => Self::Ybr,
        }
    }
}

/// Samples of one frame, pixel by pixel unless said otherwise.
pub(crate) enum Samples {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

impl Samples {
    /// From planes (all red, all green, all blue) to pixels.
    pub(crate) fn interleave(self) -> Self {
        fn weave<T: Copy>(planes: &[T]) -> Vec<T> {
            let (red, rest) = planes.split_at(planes.len() / 3);
            let (green, blue) = rest.split_at(rest.len() / 2);
            red.iter().zip(green).zip(blue).flat_map(|((r, g), b)| [*r, *g, *b]).collect()
        }
        match self {
            Self::Eight(bytes) => Self::Eight(weave(&bytes)),
            Self::Sixteen(words) => Self::Sixteen(weave(&words)),
        }
    }

    /// From Y Y Cb Cr for two pixels to Y Cb Cr for each (PS3.3 C.7.6.3.1.2).
    pub(crate) fn expand_422(self) -> Self {
        fn expand<T: Copy>(words: &[T]) -> Vec<T> {
            let (pairs, _) = words.as_chunks::<4>();
            pairs.iter().flat_map(|&[y0, y1, cb, cr]| [y0, cb, cr, y1, cb, cr]).collect()
        }
        match self {
            Self::Eight(bytes) => Self::Eight(expand(&bytes)),
            Self::Sixteen(words) => Self::Sixteen(expand(&words)),
        }
    }
}

/// Full-range YCbCr to RGB (PS3.3 C.7.6.3.1.2, ITU-R BT.601): both colour differences lower green.
fn ybr_to_rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    // `as` saturates at 0 and 255.
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|value| (value + 0.5) as u8)
}

/// Turns decoded samples into a picture.
pub(crate) fn to_frame(header: &ImageHeader, samples: Samples, colour: ColourModel) -> Frame {
    let pixels = match colour {
        ColourModel::Grey => {
            let table = header.grey_scale.table();
            Pixels::Grey(map(&samples, |raw| table.get(raw as usize).copied().unwrap_or(0)))
        }
        ColourModel::Palette => {
            let layout = header.layout;
            let empty = Palette::default();
            let palette = header.palette.as_ref().unwrap_or(&empty);
            Pixels::Rgb(map(&samples, |raw| palette.entry(layout.value(raw))).into_flattened())
        }
        ColourModel::Rgb => Pixels::Rgb(eight_bits(header, samples)),
        ColourModel::Ybr => {
            let bytes = eight_bits(header, samples);
            let (triples, _) = bytes.as_chunks::<3>();
            Pixels::Rgb(triples.iter().map(|triple| ybr_to_rgb(*triple)).collect::<Vec<_>>().into_flattened())
        }
    };
    Frame { width: u32::from(header.columns), height: u32::from(header.rows), pixels }
}

fn map<T>(samples: &Samples, convert: impl Fn(u32) -> T) -> Vec<T> {
    match samples {
        Samples::Eight(bytes) => bytes.iter().map(|byte| convert(u32::from(*byte))).collect(),
        Samples::Sixteen(words) => words.iter().map(|word| convert(u32::from(*word))).collect(),
    }
}

/// The upper eight of the stored bits.
fn eight_bits(header: &ImageHeader, samples: Samples) -> Vec<u8> {
    let layout = header.layout;
    match samples {
        Samples::Eight(bytes) => bytes,
        Samples::Sixteen(words) => {
            let shift = layout.bits_stored.saturating_sub(8);
            words.into_iter().map(|word| (layout.value(u32::from(word)) >> shift) as u8).collect()
        }
    }
}
