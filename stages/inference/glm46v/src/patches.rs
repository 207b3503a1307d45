//! From pixels to the vision tower's input: the size a picture is resized to, and the order of its patches.
//!
//! ```text
//! picture ─ smart_resize ─ resize_bicubic ─ normalise ─▶ patches in blocks of merge × merge:
//!
//!   0  1 │ 4  5        Each patch is [channel][frame][row][column], 3 × 2 × 14 × 14 = 1176 values. A still picture
//!   2  3 │ 6  7        fills both frames. Four consecutive patches become one vision token.
//!   ─────┼─────
//!   8  9 │12 13
//! ```
//!
//! Source: transformers `image_processing_glm46v.py`, `image_processing_pil_glm46v.py`.

use image::RgbImage;
use rayon::prelude::*;

use crate::picture_config::PictureConfig;
use crate::resample::resize_bicubic;

/// Longest side over shortest side that the model accepts.
const LARGEST_ASPECT: f64 = 200.0;
/// Of an [`RgbImage`].
const BYTES_PER_PIXEL: usize = 3;

/// Patches of one picture or of one temporal group of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Rows of patches.
    pub height: usize,
    /// Columns of patches.
    pub width: usize,
}

impl Grid {
    /// Number of patches.
    pub fn patches(self) -> usize {
        self.height * self.width
    }

    /// Number of vision tokens, of `merge` × `merge` patches each.
    pub(crate) fn vision_tokens(self, merge: usize) -> usize {
        self.patches() / (merge * merge)
    }

    /// Rows and columns in merge blocks, in the order in which the patches are stored.
    pub(crate) fn block_order(self, merge: usize) -> impl Iterator<Item = (usize, usize)> {
        let (rows, columns) = (self.height / merge, self.width / merge);
        (0..rows).flat_map(move |row| {
            (0..columns).flat_map(move |column| {
                (0..merge * merge).map(move |i| (row * merge + i / merge, column * merge + i % merge))
            })
        })
    }
}

/// What [`smart_resize`] works on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResizeTask {
    /// Frames that share the budget; a still picture counts as one temporal patch.
    pub frames: usize,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Frames in one patch.
    pub temporal_factor: usize,
    /// The sides become multiples of this.
    pub factor: usize,
    /// Smallest frames × height × width.
    pub min_pixels: u64,
    /// Largest frames × height × width, where one token per side allows it.
    pub max_pixels: u64,
}

/// The height and width nearest to the picture's that are multiples of the factor and inside the pixel budget, or
/// `None` where a side is 0 or more than 200 times the other. Halves round to even, as Python's `round`.
pub fn smart_resize(task: &ResizeTask) -> Option<(u32, u32)> {
    let factor = task.factor as f64;
    let (mut height, mut width) = (f64::from(task.height), f64::from(task.width));
    if task.height == 0 || task.width == 0 || task.factor == 0 {
        return None;
    }
    if height < factor || width < factor {
        let scale = (factor / height).max(factor / width);
        height = (height * scale).trunc();
        width = (width * scale).trunc();
    }
    if height.max(width) / height.min(width) > LARGEST_ASPECT {
        return None;
    }
    let frames = task.frames as f64;
    let temporal = task.temporal_factor as f64;
    let round = |side: f64| (side / factor).round_ties_even() * factor;
    let rounded_frames = (frames / temporal).round_ties_even() * temporal;
    let (mut new_height, mut new_width) = (round(height), round(width));
    let pixels = rounded_frames * new_height * new_width;
    if pixels > task.max_pixels as f64 {
        let beta = ((frames * height * width) / task.max_pixels as f64).sqrt();
        let shrink = |side: f64| ((side / beta / factor).floor() * factor).max(factor);
        (new_height, new_width) = (shrink(height), shrink(width));
    } else if pixels < task.min_pixels as f64 {
        let beta = (task.min_pixels as f64 / (frames * height * width)).sqrt();
        let grow = |side: f64| (side * beta / factor).ceil() * factor;
        (new_height, new_width) = (grow(height), grow(width));
    }
    Some((new_height as u32, new_width as u32))
}

/// The size in pixels that a picture of `width` × `height` enters the model with, as (height, width).
pub(crate) fn target_size(
    config: &PictureConfig,
    frames: usize,
    width: u32,
    height: u32,
) -> Option<(u32, u32)> {
    smart_resize(&ResizeTask {
        frames,
        height,
        width,
        temporal_factor: config.temporal_patch_size,
        factor: config.token_side(),
        min_pixels: config.min_pixels,
        max_pixels: config.max_pixels,
    })
}

/// Patches of one temporal group: `frames` has one picture (repeated) or one per frame of the patch, all of one size.
/// `size` is (height, width). The result has `patches × patch length` values.
pub(crate) fn patchify(config: &PictureConfig, frames: &[&RgbImage], size: (u32, u32)) -> Vec<f32> {
    let (height, width) = size;
    let resized: Vec<RgbImage> =
        frames.par_iter().map(|frame| resize_bicubic(frame, width, height)).collect();
    let side = config.patch_size;
    let grid = Grid { height: height as usize / side, width: width as usize / side };
    let levels = config.levels();
    let order: Vec<(usize, usize)> = grid.block_order(config.merge_size).collect();
    let patch_len = levels.len() * config.temporal_patch_size * side * side;
    let mut values = vec![0.0; order.len() * patch_len];
    values.par_chunks_mut(patch_len).zip(order).for_each(|(patch, (row, column))| {
        let mut out = patch.iter_mut();
        for (channel, levels) in levels.iter().enumerate() {
            for frame in resized.iter().cycle().take(config.temporal_patch_size) {
                for y in row * side..(row + 1) * side {
                    let line = (y * width as usize + column * side) * BYTES_PER_PIXEL;
                    let pixels = frame.as_raw().iter().skip(line + channel).step_by(BYTES_PER_PIXEL);
                    // The output goes second: `zip` then takes nothing from it when the pixels end.
                    for (level, value) in pixels.take(side).zip(out.by_ref()) {
                        // A table of 256 entries, indexed by a byte.
                        *value = levels[usize::from(*level)];
                    }
                }
            }
        }
    });
    values
}
