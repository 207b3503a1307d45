//! Positions of a prompt on three axes (time, height, width), and the rotary tables made of them.
//!
//! ```text
//! tokens     a  b  ▣  ▣  ▣  ▣  ▣  ▣  c          ▣: one image of 2 × 3 vision tokens
//! time       0  1  2  2  2  2  2  2  5
//! height     0  1  2  2  2  3  3  3  5          text after an image goes on behind its longer side
//! width      0  1  2  3  4  2  3  4  5
//! ```
//!
//! Source: transformers `modeling_glm4v.py`, `Glm4vModel.get_rope_index` and `Glm4vTextRotaryEmbedding`.

use candle_core::{DType, Device, Result, Tensor};

use crate::config::TextRope;
use crate::patches::Grid;

/// Time, height and width of one token.
pub type Position = [u32; 3];

/// A run of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// So many tokens of text.
    Text(usize),
    /// One picture, or one temporal group of a video.
    Picture(Grid),
}

/// Positions of all tokens of a prompt, and the position of the token after them, which decoding counts on from.
pub fn positions(runs: &[Run], merge: usize) -> (Vec<Position>, u32) {
    let mut positions = Vec::new();
    let mut current = 0u32;
    for run in runs {
        match *run {
            Run::Text(tokens) => {
                positions.extend((current..).take(tokens).map(|p| [p; 3]));
                current += tokens as u32;
            }
            Run::Picture(grid) => {
                let (rows, columns) = ((grid.height / merge) as u32, (grid.width / merge) as u32);
                for row in 0..rows {
                    positions.extend((0..columns).map(|column| [current, current + row, current + column]));
                }
                current += rows.max(columns);
            }
        }
    }
    (positions, current)
}

/// Cosines and sines of one angle per row and pair of dimensions, each `[rows, pairs]`.
pub(crate) struct RotaryTable {
    pub(crate) cos: Tensor,
    pub(crate) sin: Tensor,
}

impl RotaryTable {
    pub(crate) fn new(angles: &[f32], rows: usize, device: &Device) -> Result<Self> {
        let shape = (rows, angles.len() / rows.max(1));
        let table = |f: fn(f32) -> f32| {
            Tensor::from_vec(angles.iter().copied().map(f).collect::<Vec<_>>(), shape, device)
        };
        Ok(Self { cos: table(f32::cos)?, sin: table(f32::sin)? })
    }

    /// The same, rounded to another type.
    pub(crate) fn to_dtype(&self, dtype: DType) -> Result<Self> {
        Ok(Self { cos: self.cos.to_dtype(dtype)?, sin: self.sin.to_dtype(dtype)? })
    }
}

/// `theta^(-2j/dim)` for each pair j of `dim` dimensions.
pub(crate) fn inverse_frequencies(theta: f64, dim: usize) -> Vec<f32> {
    (0..dim / 2).map(|j| (1.0 / theta.powf((2 * j) as f64 / dim as f64)) as f32).collect()
}

/// The language model's encoding: each pair of dimensions turns with one of the three axes.
pub(crate) struct TextRotary {
    /// Frequency of each pair and the axis it follows.
    pairs: Vec<(f32, usize)>,
}

impl TextRotary {
    pub(crate) fn new(rope: &TextRope) -> Self {
        let axes = rope.sections.iter().enumerate().flat_map(|(i, n)| std::iter::repeat_n(i % 3, *n));
        Self { pairs: inverse_frequencies(rope.theta, rope.rotary_dim).into_iter().zip(axes).collect() }
    }

    pub(crate) fn table(&self, positions: &[Position], device: &Device) -> Result<RotaryTable> {
        let mut angles = Vec::with_capacity(positions.len() * self.pairs.len());
        for position in positions {
            // `axis` is a remainder of 3.
            angles.extend(self.pairs.iter().map(|(frequency, axis)| position[*axis] as f32 * frequency));
        }
        RotaryTable::new(&angles, positions.len(), device)
    }
}
