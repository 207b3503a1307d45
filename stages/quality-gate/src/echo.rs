//! An apical B-mode loop, judged for the ejection fraction.

use raster::{Mask, Plane, Window, fan};
use schemas::{BlobRef, CheckVerdict};
use stage::{ClipHeader, Frames, StageError};

use crate::{
    Config,
    applicability::NotApplicable,
    checks::{
        blur::{self, Sharpness},
        colour, contrast, decodable, duration, fan as fan_check, frame_rate, frames as frame_count, gain,
        resolution, static_clip,
    },
    exposure::Exposure,
    gate::{Gated, Record},
    motion::median,
    sharpness::{laplacian_variance, reblur},
    sweep::{Plan, Sample, SweepError, sweep},
};

/// Height of the work image in pixels. Sharpness means nothing without a fixed resolution: the same sharp clip has a
/// Laplacian variance of 3263 at 256 px, 1930 reduced to 112, 121 enlarged to 512; so smaller pictures stay as they
/// are and carry a warning.
const WORK_HEIGHT: usize = 256;
/// What the region loses at the fan's edge: half of a 9 by 9 square, so that no measure sees the edge.
const EDGE: usize = 4;

/// Judges one instance.
pub(crate) fn gate(
    mut record: Record<'_>,
    header: &ClipHeader,
    blob: &BlobRef,
    config: &Config,
    frames: &dyn Frames,
) -> Result<Gated, StageError> {
    if let Some(why) = NotApplicable::for_ejection_fraction(header) {
        return Ok(record.not_applicable(why));
    }
    let limits = &config.echo;
    record.note(frame_count::check(header.frames, limits.min_frames));
    record.note(frame_rate::check(header, limits.frame_rate));
    record.note(duration::check(header, limits.duration));
    if record.is_rejected() {
        return Ok(record.judged());
    }
    let plan = Plan {
        max_frames: config.max_frames,
        samples: config.sampled_frames,
        give_up: config.damaged.reject,
    };
    let sweep = match sweep(header, blob, frames, plan) {
        Ok(sweep) => sweep,
        Err(SweepError::NotAnalysable(reason)) => {
            return Ok(record.not_applicable(NotApplicable::NotAnalysable(reason)));
        }
        Err(SweepError::Stage(error)) => return Err(error),
    };
    let damaged = f64::from(sweep.damaged) / f64::from(sweep.read.max(1));
    record.note(decodable::check(damaged, sweep.damage, config.damaged));
    if record.is_rejected() {
        return Ok(record.judged());
    }
    let work = Work::of(&sweep.samples);
    let fan = fan_check::check(work.fan_share, limits.fan);
    let no_fan = fan.verdict == CheckVerdict::Reject;
    record.note(fan);
    if no_fan {
        return Ok(record.judged());
    }
    let colour = colour::check(work.coloured_share(), limits.colour);
    let coloured = colour.verdict == CheckVerdict::Reject;
    record.note(colour);
    if coloured {
        return Ok(record.not_applicable(NotApplicable::Doppler));
    }
    record.note(resolution::check(work.fan_height, limits.resolution_warn));
    for check in blur::checks(work.sharpness(), limits.blur, limits.laplacian_variance) {
        record.note(check);
    }
    let exposure = work.exposure();
    for check in gain::checks(exposure, limits) {
        record.note(check);
    }
    record.note(contrast::check(exposure.contrast(), limits.contrast));
    for check in static_clip::checks(&sweep.motion, limits) {
        record.note(check);
    }
    Ok(record.judged())
}

/// The sampled frames cut to the fan and reduced to [`WORK_HEIGHT`].
struct Work {
    planes: Vec<Plane>,
    coloured: Vec<Plane>,
    fan: Mask,
    /// The fan without its edge.
    region: Mask,
    /// Share of the visible window that the fan fills.
    fan_share: f64,
    /// Height of the fan before reduction.
    fan_height: f64,
}

impl Work {
    fn of(samples: &[Sample]) -> Self {
        let whole: Vec<Plane> =
            samples.iter().map(|sample| sample.luma.reduced_to_height(WORK_HEIGHT)).collect();
        let found = fan(&brightest(&whole));
        let fan_share = found.area() as f64 / (found.width() * found.height()).max(1) as f64;
        let window = samples.first().zip(found.bounds()).map(|(sample, bounds)| {
            let scale = sample.luma.height() as f64 / found.height().max(1) as f64;
            enlarged(bounds, scale, &sample.luma)
        });
        let cut = |plane: &Plane| {
            window.map_or_else(|| plane.clone(), |window| plane.crop(window)).reduced_to_height(WORK_HEIGHT)
        };
        let planes: Vec<Plane> = samples.iter().map(|sample| cut(&sample.luma)).collect();
        let coloured = samples.iter().filter_map(|sample| sample.coloured.as_ref().map(cut)).collect();
        let fan = fan(&brightest(&planes));
        let region = fan.eroded(EDGE);
        let fan_height = window.map_or(0.0, |window| window.height as f64);
        Self { planes, coloured, fan, region, fan_share, fan_height }
    }

    /// Median over the samples of the share of coloured pixels in the fan.
    fn coloured_share(&self) -> f64 {
        let share = |plane: &Plane| {
            let sum: u64 = self.fan.select(plane.samples()).map(u64::from).sum();
            sum as f64 / (255.0 * self.fan.area().max(1) as f64)
        };
        let mut shares: Vec<f64> = self.coloured.iter().map(share).collect();
        shares.resize(self.planes.len(), 0.0);
        median(shares)
    }

    fn sharpness(&self) -> Sharpness {
        Sharpness {
            reblur: median(self.planes.iter().map(|plane| reblur(plane, &self.region)).collect()),
            laplacian_variance: median(
                self.planes.iter().map(|plane| laplacian_variance(plane, &self.region)).collect(),
            ),
        }
    }

    /// Each value the median over the samples.
    fn exposure(&self) -> Exposure {
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
