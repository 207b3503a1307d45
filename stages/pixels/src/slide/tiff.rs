//! Tiled TIFF and BigTIFF files as pyramids.
//!
//! ```text
//!   directories ─▶ with tiles? ─▶ label, overview, mask? ─▶ the largest is level 0
//!                                                             └▶ smaller ones of its shape, among the others and its own
//!                                                                sub-directories, follow in order of size
//! ```
//! Labels and overviews stand in strips, or carry `label` or `macro` in their description (Aperio, Philips), or New
//! Subfile Type 9; none of them is ever decoded.
//!
//! **Why not crate `tiff`?** It is read by `image` for pictures without tiles. It hands YCbCr back as RGB would be, gives
//! no access to the tiles of a sub-directory, refuses files with empty (glass) tiles, holds every table of offsets in
//! memory, and lets a JPEG in a tile allocate by its own size (read in 0.11.3). The codecs are shared with DICOM.

mod directory;
mod error;
mod tile;

use std::{
    collections::BTreeSet,
    io::{Read, Seek, SeekFrom},
};

use schemas::ReasonCode;
use stage::{SlideHeader, SlideLevel, TilePosition};

pub use error::TiffError;

use super::{Grid, SlideError};
use crate::{error::DecodeError, frame::Frame, header::MAX_FRAME_PIXELS};
use directory::{Directory, Field, Source, refused, tag};
pub(super) use directory::{Form, form};
use tile::{Colour, Compression, Layout};

/// Bytes of JPEG tables: four quantisation and eight Huffman tables take less than 3 KiB.
const MAX_JPEG_TABLES: u64 = 64 << 10;
/// Sides of a level may differ so much from the base's shape: each halving rounds, and some writers pad to whole tiles.
const SHAPE_TOLERANCE: f64 = 0.02;
/// Micrometres per pixel of a base level that can be true: objectives of 0.5x to 150x. What writers put down for screens
/// and printers (72 to 1200 dots an inch) lies above.
const POSSIBLE_MICRONS: std::ops::RangeInclusive<f64> = 0.02..=20.0;

/// A directory with tiles was passed over: another shape, or a form that is not read.
const DIRECTORY_SKIPPED: ReasonCode = ReasonCode::known("DIRECTORY_SKIPPED");

/// What a TIFF file turns out to be.
pub(super) enum Opened {
    Pyramid(Pyramid, SlideHeader),
    /// No directory has tiles.
    Plain {
        /// Micrometres per pixel (horizontal, vertical) of the first picture.
        microns_per_pixel: Option<[f64; 2]>,
    },
}

/// A pyramid: where the tiles of each level stand.
pub(super) struct Pyramid {
    form: Form,
    length: u64,
    levels: Vec<Level>,
}

struct Level {
    layout: Layout,
    offsets: Field,
    byte_counts: Field,
    jpeg_tables: Vec<u8>,
}

/// An image with tiles, before it is known to be a level.
struct Candidate {
    directory: Directory,
    columns: u32,
    rows: u32,
}

/// Reads the directories of a file of that form.
pub(super) fn open<R: Read + Seek>(reader: &mut R, form: Form) -> Result<Opened, DecodeError> {
    let length = reader.seek(SeekFrom::End(0))?;
    let mut source = Source { reader, form, length };
    let mut seen = BTreeSet::new();
    let directories = source.directories(&mut seen)?;
    let first_is_label = directories.first().map_or(Ok(false), |first| is_label(&mut source, first))?;
    let first_microns = directories.first().map_or(Ok(None), |first| microns(&mut source, first))?;
    let tiled = |directory: &Directory| directory.get(tag::TILE_WIDTH).is_some();
    let any_tiles = directories.iter().any(tiled);
    let mut candidates = Vec::new();
    for directory in directories.into_iter().filter(tiled) {
        if !is_label(&mut source, &directory)? {
            candidates.push(Candidate::of(&mut source, directory)?);
        }
    }
    let base =
        candidates.iter().enumerate().max_by_key(|(at, candidate)| (candidate.area(), usize::MAX - at));
    let Some((base, _)) = base else {
        return if any_tiles || first_is_label {
            Err(refused(TiffError::LabelOnly))
        } else {
            Ok(Opened::Plain { microns_per_pixel: first_microns })
        };
    };
    let base = candidates.swap_remove(base);
    if let Some(field) = base.directory.get(tag::SUB_IFDS) {
        for index in 0..field.count.min(directory::MAX_DIRECTORIES as u64 + 1) {
            let offset = source.unsigned(field, index)?;
            let (sub, _) = source.directory(offset, &mut seen)?;
            if tiled(&sub) && !is_label(&mut source, &sub)? {
                candidates.push(Candidate::of(&mut source, sub)?);
            }
        }
    }
    pyramid(&mut source, base, candidates)
}

fn pyramid<R: Read + Seek>(
    source: &mut Source<'_, R>,
    base: Candidate,
    mut others: Vec<Candidate>,
) -> Result<Opened, DecodeError> {
    let base_microns = microns(source, &base.directory)?;
    let mut warnings = Vec::new();
    let mut levels = Vec::new();
    let mut shown: Vec<SlideLevel> = Vec::new();
    others.sort_by_key(|candidate| std::cmp::Reverse(candidate.area()));
    for candidate in std::iter::once(&base).chain(&others) {
        let finest = levels.is_empty();
        let smaller = shown.last().is_none_or(|last| {
            candidate.columns < last.columns && candidate.rows <= last.rows
                || candidate.columns <= last.columns && candidate.rows < last.rows
        });
        let read = if smaller && candidate.has_shape_of(&base) {
            Level::read(source, candidate)
        } else {
            warnings.push(DIRECTORY_SKIPPED);
            continue;
        };
        match read {
            Ok((level, grid_level)) => {
                levels.push(level);
                shown.push(SlideLevel {
                    microns_per_pixel: base_microns.map(|[across, down]| {
                        let scale = |base: u32, here: u32| f64::from(base) / f64::from(here);
                        [
                            across * scale(base.columns, candidate.columns),
                            down * scale(base.rows, candidate.rows),
                        ]
                    }),
                    ..grid_level
                });
            }
            // A slide can be read without one of its coarser levels.
            Err(DecodeError::Slide(SlideError::Tiff(_))) if !finest => warnings.push(DIRECTORY_SKIPPED),
            Err(error) => return Err(error),
        }
    }
    warnings.dedup();
    let pyramid = Pyramid { form: source.form, length: source.length, levels };
    Ok(Opened::Pyramid(pyramid, SlideHeader { levels: shown, synthetic: false, warnings }))
}

impl Candidate {
    fn of<R: Read + Seek>(source: &mut Source<'_, R>, directory: Directory) -> Result<Self, DecodeError> {
        let mut side = |tag| -> Result<u32, DecodeError> {
            let value = directory.number(source, tag)?;
            let side = u32::try_from(value).ok().filter(|side| *side > 0);
            side.ok_or_else(|| refused(TiffError::Value { tag, value, allowed: "1 to 4294967295" }))
        };
        let (columns, rows) = (side(tag::IMAGE_WIDTH)?, side(tag::IMAGE_LENGTH)?);
        Ok(Self { directory, columns, rows })
    }

    fn area(&self) -> u64 {
        u64::from(self.columns) * u64::from(self.rows)
    }

    fn has_shape_of(&self, base: &Self) -> bool {
        let (across, down) =
            (f64::from(self.columns) / f64::from(base.columns), f64::from(self.rows) / f64::from(base.rows));
        let tolerance = SHAPE_TOLERANCE.max(2.0 / f64::from(self.columns.min(self.rows)));
        (across / down - 1.0).abs() <= tolerance
    }
}

/// Is this the label or overview of a slide, or a mask?
fn is_label<R: Read + Seek>(source: &mut Source<'_, R>, directory: &Directory) -> Result<bool, DecodeError> {
    // Bit 2 is a transparency mask (TIFF 6.0); Aperio marks the overview with bits 0 and 3.
    let kind = directory.number_or(source, tag::NEW_SUBFILE_TYPE, 0)?;
    if kind & 0b1100 != 0 {
        return Ok(true);
    }
    let Some(field) = directory.get(tag::IMAGE_DESCRIPTION) else { return Ok(false) };
    let text = source.text(field)?.to_ascii_lowercase();
    let names = ["label", "macro", "overview"];
    // Aperio: the first line names the library, the second the image.
    Ok(text.lines().any(|line| names.iter().any(|name| line.trim_start().starts_with(name))))
}

/// Micrometres per pixel (horizontal, vertical): what the description says after `MPP`, else the resolution.
fn microns<R: Read + Seek>(
    source: &mut Source<'_, R>,
    directory: &Directory,
) -> Result<Option<[f64; 2]>, DecodeError> {
    let possible = |microns: &[f64; 2]| microns.iter().all(|value| POSSIBLE_MICRONS.contains(value));
    if let Some(field) = directory.get(tag::IMAGE_DESCRIPTION)
        && let Some(microns) = described_microns(&source.text(field)?).filter(|value| possible(&[*value; 2]))
    {
        return Ok(Some([microns; 2]));
    }
    let unit = match directory.number_or(source, tag::RESOLUTION_UNIT, 2)? {
        2 => 25_400.0,
        3 => 10_000.0,
        _ => return Ok(None),
    };
    let mut axis = |tag| directory.get(tag).map_or(Ok(None), |field| source.rational(field));
    let resolution = axis(tag::X_RESOLUTION)?.zip(axis(tag::Y_RESOLUTION)?);
    Ok(resolution.map(|(x, y)| [unit / x, unit / y]).filter(possible))
}

/// The number after `MPP =`, as Aperio and its followers write it between bars.
fn described_microns(text: &str) -> Option<f64> {
    text.split(['|', '\n', ';']).find_map(|part| {
        let number = part.trim().strip_prefix("MPP")?.trim_start().strip_prefix('=')?;
        number.trim().parse().ok()
    })
}

impl Level {
    /// Reads and checks how a level is written. Gives it with its size and tiles; the scale is the pyramid's.
    fn read<R: Read + Seek>(
        source: &mut Source<'_, R>,
        candidate: &Candidate,
    ) -> Result<(Self, SlideLevel), DecodeError> {
        let directory = &candidate.directory;
        let layout = layout(source, directory)?;
        let shown = SlideLevel {
            columns: candidate.columns,
            rows: candidate.rows,
            tile_columns: layout.columns,
            tile_rows: layout.rows,
            microns_per_pixel: None,
        };
        let tiles = Grid::of(&shown)?.tiles();
        let planes = if layout.by_plane { u64::from(layout.samples) } else { 1 };
        let table = |tag| -> Result<Field, DecodeError> {
            let field = directory.require(tag)?;
            if field.count != tiles * planes {
                let expected = tiles * planes;
                return Err(refused(TiffError::TileTable { tag, found: field.count, expected }));
            }
            Ok(field)
        };
        let (offsets, byte_counts) = (table(tag::TILE_OFFSETS)?, table(tag::TILE_BYTE_COUNTS)?);
        let jpeg_tables = match directory.get(tag::JPEG_TABLES) {
            Some(Field { count, kind, .. }) if count > MAX_JPEG_TABLES => {
                let tag = tag::JPEG_TABLES;
                return Err(refused(TiffError::Form { tag, kind, count, expected: "at most 65536 bytes" }));
            }
            Some(field) => source.bytes(field.at(), field.count)?,
            None => Vec::new(),
        };
        Ok((Self { layout, offsets, byte_counts, jpeg_tables }, shown))
    }
}

fn layout<R: Read + Seek>(source: &mut Source<'_, R>, directory: &Directory) -> Result<Layout, DecodeError> {
    let wide = directory.number(source, tag::TILE_WIDTH)?;
    let tall = directory.number(source, tag::TILE_LENGTH)?;
    let pixels = wide.checked_mul(tall).filter(|pixels| *pixels <= MAX_FRAME_PIXELS);
    let Some(pixels) = pixels else {
        return Err(refused(TiffError::TileTooLarge { columns: wide, rows: tall }));
    };
    if pixels == 0 {
        let tag = if wide == 0 { tag::TILE_WIDTH } else { tag::TILE_LENGTH };
        return Err(refused(TiffError::Value { tag, value: 0, allowed: "1 and more" }));
    }
    let mut number = |tag, absent| directory.number_or(source, tag, absent);
    let code = number(tag::COMPRESSION, 1)?;
    let compression = Compression::of(code).map_err(refused)?;
    let samples = number(tag::SAMPLES_PER_PIXEL, 1)?;
    let bits = number(tag::BITS_PER_SAMPLE, 1)?;
    let format = number(tag::SAMPLE_FORMAT, 1)?;
    let planar = number(tag::PLANAR_CONFIGURATION, 1)?;
    let predictor = number(tag::PREDICTOR, 1)?;
    let photometric = number(tag::PHOTOMETRIC, 1)?;
    let jpeg = compression == Compression::Jpeg;
    let by_plane = planar == 2 && samples > 1;
    let colour = match (photometric, samples) {
        (0 | 1, _) => Colour::Grey { white_is_zero: photometric == 0 },
        (2, 3..) => Colour::Rgb,
        (6, 3) if jpeg && !by_plane => Colour::Ybr,
        _ => return Err(refused(TiffError::Photometric { code: photometric, compression: code })),
    };
    let refuse = |tag, value| Err(refused(TiffError::Samples { tag, value }));
    match (samples, bits, format) {
        (1 | 3 | 4, 8, 1) => {}
        (1 | 3 | 4, 16, 1) if !jpeg => {}
        (1 | 3 | 4, 16, 1) => return refuse(tag::BITS_PER_SAMPLE, bits),
        (1 | 3 | 4, 8 | 16, _) => return refuse(tag::SAMPLE_FORMAT, format),
        (1 | 3 | 4, ..) => return refuse(tag::BITS_PER_SAMPLE, bits),
        _ => return refuse(tag::SAMPLES_PER_PIXEL, samples),
    }
    // As much as the largest tile has in colour of 8 bits.
    if pixels * samples * bits / 8 > 3 * MAX_FRAME_PIXELS {
        return Err(refused(TiffError::TileTooLarge { columns: wide, rows: tall }));
    }
    if jpeg && by_plane {
        return Err(refused(TiffError::Value {
            tag: tag::PLANAR_CONFIGURATION,
            value: planar,
            allowed: "1 with JPEG",
        }));
    }
    if !matches!(predictor, 1 | 2) {
        return Err(refused(TiffError::Value { tag: tag::PREDICTOR, value: predictor, allowed: "1 or 2" }));
    }
    Ok(Layout {
        columns: wide as u32,
        rows: tall as u32,
        samples: samples as u16,
        by_plane,
        bits: bits as u8,
        big_endian: source.form.big_endian,
        compression,
        differences: predictor == 2 && matches!(compression, Compression::Lzw | Compression::Deflate),
        colour,
    })
}

impl Pyramid {
    /// The tile at a position that is inside `grid`, whole; `None` where the file holds none.
    pub(super) fn tile<R: Read + Seek>(
        &self,
        reader: &mut R,
        position: TilePosition,
        grid: Grid,
    ) -> Result<Option<Frame>, DecodeError> {
        let Some(level) = self.levels.get(position.level as usize) else { return Ok(None) };
        let mut source = Source { reader, form: self.form, length: self.length };
        let planes = if level.layout.by_plane { u64::from(level.layout.colour.samples()) } else { 1 };
        let raw = level.layout.chunk_bytes() as u64;
        let mut chunks = Vec::new();
        for plane in 0..planes {
            let index = u64::from(grid.index(position)) + plane * grid.tiles();
            let offset = source.unsigned(level.offsets, index)?;
            let bytes = source.unsigned(level.byte_counts, index)?;
            if offset == 0 || bytes == 0 {
                return Ok(None);
            }
            // No codec here makes a tile more than half as large again (LZW: 12 bits for 8); JPEG has its tables on top.
            if bytes > raw + raw / 2 + MAX_JPEG_TABLES {
                return Err(refused(TiffError::TileBytes { bytes, raw }));
            }
            let coded = source.bytes(offset, bytes)?;
            chunks.push(level.layout.decompress(coded, &level.jpeg_tables).map_err(refused)?);
        }
        Ok(Some(level.layout.picture(chunks)))
    }
}
