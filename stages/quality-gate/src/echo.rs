//! An apical B-mode loop, judged for the ejection fraction.

use chambers::Blood;
use raster::Plane;
use schemas::{BlobRef, CheckVerdict, View};
use stage::{ClipHeader, Frames, StageError};

use crate::{
    Config, EchoLimits,
    applicability::NotApplicable,
    beat,
    checks::{
        blur, burned_in_text, colour, contrast, decodable, drift as drift_check, dropout as dropout_check,
        duration, fan as fan_check, frame_rate, frames as frame_count, gain, resolution, static_clip,
        view as view_check,
    },
    drift, dropout,
    gate::{Gated, Record},
    motion::{self, Motion},
    sweep::{Plan, SweepError, sweep},
    view,
    work::{Sector, Work, mean},
};

/// Thumbnails, evenly spaced, from which the level between blood and tissue is taken.
const LEVEL_FRAMES: usize = 8;

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
    let known_beat = beat::by_header(header);
    let duration = duration::check(header, known_beat, limits.duration);
    // A warning that rests on an assumed beat waits for the beat that the picture shows.
    let may_improve = known_beat.is_none() && duration.verdict == CheckVerdict::Warn;
    if !may_improve {
        record.note(duration.clone());
    }
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
    let sector = Sector::of(&sweep.thumbnails);
    record.note(fan_check::check(sector.share, limits.fan));
    if record.is_rejected() {
        return Ok(record.judged());
    }
    let work = Work::of(&sweep.samples, &sector);
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

    let clip = Clip { header, thumbnails: &sweep.thumbnails, sector: &sector, fan_height: work.fan_height };
    let small: Vec<Plane> =
        sweep.thumbnails.iter().map(|frame| frame.reduced(motion::SIDE, motion::SIDE)).collect();
    for check in static_clip::checks(Motion::of(&small), limits) {
        record.note(check);
    }
    let blood =
        Blood::of(&view::spread(&sweep.thumbnails, LEVEL_FRAMES).cloned().collect::<Vec<_>>(), &sector.fan);
    let level = blood.as_ref().map(Blood::threshold);
    let beat = known_beat.or_else(|| clip.beat(level));
    if may_improve {
        record.note(duration::check(header, beat, limits.duration));
    }
    for check in drift_check::checks(clip.drift(&small, beat, limits), limits) {
        record.note(check);
    }
    record.note(dropout_check::check(clip.lost_beams(level), limits.dropout));
    record.note(burned_in_text::check(header.bright_outside, limits.burned_in_text));
    if let Some(blood) = &blood {
        let expected = if header.view == Some(View::A2C) { 2 } else { 4 };
        for check in view_check::checks(view::look(&sweep.thumbnails, &sector.fan, blood), expected, limits) {
            record.note(check);
        }
    }
    Ok(record.judged())
}

/// What the checks over time look at.
struct Clip<'a> {
    header: &'a ClipHeader,
    thumbnails: &'a [Plane],
    sector: &'a Sector,
    /// Height of the fan in pixels of the frames.
    fan_height: f64,
}

impl Clip<'_> {
    /// Seconds of a beat as the picture shows it; `level` splits blood from tissue.
    fn beat(&self, level: Option<f64>) -> Option<f64> {
        beat::by_picture(self.thumbnails, &self.sector.fan, level?, frame_rate::known(self.header)?)
    }

    /// Millimetres that the picture wanders; none without timing.
    fn drift(&self, small: &[Plane], beat_s: Option<f64>, limits: &EchoLimits) -> Option<f64> {
        let fps = frame_rate::known(self.header)?;
        let assumed = limits.assumed_depth_mm / self.fan_height.max(1.0);
        let [across, down] = self.header.mm_per_pixel.unwrap_or([assumed; 2]);
        let [_, _, width, height] = self.header.visible;
        let side = motion::SIDE as f64;
        let pixel = [f64::from(width) * across / side, f64::from(height) * down / side];
        let fan = self.sector.fan_reduced(motion::SIDE, motion::SIDE);
        Some(drift::amplitude(small, &fan, pixel, beat_s.unwrap_or(beat::ASSUMED_S) * fps))
    }

    /// Share of the beams that show no tissue; none where blood and tissue cannot be told apart.
    fn lost_beams(&self, level: Option<f64>) -> Option<f64> {
        Some(dropout::lost_share(&mean(self.thumbnails), &self.sector.fan, level?))
    }
}
