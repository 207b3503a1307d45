//! When the heart of a clip is full and empty, and what speaks against it.
//!
//! Invariant: what is not certain is said. Every rule that a clip breaks adds its own code, and `PHASE_UNRELIABLE`
//! before them; an irregular rhythm is `ARRHYTHMIA` and keeps its beats.

use schemas::{KeyframeSource, ReasonCode};
use stage::ClipHeader;

use crate::{
    beats::{Beat, Curve, Diastoles, Event, Paired, extremes, intervals, median, paired, variation},
    clock::Clock,
    component::Component,
    config::PhaseRules,
};

/// Seconds of a beat where neither clip nor header tells.
const ASSUMED_BEAT_S: f64 = 0.9;
/// Below this autocorrelation a period is an accident of a clip too short to hold one.
const ANY_PERIODICITY: f64 = 0.3;
/// An R wave comes before the middle of its plateau by about 50 ms, and never by more than this share of a beat; the
/// other way it may miss by the first.
const R_TO_PLATEAU: std::ops::RangeInclusive<f64> = -0.10..=0.30;

pub(crate) const PHASE_UNRELIABLE: ReasonCode = ReasonCode::known("PHASE_UNRELIABLE");
const ARRHYTHMIA: ReasonCode = ReasonCode::known("ARRHYTHMIA");
const NO_BEAT: ReasonCode = ReasonCode::known("NO_BEAT");
const HEART_RATE_IMPLAUSIBLE: ReasonCode = ReasonCode::known("HEART_RATE_IMPLAUSIBLE");
const HEART_RATE_DISAGREES: ReasonCode = ReasonCode::known("HEART_RATE_DISAGREES");
const ECG_DISAGREES: ReasonCode = ReasonCode::known("ECG_DISAGREES");
const AREA_DISAGREES: ReasonCode = ReasonCode::known("AREA_DISAGREES");
const NOT_PERIODIC: ReasonCode = ReasonCode::known("NOT_PERIODIC");
const POLARITY_UNCLEAR: ReasonCode = ReasonCode::known("POLARITY_UNCLEAR");
const SYSTOLE_DISAGREES: ReasonCode = ReasonCode::known("SYSTOLE_DISAGREES");
const SYSTOLE_IMPLAUSIBLE: ReasonCode = ReasonCode::known("SYSTOLE_IMPLAUSIBLE");

/// R waves that somebody else saw.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Waves {
    /// By R Wave Time Vector, in milliseconds.
    pub(crate) told_ms: Vec<f64>,
    /// By the electrocardiogram drawn in the picture, in milliseconds; used only if it agrees with the picture.
    pub(crate) drawn_ms: Vec<f64>,
}

/// What a clip says of its phases.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Phases {
    /// In order of time.
    pub(crate) beats: Vec<Beat>,
    /// The curve that the events were read from.
    pub(crate) curve: Curve,
    /// Frames of a beat by the picture alone, where it could be measured.
    pub(crate) period: Option<f64>,
    /// 0 to 1: how far the clip as a whole can be trusted. Orders clips; it is no probability.
    pub(crate) trust: f64,
    /// Doubts.
    pub(crate) flags: Vec<ReasonCode>,
}

/// Finds the beats of a clip; none where its curve is flat. `area` is the blood signal with its trend.
pub(crate) fn phases(
    component: &Component,
    area: &[f64],
    header: &ClipHeader,
    waves: &Waves,
    rules: &PhaseRules,
) -> Option<Phases> {
    let clock = Clock::new(header, area.len());
    let frames = |times: &[f64]| -> Vec<f64> { times.iter().filter_map(|ms| clock.frame(*ms)).collect() };
    let (told, drawn) = (frames(&waves.told_ms), frames(&waves.drawn_ms));
    let seen = component.period.filter(|period| period.correlation >= ANY_PERIODICITY);
    let seen_frames = seen.map(|period| period.frames);
    let told_frames = median(intervals(&told));
    let rate = header.heart_rate.filter(|rate| *rate > 0.0);
    let rated_frames = rate.and_then(|rate| clock.frames_in(60.0 / rate));
    let assumed = clock.frames_in(ASSUMED_BEAT_S).unwrap_or(area.len() as f64);
    let length = told_frames.or(seen_frames).or(rated_frames).unwrap_or(assumed);
    let curve = Curve::of(&component.signal, length, &clock)?;

    let mut doubts = Vec::new();
    let differs = |claim: f64| {
        seen_frames.is_some_and(|seen| (claim - seen).abs() > rules.most_rate_gap * seen.min(claim))
    };
    let misplaced = |waves: &[f64]| misplaced(waves, &curve, length);
    let drawn_frames = median(intervals(&drawn));
    let drawn_agrees =
        drawn_frames.is_some_and(|drawn| seen_frames.is_some() && !differs(drawn)) && !misplaced(&drawn);
    let diastoles = if !told.is_empty() {
        if told_frames.is_some_and(differs) || misplaced(&told) {
            doubts.push(ECG_DISAGREES);
        }
        Diastoles::Waves(&told, KeyframeSource::RWave)
    } else if drawn_agrees {
        Diastoles::Waves(&drawn, KeyframeSource::EcgStrip)
    } else {
        if drawn_frames.is_some() && seen_frames.is_some() {
            doubts.push(ECG_DISAGREES);
        }
        Diastoles::Curve
    };
    let Paired { beats, implausible } = paired(&curve, &diastoles, length, rules.systole, &clock);

    let several = area.len() as f64 >= 2.0 * length;
    let within = |rate: f64| rate >= rules.heart_rate[0] && rate <= rules.heart_rate[1];
    let beats_a_minute = clock.fps.map(|fps| 60.0 * fps / length);
    let periodicity = component.period.map_or(0.0, |period| period.correlation.max(0.0));
    let broken = [
        (beats.is_empty(), NO_BEAT),
        (beats_a_minute.is_some_and(|rate| !within(rate)), HEART_RATE_IMPLAUSIBLE),
        (component.likeness < rules.least_likeness, AREA_DISAGREES),
        (several && periodicity < rules.least_periodicity, NOT_PERIODIC),
        (component.vote < rules.least_vote, POLARITY_UNCLEAR),
        (implausible > 0, SYSTOLE_IMPLAUSIBLE),
        (systoles_differ(&beats, area, length, &clock, rules), SYSTOLE_DISAGREES),
        (rated_frames.is_some_and(differs), HEART_RATE_DISAGREES),
    ];
    for (_, code) in broken.into_iter().filter(|(broken, _)| *broken) {
        if !doubts.contains(&code) {
            doubts.push(code);
        }
    }
    let mut flags = Vec::new();
    if !doubts.is_empty() {
        flags.push(PHASE_UNRELIABLE);
        flags.append(&mut doubts);
    }
    let starts: Vec<f64> = match diastoles {
        Diastoles::Waves(waves, _) => waves.to_vec(),
        Diastoles::Curve => curve.diastoles.iter().map(|event| event.at).collect(),
    };
    if variation(&intervals(&starts)).is_some_and(|share| share > rules.most_variation) {
        flags.push(ARRHYTHMIA);
    }
    let beats = if beats.is_empty() { vec![extremes(area)?] } else { beats };
    let trust = component.likeness.min(if several { periodicity } else { 1.0 });
    Some(Phases { beats, curve, period: seen_frames, trust, flags })
}

/// Whether the R waves lie elsewhere in the beat than where the curve has them. A curve without maxima says nothing.
fn misplaced(waves: &[f64], curve: &Curve, period: f64) -> bool {
    let offsets = waves.iter().filter_map(|wave| {
        let offsets = curve.diastoles.iter().map(|event| (event.at - wave) / period);
        offsets.min_by(|a, b| a.abs().total_cmp(&b.abs()))
    });
    // Of a wave near either end the clip may not hold the maximum.
    let offset = median(offsets.filter(|offset| offset.abs() <= 0.5).collect());
    offset.is_some_and(|offset| !R_TO_PLATEAU.contains(&offset))
}

/// Whether the blood signal is emptiest at another time than the component: by the distance from end-systole to the
/// whole plateau of the blood signal, which is long where the heart hardly moves and leaflets open into the ventricle.
/// A blood signal without a valley near a beat says nothing of it.
fn systoles_differ(beats: &[Beat], area: &[f64], period: f64, clock: &Clock<'_>, rules: &PhaseRules) -> bool {
    let Some(curve) = Curve::of(area, period, clock) else { return false };
    let gaps = beats.iter().filter_map(|beat| {
        let gap = |event: &Event| {
            let [from, to] = event.plateau;
            (from - beat.systole).max(beat.systole - to).max(0.0)
        };
        let nearest = curve.systoles.iter().map(gap).min_by(f64::total_cmp);
        nearest.filter(|gap| *gap < 0.5 * period)
    });
    let gap = median(gaps.collect());
    gap.zip(clock.fps).is_some_and(|(gap, fps)| gap / fps * 1e3 > rules.most_systole_gap_ms)
}
