//! What a tile looks like: tissue, focus, pens, folds, strength of the stain.

use raster::{Plane, Window, laplacian_variance, reblur};
use stage::Image;

use crate::tissue::tissue;

/// Measures of one tile. Shares are of its pixels, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Appearance {
    /// Tissue.
    pub tissue: f64,
    /// Variance of the Laplacian on tissue, grey levels squared.
    pub laplacian_variance: f64,
    /// Re-blur metric on tissue, 0 sharp to 1 blurred.
    pub reblur: f64,
    /// Green, blue or red pen.
    pub pen: f64,
    /// Black pen.
    pub black_pen: f64,
    /// Deeply coloured pixels where tissue is so much denser than around that it lies on itself.
    pub fold: f64,
    /// Mean optical density of tissue.
    pub density: f64,
    /// 99th percentile of the optical density of all pixels.
    pub density_99: f64,
}

/// Most pixels measured at once. A larger picture is measured in bands, so that masks stay small beside it.
const MOST_AT_ONCE: usize = 1 << 21;

impl Appearance {
    /// Measures `picture`; of a large one, the mean over its bands.
    pub fn of(picture: &Image) -> Self {
        let row = 3 * (picture.width as usize).max(1);
        let rows = (3 * MOST_AT_ONCE / row).max(1);
        if picture.height as usize <= rows {
            return Self::of_band(picture);
        }
        let bands: Vec<(f64, Self)> = picture
            .rgb
            .chunks(row * rows)
            .map(|band| {
                let height = (band.len() / row) as u32;
                let look = Self::of_band(&Image { width: picture.width, height, rgb: band.into() });
                (f64::from(height), look)
            })
            .collect();
        let over_all = |weight: fn(&Self) -> f64, value: fn(&Self) -> f64| {
            let weighted = bands.iter().map(|(height, look)| (height * weight(look), value(look)));
            let (sum, total) = weighted.fold((0.0, 0.0), |(s, t), (w, v)| (s + w * v, t + w));
            if total > 0.0 { sum / total } else { 0.0 }
        };
        let share = |value: fn(&Self) -> f64| over_all(|_| 1.0, value);
        let on_tissue = |value: fn(&Self) -> f64| over_all(|look| look.tissue, value);
        Self {
            tissue: share(|look| look.tissue),
            laplacian_variance: on_tissue(|look| look.laplacian_variance),
            reblur: on_tissue(|look| look.reblur),
            pen: share(|look| look.pen),
            black_pen: share(|look| look.black_pen),
            fold: share(|look| look.fold),
            density: on_tissue(|look| look.density),
            density_99: share(|look| look.density_99),
        }
    }

    fn of_band(tile: &Image) -> Self {
        let tissue = tissue(tile);
        let whole = Window { left: 0, top: 0, width: tile.width as usize, height: tile.height as usize };
        let luma = Plane::luma(tile, whole);
        let (pixels, _) = tile.rgb.as_chunks::<3>();
        let count = pixels.len().max(1) as f64;
        let (mut coloured, mut black) = (0_u32, 0_u32);
        // Densities by hundredths; the last bin takes what is darker.
        let mut densities = [0_usize; 600];
        let mut blocks = Blocks::new(whole.width);
        let (mut on_tissue, mut sum) = (0_u32, 0.0);
        for (index, (pixel, inside)) in pixels.iter().zip(tissue.mask.inside()).enumerate() {
            let density = stain::mean_density(*pixel);
            let bin = (density.max(0.0) * 100.0) as usize;
            if let Some(bin) = densities.get_mut(bin.min(599)) {
                *bin += 1;
            }
            if *inside {
                on_tissue += 1;
                sum += density;
            }
            match mark(*pixel, density) {
                Some(Mark::Coloured) => coloured += 1,
                Some(Mark::Black) => black += 1,
                None => blocks.add(index, density, is_deep(*pixel)),
            }
        }
        Self {
            tissue: tissue.share(),
            laplacian_variance: laplacian_variance(&luma, &tissue.mask),
            reblur: reblur(&luma, &tissue.mask),
            pen: f64::from(coloured) / count,
            black_pen: f64::from(black) / count,
            fold: blocks.folded() as f64 / count,
            density: sum / f64::from(on_tissue.max(1)),
            density_99: percentile_99(&densities),
        }
    }
}

/// Side of a block in pixels, 16 µm at 20x: wider than a nucleus, narrower than a fold.
const BLOCK: usize = 32;
/// A block is of tissue from this mean density,
const TISSUE: f64 = 0.10;
/// and lies double where it is so many times as dense as the tile's middle block of tissue. On phantoms that takes the
/// deep pixels of a section stained 1.5 times as strongly from 4.5 % to 0.2 %, of a fold from 2.0 to 1.7 %; on a
/// real tile without a fold from 2.0 to 0.05 %.
const DOUBLE: f64 = 1.7;

/// Mean density and deep pixels of each square of [`BLOCK`] pixels.
struct Blocks {
    width: usize,
    across: usize,
    all: Vec<Block>,
}

#[derive(Clone, Copy, Default)]
struct Block {
    count: u32,
    density: f64,
    deep: u32,
}

impl Blocks {
    fn new(width: usize) -> Self {
        Self { width: width.max(1), across: width.div_ceil(BLOCK), all: Vec::new() }
    }

    fn add(&mut self, pixel: usize, density: f64, deep: bool) {
        let (x, y) = (pixel % self.width, pixel / self.width);
        let index = y / BLOCK * self.across + x / BLOCK;
        if index >= self.all.len() {
            self.all.resize(index + 1, Block::default());
        }
        if let Some(block) = self.all.get_mut(index) {
            block.count += 1;
            block.density += density;
            block.deep += u32::from(deep);
        }
    }

    /// Deep pixels in blocks much denser than the rest of the tissue.
    fn folded(&self) -> u32 {
        let mean = |block: &Block| block.density / f64::from(block.count.max(1));
        let mut means: Vec<f64> = self.all.iter().map(mean).filter(|mean| *mean > TISSUE).collect();
        means.sort_by(f64::total_cmp);
        let Some(middle) = means.get(means.len() / 2) else { return 0 };
        self.all.iter().filter(|block| mean(block) > DOUBLE * middle).map(|block| block.deep).sum()
    }
}

/// Upper edge of the bin that holds the 99th percentile.
fn percentile_99(bins: &[usize; 600]) -> f64 {
    let total: usize = bins.iter().sum();
    let mut below = 0;
    let bin = bins.iter().position(|count| {
        below += count;
        below as f64 >= 0.99 * total as f64
    });
    (bin.unwrap_or(0) + 1) as f64 / 100.0
}

enum Mark {
    Coloured,
    Black,
}

/// Whether the pixel has the colour of a pen.
pub fn is_pen(pixel: [u8; 3]) -> bool {
    mark(pixel, stain::mean_density(pixel)).is_some()
}

/// Pens by hue and saturation. On phantoms the rules find 4.5 (green), 6.1 (blue), 7.8 (red) and 1.1 % (black) of tiles
/// with a stroke and nothing on clean ones.
fn mark(pixel: [u8; 3], density: f64) -> Option<Mark> {
    let [r, g, b] = pixel.map(i32::from);
    let (value, least) = (r.max(g).max(b), r.min(g).min(b));
    let chroma = value - least;
    let saturation = if value == 0 { 0 } else { 255 * chroma / value };
    if value < 60 && saturation < 90 {
        return Some(Mark::Black);
    }
    if saturation <= 60 || density <= 0.2 {
        return None;
    }
    let sixth = |difference: i32| f64::from(difference) / f64::from(chroma);
    let hue = 60.0
        * if value == r {
            sixth(g - b).rem_euclid(6.0)
        } else if value == g {
            sixth(b - r) + 2.0
        } else {
            sixth(r - g) + 4.0
        };
    let green = (80.0..170.0).contains(&hue);
    let blue = (170.0..250.0).contains(&hue) && saturation > 110;
    let red = !(20.0..=345.0).contains(&hue) && saturation > 140 && density > 0.3;
    (green || blue || red).then_some(Mark::Coloured)
}

/// Saturation exceeds value by 0.30 (after Kothari 2014), as it does in dense nuclei and in folds.
fn is_deep([r, g, b]: [u8; 3]) -> bool {
    let (value, least) = (i32::from(r.max(g).max(b)), i32::from(r.min(g).min(b)));
    let saturation = if value == 0 { 0 } else { 255 * (value - least) / value };
    f64::from(saturation - value) / 255.0 > 0.30
}

/// `image` reduced by area to `width` by `height`; a side is never enlarged.
pub fn reduced(image: &Image, width: u32, height: u32) -> Image {
    if width >= image.width && height >= image.height {
        return image.clone();
    }
    let whole = Window { left: 0, top: 0, width: image.width as usize, height: image.height as usize };
    let channel = |pick: fn([u8; 3]) -> u8| {
        Plane::of_pixels(image, whole, pick).reduced(width as usize, height as usize)
    };
    let (red, green, blue) = (channel(|[r, _, _]| r), channel(|[_, g, _]| g), channel(|[_, _, b]| b));
    let pixels = red.samples().iter().zip(green.samples()).zip(blue.samples());
    Image {
        width: red.width() as u32,
        height: red.height() as u32,
        rgb: pixels.flat_map(|((r, g), b)| [*r, *g, *b]).collect(),
    }
}
