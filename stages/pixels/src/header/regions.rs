//! Sequence of Ultrasound Regions (PS3.3 C.8.5.5): which part of the picture shows what, and how large a pixel is.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use schemas::ReasonCode;
use serde::{Deserialize, Serialize};

use super::warning;
use crate::prescan::{Attributes, Values};

/// Region Spatial Format (0018,6012).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpatialFormat {
    /// 1: two-dimensional (tissue or flow).
    TwoDimensional,
    /// 2: M-mode.
    MMode,
    /// 3: spectral.
    Spectral,
    /// 4: waveform.
    Waveform,
    /// 5: graphics.
    Graphics,
    /// 0 or anything else.
    Other(u16),
}

/// Region Data Type (0018,6014).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataType {
    /// 1: tissue.
    Tissue,
    /// 2: colour flow.
    ColorFlow,
    /// 3: pulsed-wave Doppler.
    PulsedDoppler,
    /// 4: continuous-wave Doppler.
    ContinuousDoppler,
    /// 10 (000AH): ECG trace.
    Ecg,
    /// Any other.
    Other(u16),
}

/// A rectangle of pixels: left and top inside, right and bottom outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rect {
    /// Left.
    pub x0: u32,
    /// Top.
    pub y0: u32,
    /// One past the right.
    pub x1: u32,
    /// One past the bottom.
    pub y1: u32,
}

impl Rect {
    /// Width in pixels.
    pub fn width(self) -> u32 {
        self.x1.saturating_sub(self.x0)
    }

    /// Height in pixels.
    pub fn height(self) -> u32 {
        self.y1.saturating_sub(self.y0)
    }

    /// Does the pixel in column `x` of row `y` lie inside?
    pub fn contains(self, x: u32, y: u32) -> bool {
        (self.x0..self.x1).contains(&x) && (self.y0..self.y1).contains(&y)
    }

    /// Area in pixels.
    pub fn area(self) -> u64 {
        u64::from(self.width()) * u64::from(self.height())
    }
}

/// Why a region gives no lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Uncalibrated {
    /// The region lies outside the image, so its scale cannot be trusted either.
    OutsideImage,
    /// Its units are not centimetres in both directions.
    Units,
    /// A delta is absent, not above zero or not finite.
    Delta,
}

/// One ultrasound region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// What kind of picture it is.
    pub format: SpatialFormat,
    /// What it shows.
    pub data_type: DataType,
    /// Where it lies; `None` if it is not inside the image.
    pub rect: Option<Rect>,
    /// Millimetres per pixel (horizontal, vertical).
    pub mm_per_pixel: Result<[f64; 2], Uncalibrated>,
    /// Seconds per pixel along the horizontal axis, where that axis is time.
    pub seconds_per_pixel: Option<f64>,
}

impl Region {
    /// Is it two-dimensional tissue, wherever it claims to lie?
    pub fn is_two_dimensional_tissue(&self) -> bool {
        self.format == SpatialFormat::TwoDimensional && self.data_type == DataType::Tissue
    }

    /// Is it two-dimensional tissue inside the image?
    pub fn is_tissue(&self) -> bool {
        self.is_two_dimensional_tissue() && self.rect.is_some()
    }

    /// Is it colour flow or spectral Doppler?
    pub fn is_doppler(&self) -> bool {
        matches!(self.data_type, DataType::ColorFlow | DataType::PulsedDoppler | DataType::ContinuousDoppler)
    }
}

pub(super) fn read(
    attributes: &Attributes,
    (columns, rows): (u32, u32),
    warnings: &mut Vec<ReasonCode>,
) -> Vec<Region> {
    attributes
        .items(tags::SEQUENCE_OF_ULTRASOUND_REGIONS)
        .filter_map(|item| region(item, (columns, rows), warnings))
        .collect()
}

fn number(item: &Values, tag: Tag) -> Option<f64> {
    item.get(&tag)?.numbers()?.first().copied()
}

fn region(item: &Values, size: (u32, u32), warnings: &mut Vec<ReasonCode>) -> Option<Region> {
    let code = |tag| number(item, tag).map(|code| code as u16);
    let format = match code(tags::REGION_SPATIAL_FORMAT)? {
        1 => SpatialFormat::TwoDimensional,
        2 => SpatialFormat::MMode,
        3 => SpatialFormat::Spectral,
        4 => SpatialFormat::Waveform,
        5 => SpatialFormat::Graphics,
        other => SpatialFormat::Other(other),
    };
    let data_type = match code(tags::REGION_DATA_TYPE)? {
        1 => DataType::Tissue,
        2 => DataType::ColorFlow,
        3 => DataType::PulsedDoppler,
        4 => DataType::ContinuousDoppler,
        10 => DataType::Ecg,
        other => DataType::Other(other),
    };
    let rect = place(item, size, warnings);
    let mm_per_pixel = if rect.is_some() { scale(item) } else { Err(Uncalibrated::OutsideImage) };
    Some(Region { format, data_type, rect, mm_per_pixel, seconds_per_pixel: pace(item) })
}

/// The standard's X1, Y1 are the last pixel inside. Real devices write Columns there (off by one): clamped, with a warning.
fn place(item: &Values, (columns, rows): (u32, u32), warnings: &mut Vec<ReasonCode>) -> Option<Rect> {
    let corner =
        |tag| number(item, tag).filter(|value| *value >= 0.0 && *value < 1e9).map(|value| value as u32);
    let corners = (|| {
        Some((
            corner(tags::REGION_LOCATION_MIN_X0)?,
            corner(tags::REGION_LOCATION_MIN_Y0)?,
            corner(tags::REGION_LOCATION_MAX_X1)?,
            corner(tags::REGION_LOCATION_MAX_Y1)?,
        ))
    })();
    let Some((x0, y0, x1, y1)) = corners.filter(|&(x0, y0, x1, y1)| {
        x0 < x1 && y0 < y1 && x0 < columns && y0 < rows && x1 <= columns && y1 <= rows
    }) else {
        warnings.push(warning::REGION_OUTSIDE_IMAGE);
        return None;
    };
    if x1 == columns || y1 == rows {
        warnings.push(warning::REGION_CLAMPED);
    }
    Some(Rect { x0, y0, x1: (x1 + 1).min(columns), y1: (y1 + 1).min(rows) })
}

/// Physical Units 3 is cm; the deltas are cm per pixel.
fn scale(item: &Values) -> Result<[f64; 2], Uncalibrated> {
    let in_cm = |tag| number(item, tag) == Some(3.0);
    if !in_cm(tags::PHYSICAL_UNITS_X_DIRECTION) || !in_cm(tags::PHYSICAL_UNITS_Y_DIRECTION) {
        return Err(Uncalibrated::Units);
    }
    let mm = |tag| {
        number(item, tag)
            .filter(|cm| cm.is_finite() && *cm > 0.0 && *cm < 10.0)
            .map(|cm| cm * 10.0)
            .ok_or(Uncalibrated::Delta)
    };
    Ok([mm(tags::PHYSICAL_DELTA_X)?, mm(tags::PHYSICAL_DELTA_Y)?])
}

/// Physical Units 4 is seconds (PS3.3 C.8.5.5.1.15); a machine sweeps its screen in seconds, so a pixel is far below one.
fn pace(item: &Values) -> Option<f64> {
    number(item, tags::PHYSICAL_UNITS_X_DIRECTION).filter(|unit| *unit == 4.0)?;
    number(item, tags::PHYSICAL_DELTA_X).filter(|seconds| *seconds > 0.0 && *seconds < 1.0)
}
