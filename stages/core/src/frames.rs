//! Pictures, one frame at a time, masked.

use std::sync::Arc;

use schemas::{BlobRef, FrameNumber, NotAnalysable, ReasonCode, Timing, View};

use crate::{Source, StageError};

/// Where the mask of a clip came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskSource {
    /// The tissue region of Sequence of Ultrasound Regions (0018,6011).
    DicomRegion,
    /// The fan found in the pixels.
    Fan,
    /// The whole image: a pathology field of view has no margin.
    WholeImage,
}

/// What a stage may know of a clip without looking at its pixels. No identity, no free text.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ClipHeader {
    /// Width in pixels.
    pub columns: u32,
    /// Height in pixels.
    pub rows: u32,
    /// Number of frames that can be read.
    pub frames: u32,
    /// How the frames lie in time.
    pub timing: Timing,
    /// Milliseconds of each frame from the first; empty where timing is unknown.
    pub frame_times_ms: Vec<f64>,
    /// The view the header names.
    pub view: Option<View>,
    /// Heart Rate (0018,1088) in beats a minute; 0 in the header counts as absent.
    pub heart_rate: Option<f64>,
    /// R Wave Time Vector (0018,6060) in milliseconds, sorted, inside the clip.
    pub r_waves_ms: Vec<f64>,
    /// Millimetres per pixel (horizontal, vertical), where the header calibrates the tissue region.
    pub mm_per_pixel: Option<[f64; 2]>,
    /// A region of B-mode tissue exists, or the header says nothing about regions.
    pub b_mode: bool,
    /// The header declares colour flow or spectral Doppler.
    pub doppler: bool,
    /// Where the mask comes from.
    pub mask: MaskSource,
    /// Left, top, width, height of what the mask leaves visible, in pixels.
    pub visible: [u32; 4],
    /// Share, 0 to 1, of the pixels outside tissue and electrocardiogram that are bright: burned-in text, as a rule.
    pub bright_outside: f64,
    /// The private phantom mark.
    pub synthetic: bool,
    /// Things about the header worth a warning, for example `REGION_OUTSIDE_IMAGE`.
    pub warnings: Vec<ReasonCode>,
}

/// One picture: 8-bit RGB, row by row, no padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `3 * width * height` bytes.
    pub rgb: Arc<[u8]>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}x{})", self.width, self.height)
    }
}

/// One masked frame of a clip: everything outside the tissue is black.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which frame, counted from 1.
    pub number: FrameNumber,
    /// The picture.
    pub image: Image,
}

/// The luma of what a masked frame leaves visible, reduced: enough to see a heart beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// One byte a pixel, row by row.
    pub luma: Arc<[u8]>,
}

/// One resolution of a slide, a grid of tiles.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SlideLevel {
    /// Width in pixels.
    pub columns: u32,
    /// Height in pixels.
    pub rows: u32,
    /// Width of a tile in pixels; those of the last column may be narrower.
    pub tile_columns: u32,
    /// Height of a tile in pixels; those of the last row may be lower.
    pub tile_rows: u32,
    /// Micrometres per pixel (horizontal, vertical), where the file says so.
    pub microns_per_pixel: Option<[f64; 2]>,
}

/// What a stage may know of a slide without looking at its pixels.
///
/// A tiled TIFF holds all its levels in one instance; a DICOM whole slide has an instance for each level; a field of
/// view (PNG, JPEG, plain TIFF) is a slide of one level with one tile.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SlideHeader {
    /// The levels this instance holds, finest first; never empty.
    pub levels: Vec<SlideLevel>,
    /// The private phantom mark.
    pub synthetic: bool,
    /// Things about the header worth a warning.
    pub warnings: Vec<ReasonCode>,
}

/// Which tile of a slide, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct TilePosition {
    /// Index into [`SlideHeader::levels`].
    pub level: u32,
    /// From the left.
    pub column: u32,
    /// From the top.
    pub row: u32,
}

/// The part of a frame where the machine draws the electrocardiogram. For the R-wave detector alone.
#[derive(Debug, Clone, PartialEq)]
pub struct EcgStrip {
    /// The strip, everything else cut away.
    pub image: Image,
    /// Seconds per pixel along the horizontal axis, where the region is calibrated in seconds.
    pub seconds_per_pixel: Option<f64>,
}

/// Why a frame could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The instance is whole but of a kind nobody here can look at.
    #[error("instance is not analysable: {reason:?}")]
    NotAnalysable {
        /// Why.
        reason: NotAnalysable,
    },
    /// The pixels are damaged, contradict the header, exceed a limit, or killed their decoder.
    #[error("instance cannot be decoded: {code}: {detail}")]
    Damaged {
        /// Stable code, for example `CODESTREAM_MISMATCH`.
        code: ReasonCode,
        /// What was wrong, in our own words and numbers.
        detail: String,
    },
    /// Nothing is stored under the reference.
    #[error("blob {key} is not in the store")]
    NotFound {
        /// The key looked for.
        key: String,
    },
    /// What is stored is not what the reference says.
    #[error("blob {key} has other content than its reference says")]
    Mismatch {
        /// The key read.
        key: String,
    },
    /// The store or the decode workers did not answer.
    #[error("frames are not available at the moment")]
    Unavailable(#[source] Source),
}

impl From<FrameError> for StageError {
    /// The reaction where a stage has nothing clinical to say about the failure itself.
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Unavailable(_) => Self::dependency(error),
            _ => Self::invalid(error),
        }
    }
}

/// Access to the pictures of stored instances. Implementations hand out masked frames only.
pub trait Frames: Send + Sync {
    /// What is known of an instance without its pixels.
    fn header(&self, instance: &BlobRef) -> Result<ClipHeader, FrameError>;

    /// One frame. Reads and decodes that frame alone.
    fn frame(&self, instance: &BlobRef, number: FrameNumber) -> Result<Frame, FrameError>;

    /// The luma of [`ClipHeader::visible`] of one frame, reduced by area to at most `height` rows, where that costs less
    /// than the frame itself; `None` leaves the reducing to the caller, with the same outcome.
    fn thumbnail(
        &self,
        _instance: &BlobRef,
        _number: FrameNumber,
        _height: u32,
    ) -> Result<Option<Thumbnail>, FrameError> {
        Ok(None)
    }

    /// The electrocardiogram drawn on one frame; `None` where the header declares no such region.
    fn ecg(&self, instance: &BlobRef, number: FrameNumber) -> Result<Option<EcgStrip>, FrameError>;

    /// What is known of a slide, or of one picture taken as a slide, without its pixels.
    fn slide(&self, instance: &BlobRef) -> Result<SlideHeader, FrameError>;

    /// One tile, cut to the level's extent. `None` where a sparse slide holds none, which means glass.
    fn tile(&self, instance: &BlobRef, position: TilePosition) -> Result<Option<Image>, FrameError>;
}
