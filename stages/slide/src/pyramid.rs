//! The levels of one slide, whichever instances hold them.

use raster::Window;
use schemas::{BlobRef, SeriesUid};
use stage::{FrameError, Frames, Image, SlideHeader, SlideLevel, TilePosition};

/// What a tile that a sparse slide leaves out looks like.
const GLASS: u8 = 255;
/// By how much the physical extents of two levels of one slide may differ: scanners round levels to whole tiles.
const EXTENT_TOLERANCE: f64 = 0.05;
/// Least ratio of resolutions between two levels of one slide; scanners use 2 or 4.
const LEVEL_STEP: f64 = 1.4;

/// One resolution of a slide and where it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// The instance that holds it.
    pub blob: BlobRef,
    /// Which of the instance's levels.
    pub index: u32,
    /// Its size and tiles.
    pub grid: SlideLevel,
}

/// A slide: its levels, finest first. Never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Pyramid {
    finest: Level,
    coarser: Vec<Level>,
}

/// An instance that may be a slide or hold a level of one.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Levels of one slide share a series.
    pub series_uid: &'a SeriesUid,
    /// The instance.
    pub blob: &'a BlobRef,
    /// Its levels.
    pub header: &'a SlideHeader,
}

/// Puts `parts` together: for each slide the part with its finest level, by position in `parts`, and its levels from
/// all parts. A part without a slide of its own is a coarser level of another.
///
/// A DICOM slide has an instance for each level. A part joins a slide of its series if it shows the same extent at a
/// coarser resolution that the slide does not have yet. A field of view, all in one tile, has no other levels.
pub fn pyramids(parts: &[Part<'_>]) -> Vec<(usize, Pyramid)> {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    let resolution = |index: &usize| {
        let level = parts.get(*index).and_then(|part| part.header.levels.first());
        level.and_then(|level| level.microns_per_pixel).map_or(0.0, |[across, _]| across)
    };
    order.sort_by(|a, b| resolution(a).total_cmp(&resolution(b)));
    let mut slides: Vec<(usize, Pyramid)> = Vec::new();
    for index in order {
        let Some((part, pyramid)) =
            parts.get(index).and_then(|part| Some((part, Pyramid::of(part.blob, part.header)?)))
        else {
            continue;
        };
        let home = slides.iter_mut().find(|(at, slide)| {
            parts.get(*at).is_some_and(|other| other.series_uid == part.series_uid)
                && slide.takes(&pyramid.finest)
        });
        if let Some((_, slide)) = home {
            slide.coarser.push(pyramid.finest);
            slide.coarser.extend(pyramid.coarser);
        } else {
            slides.push((index, pyramid));
        }
    }
    slides.sort_by_key(|(index, _)| *index);
    slides
}

impl Pyramid {
    /// The levels of one instance; `None` for a header without one.
    pub fn of(blob: &BlobRef, header: &SlideHeader) -> Option<Self> {
        let level = |(index, grid): (usize, &SlideLevel)| Level {
            blob: blob.clone(),
            index: index as u32,
            grid: *grid,
        };
        let mut levels = header.levels.iter().enumerate().map(level);
        Some(Self { finest: levels.next()?, coarser: levels.collect() })
    }

    fn takes(&self, level: &Level) -> bool {
        let apart = |resolution: f64| {
            self.levels().all(|mine| {
                self.microns_per_pixel(mine).is_some_and(|[across, _]| {
                    !(1.0 / LEVEL_STEP..=LEVEL_STEP).contains(&(resolution / across))
                })
            })
        };
        let extent = |level: &Level| {
            level.grid.microns_per_pixel.map(|[across, down]| {
                [f64::from(level.grid.columns) * across, f64::from(level.grid.rows) * down]
            })
        };
        let same = |a: f64, b: f64| (a - b).abs() <= EXTENT_TOLERANCE * a.max(b);
        let (Some([width, height]), Some([other_width, other_height]), Some([across, _])) =
            (extent(&self.finest), extent(level), level.grid.microns_per_pixel)
        else {
            return false;
        };
        !self.is_field() && same(width, other_width) && same(height, other_height) && apart(across)
    }

    /// Whether all of it is one tile: a field of view.
    pub fn is_field(&self) -> bool {
        let grid = &self.finest.grid;
        self.coarser.is_empty() && grid.tile_columns >= grid.columns && grid.tile_rows >= grid.rows
    }

    /// The level of highest resolution; its pixels are the slide's coordinates.
    pub fn finest(&self) -> &Level {
        &self.finest
    }

    /// All levels, finest first.
    pub fn levels(&self) -> impl DoubleEndedIterator<Item = &Level> {
        std::iter::once(&self.finest).chain(&self.coarser)
    }

    /// Pixels of the finest level in one of `level`, across and down.
    pub fn downsample(&self, level: &Level) -> [f64; 2] {
        let ratio = |fine: u32, coarse: u32| f64::from(fine) / f64::from(coarse.max(1));
        [ratio(self.finest.grid.columns, level.grid.columns), ratio(self.finest.grid.rows, level.grid.rows)]
    }

    /// Micrometres in a pixel of `level`, said by it or by the finest; `None` where the file does not say.
    pub fn microns_per_pixel(&self, level: &Level) -> Option<[f64; 2]> {
        level.grid.microns_per_pixel.or_else(|| {
            let [across, down] = self.finest.grid.microns_per_pixel?;
            let [wide, high] = self.downsample(level);
            Some([across * wide, down * high])
        })
    }
}

impl Level {
    /// Tiles across and down.
    pub fn tiles(&self) -> [u32; 2] {
        let count = |pixels: u32, tile: u32| pixels.div_ceil(tile.max(1));
        [count(self.grid.columns, self.grid.tile_columns), count(self.grid.rows, self.grid.tile_rows)]
    }

    /// The tile in this column and row; `None` is glass.
    pub fn tile(&self, frames: &dyn Frames, column: u32, row: u32) -> Result<Option<Image>, FrameError> {
        frames.tile(&self.blob, TilePosition { level: self.index, column, row })
    }

    /// A part of the level, put together from the tiles that it touches, one after the other. The window is cut to
    /// the level.
    pub fn region(&self, frames: &dyn Frames, window: Window) -> Result<Image, FrameError> {
        let window = Window::inside(window.to_array(), self.grid.columns, self.grid.rows);
        let (tile_width, tile_height) =
            (self.grid.tile_columns.max(1) as usize, self.grid.tile_rows.max(1) as usize);
        let columns = window.left / tile_width..=(window.left + window.width).saturating_sub(1) / tile_width;
        let rows = window.top / tile_height..=(window.top + window.height).saturating_sub(1) / tile_height;
        let whole = [0, 0, self.grid.columns, self.grid.rows] == window.to_array();
        let mut rgb = vec![GLASS; 3 * window.width * window.height];
        for row in rows {
            for column in columns.clone() {
                let Some(tile) = self.tile(frames, column as u32, row as u32)? else { continue };
                if whole && [tile.width, tile.height] == [self.grid.columns, self.grid.rows] {
                    return Ok(tile);
                }
                paste(&tile, [column * tile_width, row * tile_height], window, &mut rgb);
            }
        }
        Ok(Image { width: window.width as u32, height: window.height as u32, rgb: rgb.into() })
    }
}

/// Copies what of `tile`, whose corner lies at `at`, falls into `window`.
fn paste(tile: &Image, [left, top]: [usize; 2], window: Window, rgb: &mut [u8]) {
    let skip = window.left.saturating_sub(left);
    let to = left.saturating_sub(window.left);
    let wide = (tile.width as usize).saturating_sub(skip).min(window.width.saturating_sub(to));
    let source = tile.rgb.chunks_exact(3 * (tile.width as usize).max(1));
    for (y, line) in source.enumerate() {
        let Some(target) = (top + y).checked_sub(window.top).filter(|target| *target < window.height) else {
            continue;
        };
        let from = line.get(3 * skip..3 * (skip + wide));
        let start = 3 * (target * window.width + to);
        if let (Some(from), Some(into)) = (from, rgb.get_mut(start..start + 3 * wide)) {
            into.copy_from_slice(from);
        }
    }
}
