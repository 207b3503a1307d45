//! Scatterers: circular complex Gaussian textures, the cause of speckle.
//!
//! Tissue looks its scatterers up in *material* coordinates, so that speckle moves with the muscle. A share of each
//! frame's scatterers is fresh (motion out of the plane, electronics): tissue keeps [`FRAME_CORRELATION`] of its power
//! from frame to frame, blood nothing.

use rand::{Rng, RngCore};

/// Correlation of tissue scatterers between two frames at rest.
pub(crate) const FRAME_CORRELATION: f32 = 0.97;
/// Side of one texture cell, mm.
const CELL_MM: f32 = 0.45;
/// Cells per side; a power of two, so that coordinates wrap by a mask (230 mm, more than any sector is wide).
const SIDE: usize = 512;
/// Fresh scatterers are drawn once and read back from random places, which is as good and much cheaper.
const POOL: usize = 1 << 17;

/// A complex amplitude.
pub(crate) type Complex = [f32; 2];

/// Two independent standard normal numbers (Box and Muller 1958), as one complex number of unit power.
fn gaussian(rng: &mut impl Rng) -> Complex {
    let radius = libm::sqrtf(-libm::logf(1.0 - rng.random::<f32>()));
    let (sin, cos) = libm::sincosf(std::f32::consts::TAU * rng.random::<f32>());
    [radius * cos, radius * sin]
}

/// A plane of scatterers of unit mean power that repeats every 230 mm.
pub(crate) struct Texture {
    cells: Vec<Complex>,
}

impl Texture {
    /// `modulation_db`: standard deviation of a smooth variation of echogenicity, 7 mm wide; 0 for a homogeneous plane.
    pub(crate) fn new(rng: &mut impl Rng, modulation_db: f32) -> Self {
        const COARSE: usize = 32;
        const STRIDE: usize = SIDE / COARSE;
        let knots: Vec<f32> = (0..COARSE * COARSE)
            .map(|_| {
                let standard_normal = std::f32::consts::SQRT_2 * gaussian(rng)[0];
                modulation_db * standard_normal
            })
            .collect();
        let knot = |row: usize, column: usize| knots[(row % COARSE) * COARSE + column % COARSE];
        let mut cells = Vec::with_capacity(SIDE * SIDE);
        for row in 0..SIDE {
            for column in 0..SIDE {
                let (i, j) = (row / STRIDE, column / STRIDE);
                let (y, x) =
                    ((row % STRIDE) as f32 / STRIDE as f32, (column % STRIDE) as f32 / STRIDE as f32);
                let upper = knot(i, j) * (1.0 - x) + knot(i, j + 1) * x;
                let lower = knot(i + 1, j) * (1.0 - x) + knot(i + 1, j + 1) * x;
                let amplitude = libm::exp10f((upper * (1.0 - y) + lower * y) / 20.0);
                let [re, im] = gaussian(rng);
                cells.push([amplitude * re, amplitude * im]);
            }
        }
        Self { cells }
    }

    /// The scatterer at (x, y) mm. Interpolation is normalised so that mean power does not depend on the place.
    #[inline]
    pub(crate) fn at(&self, x_mm: f32, y_mm: f32) -> Complex {
        const MASK: i32 = SIDE as i32 - 1;
        let (x, y) = (x_mm / CELL_MM, y_mm / CELL_MM);
        let (column, row) = (x.floor(), y.floor());
        let (fx, fy) = (x - column, y - row);
        let (left, top) = ((column as i32 & MASK) as usize, (row as i32 & MASK) as usize);
        let (right, bottom) = ((left + 1) & MASK as usize, (top + 1) & MASK as usize);
        let power = (fx * fx + (1.0 - fx) * (1.0 - fx)) * (fy * fy + (1.0 - fy) * (1.0 - fy));
        let scale = 1.0 / power.sqrt();
        let (a, b) = (&self.cells[top * SIDE + left], &self.cells[top * SIDE + right]);
        let (c, d) = (&self.cells[bottom * SIDE + left], &self.cells[bottom * SIDE + right]);
        let mix = |k: usize| {
            let upper = a[k] + fx * (b[k] - a[k]);
            let lower = c[k] + fx * (d[k] - c[k]);
            scale * (upper + fy * (lower - upper))
        };
        [mix(0), mix(1)]
    }
}

/// Scatterers without memory.
pub(crate) struct FreshPool {
    cells: Vec<Complex>,
}

impl FreshPool {
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        Self { cells: (0..POOL).map(|_| gaussian(rng)).collect() }
    }

    /// `len` independent scatterers of unit power; `len` is a few hundred.
    pub(crate) fn draw(&self, rng: &mut impl RngCore, len: usize) -> &[Complex] {
        let start = rng.next_u32() as usize % (POOL - len);
        &self.cells[start..start + len]
    }
}
