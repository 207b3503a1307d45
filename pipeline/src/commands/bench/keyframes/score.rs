//! What the keyframes stage reads off a phantom, held against the phantom's truth.
//!
//! A truth event counts where its whole interval, in which the volume is within about 1 % of its extremum, lies inside
//! the clip, with time on both sides in which the picture shows that it is an extremum. It is missed if no mark of its kind lies within a quarter of a beat of it. The interval error of a mark is
//! its distance to the nearest interval of its kind, 0 inside.

use keyframes::{Mark, Trace};
use phantom::echo::{Interval, Truth};
use schemas::{KeyframeKind, ReasonCode};

/// Milliseconds of clip before and after the interval of an event that counts.
const AROUND_MS: f64 = 60.0;
/// Share of a beat within which a mark belongs to an event.
const NEAR: f64 = 0.25;

/// Numbers of one quantity.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers(Vec<f64>);

impl Numbers {
    pub(crate) fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.iter().sum::<f64>() / self.0.len() as f64)
    }

    pub(crate) fn most(&self) -> Option<f64> {
        self.0.iter().copied().reduce(f64::max)
    }

    fn join(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// The events of one kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    /// Wholly inside their clips.
    pub(crate) expected: usize,
    pub(crate) missed: usize,
    /// Distance of each mark to the nearest interval: milliseconds, and frames.
    pub(crate) error_ms: Numbers,
    pub(crate) error_frames: Numbers,
    /// From the R wave or the closure of the aortic valve to the mark, milliseconds.
    pub(crate) offset_ms: Numbers,
}

/// The clips of one suite.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) clips: usize,
    /// With `PHASE_UNRELIABLE`, or nothing at all.
    pub(crate) flagged: usize,
    pub(crate) end_diastole: Events,
    pub(crate) end_systole: Events,
    /// From the leading shoulder of an end-diastole to its R wave, milliseconds, without sign.
    pub(crate) onset_ms: Numbers,
    /// Share of the true beat.
    pub(crate) period_error: Numbers,
    /// Points of ejection fraction, where one was given.
    pub(crate) ef_error: Numbers,
    pub(crate) beats_measured: usize,
    pub(crate) beats_dropped: usize,
    /// Unflagged clips with an event missed or wrong by more than a frame: answers that look sure and are not.
    pub(crate) unnoticed: usize,
}

impl Tally {
    /// Adds the clips of another suite.
    pub(crate) fn join(&mut self, other: &Self) {
        self.clips += other.clips;
        self.flagged += other.flagged;
        self.unnoticed += other.unnoticed;
        self.beats_measured += other.beats_measured;
        self.beats_dropped += other.beats_dropped;
        self.onset_ms.join(&other.onset_ms);
        self.period_error.join(&other.period_error);
        self.ef_error.join(&other.ef_error);
        for (mine, theirs) in
            [(&mut self.end_diastole, &other.end_diastole), (&mut self.end_systole, &other.end_systole)]
        {
            mine.expected += theirs.expected;
            mine.missed += theirs.missed;
            mine.error_ms.join(&theirs.error_ms);
            mine.error_frames.join(&theirs.error_frames);
            mine.offset_ms.join(&theirs.offset_ms);
        }
    }

    /// Adds a clip; `read` is what the stage made of it.
    pub(crate) fn add(&mut self, truth: &Truth, read: Result<&Trace, &ReasonCode>) {
        let ef_percent = truth.ef_percent;
        let rated_ms = 60e3 / truth.heart_rate;
        let truth = &truth.cine;
        self.clips += 1;
        let Ok(trace) = read else {
            self.flagged += 1;
            return;
        };
        let flagged = trace.flags.contains(&ReasonCode::known("PHASE_UNRELIABLE"));
        self.flagged += usize::from(flagged);
        let frame_ms = 1e3 / truth.fps;
        let gaps: Vec<f64> = truth.r_waves_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let beat_ms = if gaps.is_empty() { rated_ms } else { gaps.iter().sum::<f64>() / gaps.len() as f64 };
        let marks = |kind: KeyframeKind| trace.marks.iter().filter(move |mark| mark.kind == kind);
        let clip = Clip { frame_ms, beat_ms, last_ms: (truth.frames as f64 - 1.0) * frame_ms };
        let wrong = [
            self.end_diastole.add(&clip, &truth.ed_intervals, &truth.r_waves_ms, marks(KeyframeKind::ED)),
            self.end_systole.add(&clip, &truth.es_intervals, &truth.end_systoles_ms, marks(KeyframeKind::ES)),
        ];
        self.unnoticed += usize::from(!flagged && wrong.contains(&true));
        for onset in marks(KeyframeKind::ED).filter_map(|mark| mark.onset_ms) {
            let gap = truth.r_waves_ms.iter().map(|r| (r - onset).abs()).fold(f64::INFINITY, f64::min);
            if gap <= NEAR * beat_ms {
                self.onset_ms.0.push(gap);
            }
        }
        if let Some(period) = trace.period_ms.filter(|_| !gaps.is_empty()) {
            self.period_error.0.push((period / beat_ms - 1.0).abs());
        }
        if let Some(geometry) = &trace.geometry {
            self.ef_error.0.push((geometry.ef_percent - ef_percent).abs());
        }
        let [measured, dropped] = trace.beats_measured;
        self.beats_measured += measured;
        self.beats_dropped += dropped;
    }
}

struct Clip {
    frame_ms: f64,
    beat_ms: f64,
    last_ms: f64,
}

impl Events {
    /// Whether an event is missed or a mark is wrong by more than a frame.
    fn add<'a>(
        &mut self,
        clip: &Clip,
        intervals: &[Interval],
        instants_ms: &[f64],
        marks: impl Iterator<Item = &'a Mark>,
    ) -> bool {
        let marks: Vec<f64> = marks.filter_map(|mark| mark.time_ms).collect();
        let whole = |interval: &&Interval| {
            let around = AROUND_MS.max(clip.frame_ms);
            interval.from_ms >= around && interval.to_ms <= clip.last_ms - around
        };
        let outside =
            |at: f64, interval: &Interval| (interval.from_ms - at).max(at - interval.to_ms).max(0.0);
        let mut wrong = false;
        for interval in intervals.iter().filter(whole) {
            self.expected += 1;
            if !marks.iter().any(|at| outside(*at, interval) <= NEAR * clip.beat_ms) {
                self.missed += 1;
                wrong = true;
            }
        }
        for at in marks {
            let error = intervals.iter().map(|interval| outside(at, interval)).fold(f64::INFINITY, f64::min);
            if error.is_finite() {
                self.error_ms.0.push(error);
                self.error_frames.0.push(error / clip.frame_ms);
                wrong |= error > clip.frame_ms;
            }
            let nearest =
                instants_ms.iter().map(|instant| at - instant).min_by(|a, b| a.abs().total_cmp(&b.abs()));
            self.offset_ms.0.extend(nearest.filter(|offset| offset.abs() <= NEAR * clip.beat_ms));
        }
        wrong
    }
}
