//! Everything that is read off one echo clip: what the stage answers, and what a page about it can draw.

use chambers::Blob;
use schemas::{
    BlobRef, FrameNumber, GatedInstance, Geometry, KeyframeKind, KeyframeSource, ReasonCode, View,
};
use stage::{ClipHeader, FrameError, Frames, StageError};

use crate::{
    Config,
    beats::{Beat, Event, clearest},
    blood::Samples,
    cine::{Cine, CineError},
    clock::Clock,
    component::{Component, beating},
    drift::{Drift, drift},
    ecg::drawn_r_waves,
    geometry::{Outlined, Ventricle, overall, polygon},
    phases::{PHASE_UNRELIABLE, Phases, Waves, phases},
};

/// The clip shows no phases at all: nothing moves that looks like a ventricle.
pub(crate) const NO_KEYFRAMES: ReasonCode = ReasonCode::known("NO_KEYFRAMES");
const TIMING_UNKNOWN: ReasonCode = ReasonCode::known("TIMING_UNKNOWN");
const GEOMETRY_UNRELIABLE: ReasonCode = ReasonCode::known("GEOMETRY_UNRELIABLE");

/// The gate's check whose value is the drift in millimetres.
const DRIFT_CHECK: &str = "drift";
/// Seconds of a beat while drift is looked for, where nothing else tells.
const ASSUMED_BEAT_S: f64 = 1.0;
/// Frames of a beat where timing is unknown.
const ASSUMED_BEAT_FRAMES: f64 = 30.0;
/// No keyframe of a doubtful clip is trusted more than this.
const DOUBTFUL: f64 = 0.5;

/// What was read off one clip, frame by frame. Times are milliseconds from the first frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Of each frame looked at; empty where timing is unknown.
    pub times_ms: Vec<f64>,
    /// The ventricular blood signal A(t): the share of blood, 0 to 1, at the ventricles' depth in each frame.
    pub area: Vec<f64>,
    /// The curve that the marks were read from, 0 (emptiest) to 1 (fullest) for each frame: the temporal principal
    /// component that beats like the blood signal, without trend, smoothed.
    pub curve: Vec<f64>,
    /// Length of a beat by the picture alone, where it could be measured and timing is known.
    pub period_ms: Option<f64>,
    /// Every extremum of the curve inside the clip, in order of time, paired or not.
    pub marks: Vec<Mark>,
    /// The chosen frames, in order of frame number.
    pub keyframes: Vec<Traced>,
    /// The ejection fraction from the outlines.
    pub geometry: Option<Geometry>,
    /// Beats whose outlines were measured, and how many of them a rule dropped.
    pub beats_measured: [usize; 2],
    /// Doubts.
    pub flags: Vec<ReasonCode>,
}

/// An extremum of the curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// End-diastole or end-systole.
    pub kind: KeyframeKind,
    /// The middle of its plateau, in frames counted from 0.
    pub frame: f64,
    /// The same in time; absent where timing is unknown.
    pub time_ms: Option<f64>,
    /// Where the curve comes within 3 % of it: at end-diastole, close to the R wave.
    pub onset_ms: Option<f64>,
}

/// A chosen frame with the outline of the left ventricle.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// End-diastole or end-systole.
    pub kind: KeyframeKind,
    /// The frame, counted from 1.
    pub frame: FrameNumber,
    /// Between frames; absent where timing is unknown.
    pub time_ms: Option<f64>,
    /// Which beat of the clip, counted from 1.
    pub beat: u32,
    /// 0 to 1. Orders keyframes; it is no probability.
    pub confidence: f64,
    /// How it was found.
    pub source: KeyframeSource,
    /// The left ventricle as a closed polygon in pixels of the frame; empty where none was made out.
    pub outline: Vec<[f64; 2]>,
    /// Ejection fraction of this beat in percent; absent where it was not measured or a rule dropped it.
    pub ef_percent: Option<f64>,
}

/// Reads one echo clip exactly as the stage does. The inner error is the code under which the clip yields nothing.
///
/// # Errors
/// [`StageError`] where the pictures cannot be had.
pub fn trace(
    instance: &GatedInstance,
    frames: &dyn Frames,
    config: &Config,
) -> Result<Result<Trace, ReasonCode>, StageError> {
    Ok(read(instance, frames, config)?.map(|reading| reading.trace))
}

/// A trace with what its pictures are stored from.
pub(crate) struct Reading {
    pub(crate) trace: Trace,
    pub(crate) header: ClipHeader,
}

/// The header of a gated instance, or the code under which it cannot be read any more.
pub(crate) fn header(
    instance: &BlobRef,
    frames: &dyn Frames,
) -> Result<Result<ClipHeader, ReasonCode>, StageError> {
    match frames.header(instance) {
        Ok(header) => Ok(Ok(header)),
        Err(FrameError::Damaged { code, .. }) => Ok(Err(code)),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn read(
    instance: &GatedInstance,
    frames: &dyn Frames,
    config: &Config,
) -> Result<Result<Reading, ReasonCode>, StageError> {
    let header = match header(&instance.blob, frames)? {
        Ok(header) => header,
        Err(code) => return Ok(Err(code)),
    };
    let cine = match Cine::read(&header, &instance.blob, frames, config.max_frames) {
        Ok(cine) => cine,
        Err(CineError::Unreadable(code)) => return Ok(Err(code)),
        Err(CineError::Stage(error)) => return Err(error),
    };
    let clock = Clock::new(&header, cine.planes.len());
    let drawn_ms = if header.r_waves_ms.is_empty() {
        drawn_r_waves(&header, &instance.blob, frames, cine.planes.len())?
    } else {
        Vec::new()
    };
    let waves = Waves { told_ms: header.r_waves_ms.clone(), drawn_ms };
    let gated_drift = instance.checks.iter().find(|check| check.name == DRIFT_CHECK).and_then(|c| c.value);
    let drift = slow_drift(&cine, &header, &clock, gated_drift, config.phase.undo_drift_mm);
    let Some(samples) = Samples::of(&cine, clock.fps, drift.as_ref()) else { return Ok(Err(NO_KEYFRAMES)) };
    let area = samples.ventricular_blood();
    let fan = samples.fan.clone();
    let ventricle = Ventricle::find(&cine, &fan, samples.threshold);
    let chamber = ventricle.as_ref().map(|ventricle| {
        let around = ventricle.surroundings();
        samples.blood_where(|pixel| around.inside().get(pixel) == Some(&true))
    });
    let component = beating(samples.into_gram(), &area, chamber.as_deref(), clock.fps);
    let found =
        component.and_then(|component: Component| phases(&component, &area, &header, &waves, &config.phase));
    let Some(phases) = found else { return Ok(Err(NO_KEYFRAMES)) };
    let view = header.view.or(instance.view);
    let trace = traced(&cine, &clock, area, phases, ventricle.as_ref(), view, config);
    Ok(Ok(Reading { trace, header }))
}

/// The drift, if it is large enough to be undone. What the gate measured is not measured again.
fn slow_drift(
    cine: &Cine,
    header: &ClipHeader,
    clock: &Clock<'_>,
    gated_mm: Option<f64>,
    least_mm: f64,
) -> Option<Drift> {
    if gated_mm.is_some_and(|mm| mm <= least_mm) {
        return None;
    }
    let rate = header.heart_rate.filter(|rate| *rate > 0.0);
    let beat =
        clock.frames_in(rate.map_or(ASSUMED_BEAT_S, |rate| 60.0 / rate)).unwrap_or(ASSUMED_BEAT_FRAMES);
    let depth_mm = header.mm_per_pixel.map(|[_, mm]| mm * cine.window.height as f64);
    drift(cine, beat, depth_mm).filter(|drift| drift.amplitude_mm > least_mm)
}

fn traced(
    cine: &Cine,
    clock: &Clock<'_>,
    area: Vec<f64>,
    phases: Phases,
    ventricle: Option<&Ventricle<'_>>,
    view: Option<View>,
    config: &Config,
) -> Trace {
    let Phases { beats, curve, period, trust, mut flags } = phases;
    let reliable = !flags.contains(&PHASE_UNRELIABLE);
    let kept = clearest(beats, config.max_beats as usize);
    let outlined: Vec<Option<Outlined>> = kept
        .iter()
        .map(|beat| ventricle.map(|ventricle| ventricle.outlined(beat, &config.geometry)))
        .collect();
    let measurable = ventricle.is_some_and(|ventricle| ventricle.is_measurable(view));
    let measured: Vec<&Outlined> = outlined.iter().flatten().filter(|_| reliable && measurable).collect();
    let ef_percent = overall(measured.iter().copied());
    let dropped = measured.iter().filter(|beat| beat.ef_percent.is_none()).count();
    let geometry = ef_percent.map(|ef| Geometry {
        ef_percent: tenths(ef),
        method: "single-plane discs".to_owned(),
        flags: Vec::new(),
    });
    let apical = matches!(view, Some(View::A4C | View::A2C) | None);
    if geometry.is_none() && apical {
        flags.push(GEOMETRY_UNRELIABLE);
    }
    if clock.fps.is_none() {
        flags.push(TIMING_UNKNOWN);
    }
    let mut keyframes: Vec<Traced> = Vec::new();
    for (beat, outlined) in kept.iter().zip(&outlined) {
        let confidence = confidence(beat, trust, reliable);
        let ef_percent = outlined.as_ref().and_then(|outlined| outlined.ef_percent).filter(|_| measurable);
        for (side, (kind, at)) in
            [(KeyframeKind::ED, beat.diastole), (KeyframeKind::ES, beat.systole)].into_iter().enumerate()
        {
            let outline = outlined.as_ref().and_then(|outlined| outlined.outlines[side].as_ref());
            let index = cine.nearest_readable(at.round() as usize);
            keyframes.push(Traced {
                kind,
                frame: FrameNumber::from_index(index as u32),
                time_ms: clock.ms(at).map(thousandths),
                beat: beat.number,
                confidence: thousandths(confidence),
                source: beat.sources[side],
                outline: outline.map_or_else(Vec::new, |blob: &Blob| on_frame(cine, blob)),
                ef_percent,
            });
        }
    }
    keyframes.sort_by_key(|keyframe| keyframe.frame);
    let lowest = curve.values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = curve.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mark = |kind: KeyframeKind| {
        move |event: &Event| Mark {
            kind,
            frame: event.at,
            time_ms: clock.ms(event.at),
            onset_ms: clock.ms(event.onset),
        }
    };
    let mut marks: Vec<Mark> = curve.diastoles.iter().map(mark(KeyframeKind::ED)).collect();
    marks.extend(curve.systoles.iter().map(mark(KeyframeKind::ES)));
    marks.sort_by(|a, b| a.frame.total_cmp(&b.frame));
    Trace {
        times_ms: (0..area.len()).filter_map(|index| clock.ms(index as f64)).collect(),
        curve: curve.values.iter().map(|value| (value - lowest) / (highest - lowest)).collect(),
        area,
        period_ms: period.zip(clock.fps).map(|(frames, fps)| frames / fps * 1e3),
        marks,
        keyframes,
        geometry,
        beats_measured: [measured.len(), dropped],
        flags,
    }
}

fn confidence(beat: &Beat, trust: f64, reliable: bool) -> f64 {
    if beat.sources == [KeyframeSource::Extremes; 2] {
        return 0.0;
    }
    let confidence = f64::midpoint(beat.clarity, trust);
    if reliable { confidence } else { confidence.min(DOUBTFUL) }
}

fn on_frame(cine: &Cine, blob: &Blob) -> Vec<[f64; 2]> {
    polygon(&blob.mask).into_iter().map(|corner| cine.on_frame(corner)).collect()
}

/// To three decimals, so that it survives JSON unchanged.
pub(crate) fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// To one decimal: more than that is not known.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
