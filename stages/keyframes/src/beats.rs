//! From the blood signal to beats: pairs of end-diastole and end-systole, and how far to trust them.

use raster::Kernel;
use schemas::{KeyframeSource, ReasonCode};
use stage::ClipHeader;

use crate::{
    curve::{Period, detrended, period, range},
    peaks::{Demand, Peak, find_peaks, plateau_middle},
};

/// Smoothing of the signal before peaks are looked for: seconds, and at least so many frames.
const SMOOTHING: (f64, f64) = (0.012, 0.3);
/// Two events of one kind lie at least this share of the period apart.
const DISTANCE: f64 = 0.42;
/// An event stands out by at least this share of the signal's range.
const PROMINENCE: f64 = 0.40;
/// The plateau of an event: within this share of the range.
const PLATEAU: f64 = 0.05;
/// Share of the period from end-diastole to end-systole.
const SYSTOLE: std::ops::RangeInclusive<f64> = 0.2..=0.6;
/// Seconds of a beat where neither the clip nor the header tells.
const ASSUMED_BEAT_S: f64 = 0.9;
/// Beats a minute that a heart has.
const HEART_RATE: std::ops::RangeInclusive<f64> = 30.0..=200.0;
/// Below this autocorrelation a clip of two beats or more is not periodic.
const PERIODIC: f64 = 0.5;
/// Header and picture may differ by this share of the period.
const DISAGREEMENT: f64 = 0.10;
/// Coefficient of variation of the beat length above which the rhythm is irregular.
const IRREGULAR: f64 = 0.20;

const PHASE_UNRELIABLE: ReasonCode = ReasonCode::known("PHASE_UNRELIABLE");
const ARRHYTHMIA: ReasonCode = ReasonCode::known("ARRHYTHMIA");

/// One end-diastole with the end-systole after it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Beat {
    /// Which beat of the clip, counted from 1.
    pub(crate) number: u32,
    /// Frame of end-diastole, counted from 0.
    pub(crate) diastole: usize,
    /// Frame of end-systole, counted from 0.
    pub(crate) systole: usize,
    /// How end-diastole was found; end-systole is always read from the signal.
    pub(crate) diastole_source: KeyframeSource,
    /// 0 to 1: how far both stand out, and how periodic the clip is. Orders beats; it is no probability.
    pub(crate) confidence: f64,
}

/// What a clip says of its phases.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Phases {
    /// In order of time.
    pub(crate) beats: Vec<Beat>,
    /// Doubts.
    pub(crate) flags: Vec<ReasonCode>,
}

/// An extremum of the signal.
#[derive(Debug, Clone, Copy)]
struct Event {
    /// Frame counted from 0, between frames.
    time: f64,
    /// Prominence as share of the range, at most 1.
    clarity: f64,
    source: KeyframeSource,
}

/// Finds the beats in the share of blood for each frame; none where the signal is flat.
pub(crate) fn phases(blood: &[f64], header: &ClipHeader) -> Option<Phases> {
    let fps = header.timing.fps.filter(|fps| fps.is_finite() && *fps > 0.0);
    let flat = detrended(blood);
    let kernel = Kernel::new(fps.map_or(SMOOTHING.1, |fps| (SMOOTHING.0 * fps).max(SMOOTHING.1)));
    let smooth = kernel.line(&flat);
    let scale = range(&smooth);
    if scale <= 0.0 {
        return None;
    }
    let found = period(&flat, fps);
    let r_waves = r_wave_frames(header, blood.len());
    let by_r_waves = median_interval(&r_waves);
    let by_rate = header.heart_rate.filter(|rate| *rate > 0.0).zip(fps).map(|(rate, fps)| 60.0 / rate * fps);
    let assumed = || fps.map_or(blood.len() as f64, |fps| ASSUMED_BEAT_S * fps);
    let length = by_r_waves.or(found.map(|period| period.frames)).or(by_rate).unwrap_or_else(assumed);

    let demand = Demand { distance: DISTANCE * length, prominence: PROMINENCE * scale };
    let maxima = events(&smooth, demand, scale);
    let minima = events(&smooth.iter().map(|value| -value).collect::<Vec<_>>(), demand, scale);
    let diastoles: Vec<Event> = if r_waves.is_empty() {
        maxima.clone()
    } else {
        let event = |time: &f64| Event { time: *time, clarity: 1.0, source: KeyframeSource::RWave };
        r_waves.iter().map(event).collect()
    };
    let periodic = found.map_or(0.5, |period| period.correlation.max(0.0));
    let beats: Vec<Beat> = diastoles
        .iter()
        .zip(1_u32..)
        .filter_map(|(diastole, number)| {
            let systole =
                minima.iter().find(|event| SYSTOLE.contains(&((event.time - diastole.time) / length)))?;
            Some(Beat {
                number,
                diastole: diastole.time.round() as usize,
                systole: systole.time.round() as usize,
                diastole_source: diastole.source,
                confidence: 0.5 * diastole.clarity.min(systole.clarity) + 0.5 * periodic,
            })
        })
        .collect();

    let mut flags = Vec::new();
    let doubts = Doubts { found, fps, length, claims: [by_r_waves, by_rate], clip: blood.len() };
    if beats.is_empty() || doubts.any() {
        flags.push(PHASE_UNRELIABLE);
    }
    if is_irregular(&diastoles) {
        flags.push(ARRHYTHMIA);
    }
    let beats = if beats.is_empty() { vec![extremes(&kernel.line(blood))?] } else { beats };
    Some(Phases { beats, flags })
}

/// What may speak against the phases.
struct Doubts {
    found: Option<Period>,
    fps: Option<f64>,
    /// The beat that was worked with, in frames.
    length: f64,
    /// What the header says of it.
    claims: [Option<f64>; 2],
    clip: usize,
}

impl Doubts {
    fn any(&self) -> bool {
        let rate = self.fps.map(|fps| 60.0 * fps / self.length);
        let impossible = rate.is_some_and(|rate| !HEART_RATE.contains(&rate));
        let several = self.clip as f64 >= 2.0 * self.length;
        let aperiodic = several && self.found.is_none_or(|period| period.correlation < PERIODIC);
        let contradicted = self.found.is_some_and(|period| {
            let differs = |claim: &f64| (claim - period.frames).abs() > DISAGREEMENT * claim;
            self.claims.iter().flatten().any(differs)
        });
        impossible || aperiodic || contradicted
    }
}

/// The maxima of `signal`, each in the middle of its plateau; those on the first or last frame are cut off and do not
/// count.
fn events(signal: &[f64], demand: Demand, scale: f64) -> Vec<Event> {
    // Padded, so that an extremum on the edge suppresses its neighbours like any other.
    let lowest = signal.iter().copied().fold(f64::INFINITY, f64::min) - scale;
    let padded: Vec<f64> = std::iter::once(lowest).chain(signal.iter().copied()).chain([lowest]).collect();
    let inner = |peak: &Peak| peak.index > 1 && peak.index < signal.len();
    let event = |peak: Peak| Event {
        time: plateau_middle(signal, peak.index - 1, PLATEAU * scale),
        clarity: (peak.prominence / scale).min(1.0),
        source: KeyframeSource::AreaCurve,
    };
    find_peaks(&padded, demand).into_iter().filter(inner).map(event).collect()
}

/// The frames nearest to the R waves, among the first `count`.
fn r_wave_frames(header: &ClipHeader, count: usize) -> Vec<f64> {
    let times = header.frame_times_ms.iter().take(count);
    let within =
        |r: &&f64| header.frame_times_ms.get(count.saturating_sub(1)).is_some_and(|last| **r <= *last);
    let nearest = |r: &f64| {
        let distances = times.clone().enumerate().map(|(index, time)| (index, (time - r).abs()));
        distances.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index as f64)
    };
    header.r_waves_ms.iter().filter(within).filter_map(nearest).collect()
}

fn median_interval(times: &[f64]) -> Option<f64> {
    let mut intervals: Vec<f64> = intervals(times);
    intervals.sort_by(f64::total_cmp);
    intervals.get(intervals.len() / 2).copied().filter(|interval| *interval > 0.0)
}

fn intervals(times: &[f64]) -> Vec<f64> {
    times.iter().zip(times.iter().skip(1)).map(|(from, to)| to - from).collect()
}

fn is_irregular(diastoles: &[Event]) -> bool {
    let times: Vec<f64> = diastoles.iter().map(|event| event.time).collect();
    let intervals = intervals(&times);
    let count = intervals.len() as f64;
    if intervals.len() < 2 {
        return false;
    }
    let mean = intervals.iter().sum::<f64>() / count;
    let variance = intervals.iter().map(|interval| (interval - mean).powi(2)).sum::<f64>() / count;
    mean > 0.0 && variance.sqrt() / mean > IRREGULAR
}

/// The fullest and the emptiest frame of the clip, where no beat could be made out. The trend stays in: part of a
/// beat is mostly trend.
fn extremes(signal: &[f64]) -> Option<Beat> {
    let indexed = || signal.iter().enumerate();
    let (diastole, _) = indexed().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)))?;
    let (systole, _) = indexed().min_by(|a, b| a.1.total_cmp(b.1).then(a.0.cmp(&b.0)))?;
    Some(Beat { number: 1, diastole, systole, diastole_source: KeyframeSource::AreaCurve, confidence: 0.0 })
}

/// The `count` clearest beats, in order of time.
pub(crate) fn clearest(mut beats: Vec<Beat>, count: usize) -> Vec<Beat> {
    beats.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.number.cmp(&b.number)));
    beats.truncate(count);
    beats.sort_by_key(|beat| beat.number);
    beats
}
