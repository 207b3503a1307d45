//! How long a heart beat lasts.

use raster::{Mask, Plane};
use stage::ClipHeader;

use crate::motion::median;

/// Seconds of a beat where nothing else says it.
pub(crate) const ASSUMED_S: f64 = 1.0;
/// Depths, as share of the fan's height, between which the ventricles lie in an apical view. The atria below beat the
/// other way round.
const VENTRICLES: std::ops::Range<f64> = 0.12..0.60;
/// Seconds that a beat can last: 200 to 30 a minute.
const PLAUSIBLE_S: std::ops::RangeInclusive<f64> = 0.3..=2.0;
/// Most of the clip that a beat may take: beyond, too little repeats.
const MOST_OF_CLIP: f64 = 0.75;
/// Least autocorrelation that counts as a beat.
const PERIODIC: f64 = 0.5;
/// The shortest lag with so much of the best autocorrelation wins: two beats repeat as well as one.
const NEARLY_BEST: f64 = 0.85;
/// A shorter clip is not asked for its beat: half a beat can look like a whole one.
const LEAST_CLIP_S: f64 = 1.0;

/// Seconds of a beat by the header: the median of the R waves' intervals, else the heart rate.
pub(crate) fn by_header(header: &ClipHeader) -> Option<f64> {
    let intervals = header.r_waves_ms.windows(2).filter_map(|pair| match pair {
        [from, to] if to > from => Some((to - from) / 1000.0),
        _ => None,
    });
    let intervals: Vec<f64> = intervals.collect();
    if intervals.is_empty() {
        header.heart_rate.filter(|rate| rate.is_finite() && *rate > 0.0).map(|rate| 60.0 / rate)
    } else {
        Some(median(intervals))
    }
}

/// Seconds of a beat by the picture: the lag at which the share of blood (darker than `level`) where the ventricles lie
/// repeats itself. None where nothing does.
pub(crate) fn by_picture(frames: &[Plane], fan: &Mask, level: f64, fps: f64) -> Option<f64> {
    if (frames.len() as f64) < LEAST_CLIP_S * fps {
        return None;
    }
    let bounds = fan.bounds()?;
    let row = |share: f64| bounds.top + (share * bounds.height as f64) as usize;
    let (from, to) = (row(VENTRICLES.start) * fan.width(), row(VENTRICLES.end) * fan.width());
    let zone = fan.inside().get(from..to)?;
    let blood = |frame: &Plane| {
        let pixels = frame.samples().iter().skip(from).zip(zone);
        pixels.filter(|(sample, inside)| **inside && f64::from(**sample) <= level).count() as f64
    };
    let signal = detrended(&frames.iter().map(blood).collect::<Vec<_>>());
    let lags = (PLAUSIBLE_S.start() * fps).ceil() as usize
        ..=((PLAUSIBLE_S.end() * fps) as usize).min((MOST_OF_CLIP * signal.len() as f64) as usize);
    let energy = autocovariance(&signal, 0);
    if energy <= 0.0 {
        return None;
    }
    let likeness = |lag: usize| autocovariance(&signal, lag) / energy;
    let peaks: Vec<(usize, f64)> = lags
        .filter(|lag| {
            let here = likeness(*lag);
            here > likeness(lag - 1) && here >= likeness(lag + 1)
        })
        .map(|lag| (lag, likeness(lag)))
        .collect();
    let best = peaks.iter().map(|(_, likeness)| *likeness).fold(f64::NEG_INFINITY, f64::max);
    let shortest = peaks.iter().find(|(_, likeness)| *likeness >= NEARLY_BEST * best && best >= PERIODIC);
    shortest.map(|(lag, _)| *lag as f64 / fps)
}

/// Without the straight line through the samples.
fn detrended(samples: &[f64]) -> Vec<f64> {
    let count = samples.len() as f64;
    let middle = (count - 1.0) / 2.0;
    let mean = samples.iter().sum::<f64>() / count.max(1.0);
    let time = |index: usize| index as f64 - middle;
    let rise: f64 = samples.iter().enumerate().map(|(index, sample)| time(index) * sample).sum();
    let spread: f64 = (0..samples.len()).map(|index| time(index).powi(2)).sum();
    let slope = if spread > 0.0 { rise / spread } else { 0.0 };
    samples.iter().enumerate().map(|(index, sample)| sample - mean - slope * time(index)).collect()
}

/// Unbiased: each lag by the number of its pairs.
fn autocovariance(signal: &[f64], lag: usize) -> f64 {
    let pairs = signal.iter().zip(signal.iter().skip(lag));
    let count = signal.len().saturating_sub(lag).max(1) as f64;
    pairs.map(|(before, after)| before * after).sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square in which a dark disc swells and shrinks once in `beat` frames.
    fn clip(frames: usize, beat: f64) -> Vec<Plane> {
        let frame = |time: usize| {
            let radius = 16.0 + 5.0 * (time as f64 * std::f64::consts::TAU / beat).cos();
            let dark = |i: usize| ((i % 80) as f64 - 40.0).hypot((i / 80) as f64 - 30.0) < radius;
            Plane::new(80, 80, (0..6400).map(|i| if dark(i) { 40 } else { 150 }).collect())
        };
        (0..frames).map(frame).collect()
    }

    #[test]
    fn the_beat_of_a_picture_is_the_lag_at_which_it_repeats() {
        let everywhere = Mask::new(80, 80, vec![true; 6400]);
        for beat in [12.0, 20.0, 31.0] {
            let found = by_picture(&clip(70, beat), &everywhere, 100.0, 30.0).expect("it beats");
            assert!((found * 30.0 - beat).abs() <= 1.0, "{found} s for {beat} frames");
        }
        assert_eq!(by_picture(&clip(20, 12.0), &everywhere, 100.0, 30.0), None, "too short to tell");
        assert_eq!(by_picture(&clip(60, f64::INFINITY), &everywhere, 100.0, 30.0), None, "it stands still");
    }
}
