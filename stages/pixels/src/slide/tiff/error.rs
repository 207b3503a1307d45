//! What is refused of a TIFF file.

use schemas::NotAnalysable;

use super::directory;
use crate::header::MAX_FRAME_PIXELS;

/// Why a TIFF file gives no slide, or no tile. Shows tags, numbers and offsets, never text from the file.
#[derive(Debug, thiserror::Error)]
pub enum TiffError {
    /// The bytes end inside a directory or value.
    #[error(
        "the file ends at byte {length}, before the {wanted} bytes at {offset} that it refers to; send it again"
    )]
    BeyondEnd {
        /// Where something should be.
        offset: u64,
        /// How much of it.
        wanted: u64,
        /// Bytes there are.
        length: u64,
    },
    /// More directories than any slide has.
    #[error("the file has more than {limit} directories", limit = directory::MAX_DIRECTORIES)]
    TooManyDirectories,
    /// A directory that refers to one before it.
    #[error("the directory at byte {offset} is reached twice")]
    DirectoryLoop {
        /// Where it starts.
        offset: u64,
    },
    /// More entries in a directory than there are tags in use.
    #[error("the directory at byte {offset} has {entries} entries; the limit is {limit}", limit = directory::MAX_ENTRIES)]
    TooManyEntries {
        /// Where it starts.
        offset: u64,
        /// Entries declared.
        entries: u64,
    },
    /// A tag that reading needs is absent.
    #[error("tag {tag} is missing; a tiled image needs it")]
    Missing {
        /// The tag's number.
        tag: u16,
    },
    /// A tag with another type or number of values than it must have.
    #[error("tag {tag} has {count} values of type {kind}; expected is {expected}")]
    Form {
        /// The tag's number.
        tag: u16,
        /// Type of its values, by TIFF's number.
        kind: u16,
        /// Number of values.
        count: u64,
        /// What would do.
        expected: &'static str,
    },
    /// A value that contradicts the others, or the format.
    #[error("tag {tag} is {value}; allowed is {allowed}")]
    Value {
        /// The tag's number.
        tag: u16,
        /// Its value.
        value: u64,
        /// What would do.
        allowed: &'static str,
    },
    /// A tile of more pixels than are held in memory at once.
    #[error("tiles are {columns} x {rows} pixels; the limit is {limit} pixels", limit = MAX_FRAME_PIXELS)]
    TileTooLarge {
        /// Tile Width.
        columns: u64,
        /// Tile Length.
        rows: u64,
    },
    /// A table of tiles with another number of entries than the level has tiles.
    #[error("tag {tag} has {found} entries where the level has {expected} tiles")]
    TileTable {
        /// The tag's number.
        tag: u16,
        /// Entries.
        found: u64,
        /// Tiles.
        expected: u64,
    },
    /// A compressed tile far larger than its pixels.
    #[error("a tile takes {bytes} bytes where its pixels take {raw}")]
    TileBytes {
        /// Tile Byte Counts says.
        bytes: u64,
        /// Uncompressed size.
        raw: u64,
    },
    /// A tile that decodes to too few bytes.
    #[error("a tile decodes to {found} bytes of {expected}")]
    TileShort {
        /// Bytes decoded.
        found: usize,
        /// Bytes of the tile.
        expected: usize,
    },
    /// A JPEG of another shape than the directory says.
    #[error(
        "a JPEG tile is {width} x {height} pixels of {components} components where the directory says {columns} x \
         {rows} of {samples}"
    )]
    JpegShape {
        /// Width in the JPEG.
        width: u16,
        /// Height in the JPEG.
        height: u16,
        /// Components in the JPEG.
        components: usize,
        /// Tile Width.
        columns: u32,
        /// Tile Length.
        rows: u32,
        /// Samples Per Pixel.
        samples: u16,
    },
    /// A codec that is not here.
    #[error("tiles are compressed by {name} ({code}), which has no decoder here")]
    Compression {
        /// Its name.
        name: &'static str,
        /// Compression (259).
        code: u64,
    },
    /// Colours that are not read.
    #[error(
        "colours are of photometric interpretation {code} with compression {compression}, which is not read here"
    )]
    Photometric {
        /// Photometric Interpretation (262).
        code: u64,
        /// Compression (259).
        compression: u64,
    },
    /// Samples other than unsigned numbers of 8 or 16 bits.
    #[error("tag {tag} is {value}; samples of 8 or 16 bits, unsigned, 1, 3 or 4 a pixel are read")]
    Samples {
        /// The tag's number.
        tag: u16,
        /// Its value.
        value: u64,
    },
    /// Label or overview of a slide and nothing else.
    #[error("the file holds the label or overview of a slide and nothing else; those are never decoded")]
    LabelOnly,
    /// The codec gave up on a tile.
    #[error("the {codec} codec refused a tile")]
    Codec {
        /// Which codec.
        codec: &'static str,
        /// Its own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl TiffError {
    /// A stable code of capitals, digits and underscores.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BeyondEnd { .. } => "TRUNCATED",
            Self::TooManyDirectories | Self::TooManyEntries { .. } => "TIFF_TOO_MANY_DIRECTORIES",
            Self::DirectoryLoop { .. } => "TIFF_DIRECTORY_LOOP",
            Self::Missing { .. } | Self::Form { .. } | Self::Value { .. } => "TIFF_TAG_INVALID",
            Self::TileTooLarge { .. } => "FRAME_TOO_LARGE",
            Self::TileTable { .. } => "TIFF_TILE_COUNT",
            Self::TileBytes { .. } | Self::TileShort { .. } => "CODESTREAM_DAMAGED",
            Self::JpegShape { .. } => "CODESTREAM_MISMATCH",
            Self::Compression { .. } => "TIFF_COMPRESSION",
            Self::Photometric { .. } => "PHOTOMETRIC",
            Self::Samples { .. } => "BITS_ALLOCATED",
            Self::LabelOnly => "LABEL_OR_OVERVIEW",
            Self::Codec { .. } => "CODEC_FAILED",
        }
    }

    /// The reason, where the file is whole and honest and only has no decoder here.
    pub(crate) fn not_analysable(&self) -> Option<NotAnalysable> {
        match self {
            Self::Compression { .. } => Some(NotAnalysable::TransferSyntax),
            Self::Photometric { .. } | Self::Samples { .. } => Some(NotAnalysable::Modality),
            Self::LabelOnly => Some(NotAnalysable::LabelOrOverview),
            _ => None,
        }
    }
}
