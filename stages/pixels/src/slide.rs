//! Slides and fields of view of pathology: levels of tiles, one tile at a time.
//!
//! ```text
//!   DICOM, microscopy ─▶ dicom    one level; frames by TILED_FULL order or by TILED_SPARSE places
//!   TIFF with tiles   ─▶ tiff     a level for each directory with tiles, finest first
//!   other pictures    ─▶ still    one level, one tile
//! ```
//! Invariants:
//! - Memory is bounded by a tile and by the number of tiles, never by the pixels of the slide.
//! - Tiles leave unmasked, so only what is known to be microscopy becomes a slide: an ultrasound object, a picture with
//!   a dark margin, and the label or overview of a slide are refused.
//! - A tile is cut to the extent of its level: what lies beyond is padding.

mod dicom;
mod error;
mod tiff;

use std::{
    io::{Read, Seek},
    sync::Arc,
};

use image::ImageFormat;
use stage::{Image, MaskSource, SlideHeader, SlideLevel, TilePosition};

pub use error::SlideError;
pub use tiff::TiffError;

use crate::{
    error::DecodeError,
    frame::{Frame, Pixels},
    header::{MAX_FRAME_PIXELS, Rect},
    mask::Mask,
    prescan, still,
    transfer_syntax::PixelCoding,
};

/// Tiles of one level: thirty times those of a whole glass slide at the finest resolution in use, 0.25 micrometres, in
/// tiles of 256 pixels.
const MAX_TILES: u64 = 1 << 22;
/// A tiled picture up to so many pixels may be a screenshot, and is looked at like any other picture. The largest screen of
/// an ultrasound machine has half of them.
const SCREEN_PIXELS: u64 = 1 << 22;

/// An opened slide or field of view.
pub struct Slide<R> {
    header: SlideHeader,
    content: Content<R>,
}

enum Content<R> {
    Dicom(dicom::Instance<R>),
    Tiff { reader: R, pyramid: tiff::Pyramid },
    Field(Image),
}

impl<R: Read + Seek> Slide<R> {
    /// Opens an instance: checks and indexes it. A picture without tiles is decoded here, because only its pixels tell that
    /// it is no ultrasound.
    pub fn open(mut reader: R) -> Result<Self, DecodeError> {
        let mut lead = Vec::new();
        reader.by_ref().take(132).read_to_end(&mut lead)?;
        if lead.len() == 132 && lead.ends_with(b"DICM") {
            let scan = prescan::scan_file(&mut reader)?;
            let (instance, header) = dicom::Instance::open(reader, scan)?;
            return Ok(Self { header, content: Content::Dicom(instance) });
        }
        let mut microns = None;
        if let Some(form) = tiff::form(&lead) {
            match tiff::open(&mut reader, form)? {
                tiff::Opened::Pyramid(pyramid, header) => {
                    let mut slide = Self { header, content: Content::Tiff { reader, pyramid } };
                    slide.refuse_screenshot()?;
                    return Ok(slide);
                }
                tiff::Opened::Plain { microns_per_pixel } => microns = microns_per_pixel,
            }
        }
        let format = match tiff::form(&lead) {
            // BigTIFF has another magic number than the format's guess knows.
            Some(_) => ImageFormat::Tiff,
            None => still::format(&lead).ok_or(DecodeError::UnknownFormat)?,
        };
        let (width, height) = still::size(&mut reader, format).map_err(DecodeError::Still)?;
        let level = SlideLevel {
            columns: width,
            rows: height,
            tile_columns: width,
            tile_rows: height,
            microns_per_pixel: microns,
        };
        Grid::of(&level)?;
        let frame = still::decode(&mut reader, format).map_err(DecodeError::Still)?;
        refuse_margin(&frame)?;
        let field = Image { width: frame.width, height: frame.height, rgb: Arc::from(frame.into_rgb()) };
        let header = SlideHeader { levels: vec![level], synthetic: false, warnings: Vec::new() };
        Ok(Self { header, content: Content::Field(field) })
    }

    /// What a stage may know of the slide.
    pub fn header(&self) -> &SlideHeader {
        &self.header
    }

    /// How its pixels are written; `None` for a picture file.
    pub fn coding(&self) -> Option<PixelCoding> {
        match &self.content {
            Content::Dicom(instance) => instance.coding(),
            Content::Tiff { .. } | Content::Field(_) => None,
        }
    }

    /// Decodes one tile, cut to its level's extent. `None` where a sparse slide holds none, which means glass.
    pub fn tile(&mut self, position: TilePosition) -> Result<Option<Image>, DecodeError> {
        let levels = self.header.levels.len();
        let level = self.header.levels.get(position.level as usize).copied();
        let grid = level.map_or(Ok(Grid { across: 0, down: 0 }), |level| Grid::of(&level))?;
        let Some(level) = level.filter(|_| grid.contains(position)) else {
            let Grid { across, down } = grid;
            return Err(SlideError::Position { position, levels, across, down }.into());
        };
        let frame = match &mut self.content {
            Content::Field(field) => return Ok(Some(field.clone())),
            Content::Dicom(instance) => instance.tile(position, grid)?,
            Content::Tiff { reader, pyramid } => pyramid.tile(reader, position, grid)?,
        };
        Ok(frame.map(|frame| {
            // The position is inside the grid: its corner lies inside the level.
            let left = |extent: u32, place: u32, tile: u32| extent - place * tile;
            let x1 = frame.width.min(left(level.columns, position.column, level.tile_columns));
            let y1 = frame.height.min(left(level.rows, position.row, level.tile_rows));
            if (x1, y1) == (frame.width, frame.height) {
                return Image { width: x1, height: y1, rgb: Arc::from(frame.into_rgb()) };
            }
            frame.cut(Rect { x0: 0, y0: 0, x1, y1 })
        }))
    }

    /// A tiled file of the size of a screen is judged by its pixels, as a picture without tiles is.
    fn refuse_screenshot(&mut self) -> Result<(), DecodeError> {
        let Some(level) = self.header.levels.first().copied() else { return Ok(()) };
        if u64::from(level.columns) * u64::from(level.rows) > SCREEN_PIXELS {
            return Ok(());
        }
        let grid = Grid::of(&level)?;
        let (columns, rows) = (level.columns as usize, level.rows as usize);
        // Glass is white, and so is what does not decode: it does not leave either.
        let mut rgb = vec![0xFF; 3 * columns * rows];
        for (row, column) in (0..grid.down).flat_map(|row| (0..grid.across).map(move |column| (row, column)))
        {
            let Ok(Some(tile)) = self.tile(TilePosition { level: 0, column, row }) else { continue };
            let left = (column * level.tile_columns) as usize;
            let lines = rgb.chunks_exact_mut(3 * columns).skip((row * level.tile_rows) as usize);
            for (line, from) in lines.zip(tile.rgb.chunks_exact(3 * tile.width as usize)) {
                if let Some(part) = line.get_mut(3 * left..3 * left + from.len()) {
                    part.copy_from_slice(from);
                }
            }
        }
        refuse_margin(&Frame { width: level.columns, height: level.rows, pixels: Pixels::Rgb(rgb) })
    }
}

/// A picture with a dark margin is taken for ultrasound: it leaves masked or not at all.
fn refuse_margin(frame: &Frame) -> Result<(), DecodeError> {
    match Mask::of_still(frame) {
        Ok(mask) if mask.source() == MaskSource::WholeImage => Ok(()),
        _ => Err(SlideError::NotMicroscopy { why: "it has a dark margin, as ultrasound has" }.into()),
    }
}

/// How many tiles a level has.
#[derive(Debug, Clone, Copy)]
struct Grid {
    across: u32,
    down: u32,
}

impl Grid {
    /// The grid of a level, if its tiles and their number can be handled.
    fn of(level: &SlideLevel) -> Result<Self, SlideError> {
        let &SlideLevel { columns, rows, tile_columns, tile_rows, .. } = level;
        if !(1..=MAX_FRAME_PIXELS).contains(&(u64::from(tile_columns) * u64::from(tile_rows))) {
            return Err(SlideError::TileTooLarge { columns: tile_columns, rows: tile_rows });
        }
        let grid = Self { across: columns.div_ceil(tile_columns), down: rows.div_ceil(tile_rows) };
        if grid.tiles() > MAX_TILES {
            return Err(SlideError::TooManyTiles { columns, rows });
        }
        Ok(grid)
    }

    fn tiles(self) -> u64 {
        u64::from(self.across) * u64::from(self.down)
    }

    fn contains(self, position: TilePosition) -> bool {
        position.column < self.across && position.row < self.down
    }

    /// Place of a tile inside the grid, row by row.
    fn index(self, position: TilePosition) -> u32 {
        position.row * self.across + position.column
    }
}
