//! From the curves to beats: pairs of end-diastole and end-systole.
//!
//! ```text
//!  component ─▶ smoothed ─▶ peaks, valleys ─▶ middle of each plateau, between frames
//!  R waves, if any ─▶ end-diastole instead of the peaks
//!  each end-diastole with the next end-systole, if systole then takes a plausible share of the beat
//! ```

use raster::Kernel;
use schemas::KeyframeSource;

use crate::{
    clock::Clock,
    curve::{detrended, range},
    peaks::{Demand, Peak, find_peaks, plateau},
};

/// Smoothing of a curve before peaks are looked for: seconds, and at least so many frames.
const SMOOTHING: (f64, f64) = (0.012, 0.3);
/// Two events of one kind lie at least this share of the period apart.
const DISTANCE: f64 = 0.42;
/// An event stands out by at least this share of the curve's range.
const PROMINENCE: f64 = 0.40;
/// The plateau of an event: within this share of the range.
const PLATEAU: f64 = 0.05;
/// The shoulder of an event, where the atria have filled the ventricle: within this share of the range.
const SHOULDER: f64 = 0.03;
/// Seconds from the R wave to the opening of the aortic valve. The plateau of the curve lies around it, so that the
/// rules on systole count from here.
const CONTRACTION_S: f64 = 0.050;

/// An extremum of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Event {
    /// Middle of the plateau, in frames counted from 0.
    pub(crate) at: f64,
    /// Where the curve stays close to the extremum, begin and end.
    pub(crate) plateau: [f64; 2],
    /// The leading shoulder: at end-diastole close to the R wave.
    pub(crate) onset: f64,
    /// Prominence as share of the range, at most 1.
    pub(crate) clarity: f64,
}

/// A smoothed curve with its extrema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    /// One value for each frame.
    pub(crate) values: Vec<f64>,
    /// The maxima in order of time.
    pub(crate) diastoles: Vec<Event>,
    /// The minima in order of time.
    pub(crate) systoles: Vec<Event>,
}

impl Curve {
    /// Of a signal in which a beat takes `period` frames; none where the signal is flat.
    pub(crate) fn of(signal: &[f64], period: f64, clock: &Clock<'_>) -> Option<Self> {
        let sigma = clock.frames_in(SMOOTHING.0).map_or(SMOOTHING.1, |frames| frames.max(SMOOTHING.1));
        let values = Kernel::new(sigma).line(&detrended(signal));
        let scale = range(&values);
        if scale <= 0.0 {
            return None;
        }
        let demand = Demand { distance: DISTANCE * period, prominence: PROMINENCE * scale };
        let mut diastoles = events(&values, demand, scale);
        let mut systoles = events(&values.iter().map(|value| -value).collect::<Vec<_>>(), demand, scale);
        // A plateau that the clip cuts off may be a rest on the way: without the other kind beyond it, it is no event.
        let (first, last) = (diastoles.first().map(|event| event.at), systoles.last().map(|event| event.at));
        let end = values.len() as f64 - 1.0;
        diastoles.retain(|event| event.plateau[1] < end || last.is_some_and(|last| last > event.at));
        systoles.retain(|event| event.plateau[0] > 0.0 || first.is_some_and(|first| first < event.at));
        Some(Self { values, diastoles, systoles })
    }
}

/// The maxima of `signal`, each in the middle of its plateau; those on the first or last frame are cut off and do not
/// count.
fn events(signal: &[f64], demand: Demand, scale: f64) -> Vec<Event> {
    // Padded, so that an extremum on the edge suppresses its neighbours like any other.
    let lowest = signal.iter().copied().fold(f64::INFINITY, f64::min) - scale;
    let padded: Vec<f64> = std::iter::once(lowest).chain(signal.iter().copied()).chain([lowest]).collect();
    let inner = |peak: &Peak| peak.index > 1 && peak.index < signal.len();
    let event = |peak: Peak| {
        let [from, to] = plateau(signal, peak.index - 1, PLATEAU * scale);
        let [onset, _] = plateau(signal, peak.index - 1, SHOULDER * scale);
        Event {
            at: f64::midpoint(from, to),
            plateau: [from, to],
            onset,
            clarity: (peak.prominence / scale).min(1.0),
        }
    };
    find_peaks(&padded, demand).into_iter().filter(inner).map(event).collect()
}

/// One end-diastole with the end-systole after it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Beat {
    /// Which beat of the clip, counted from 1.
    pub(crate) number: u32,
    /// End-diastole in frames counted from 0.
    pub(crate) diastole: f64,
    /// End-systole, likewise.
    pub(crate) systole: f64,
    /// How both were found; beside R waves, end-systole is read from the curve.
    pub(crate) sources: [KeyframeSource; 2],
    /// 0 to 1: how far both stand out.
    pub(crate) clarity: f64,
}

/// Where the ends of diastole come from.
pub(crate) enum Diastoles<'a> {
    /// R waves, in frames.
    Waves(&'a [f64], KeyframeSource),
    /// The curve's own maxima.
    Curve,
}

/// Pairs of an end-diastole and the next end-systole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Paired {
    /// In order of time.
    pub(crate) beats: Vec<Beat>,
    /// Pairs left out because systole would be too short or too long a share of the beat.
    pub(crate) implausible: usize,
}

/// Pairs the ends of diastole with those of systole.
pub(crate) fn paired(
    curve: &Curve,
    diastoles: &Diastoles<'_>,
    period: f64,
    share: [f64; 2],
    clock: &Clock<'_>,
) -> Paired {
    let contraction = clock.frames_in(CONTRACTION_S).unwrap_or(0.0);
    let (source, lead, starts): (KeyframeSource, f64, Vec<(f64, f64)>) = match diastoles {
        Diastoles::Waves(waves, source) => {
            (*source, contraction, waves.iter().map(|at| (*at, 1.0)).collect())
        }
        Diastoles::Curve => {
            let events = curve.diastoles.iter().map(|event| (event.at, event.clarity));
            (KeyframeSource::AreaCurve, 0.0, events.collect())
        }
    };
    let mut found = Paired { beats: Vec::new(), implausible: 0 };
    for (number, (index, (at, clarity))) in (1_u32..).zip(starts.iter().enumerate()) {
        let until = starts.get(index + 1).map_or(f64::INFINITY, |(next, _)| *next);
        let next = curve.systoles.iter().find(|event| event.at > *at && event.at < until);
        let Some(systole) = next else { continue };
        let systolic = (systole.at - at - lead) / period;
        if systolic < share[0] || systolic > share[1] {
            found.implausible += 1;
            continue;
        }
        found.beats.push(Beat {
            number,
            diastole: *at,
            systole: systole.at,
            sources: [source, KeyframeSource::AreaCurve],
            clarity: clarity.min(systole.clarity),
        });
    }
    found
}

/// The fullest and the emptiest frame of the clip, where no beat could be made out. The trend stays in: part of a
/// beat is mostly trend.
pub(crate) fn extremes(area: &[f64]) -> Option<Beat> {
    let indexed = || area.iter().enumerate();
    let (diastole, _) = indexed().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)))?;
    let (systole, _) = indexed().min_by(|a, b| a.1.total_cmp(b.1).then(a.0.cmp(&b.0)))?;
    Some(Beat {
        number: 1,
        diastole: diastole as f64,
        systole: systole as f64,
        sources: [KeyframeSource::Extremes; 2],
        clarity: 0.0,
    })
}

/// Intervals between neighbours.
pub(crate) fn intervals(times: &[f64]) -> Vec<f64> {
    times.iter().zip(times.iter().skip(1)).map(|(from, to)| to - from).collect()
}

/// The middle of `values`; of an even number the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// Standard deviation over mean; none of fewer than two values.
pub(crate) fn variation(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (values.len() >= 2 && mean > 0.0).then(|| variance.sqrt() / mean)
}

/// The `count` clearest beats, in order of time.
pub(crate) fn clearest(mut beats: Vec<Beat>, count: usize) -> Vec<Beat> {
    beats.sort_by(|a, b| b.clarity.total_cmp(&a.clarity).then(a.number.cmp(&b.number)));
    beats.truncate(count);
    beats.sort_by_key(|beat| beat.number);
    beats
}
