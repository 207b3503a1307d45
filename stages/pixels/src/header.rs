//! What the header says of the image, as types that cannot be wrong.
//!
//! Two kinds of fault: attributes that make the pixels unreadable are an [`AttributeError`]; those that only take
//! something away (a time, a scale, a window) are a warning, and the thing is absent.

mod regions;
mod timing;
mod view;
pub mod warning;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use schemas::{ReasonCode, View};

use crate::{
    grey::GreyScale,
    not_analysable::NotAnalysable,
    palette::{Palette, PaletteError},
    prescan::{Attributes, Header, R_WAVE_TIME_VECTOR, Scan, ShownTag},
};
pub use regions::{DataType, Rect, Region, SpatialFormat, Uncalibrated};
pub use timing::FrameTiming;

/// Pixels of one frame, tile or picture that are still decoded: 25 megapixels, what the largest cameras on microscopes give.
/// Decoded, masked and copied for its reader a frame then takes less than 226 MB (measured, progressive JPEG and TIFF), and
/// a decode worker may hold 256 MiB.
pub const MAX_FRAME_PIXELS: u64 = 24 << 20;
/// Frames of one instance that are still indexed.
pub const MAX_FRAMES: u32 = 1_000_000;

/// Attributes that make the pixels unreadable. Shows numbers only, never text from the header.
#[derive(Debug, thiserror::Error)]
pub enum AttributeError {
    /// An attribute that decoding needs is absent.
    #[error("attribute {tag} is missing; the image module requires it")]
    Missing {
        /// The attribute.
        tag: ShownTag,
    },
    /// An attribute that cannot be read as a number.
    #[error("attribute {tag} is not a number")]
    NotANumber {
        /// The attribute.
        tag: ShownTag,
    },
    /// A value outside what the standard, or the other attributes, allow.
    #[error("attribute {tag} is {value}; allowed is {allowed}")]
    Value {
        /// The attribute.
        tag: ShownTag,
        /// Its value.
        value: f64,
        /// What would do.
        allowed: &'static str,
    },
    /// More pixels in a frame than any device makes.
    #[error("a frame of {columns} x {rows} pixels is over the limit of {limit}", limit = MAX_FRAME_PIXELS)]
    Budget {
        /// Columns (0028,0011).
        columns: u16,
        /// Rows (0028,0010).
        rows: u16,
    },
    /// PALETTE COLOR without usable lookup tables.
    #[error("palette cannot be used")]
    Palette(#[source] PaletteError),
}

/// Photometric Interpretation (0028,0004) as far as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Photometric {
    /// Grey, low is white.
    Monochrome1,
    /// Grey, low is black.
    Monochrome2,
    /// An index into lookup tables.
    PaletteColor,
    /// Red, green, blue.
    Rgb,
    /// Luma and colour difference, full range.
    YbrFull,
    /// The same, colour at half the horizontal resolution.
    YbrFull422,
    /// YBR or XYB made by the codec's own lossless or lossy transform: JPEG 2000 and JPEG XL give back RGB.
    YbrByCodec,
}

/// How stored values lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleLayout {
    /// Samples per Pixel: 1 or 3.
    pub samples: u8,
    /// Bits Allocated: 8 or 16.
    pub bits_allocated: u8,
    /// Bits Stored: 1 to Bits Allocated.
    pub bits_stored: u8,
    /// High Bit.
    pub high_bit: u8,
    /// Pixel Representation 1.
    pub signed: bool,
    /// Planar Configuration 1: all red, then all green, then all blue.
    pub by_plane: bool,
}

/// The header of an image that can be decoded.
#[derive(Debug, Clone)]
pub struct ImageHeader {
    /// UIDs, transfer syntax, modality, phantom mark.
    pub object: Header,
    /// Height in pixels, above 0.
    pub rows: u16,
    /// Width in pixels, above 0.
    pub columns: u16,
    /// Frames declared, above 0.
    pub frames: u32,
    /// Samples and bits.
    pub layout: SampleLayout,
    /// Colour model.
    pub photometric: Photometric,
    /// Lookup tables of a PALETTE COLOR image.
    pub palette: Option<Palette>,
    /// From stored grey values to display, the same for all frames.
    pub grey_scale: GreyScale,
    /// When each frame was acquired.
    pub timing: FrameTiming,
    /// Ultrasound regions.
    pub regions: Vec<Region>,
    /// Heart Rate (0018,1088), beats a minute.
    pub heart_rate: Option<f64>,
    /// R waves in ms from the first frame, in order, inside the clip.
    pub r_waves_ms: Vec<f64>,
    /// The view the header names.
    pub view: Option<View>,
    /// Burned In Annotation (0028,0301). `NO` is no proof; absent in ultrasound means yes.
    pub burned_in: Option<bool>,
    /// Lossy Image Compression (0028,2110).
    pub lossy: Option<bool>,
    /// What was passed over.
    pub warnings: Vec<ReasonCode>,
}

impl ImageHeader {
    /// Regions that show the electrocardiogram.
    pub(crate) fn ecg_regions(&self) -> impl Iterator<Item = &Region> {
        self.regions.iter().filter(|region| region.data_type == DataType::Ecg)
    }
}

/// Why a header gives no [`ImageHeader`].
pub(crate) enum HeaderFault {
    Attribute(AttributeError),
    NotAnalysable(NotAnalysable),
}

impl From<AttributeError> for HeaderFault {
    fn from(error: AttributeError) -> Self {
        Self::Attribute(error)
    }
}

pub(crate) fn read(scan: &Scan, object: Header) -> Result<ImageHeader, HeaderFault> {
    let attributes = &scan.attributes;
    if let Some(image_type) = attributes.text(tags::IMAGE_TYPE)
        && image_type.split('\\').any(|value| matches!(value.trim(), "LABEL" | "OVERVIEW"))
    {
        return Err(HeaderFault::NotAnalysable(NotAnalysable::LabelOrOverview));
    }
    let photometric = photometric(attributes)?;
    let layout = layout(attributes, photometric)?;
    let (columns, rows) = (word(attributes, tags::COLUMNS)?, word(attributes, tags::ROWS)?);
    for (tag, value) in [(tags::ROWS, rows), (tags::COLUMNS, columns)] {
        allow(value > 0, tag, value, "1 to 65535")?;
    }
    if u64::from(rows) * u64::from(columns) > MAX_FRAME_PIXELS {
        return Err(AttributeError::Budget { columns, rows }.into());
    }
    let frames = frames(attributes)?;
    let palette = (photometric == Photometric::PaletteColor)
        .then(|| Palette::read(attributes))
        .transpose()
        .map_err(AttributeError::Palette)?;

    let mut warnings = Vec::new();
    let timing = timing::read(attributes, frames, &mut warnings);
    let regions = regions::read(attributes, (u32::from(columns), u32::from(rows)), &mut warnings);
    let inverted = photometric == Photometric::Monochrome1;
    let grey_scale = GreyScale::read(attributes, layout, inverted, &mut warnings);
    let heart_rate = heart_rate(attributes, &mut warnings);
    let r_waves_ms = r_waves(attributes, &timing, frames, &mut warnings);
    warnings.sort();
    warnings.dedup();
    let flag = |tag, yes: &str| attributes.text(tag).map(|text| text == yes);
    Ok(ImageHeader {
        object,
        rows,
        columns,
        frames,
        layout,
        photometric,
        palette,
        grey_scale,
        timing,
        regions,
        heart_rate,
        r_waves_ms,
        view: view::read(attributes),
        burned_in: flag(tags::BURNED_IN_ANNOTATION, "YES"),
        lossy: flag(tags::LOSSY_IMAGE_COMPRESSION, "01"),
        warnings,
    })
}

fn allow(holds: bool, tag: Tag, value: impl Into<f64>, allowed: &'static str) -> Result<(), AttributeError> {
    let value = value.into();
    if holds { Ok(()) } else { Err(AttributeError::Value { tag: ShownTag(tag), value, allowed }) }
}

fn number(attributes: &Attributes, tag: Tag) -> Result<Option<f64>, AttributeError> {
    let Some(value) = attributes.get(tag) else { return Ok(None) };
    let numbers = value.numbers().ok_or(AttributeError::NotANumber { tag: ShownTag(tag) })?;
    Ok(numbers.first().copied())
}

fn word(attributes: &Attributes, tag: Tag) -> Result<u16, AttributeError> {
    let value = number(attributes, tag)?.ok_or(AttributeError::Missing { tag: ShownTag(tag) })?;
    allow((0.0..=65_535.0).contains(&value), tag, value, "0 to 65535")?;
    Ok(value as u16)
}

fn photometric(attributes: &Attributes) -> Result<Photometric, HeaderFault> {
    let tag = tags::PHOTOMETRIC_INTERPRETATION;
    let text = attributes.text(tag).ok_or(AttributeError::Missing { tag: ShownTag(tag) })?;
    Ok(match text.as_str() {
        "MONOCHROME1" => Photometric::Monochrome1,
        "MONOCHROME2" => Photometric::Monochrome2,
        "PALETTE COLOR" => Photometric::PaletteColor,
        "RGB" => Photometric::Rgb,
        "YBR_FULL" => Photometric::YbrFull,
        "YBR_FULL_422" => Photometric::YbrFull422,
        "YBR_ICT" | "YBR_RCT" | "XYB" => Photometric::YbrByCodec,
        _ => return Err(HeaderFault::NotAnalysable(NotAnalysable::Photometric)),
    })
}

fn layout(attributes: &Attributes, photometric: Photometric) -> Result<SampleLayout, HeaderFault> {
    let samples = word(attributes, tags::SAMPLES_PER_PIXEL)?;
    let (expected, allowed) = match photometric {
        Photometric::Monochrome1 | Photometric::Monochrome2 | Photometric::PaletteColor => {
            (1, "1 for this image")
        }
        _ => (3, "3 for this image"),
    };
    allow(samples == expected, tags::SAMPLES_PER_PIXEL, samples, allowed)?;
    let allocated = word(attributes, tags::BITS_ALLOCATED)?;
    if matches!(allocated, 1 | 32 | 64) {
        return Err(HeaderFault::NotAnalysable(NotAnalysable::BitsAllocated));
    }
    allow(matches!(allocated, 8 | 16), tags::BITS_ALLOCATED, allocated, "8 or 16")?;
    let stored = word(attributes, tags::BITS_STORED)?;
    allow((1..=allocated).contains(&stored), tags::BITS_STORED, stored, "1 to Bits Allocated")?;
    let high = number(attributes, tags::HIGH_BIT)?.unwrap_or(f64::from(stored) - 1.0);
    let in_range = high >= f64::from(stored) - 1.0 && high < f64::from(allocated);
    allow(in_range, tags::HIGH_BIT, high, "Bits Stored - 1 to Bits Allocated - 1")?;
    Ok(SampleLayout {
        samples: samples as u8,
        bits_allocated: allocated as u8,
        bits_stored: stored as u8,
        high_bit: high as u8,
        signed: number(attributes, tags::PIXEL_REPRESENTATION)? == Some(1.0),
        by_plane: number(attributes, tags::PLANAR_CONFIGURATION)? == Some(1.0),
    })
}

fn frames(attributes: &Attributes) -> Result<u32, AttributeError> {
    let tag = tags::NUMBER_OF_FRAMES;
    let value = number(attributes, tag)?.unwrap_or(1.0);
    let possible = value.fract() == 0.0 && (1.0..=f64::from(MAX_FRAMES)).contains(&value);
    allow(possible, tag, value, "a whole number from 1 to 1000000")?;
    Ok(value as u32)
}

/// Devices write 0 when no ECG was connected.
fn heart_rate(attributes: &Attributes, warnings: &mut Vec<ReasonCode>) -> Option<f64> {
    let rate = attributes.number(tags::HEART_RATE)?;
    if (10.0..=400.0).contains(&rate) {
        return Some(rate);
    }
    warnings.push(warning::HEART_RATE_INVALID);
    None
}

fn r_waves(
    attributes: &Attributes,
    timing: &FrameTiming,
    frames: u32,
    warnings: &mut Vec<ReasonCode>,
) -> Vec<f64> {
    let Some(value) = attributes.get(R_WAVE_TIME_VECTOR) else { return Vec::new() };
    let mut waves = value.numbers().unwrap_or_default();
    // The last frame lasts as long as a mean one.
    let end = timing.fps().and_then(|fps| Some(timing.time_ms(frames - 1)? + 1000.0 / fps)).unwrap_or(0.0);
    let before = waves.len();
    waves.retain(|ms| (0.0..end).contains(ms));
    if waves.len() < before || before == 0 {
        warnings.push(warning::R_WAVES_DROPPED);
    }
    if !waves.is_sorted() {
        warnings.push(warning::R_WAVES_UNSORTED);
        waves.sort_by(f64::total_cmp);
    }
    waves
}
