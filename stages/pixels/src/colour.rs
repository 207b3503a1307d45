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

/// Bits of fraction of the two green tables. Their sums stay below 2^31.
const FRACTION: u32 = 22;
/// What red gains by Cr.
static RED_BY_CR: [i16; 256] = gain(1402);
/// What blue gains by Cb.
static BLUE_BY_CB: [i16; 256] = gain(1772);
/// What green loses by Cb: 0.114 / 0.587 * 1.772.
static GREEN_BY_CB: [i32; 256] = loss(114 * 1772);
/// What green loses by Cr: 0.299 / 0.587 * 1.402.
static GREEN_BY_CR: [i32; 256] = loss(299 * 1402);

/// `thousandths` / 1000 of each colour difference, to the nearest integer.
const fn gain(thousandths: i32) -> [i16; 256] {
    let mut table = [0; 256];
    let mut stored = 0;
    while stored < 256 {
        table[stored] = (thousandths * (stored as i32 - 128) + 500).div_euclid(1000) as i16;
        stored += 1;
    }
    table
}

/// `part` / 587,000 of each colour difference, rounded down to `FRACTION` bits.
const fn loss(part: i64) -> [i32; 256] {
    let mut table = [0; 256];
    let mut stored = 0;
    while stored < 256 {
        table[stored] = ((-part * (stored as i64 - 128)) << FRACTION).div_euclid(587_000) as i32;
        stored += 1;
    }
    table
}

/// Pixels looked at together: their bytes fill whole vectors of a processor.
const RUN: usize = 16;
/// The bytes of a run that hold a colour difference.
const COLOUR_BITS: [u8; 3 * RUN] = {
    let mut bits = [0xff; 3 * RUN];
    let mut pixel = 0;
    while pixel < RUN {
        bits[3 * pixel] = 0;
        pixel += 1;
    }
    bits
};

/// Full-range YCbCr to RGB in place, three bytes a pixel (PS3.3 C.7.6.3.1.2, ITU-R BT.601): both colour differences lower
/// green. By tables, as luma is an integer and only the differences have a fraction: to the nearest level, halves upwards.
///
/// An ultrasound picture is grey almost everywhere, and a run of pixels is asked for that much faster than it is
/// converted.
pub(crate) fn ybr_to_rgb(bytes: &mut [u8]) {
    // One half, and what rounding the two tables down may have lost; values that are no half lie further from one.
    const HALF: i32 = (1 << (FRACTION - 1)) + 2;
    let convert = |pixel: &mut [u8; 3]| {
        let [y, cb, cr] = pixel.map(usize::from);
        let green = (GREEN_BY_CB[cb] + GREEN_BY_CR[cr] + HALF) >> FRACTION;
        *pixel =
            [RED_BY_CR[cr], green as i16, BLUE_BY_CB[cb]].map(|gain| (y as i16 + gain).clamp(0, 255) as u8);
    };
    let (pixels, _) = bytes.as_chunks_mut::<3>();
    let (runs, rest) = pixels.as_chunks_mut::<RUN>();
    for run in runs {
        let coded = run.as_flattened();
        let colour = coded.iter().zip(&COLOUR_BITS).fold(0, |any, (byte, bits)| any | ((byte ^ 128) & bits));
        if colour == 0 {
            for pixel in run {
                *pixel = [pixel[0]; 3];
            }
        } else {
            run.iter_mut().for_each(convert);
        }
    }
    rest.iter_mut().for_each(convert);
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
            let mut bytes = eight_bits(header, samples);
            ybr_to_rgb(&mut bytes);
            Pixels::Rgb(bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As the standard writes it, in integers: to the nearest level, halves upwards.
    fn exact([y, cb, cr]: [u8; 3]) -> [u8; 3] {
        let (y, cb, cr) = (587_000 * i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
        [y + 587 * 1402 * cr, y - 114 * 1772 * cb - 299 * 1402 * cr, y + 587 * 1772 * cb]
            .map(|value| (value + 293_500).div_euclid(587_000).clamp(0, 255) as u8)
    }

    #[test]
    fn every_colour_is_that_of_the_standard() {
        for y in 0..=255 {
            let coded = (0..=255).flat_map(|cb| (0..=255).map(move |cr| [y, cb, cr])).collect::<Vec<_>>();
            let mut converted = coded.clone();
            ybr_to_rgb(converted.as_flattened_mut());
            let wrong = coded.into_iter().zip(converted).find(|(coded, rgb)| exact(*coded) != *rgb);
            assert_eq!(wrong, None);
        }
    }

    #[test]
    fn grey_runs_coloured_ones_and_what_is_left_over_convert_alike() {
        for (width, coloured) in [(16, 99), (16, 15), (32, 16), (47, 20), (47, 46), (64, 0), (5, 2), (1, 0)] {
            for colour in [[90, 129, 128], [90, 128, 127], [200, 40, 250]] {
                let pixel = |x: usize| if x == coloured { colour } else { [(x * 5 % 256) as u8, 128, 128] };
                let coded: Vec<[u8; 3]> = (0..width).map(pixel).collect();
                let mut converted = coded.clone();
                ybr_to_rgb(converted.as_flattened_mut());
                assert_eq!(converted, coded.into_iter().map(exact).collect::<Vec<_>>());
            }
        }
    }
}
