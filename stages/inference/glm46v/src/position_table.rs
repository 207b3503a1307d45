//! The learned table of patch positions, resampled to a picture's grid.
//!
//! PyTorch's `grid_sample(mode="bicubic", padding_mode="border", align_corners=False)`: Keys kernel with a = -0.75
//! (the picture resampler has -0.5), taps outside the table read its border. All in f32 and in PyTorch's order of
//! operations, as transformers does. The weights of a row depend on the row alone, so they are found once per row and
//! once per column.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use crate::patches::Grid;

/// A square table of embeddings.
pub(crate) struct PositionTable {
    /// Row-major, `width` values per entry.
    values: Vec<f32>,
    side: usize,
    width: usize,
}

/// Four entries along one axis, and how much of each.
type Taps = [(usize, f32); 4];

impl PositionTable {
    /// From a table of shape `[side · side, width]`.
    pub(crate) fn new(table: &Tensor, side: usize) -> Result<Self> {
        Ok(Self { values: table.flatten_all()?.to_vec1()?, side, width: table.dim(1)? })
    }

    /// One embedding per patch in storage order, `[patches, width]`.
    pub(crate) fn resample(&self, grid: Grid, merge: usize, device: &Device) -> Result<Tensor> {
        let rows: Vec<Taps> = (0..grid.height).map(|i| self.taps(i, grid.height)).collect();
        let columns: Vec<Taps> = (0..grid.width).map(|i| self.taps(i, grid.width)).collect();
        let order: Vec<(&Taps, &Taps)> = grid
            .block_order(merge)
            .filter_map(|(row, column)| Some((rows.get(row)?, columns.get(column)?)))
            .collect();
        let mut out = vec![0.0; grid.patches() * self.width];
        out.par_chunks_mut(self.width).zip(order).for_each(|(out, (rows, columns))| {
            for (row, row_weight) in rows {
                for (column, column_weight) in columns {
                    let entry = self.values.chunks_exact(self.width).nth(row * self.side + column);
                    for (sum, value) in out.iter_mut().zip(entry.unwrap_or_default()) {
                        *sum += value * (row_weight * column_weight);
                    }
                }
            }
        });
        Tensor::from_vec(out, (grid.patches(), self.width), device)
    }

    fn taps(&self, index: usize, length: usize) -> Taps {
        const A: f32 = -0.75;
        let side = self.side as f32;
        // To [-1, 1] and back to the table's coordinates, as transformers and grid_sample do.
        let normalised = ((index as f32 + 0.5) / length as f32) * 2.0 - 1.0;
        let source = ((normalised + 1.0) * side - 1.0) / 2.0;
        let floor = source.floor();
        let t = source - floor;
        let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
        let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
        let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
        let mut offset = floor as i64 - 1;
        weights.map(|weight| {
            let entry = offset.clamp(0, self.side as i64 - 1) as usize;
            offset += 1;
            (entry, weight)
        })
    }
}
