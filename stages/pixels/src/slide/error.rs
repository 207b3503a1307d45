//! Why an instance gives no slide, or a slide no tile.

use schemas::NotAnalysable;
use stage::TilePosition;

use super::tiff::TiffError;
use crate::header::MAX_FRAME_PIXELS;

/// Why an instance gives no slide, or a slide no tile. Shows numbers only, never text from the file.
#[derive(Debug, thiserror::Error)]
pub enum SlideError {
    /// An object of another modality, or a picture that looks like ultrasound: what may name a patient in its margin
    /// leaves as masked frames or not at all.
    #[error(
        "the instance is no microscopy ({why}), so its pixels leave as masked frames only; ask for frames, not tiles"
    )]
    NotMicroscopy {
        /// How that is known.
        why: &'static str,
    },
    /// One of several instances that make up one image.
    #[error("the instance is one of {parts} parts of a concatenation; join them and send the whole")]
    Concatenation {
        /// In-concatenation Total Number (0020,9163); 0 where it is absent.
        parts: u32,
    },
    /// A tile, or a picture without tiles, of more pixels than are held in memory at once.
    #[error(
        "a tile or picture of {columns} x {rows} pixels is over the limit of {limit}; export the picture with smaller tiles",
        limit = MAX_FRAME_PIXELS
    )]
    TileTooLarge {
        /// Its width.
        columns: u32,
        /// Its height.
        rows: u32,
    },
    /// More tiles than any scanner makes.
    #[error("a level of {columns} x {rows} pixels has more than {limit} tiles", limit = super::MAX_TILES)]
    TooManyTiles {
        /// Width of the level.
        columns: u32,
        /// Height of the level.
        rows: u32,
    },
    /// The frames of a fully tiled image do not fill its matrix.
    #[error("the instance has {frames} frames where its total pixel matrix needs {tiles} for each plane")]
    TileCount {
        /// Number of Frames (0028,0008).
        frames: u32,
        /// Tiles of the matrix.
        tiles: u64,
    },
    /// A sparsely tiled image whose functional groups do not place each frame.
    #[error("the functional groups place {placed} of {frames} frames in the total pixel matrix")]
    Unplaced {
        /// Frames with a place.
        placed: usize,
        /// Number of Frames (0028,0008).
        frames: u32,
    },
    /// A frame that lies outside the matrix or across its grid.
    #[error("frame {frame} lies at column {column}, row {row}, which is no corner of a tile")]
    OffGrid {
        /// Which frame, from 1.
        frame: u32,
        /// Column Position In Total Image Pixel Matrix (0048,021E).
        column: i32,
        /// Row Position In Total Image Pixel Matrix (0048,021F).
        row: i32,
    },
    /// No such tile.
    #[error(
        "tile at column {column}, row {row} of level {level} asked for, beyond the slide's {levels} levels or the \
         level's {across} x {down} tiles", column = position.column, row = position.row, level = position.level
    )]
    Position {
        /// What was asked for.
        position: TilePosition,
        /// Levels there are.
        levels: usize,
        /// Tiles across the level asked for; 0 if there is no such level.
        across: u32,
        /// Tiles down.
        down: u32,
    },
    /// A TIFF file that cannot be read.
    #[error("the TIFF file cannot be read")]
    Tiff(#[from] TiffError),
}

impl SlideError {
    /// A stable code of capitals, digits and underscores.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotMicroscopy { .. } => "NOT_MICROSCOPY",
            Self::Concatenation { .. } => "CONCATENATION",
            Self::TileTooLarge { .. } => "FRAME_TOO_LARGE",
            Self::TooManyTiles { .. } => "TOO_MANY_TILES",
            Self::TileCount { .. } => "FRAME_COUNT_MISMATCH",
            Self::Unplaced { .. } | Self::OffGrid { .. } => "TILE_PLACE_INVALID",
            Self::Position { .. } => "TILE_POSITION",
            Self::Tiff(error) => error.code(),
        }
    }

    /// The reason, where the instance is whole and honest and only nobody here can look at it this way.
    pub(crate) fn not_analysable(&self) -> Option<NotAnalysable> {
        match self {
            Self::NotMicroscopy { .. } => Some(NotAnalysable::Modality),
            Self::Tiff(error) => error.not_analysable(),
            _ => None,
        }
    }
}
