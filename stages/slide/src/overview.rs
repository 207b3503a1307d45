//! The whole slide in one small picture.

use schemas::ReasonCode;
use stage::{FrameError, Frames, Image};

use crate::pyramid::{Level, Pyramid};

/// Longest side of an overview in pixels. A section of 20 mm is then seen at 20 µm/px, coarser than the 1.25x
/// (8 µm/px) at which tissue is usually looked for; a field of view up to this size is seen as it is.
pub const OVERVIEW_SIDE: u32 = 1024;
/// A level shorter than this is too coarse to look for tissue in.
const LEAST_SIDE: u32 = 512;

/// A slide reduced by area, and how to get back to its pixels.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The picture.
    pub image: Image,
    /// Pixels of the finest level in one of the picture, across and down.
    pub scale: [f64; 2],
    /// Tiles that were read.
    pub read: u32,
    /// Of them, tiles that do not decode.
    pub damaged: u32,
    /// Why the first of those does not.
    pub damage: Option<ReasonCode>,
}

impl Overview {
    /// Reads the coarsest level that is not too coarse, tile by tile. Of a level with more than `most_tiles` tiles
    /// only every second, third … row and column of tiles is read and stands for its neighbours.
    pub fn read(pyramid: &Pyramid, frames: &dyn Frames, most_tiles: u32) -> Result<Self, FrameError> {
        let long = |level: &Level| level.grid.columns.max(level.grid.rows);
        let level =
            pyramid.levels().rev().find(|level| long(level) >= LEAST_SIDE).unwrap_or(pyramid.finest());
        let [columns, rows] = level.tiles();
        let read = |step: u32| u64::from(columns.div_ceil(step)) * u64::from(rows.div_ceil(step));
        let step = (1..=columns.max(rows)).find(|step| read(*step) <= u64::from(most_tiles)).unwrap_or(1);
        let across = Axis::new(level.grid.columns, level.grid.tile_columns, step);
        let down = Axis::new(level.grid.rows, level.grid.tile_rows, step);
        let factor = across.length.max(down.length).div_ceil(OVERVIEW_SIDE).max(1);
        let mut sums = Sums::new(across.length.div_ceil(factor), down.length.div_ceil(factor));
        let (mut read, mut damaged, mut damage) = (0, 0, None);
        for (row, top) in down.tiles() {
            for (column, left) in across.tiles() {
                read += 1;
                match level.tile(frames, column, row) {
                    Ok(Some(tile)) => sums.add(&tile, [left, top], factor),
                    Ok(None) => {}
                    Err(FrameError::Damaged { code, .. }) => {
                        damaged += 1;
                        damage.get_or_insert(code);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let image = sums.picture();
        let scale = |pixels: u32, over: u32| f64::from(pixels) / f64::from(over.max(1));
        let finest = &pyramid.finest().grid;
        Ok(Self {
            scale: [scale(finest.columns, image.width), scale(finest.rows, image.height)],
            image,
            read,
            damaged,
            damage,
        })
    }
}

impl Overview {
    /// Columns and rows of the picture under `bbox`: left, top, width, height in pixels of the finest level.
    pub fn cells(&self, bbox: [u32; 4]) -> [std::ops::Range<usize>; 2] {
        let range = |axis: usize, limit: u32| {
            let [from, length] = [bbox[axis], bbox[axis + 2]].map(f64::from);
            let start = (from / self.scale[axis]).floor() as usize;
            let end = ((from + length) / self.scale[axis]).ceil() as usize;
            start.min(limit as usize)..end.min(limit as usize)
        };
        [range(0, self.image.width), range(1, self.image.height)]
    }

    /// The picture's pixels under `bbox`.
    pub fn pixels(&self, bbox: [u32; 4]) -> impl Iterator<Item = [u8; 3]> + '_ {
        let [columns, rows] = self.cells(bbox);
        let (pixels, _) = self.image.rgb.as_chunks::<3>();
        let width = self.image.width as usize;
        let row = move |y: usize| pixels.get(y * width + columns.start..y * width + columns.end);
        rows.filter_map(row).flatten().copied()
    }
}

/// The tiles that are read along one axis, laid side by side.
struct Axis {
    tile: u32,
    count: u32,
    step: u32,
    /// Pixels side by side.
    length: u32,
}

impl Axis {
    fn new(pixels: u32, tile: u32, step: u32) -> Self {
        let tile = tile.max(1);
        let count = pixels.div_ceil(tile).div_ceil(step);
        let last = count.saturating_sub(1);
        let length = last * tile + tile.min(pixels.saturating_sub(last * step * tile));
        Self { tile, count, step, length }
    }

    /// Number of each tile and where it is laid.
    fn tiles(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        let (tile, step) = (self.tile, self.step);
        (0..self.count).map(move |index| (index * step, index * tile))
    }
}

/// For each pixel of the overview the sum of red, green and blue, and how many pixels it covers.
struct Sums {
    width: u32,
    height: u32,
    cells: Vec<[u32; 4]>,
}

impl Sums {
    fn new(width: u32, height: u32) -> Self {
        Self { width, height, cells: vec![[0; 4]; width as usize * height as usize] }
    }

    fn add(&mut self, tile: &Image, [left, top]: [u32; 2], factor: u32) {
        let columns: Vec<usize> = (0..tile.width).map(|x| ((left + x) / factor) as usize).collect();
        let (pixels, _) = tile.rgb.as_chunks::<3>();
        for (y, line) in (0..).zip(pixels.chunks_exact((tile.width as usize).max(1))) {
            let start = ((top + y) / factor) as usize * self.width as usize;
            let Some(cells) = self.cells.get_mut(start..start + self.width as usize) else { return };
            for (pixel, column) in line.iter().zip(&columns) {
                if let Some([r, g, b, count]) = cells.get_mut(*column) {
                    *r += u32::from(pixel[0]);
                    *g += u32::from(pixel[1]);
                    *b += u32::from(pixel[2]);
                    *count += 1;
                }
            }
        }
    }

    /// The mean of each cell; one that nothing covers is glass.
    fn picture(&self) -> Image {
        let mean = |[r, g, b, count]: &[u32; 4]| match *count {
            0 => [255; 3],
            count => [*r, *g, *b].map(|sum| ((sum + count / 2) / count) as u8),
        };
        Image { width: self.width, height: self.height, rgb: self.cells.iter().flat_map(mean).collect() }
    }
}
