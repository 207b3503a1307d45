//! A slide's levels, drawn tile by tile.
//!
//! ```text
//!  specimen ─tile─▶ strip 0 (width × 256) ─full─▶ JPEG tiles ─▶ spool 0
//!                      └─ mean of 4 × 4 ─▶ strip 1 ─full─▶ JPEG tiles ─▶ spool 1
//!                                             └─ mean of 4 × 4 ─▶ strip 2 ─▶ spool 2
//! ```
//! Memory is three strips, whatever the slide's height. A coarser level is a true reduction of the finer one before its
//! compression. The last tiles reach beyond the picture; there is glass there.

use std::io::Read;
use std::path::Path;

use super::PathologyError;
use super::anatomy::Region;
use super::files::Spool;
use super::stain::GLASS;

/// Side of a tile, pixels.
pub(crate) const TILE: usize = 256;
/// Pixels of a level that make one of the next, in each direction.
pub(crate) const REDUCTION: usize = 4;
/// Levels of a slide.
pub(crate) const LEVELS: usize = 3;
/// A tile without a sample darker than this is glass: camera noise has a standard deviation of 1 grey level.
const DARKEST_GLASS: u8 = GLASS as u8 - 8;

/// One compressed tile in a level's spool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    pub(crate) column: u32,
    pub(crate) row: u32,
    /// Bytes, even.
    pub(crate) length: u32,
    pub(crate) glass: bool,
}

/// One level, its tiles compressed and in row order.
pub(crate) struct Level {
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    pub(crate) tiles: Vec<Tile>,
    spool: Spool,
    tiles_across: usize,
    /// Rows of tiles' pixels gathered so far, `tiles_across * TILE` wide.
    strip: Vec<u8>,
    filled: usize,
    strips: u32,
}

impl Level {
    fn new(columns: u32, rows: u32, spool: Spool) -> Self {
        let tiles_across = (columns as usize).div_ceil(TILE);
        let strip = vec![GLASS as u8; 3 * TILE * TILE * tiles_across];
        Self { columns, rows, tiles: Vec::new(), spool, tiles_across, strip, filled: 0, strips: 0 }
    }

    fn width(&self) -> usize {
        self.tiles_across * TILE
    }

    /// Compresses the strip and begins the next.
    fn flush(&mut self, quality: u8) -> Result<(), PathologyError> {
        for column in 0..self.tiles_across {
            let rgb = self.tile(column);
            let fragment = jpeg(&rgb, [TILE as u16; 2], quality)?;
            self.tiles.push(Tile {
                column: column as u32,
                row: self.strips,
                length: fragment.len() as u32,
                glass: rgb.iter().all(|level| *level >= DARKEST_GLASS),
            });
            self.spool.push(&fragment)?;
        }
        self.strip.fill(GLASS as u8);
        self.filled = 0;
        self.strips += 1;
        Ok(())
    }

    fn tile(&self, column: usize) -> Vec<u8> {
        let rows = self.strip.chunks_exact(3 * self.width());
        rows.flat_map(|row| &row[3 * TILE * column..3 * TILE * (column + 1)]).copied().collect()
    }

    fn put(&mut self, column: usize, rgb: &[u8]) {
        let width = 3 * self.width();
        for (row, pixels) in rgb.chunks_exact(3 * TILE).enumerate() {
            let start = row * width + 3 * TILE * column;
            self.strip[start..start + pixels.len()].copy_from_slice(pixels);
        }
    }

    /// Takes a finer level's full strip, reduced.
    fn reduce(&mut self, finer: &Level) {
        let (from, to) = (3 * finer.width(), 3 * self.width());
        for row in 0..TILE / REDUCTION {
            for column in 0..finer.width() / REDUCTION {
                for channel in 0..3 {
                    let sum: u32 = (0..REDUCTION * REDUCTION)
                        .map(|place| {
                            let y = row * REDUCTION + place / REDUCTION;
                            let x = column * REDUCTION + place % REDUCTION;
                            u32::from(finer.strip[y * from + 3 * x + channel])
                        })
                        .sum();
                    let area = (REDUCTION * REDUCTION) as u32;
                    self.strip[(self.filled + row) * to + 3 * column + channel] =
                        ((sum + area / 2) / area) as u8;
                }
            }
        }
        self.filled += TILE / REDUCTION;
    }

    /// The compressed tiles that `kept` names, one after the other.
    pub(crate) fn bytes_of(&mut self, kept: impl Fn(&Tile) -> bool) -> Result<impl Read, PathologyError> {
        let mut ranges = Vec::new();
        let mut start = 0;
        for tile in &self.tiles {
            let end = start + u64::from(tile.length);
            if kept(tile) {
                ranges.push(start..end);
            }
            start = end;
        }
        self.spool.read(ranges)
    }
}

/// Draws every level; `draw` gives a tile of the finest. Spools lie in `folder` until the levels are dropped.
pub(crate) fn build(
    extent: [u32; 2],
    quality: u8,
    folder: &Path,
    mut draw: impl FnMut(Region) -> Vec<u8>,
) -> Result<Vec<Level>, PathologyError> {
    let mut levels = Vec::with_capacity(LEVELS);
    let [mut columns, mut rows] = extent;
    for number in 0..LEVELS {
        let spool = Spool::create(folder.join(format!("level-{number}.tiles")))?;
        levels.push(Level::new(columns, rows, spool));
        [columns, rows] = [columns, rows].map(|side| side.div_ceil(REDUCTION as u32));
    }
    let Some((across, down)) =
        levels.first().map(|base| (base.tiles_across, (base.rows as usize).div_ceil(TILE)))
    else {
        return Ok(levels);
    };
    for row in 0..down {
        for column in 0..across {
            let tile =
                Region { left: (column * TILE) as i32, top: (row * TILE) as i32, columns: TILE, rows: TILE };
            let rgb = draw(tile);
            if let Some(base) = levels.first_mut() {
                base.put(column, &rgb);
                base.filled = TILE;
            }
        }
        pass_on(&mut levels, quality, row + 1 == down)?;
    }
    Ok(levels)
}

/// Passes full strips up the pyramid; at the `end`, unfinished ones too.
fn pass_on(levels: &mut [Level], quality: u8, end: bool) -> Result<(), PathologyError> {
    let Some((level, coarser)) = levels.split_first_mut() else { return Ok(()) };
    let full = level.filled == TILE || end && level.filled > 0;
    if full {
        if let Some(next) = coarser.first_mut() {
            next.reduce(level);
        }
        level.flush(quality)?;
    }
    if full || end { pass_on(coarser, quality, end) } else { Ok(()) }
}

/// Baseline JPEG, 4:2:2, padded to even length (PS3.5 A.4).
pub(crate) fn jpeg(rgb: &[u8], [columns, rows]: [u16; 2], quality: u8) -> Result<Vec<u8>, PathologyError> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_1);
    encoder.encode(rgb, columns, rows, jpeg_encoder::ColorType::Rgb).map_err(PathologyError::Jpeg)?;
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    Ok(bytes)
}
