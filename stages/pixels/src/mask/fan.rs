//! The fan in the pixels: bright, dense, connected, convex hull.
//!
//! Dense is what tells tissue from text: around a tissue pixel most others are brighter than black, while the strokes of
//! text, however bright, fill about a third of their lines (half in a picture scaled down).
//!
//! ```text
//!   brighter than the screen ─▶ density around each pixel ─▶ parts joined where half dense ─▶ hull of the dense pixels
//! ```
//! Dense is a pixel around which four fifths are lit on each side, and not by bright strokes. So one outside the fan is dense only
//! if what lies farther out is, and text is not: it never pushes the hull outwards, even where it touches the fan. The hull errs towards hiding: it
//! stays some pixels inside the fan's edge. A sector that a dark one cuts in two is joined where both meet near the transducer.

use super::Span;
use crate::header::Rect;

/// This much above the background counts as lit: JPEG noise around text and edges stays below.
pub(super) const BLACK: u8 = 10;
/// The background of a screen is black or dark grey, up to this luma; what is brighter everywhere is a picture.
const BACKGROUND: u8 = 40;
/// One pixel in so many is darker than the background level.
const DARKEST: usize = 20;
/// Where at least 3 pixels in 20 are above this luma, and less than 3 in 4 above a quarter of it, there is text: in tissue what
/// lies around bright pixels is not dark.
const STROKE: u8 = 128;
/// A part that spans this share of the width …
const BANNER_WIDTH: f64 = 0.9;
/// … and less than this share of the height is a banner, however bright.
const BANNER_HEIGHT: f64 = 0.25;
/// Beside the largest part, a region's tissue is what has at least this share of its pixels.
const PART_SHARE: f64 = 1.0 / 8.0;

/// Where the fan is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// In a tissue region that the device declares: the largest part, and others of like size.
    Region(Rect),
    /// In a whole picture, with anything anywhere: the largest part alone.
    Picture,
}

/// The hull of what is found, as one span per row of the whole picture (`luma` has `width` columns). Empty spans where
/// there is nothing.
pub(super) fn hull(luma: &[u8], width: u32, search: Search) -> Vec<Span> {
    let height = luma.len() / (width as usize).max(1);
    let within = match search {
        Search::Region(rect) => rect,
        Search::Picture => Rect { x0: 0, y0: 0, x1: width, y1: height as u32 },
    };
    let mut rows = vec![Span::default(); height];
    let density = density(luma, width as usize, within, reach(height));
    let hull = Hull::around(&tissue(parts(&density), search, within.width()));
    for (y, row) in rows.iter_mut().enumerate().skip(within.y0 as usize).take(within.height() as usize) {
        if let Some((left, right)) = hull.at(y as i64 - i64::from(within.y0)) {
            *row = Span { start: within.x0 + left, end: (within.x0 + right + 1).min(within.x1) };
        }
    }
    rows
}

/// Half the side of the square that density is measured in, in pixels: the square is wider than a letter is high, 11 pixels
/// at 240 rows and 19 at 600.
pub(super) fn reach(height: usize) -> usize {
    (height / 64).clamp(5, 16)
}

/// Something for each pixel, row by row.
struct Grid<T> {
    width: usize,
    cells: Vec<T>,
}

/// The luma of the screen in `within`.
fn background(luma: &[u8], width: usize, within: Rect) -> u8 {
    let rows = luma.chunks_exact(width.max(1)).skip(within.y0 as usize).take(within.height() as usize);
    let columns = within.x0 as usize..within.x1 as usize;
    let mut least = vec![0_usize; usize::from(BACKGROUND) + 1];
    for value in rows.flat_map(|row| row.get(columns.clone()).unwrap_or_default()) {
        if let Some(count) = least.get_mut(usize::from(*value)) {
            *count += 1;
        }
    }
    let mut so_far = 0;
    let enough = least.iter().position(|count| {
        so_far += count;
        so_far * DARKEST >= within.area() as usize
    });
    enough.map_or(BACKGROUND, |level| level as u8)
}

/// How much around a pixel is lit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Density {
    /// Less than half of the square: screen, or text.
    Sparse,
    /// Half of the square: the edge of tissue, or its dark parts.
    Half,
    /// Four fifths of each half of the square: left, right, upper and lower; and no bright strokes on something darker.
    Dense,
}

/// The density of the square of `2 reach + 1` pixels around each pixel in `within`. Beyond the picture is dark.
fn density(luma: &[u8], width: usize, within: Rect, reach: usize) -> Grid<Density> {
    let lit = background(luma, width, within).saturating_add(BLACK);
    let height = luma.len() / width.max(1);
    let square = (2 * reach + 1) * (2 * reach + 1);
    let half = (2 * reach + 1) * (reach + 1);
    let mut whole = Band::new(width, lit, (reach, reach));
    let mut upper = Band::new(width, lit, (reach, 0));
    let mut lower = Band::new(width, lit, (0, reach));
    let mut strokes = Band::new(width, STROKE, (reach, reach));
    let mut shades = Band::new(width, STROKE / 4, (reach, reach));
    let row = |y: usize| luma.get(y * width..(y + 1) * width).unwrap_or_default();
    let mut cells = Vec::with_capacity(within.area() as usize);
    for y in 0..(within.y1 as usize).min(height) {
        for band in [&mut whole, &mut upper, &mut lower, &mut strokes, &mut shades] {
            band.advance(y, row);
        }
        if y < within.y0 as usize {
            continue;
        }
        for x in within.x0 as usize..within.x1 as usize {
            let (left, right) = (x.saturating_sub(reach), (x + reach + 1).min(width));
            let most = |set: usize| 5 * set >= 4 * half;
            let all = whole.within(left, right);
            let is_text = || {
                20 * strokes.within(left, right) >= 3 * square && 4 * shades.within(left, right) < 3 * square
            };
            cells.push(if 2 * all < square {
                Density::Sparse
            } else if most(whole.within(left, x + 1))
                && most(whole.within(x, right))
                && most(upper.within(left, right))
                && most(lower.within(left, right))
                && !is_text()
            {
                Density::Dense
            } else {
                Density::Half
            });
        }
    }
    Grid { width: within.width() as usize, cells }
}

/// Counts pixels above a level in a band of rows that moves down the picture.
struct Band {
    level: u8,
    /// Rows above and below the middle one.
    rows: (usize, usize),
    /// Of each column …
    columns: Vec<usize>,
    /// … and of all columns left of each.
    sums: Vec<usize>,
}

impl Band {
    fn new(width: usize, level: u8, rows: (usize, usize)) -> Self {
        Self { level, rows, columns: vec![0; width], sums: vec![0; width + 1] }
    }

    /// Moves the middle to row `y`, one below the last or 0. `row` gives nothing beyond the picture.
    fn advance<'a>(&mut self, y: usize, row: impl Fn(usize) -> &'a [u8]) {
        let (above, below) = self.rows;
        let (columns, level) = (&mut self.columns, self.level);
        let entering = if y == 0 { 0..=below } else { y + below..=y + below };
        for row in entering.map(&row) {
            columns.iter_mut().zip(row).for_each(|(count, value)| *count += usize::from(*value > level));
        }
        if let Some(leaving) = y.checked_sub(above + 1) {
            let row = row(leaving);
            columns.iter_mut().zip(row).for_each(|(count, value)| *count -= usize::from(*value > level));
        }
        let mut sum = 0;
        for (total, count) in self.sums.iter_mut().skip(1).zip(columns) {
            sum += *count;
            *total = sum;
        }
    }

    /// Pixels from column `left` to before `right`.
    fn within(&self, left: usize, right: usize) -> usize {
        let before = |x| self.sums.get(x).copied().unwrap_or(0);
        before(right) - before(left)
    }
}

/// Leftmost and rightmost pixel of each row.
type Extents = Vec<Option<(u32, u32)>>;

/// Pixels that hang together where they are half dense.
struct Part {
    /// How many are dense …
    size: usize,
    /// … and where.
    extents: Extents,
}

/// The 8-connected parts that have a dense pixel.
fn parts(density: &Grid<Density>) -> Vec<Part> {
    let width = density.width.max(1);
    let height = density.cells.len() / width;
    let mut parts = Vec::new();
    let mut unseen: Vec<bool> = density.cells.iter().map(|density| *density >= Density::Half).collect();
    let mut stack = Vec::new();
    for seed in 0..unseen.len() {
        if density.cells.get(seed) != Some(&Density::Dense) || !unseen.get(seed).copied().unwrap_or(false) {
            continue;
        }
        let mut part = Part { size: 0, extents: vec![None; height] };
        stack.push(seed);
        if let Some(bit) = unseen.get_mut(seed) {
            *bit = false;
        }
        while let Some(at) = stack.pop() {
            let (x, y) = (at % width, at / width);
            if density.cells.get(at) == Some(&Density::Dense)
                && let Some(extent) = part.extents.get_mut(y)
            {
                let (left, right) = extent.unwrap_or((x as u32, x as u32));
                *extent = Some((left.min(x as u32), right.max(x as u32)));
                part.size += 1;
            }
            for ny in y.saturating_sub(1)..(y + 2).min(height) {
                for nx in x.saturating_sub(1)..(x + 2).min(width) {
                    if let Some(bit) = unseen.get_mut(ny * width + nx).filter(|bit| **bit) {
                        *bit = false;
                        stack.push(ny * width + nx);
                    }
                }
            }
        }
        parts.push(part);
    }
    parts
}

/// Where the parts that the search wants lie.
fn tissue(mut parts: Vec<Part>, search: Search, width: u32) -> Extents {
    parts.retain(|part| !is_banner(&part.extents, width));
    let Some(largest) = parts.iter().map(|part| part.size).max() else { return Vec::new() };
    let least = match search {
        Search::Region(_) => (largest as f64 * PART_SHARE).ceil() as usize,
        Search::Picture => largest,
    };
    // Of two equally large parts of a picture the upper one.
    let wanted = parts.into_iter().filter(|part| part.size >= least);
    let wanted = wanted.take(if search == Search::Picture { 1 } else { usize::MAX });
    wanted.map(|part| part.extents).reduce(widest).unwrap_or_default()
}

fn widest(mut all: Extents, part: Extents) -> Extents {
    for (all, part) in all.iter_mut().zip(part) {
        *all = all.zip(part).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1))).or(*all).or(part);
    }
    all
}

fn is_banner(extents: &[Option<(u32, u32)>], width: u32) -> bool {
    let tall = extents.iter().flatten().count();
    let spans = |(left, right): &(u32, u32)| f64::from(right - left + 1) >= BANNER_WIDTH * f64::from(width);
    extents.iter().flatten().any(spans) && (tall as f64) < BANNER_HEIGHT * extents.len() as f64
}

/// The left and right chain of a convex hull, as points (x, y) with rising y.
struct Hull {
    left: Vec<(i64, i64)>,
    right: Vec<(i64, i64)>,
}

impl Hull {
    fn around(extents: &[Option<(u32, u32)>]) -> Self {
        let mut hull = Self { left: Vec::new(), right: Vec::new() };
        for (y, extent) in extents.iter().enumerate() {
            if let Some((left, right)) = extent {
                push(&mut hull.left, (i64::from(*left), y as i64), 1);
                push(&mut hull.right, (i64::from(*right), y as i64), -1);
            }
        }
        hull
    }

    /// Leftmost and rightmost pixel of row `y`.
    fn at(&self, y: i64) -> Option<(u32, u32)> {
        let left = along(&self.left, y)?.ceil();
        let right = along(&self.right, y)?.floor();
        (left <= right).then_some((left as u32, right as u32))
    }
}

/// Andrew's monotone chain on rows: drops the points that bend the chain inwards.
fn push(chain: &mut Vec<(i64, i64)>, point: (i64, i64), outward: i64) {
    while let &[.., (ax, ay), (bx, by)] = chain.as_slice() {
        let bend = (bx - ax) * (point.1 - ay) - (by - ay) * (point.0 - ax);
        if bend * outward < 0 {
            break;
        }
        chain.pop();
    }
    chain.push(point);
}

fn along(chain: &[(i64, i64)], y: i64) -> Option<f64> {
    let next = chain.partition_point(|point| point.1 < y);
    let &(bx, by) = chain.get(next)?;
    if by == y {
        return Some(bx as f64);
    }
    let &(ax, ay) = chain.get(next.checked_sub(1)?)?;
    Some(ax as f64 + (bx - ax) as f64 * (y - ay) as f64 / (by - ay) as f64)
}
