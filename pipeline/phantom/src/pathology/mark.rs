//! The word PHANTOM in the pixels.
//!
//! Dots barely darker than glass on a plate of glass: readable by eye, below every threshold of tissue, and too faint
//! to count as detail.

use crate::echo::font;

use super::anatomy::Region;
use super::stain::GLASS;

const WORD: &str = "PHANTOM";
/// Optical density 0.04; the least that counts as tissue anywhere is 0.05.
const DOT: u8 = 229;
/// Dots of glass around the word.
const FRAME: i32 = 2;

/// Where the word stands, in pixels of the finest level.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    left: i32,
    top: i32,
    /// Side of a dot.
    dot: i32,
}

impl Mark {
    /// In the lower left corner of a field.
    pub(crate) fn of_field(rows: u32) -> Self {
        Self { left: 2, top: rows as i32 - Self::DOTS_DOWN - 2, dot: 1 }
    }

    /// On the glass above and left of a slide's tissue.
    pub(crate) fn of_slide(margin: f32) -> Self {
        let dot = (margin as i32 / (2 * Self::DOTS_DOWN)).max(1);
        Self { left: margin as i32 / 4, top: margin as i32 / 4, dot }
    }

    const DOTS_ACROSS: i32 = WORD.len() as i32 * (font::COLUMNS as i32 + 1) - 1 + 2 * FRAME;
    const DOTS_DOWN: i32 = font::ROWS as i32 + 2 * FRAME;

    /// The plate, all that the mark covers.
    pub(crate) fn plate(self) -> Region {
        Region {
            left: self.left,
            top: self.top,
            columns: (Self::DOTS_ACROSS * self.dot) as usize,
            rows: (Self::DOTS_DOWN * self.dot) as usize,
        }
    }

    /// The grey level at a place; none beside the plate.
    fn level(self, x: i32, y: i32) -> Option<u8> {
        let plate = self.plate();
        let (x, y) = (x - plate.left, y - plate.top);
        if x < 0 || y < 0 || x >= plate.columns as i32 || y >= plate.rows as i32 {
            return None;
        }
        let (column, row) = (x / self.dot - FRAME, y / self.dot - FRAME);
        let pitch = font::COLUMNS as i32 + 1;
        let dark = (0..font::ROWS as i32).contains(&row)
            && column >= 0
            && WORD.chars().nth((column / pitch) as usize).is_some_and(|letter| {
                font::columns(letter).get((column % pitch) as usize).is_some_and(|dots| dots >> row & 1 == 1)
            });
        Some(if dark { DOT } else { GLASS as u8 })
    }

    /// Draws what of the mark lies in `region`; tells each index of the region that it covers.
    pub(crate) fn draw(self, region: Region, rgb: &mut [u8]) -> Vec<usize> {
        let plate = self.plate();
        let mut covered = Vec::new();
        let span = |first: i32, count: usize, from: i32, length: usize| {
            let start = (from - first).clamp(0, count as i32) as usize;
            let end = (from + length as i32 - first).clamp(0, count as i32) as usize;
            start..end
        };
        for row in span(region.top, region.rows, plate.top, plate.rows) {
            for column in span(region.left, region.columns, plate.left, plate.columns) {
                if let Some(level) = self.level(region.left + column as i32, region.top + row as i32) {
                    let index = row * region.columns + column;
                    rgb[3 * index..3 * index + 3].fill(level);
                    covered.push(index);
                }
            }
        }
        covered
    }
}

/// A picture of the slide's label: black capitals on white, one line each.
pub(crate) fn label(lines: &[&str], columns: usize, rows: usize) -> Vec<u8> {
    const DOT_SIDE: usize = 2;
    let mut rgb = vec![250; 3 * columns * rows];
    for (number, line) in lines.iter().enumerate() {
        let top = 20 + number * (font::ROWS + 6) * DOT_SIDE;
        for (place, letter) in line.chars().enumerate() {
            for (across, dots) in font::columns(letter).into_iter().enumerate() {
                for down in (0..font::ROWS).filter(|down| dots >> down & 1 == 1) {
                    let left = 16 + (place * (font::COLUMNS + 1) + across) * DOT_SIDE;
                    for y in top + down * DOT_SIDE..top + (down + 1) * DOT_SIDE {
                        let start = 3 * (y * columns + left);
                        if left + DOT_SIDE <= columns && y < rows {
                            rgb[start..start + 3 * DOT_SIDE].fill(20);
                        }
                    }
                }
            }
        }
    }
    rgb
}
