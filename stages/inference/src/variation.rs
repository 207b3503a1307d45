//! Small, repeatable changes of a picture that must not change its reading.
//!
//! A model that answers otherwise when a picture is a little brighter or lies two percent to the right has not read the
//! heart. Every picture of one asking is changed alike, keeps its size, and the same picture gives the same bytes. None
//! is mirrored: left and right mean something.

use image::{RgbImage, imageops};
use serde::{Deserialize, Serialize};
use stage::Image;

/// 3 dB on a picture of 60 dB dynamic range in 255 grey levels. Scanners show 50 to 65 dB; log compression makes gain a sum.
const GAIN_LEVELS: u8 = 13;

/// 2 % of a side is one part in so many.
const PART: u32 = 50;

/// One way to show a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variation {
    /// As it is.
    Original,
    /// 3 dB more gain. What is black stays black: it lies outside the fan, or below what the scanner shows.
    GainUp,
    /// 3 dB less gain.
    GainDown,
    /// Moved right and down by 2 % of its sides; the first column and row are repeated.
    Shift,
    /// 2 % cut off each side, and brought back to its size.
    Crop,
}

impl Variation {
    /// Every variation.
    pub const ALL: [Self; 5] = [Self::Original, Self::GainUp, Self::GainDown, Self::Shift, Self::Crop];

    /// The picture, changed. Of the same size.
    pub fn apply(self, picture: &Image) -> Image {
        match self {
            Self::Original => picture.clone(),
            Self::GainUp => each_byte(picture, |level| match level {
                0 => 0,
                level => level.saturating_add(GAIN_LEVELS),
            }),
            Self::GainDown => each_byte(picture, |level| level.saturating_sub(GAIN_LEVELS)),
            Self::Shift => redrawn(picture, shifted),
            Self::Crop => redrawn(picture, cropped),
        }
    }
}

fn each_byte(picture: &Image, change: impl Fn(u8) -> u8) -> Image {
    Image { rgb: picture.rgb.iter().map(|level| change(*level)).collect(), ..*picture }
}

/// A picture whose bytes contradict its size stays as it is: the model refuses it by name.
fn redrawn(picture: &Image, draw: fn(&RgbImage) -> RgbImage) -> Image {
    let Some(rgb) = RgbImage::from_raw(picture.width, picture.height, picture.rgb.to_vec()) else {
        return picture.clone();
    };
    Image { rgb: draw(&rgb).into_raw().into(), ..*picture }
}

fn shifted(picture: &RgbImage) -> RgbImage {
    let (right, down) = (picture.width() / PART, picture.height() / PART);
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        *picture.get_pixel(x.saturating_sub(right), y.saturating_sub(down))
    })
}

fn cropped(picture: &RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    let (left, top) = (width / PART, height / PART);
    let inner = imageops::crop_imm(picture, left, top, width - 2 * left, height - 2 * top).to_image();
    imageops::resize(&inner, width, height, imageops::FilterType::Triangle)
}
