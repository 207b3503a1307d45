//! The picture of a clip as the checks look at it: the fan, the sampled frames cut to it and reduced to one height.

use raster::{Mask, Plane, Window, fan};

use crate::{
    checks::blur::Sharpness,
    exposure::Exposure,
    motion::median,
    sharpness::{laplacian_variance, reblur},
    sweep::Sample,
};

/// Height of the work image in pixels. Sharpness means nothing without a fixed resolution: the same sharp clip has a
/// Laplacian variance of 3263 at 256 px, 1930 reduced to 112, 121 enlarged to 512; so smaller pictures stay as they
/// are and carry a warning.
const HEIGHT: usize = 256;
/// What the region loses at the fan's edge: half of a 9 by 9 square, so that no measure sees the edge.
const EDGE: usize = 4;

/// Where the fan lies in the thumbnails.
pub(crate) struct Sector {
    pub(crate) fan: Mask,
    /// Share of the visible window that it fills.
    pub(crate) share: f64,
}

impl Sector {
    /// In `thumbnails` of one size.
    pub(crate) fn of(thumbnails: &[Plane]) -> Self {
        let fan = fan(&brightest(thumbnails));
        let share = fan.area() as f64 / (fan.width() * fan.height()).max(1) as f64;
        Self { fan, share }
    }

    /// The fan in thumbnails reduced to `width` by `height`: pixels that lie wholly inside.
    pub(crate) fn fan_reduced(&self, width: usize, height: usize) -> Mask {
        let lit = self.fan.inside().iter().map(|inside| u8::from(*inside) * 255).collect();
        let lit = Plane::new(self.fan.width(), self.fan.height(), lit).reduced(width, height);
        Mask::of(&lit, |share| share == 255)
    }
}

/// The sampled frames cut to the fan and reduced to [`HEIGHT`].
pub(crate) struct Work {
    planes: Vec<Plane>,
    coloured: Vec<Plane>,
    fan: Mask,
    /// The fan without its edge.
    region: Mask,
    /// Height of the fan before reduction.
    pub(crate) fan_height: f64,
}

impl Work {
    pub(crate) fn of(samples: &[Sample], sector: &Sector) -> Self {
        let window = samples.first().zip(sector.fan.bounds()).map(|(sample, bounds)| {
            let scale = sample.luma.height() as f64 / sector.fan.height().max(1) as f64;
            enlarged(bounds, scale, &sample.luma)
        });
        let cut = |plane: &Plane| {
            window.map_or_else(|| plane.clone(), |window| plane.crop(window)).reduced_to_height(HEIGHT)
        };
        let planes: Vec<Plane> = samples.iter().map(|sample| cut(&sample.luma)).collect();
        let coloured = samples.iter().filter_map(|sample| sample.coloured.as_ref().map(cut)).collect();
        let fan = fan(&brightest(&planes));
        let region = fan.eroded(EDGE);
        let fan_height = window.map_or(0.0, |window| window.height as f64);
        Self { planes, coloured, fan, region, fan_height }
    }

    /// Median over the samples of the share of coloured pixels in the fan.
    pub(crate) fn coloured_share(&self) -> f64 {
        let share = |plane: &Plane| {
            let sum: u64 = self.fan.select(plane.samples()).map(u64::from).sum();
            sum as f64 / (255.0 * self.fan.area().max(1) as f64)
        };
        let mut shares: Vec<f64> = self.coloured.iter().map(share).collect();
        shares.resize(self.planes.len(), 0.0);
        median(shares)
    }

    /// Each value the median over the samples.
    pub(crate) fn sharpness(&self) -> Sharpness {
        let middle = |value: fn(&Plane, &Mask) -> f64| {
            median(self.planes.iter().map(|p| value(p, &self.region)).collect())
        };
        Sharpness { reblur: middle(reblur), laplacian_variance: middle(laplacian_variance) }
    }

    /// Each value the median over the samples.
    pub(crate) fn exposure(&self) -> Exposure {
        let all: Vec<Exposure> = self.planes.iter().map(|plane| Exposure::of(plane, &self.region)).collect();
        let middle = |value: fn(&Exposure) -> f64| median(all.iter().map(value).collect());
        Exposure {
            saturated: middle(|exposure| exposure.saturated),
            black: middle(|exposure| exposure.black),
            low: middle(|exposure| exposure.low),
            high: middle(|exposure| exposure.high),
        }
    }
}

/// Each pixel's largest value.
fn brightest(planes: &[Plane]) -> Plane {
    let mut brightest = planes.first().cloned().unwrap_or_else(|| Plane::new(0, 0, Vec::new()));
    for plane in planes {
        brightest.raise_to(plane);
    }
    brightest
}

/// Each pixel's mean over `planes` of one size, rounded.
pub(crate) fn mean(planes: &[Plane]) -> Plane {
    let Some(first) = planes.first() else { return Plane::new(0, 0, Vec::new()) };
    let mut sums = vec![0_u32; first.samples().len()];
    for plane in planes {
        sums.iter_mut().zip(plane.samples()).for_each(|(sum, sample)| *sum += u32::from(*sample));
    }
    let count = planes.len() as u32;
    let samples = sums.into_iter().map(|sum| ((sum + count / 2) / count) as u8).collect();
    Plane::new(first.width(), first.height(), samples)
}

/// `window` of a reduced plane in the pixels of the full one, rounded outwards.
fn enlarged(window: Window, scale: f64, full: &Plane) -> Window {
    let outwards = |from: usize, length: usize, limit: usize| {
        let start = ((from as f64 * scale).floor() as usize).min(limit.saturating_sub(1));
        let end = (((from + length) as f64 * scale).ceil() as usize).clamp(start + 1, limit.max(1));
        (start, end - start)
    };
    let (left, width) = outwards(window.left, window.width, full.width());
    let (top, height) = outwards(window.top, window.height, full.height());
    Window { left, top, width, height }
}
