//! Synthetic H&E for stage tests: a section with what the measurements look at, and slides made of it.
//!
//! It is no phantom of an organ. Colours follow Beer and Lambert with the vectors of Ruifrok and Johnston (2001).

use std::collections::HashMap;

use raster::Kernel;
use stage::{Image, SlideHeader, SlideLevel, TilePosition};

/// Level of the light without tissue.
const LIGHT: f64 = 240.0;
/// Optical density of one unit of haematoxylin.
const HAEMATOXYLIN: [f64; 3] = [0.65, 0.70, 0.29];
/// Of eosin.
const EOSIN: [f64; 3] = [0.07, 0.99, 0.11];
/// Distance of nuclei, pixels at 20x.
const SPACING: f64 = 24.0;

/// What is drawn everywhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Section {
    /// How strongly it is stained; 1 is usual.
    pub strength: f64,
    /// Share of the places for a nucleus that hold one.
    pub nuclei: f64,
    /// Optical density of one unit of the second stain.
    pub counterstain: [f64; 3],
}

impl Default for Section {
    fn default() -> Self {
        Self { strength: 1.0, nuclei: 0.8, counterstain: EOSIN }
    }
}

impl Section {
    /// The colour at a place in pixels at 20x.
    pub fn colour(&self, x: f64, y: f64) -> [u8; 3] {
        self.layers(x, y, 1.0)
    }

    /// The colour where `layers` sections lie on each other.
    pub fn layers(&self, x: f64, y: f64, layers: f64) -> [u8; 3] {
        let fibre = 0.9 + 0.2 * hash(x.floor(), y.floor(), 9);
        let ground = fibre * (0.25 + 0.6 * smooth(x / 18.0, y / 18.0));
        let (cell_x, cell_y) = ((x / SPACING).floor(), (y / SPACING).floor());
        let [here, aside, down, size] = [1, 2, 3, 4].map(|salt| hash(cell_x, cell_y, salt));
        let (centre_x, centre_y) =
            (SPACING * (cell_x + 0.4 + 0.2 * aside), SPACING * (cell_y + 0.4 + 0.2 * down));
        let nucleus = here < self.nuclei && (x - centre_x).hypot(y - centre_y) < 5.0 + 3.0 * size;
        let (h, e) = if nucleus {
            (1.3 + 0.3 * hash(x.floor(), y.floor(), 5), 0.5 * ground)
        } else {
            (if self.nuclei > 0.0 { 0.06 } else { 0.0 }, ground)
        };
        let scale = self.strength * layers;
        [0, 1, 2].map(|k| {
            let density = scale * (h * HAEMATOXYLIN[k] + e * self.counterstain[k]);
            let grain = 2.0 * hash(x.floor(), y.floor(), 6 + k as u64) - 1.0;
            (LIGHT * (-density).exp() + grain).round().clamp(0.0, 255.0) as u8
        })
    }
}

/// Empty glass.
pub const GLASS: [u8; 3] = [242, 242, 243];

/// `paint` over `width` by `height` pixels.
pub fn picture(width: u32, height: u32, paint: impl Fn(f64, f64) -> [u8; 3]) -> Image {
    let pixel = |i: u32| paint(f64::from(i % width), f64::from(i / width));
    Image { width, height, rgb: (0..width * height).flat_map(pixel).collect() }
}

/// `image` out of focus: a Gaussian of `sigma` pixels.
pub fn blurred(image: &Image, sigma: f64) -> Image {
    let kernel = Kernel::new(sigma);
    let channels = [0, 1, 2].map(|channel| {
        let plane: Vec<f32> =
            image.rgb.iter().skip(channel).step_by(3).map(|level| f32::from(*level)).collect();
        kernel.picture(&plane, image.width as usize)
    });
    let [red, green, blue] = &channels;
    let pixels = red.iter().zip(green).zip(blue);
    let rgb = pixels.flat_map(|((r, g), b)| [r, g, b].map(|level| level.round() as u8)).collect();
    Image { width: image.width, height: image.height, rgb }
}

/// A field of view: one level, one tile.
pub fn field(image: Image, microns_per_pixel: Option<f64>) -> (SlideHeader, HashMap<TilePosition, Image>) {
    let level = SlideLevel {
        columns: image.width,
        rows: image.height,
        tile_columns: image.width,
        tile_rows: image.height,
        microns_per_pixel: microns_per_pixel.map(|microns| [microns; 2]),
    };
    let header = SlideHeader { levels: vec![level], synthetic: true, warnings: Vec::new() };
    (header, HashMap::from([(TilePosition { level: 0, column: 0, row: 0 }, image)]))
}

/// A tiled slide, painted in pixels of its finest level.
#[derive(Debug, Clone)]
pub struct Slide<P> {
    /// Width and height of the finest level.
    pub size: [u32; 2],
    /// Side of a raw tile.
    pub tile: u32,
    /// Micrometres per pixel of the finest level.
    pub microns_per_pixel: f64,
    /// The colour at a place.
    pub paint: P,
}

impl<P: Fn(f64, f64) -> [u8; 3]> Slide<P> {
    /// The levels reduced by these factors, as one instance holds them. Tiles of nothing but [`GLASS`] are left out.
    pub fn levels(&self, factors: &[u32]) -> (SlideHeader, HashMap<TilePosition, Image>) {
        let mut tiles = HashMap::new();
        let mut levels = Vec::new();
        for (index, factor) in (0..).zip(factors) {
            let [columns, rows] = self.size.map(|pixels| pixels.div_ceil(*factor));
            levels.push(SlideLevel {
                columns,
                rows,
                tile_columns: self.tile,
                tile_rows: self.tile,
                microns_per_pixel: Some([self.microns_per_pixel * f64::from(*factor); 2]),
            });
            for row in 0..rows.div_ceil(self.tile) {
                for column in 0..columns.div_ceil(self.tile) {
                    let image = self.draw(*factor, [columns, rows], [column, row]);
                    if image.rgb.as_chunks::<3>().0.iter().any(|pixel| *pixel != GLASS) {
                        tiles.insert(TilePosition { level: index, column, row }, image);
                    }
                }
            }
        }
        (SlideHeader { levels, synthetic: true, warnings: Vec::new() }, tiles)
    }

    fn draw(&self, factor: u32, extent: [u32; 2], place: [u32; 2]) -> Image {
        let start = place.map(|index| index * self.tile);
        let size = [0, 1].map(|k| self.tile.min(extent[k] - start[k]));
        let at = |offset: f64, start: u32| (offset + f64::from(start) + 0.5) * f64::from(factor) - 0.5;
        picture(size[0], size[1], |x, y| (self.paint)(at(x, start[0]), at(y, start[1])))
    }
}

/// Noise from 0 to 1 that changes smoothly from one whole number to the next.
fn smooth(x: f64, y: f64) -> f64 {
    let ease = |u: f64| u * u * (3.0 - 2.0 * u);
    let (left, top) = (x.floor(), y.floor());
    let (u, v) = (ease(x - left), ease(y - top));
    let row = |y: f64| hash(left, y, 0) * (1.0 - u) + hash(left + 1.0, y, 0) * u;
    row(top) * (1.0 - v) + row(top + 1.0) * v
}

/// A number from 0 to 1 for each whole place (splitmix64), the same on every machine.
fn hash(x: f64, y: f64, salt: u64) -> f64 {
    let seed = (x as i64 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (y as i64 as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
        ^ salt.wrapping_mul(0x1656_67B1_9E37_79F9);
    let z = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}
