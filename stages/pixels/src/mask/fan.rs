//! The fan in the pixels: bright, dense, connected, convex hull.
//!
//! Dense is what tells tissue from text: most pixels around a tissue pixel are brighter than black, while the strokes of
//! text, however bright, fill about a third of their lines (half in a picture scaled down). How sure that must be depends
//! on who says that there is tissue; see [`Search`].

use super::Span;
use crate::header::Rect;

/// Luma up to here counts as black: JPEG noise around text and edges stays below.
pub(super) const BLACK: u8 = 10;
/// A part that spans the whole width and less than this share of the height is a banner, however bright.
const BANNER_SHARE: f64 = 0.25;

/// Where the fan is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// In a tissue region that the device declares: every part that is at least half dense and not tiny belongs to it. On
    /// a straight edge the density is one half, so the hull neither grows nor shrinks.
    Region(Rect),
    /// In a whole picture, with text anywhere: the largest part that is three quarters dense. The hull shrinks by a few
    /// pixels: it errs towards hiding.
    Picture,
}

/// Share of a region below which a part is tiny.
const TINY_SHARE: f64 = 0.02;

/// A picture of bits, cut to the rectangle looked at.
struct Bits {
    width: usize,
    bits: Vec<bool>,
}

/// The hull of what is found, as one span per row of the whole picture (`luma` has `width` columns). Empty spans where
/// there is nothing.
pub(super) fn hull(luma: &[u8], width: u32, search: Search) -> Vec<Span> {
    let height = luma.len() / (width as usize).max(1);
    let (within, quarters) = match search {
        Search::Region(rect) => (rect, 2),
        Search::Picture => (Rect { x0: 0, y0: 0, x1: width, y1: height as u32 }, 3),
    };
    let mut rows = vec![Span::default(); height];
    let bits = bright(luma, width as usize, within);
    // Wider than a letter is high: 11 pixels at 240 rows, 17 at 600.
    let reach = (height / 64).clamp(5, 16);
    let extents = parts(&dense(&bits, reach, quarters), search);
    let hull = Hull::around(&extents);
    for (y, row) in rows.iter_mut().enumerate().skip(within.y0 as usize).take(extents.len()) {
        if let Some((left, right)) = hull.at(y as i64 - i64::from(within.y0)) {
            *row = Span { start: within.x0 + left, end: (within.x0 + right + 1).min(within.x1) };
        }
    }
    rows
}

fn bright(luma: &[u8], width: usize, within: Rect) -> Bits {
    let columns = within.x0 as usize..within.x1 as usize;
    let bits = luma
        .chunks_exact(width.max(1))
        .skip(within.y0 as usize)
        .take(within.height() as usize)
        .flat_map(|row| row.get(columns.clone()).unwrap_or_default())
        .map(|value| *value > BLACK)
        .collect();
    Bits { width: columns.len(), bits }
}

/// Where at least so many quarters of the square of `2 reach + 1` pixels around is set. Beyond the border counts as unset only as far
/// as the square is cut: a fan that touches the border stays whole.
fn dense(bits: &Bits, reach: usize, quarters: usize) -> Bits {
    let width = bits.width.max(1);
    let height = bits.bits.len() / width;
    let mut out = Vec::with_capacity(bits.bits.len());
    // Set pixels of each column within the rows of the square.
    let mut columns = vec![0_u32; width];
    let row = |y: usize| bits.bits.get(y * width..(y + 1) * width).unwrap_or_default();
    for y in 0..reach.min(height) {
        columns.iter_mut().zip(row(y)).for_each(|(count, bit)| *count += u32::from(*bit));
    }
    for y in 0..height {
        columns.iter_mut().zip(row(y + reach)).for_each(|(count, bit)| *count += u32::from(*bit));
        if let Some(left) = y.checked_sub(reach + 1) {
            columns.iter_mut().zip(row(left)).for_each(|(count, bit)| *count -= u32::from(*bit));
        }
        let tall = (y + reach + 1).min(height) - y.saturating_sub(reach);
        let mut set: u32 = columns.iter().take(reach).sum();
        for x in 0..width {
            set += columns.get(x + reach).copied().unwrap_or(0);
            set -= x.checked_sub(reach + 1).and_then(|left| columns.get(left)).copied().unwrap_or(0);
            let wide = (x + reach + 1).min(width) - x.saturating_sub(reach);
            out.push(4 * set as usize >= quarters * tall * wide);
        }
    }
    Bits { width: bits.width, bits: out }
}

/// Leftmost and rightmost bit of each row, over the 8-connected parts that the search wants.
fn parts(bits: &Bits, search: Search) -> Vec<Option<(u32, u32)>> {
    let width = bits.width.max(1);
    let height = bits.bits.len() / width;
    let tiny = (TINY_SHARE * bits.bits.len() as f64) as usize;
    let mut wanted: Vec<Option<(u32, u32)>> = vec![None; height];
    let mut largest = 0;
    let mut unseen = bits.bits.clone();
    let mut stack = Vec::new();
    for seed in 0..unseen.len() {
        if !unseen.get(seed).copied().unwrap_or(false) {
            continue;
        }
        let mut size = 0_usize;
        let mut extents: Vec<Option<(u32, u32)>> = vec![None; height];
        stack.push(seed);
        if let Some(bit) = unseen.get_mut(seed) {
            *bit = false;
        }
        while let Some(at) = stack.pop() {
            size += 1;
            let (x, y) = (at % width, at / width);
            if let Some(extent) = extents.get_mut(y) {
                let (left, right) = extent.unwrap_or((x as u32, x as u32));
                *extent = Some((left.min(x as u32), right.max(x as u32)));
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
        match search {
            Search::Region(_) if size > tiny => {
                for (all, part) in wanted.iter_mut().zip(extents) {
                    *all = all.zip(part).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1))).or(*all).or(part);
                }
            }
            Search::Picture if size > largest && !is_banner(&extents, width) => {
                largest = size;
                wanted = extents;
            }
            _ => {}
        }
    }
    wanted
}

fn is_banner(extents: &[Option<(u32, u32)>], width: usize) -> bool {
    let tall = extents.iter().flatten().count();
    let spans = |(left, right): &(u32, u32)| *left == 0 && *right as usize + 1 == width;
    extents.iter().flatten().any(spans) && (tall as f64) < BANNER_SHARE * extents.len() as f64
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
