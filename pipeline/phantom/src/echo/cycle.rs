//! The cardiac cycle: how full the ventricle is, and how open its valves are, at any time.
//!
//! ```text
//!  emptied   R                                                      R
//!    1       │            ┌───────┐ES
//!            │         ／ │  IVR  │＼ early filling (75 %)
//!            │       ／   │ 80 ms │  ＼_____________ atrial
//!    0  ED ──┴──────      │       │    diastasis     ＼_________ (25 %)
//!            │ IVC │ LVET │
//!            │50 ms│
//! ```
//! Times are milliseconds from the first frame of the clip. LVET = 413 − 1.7·HR ms (Weissler 1968), at most RR/2.

/// Isovolumic contraction, R wave to opening of the aortic valve, ms.
const CONTRACTION_MS: f64 = 50.0;
/// Isovolumic relaxation, closing of the aortic to opening of the mitral valve, ms.
const RELAXATION_MS: f64 = 80.0;
/// How long the aortic cusps take to open or close, ms.
const CUSP_MS: f64 = 40.0;
/// Least time between opening and closing of the mitral valve, ms.
const SHORTEST_FILLING_MS: f64 = 75.0;
/// Share of the stroke volume that returns in early filling; the atrium gives the rest.
const EARLY_SHARE: f64 = 0.75;

/// One beat, from its R wave to the next.
#[derive(Debug, Clone, Copy)]
struct Beat {
    r_ms: f64,
    rr_ms: f64,
}

/// The beats of one clip.
#[derive(Debug, Clone)]
pub(crate) struct Cycle {
    beats: Vec<Beat>,
    ejection_ms: f64,
}

/// What the heart does at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Phase {
    /// Share of the stroke volume that has left: 0 at end diastole, 1 at end systole.
    pub(crate) emptied: f64,
    /// Opening of mitral and tricuspid leaflets: 0 closed, 1 wide open.
    pub(crate) valve_opening: f64,
    /// Opening of the aortic cusps: 0 closed, 1 along the wall.
    pub(crate) aortic_opening: f64,
}

impl Phase {
    /// Full, all valves shut.
    pub(crate) const REST: Self = Self { emptied: 0.0, valve_opening: 0.0, aortic_opening: 0.0 };
}

/// A closed interval of time, ms.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Interval {
    /// Begin, ms from the first frame.
    pub from_ms: f64,
    /// End, ms from the first frame.
    pub to_ms: f64,
}

impl Cycle {
    /// Beats whose first R wave lies at `first_r_ms` (≤ 0), one per entry of `rr_ms`; a beat that leaves no time to fill
    /// is lengthened.
    pub(crate) fn new(heart_rate: f64, first_r_ms: f64, rr_ms: impl IntoIterator<Item = f64>) -> Self {
        let ejection_ms = (413.0 - 1.7 * heart_rate).min(30_000.0 / heart_rate);
        let shortest_ms = CONTRACTION_MS + ejection_ms + RELAXATION_MS + SHORTEST_FILLING_MS;
        let mut r_ms = first_r_ms;
        let beats = rr_ms
            .into_iter()
            .map(|rr_ms| {
                let rr_ms = rr_ms.max(shortest_ms);
                let beat = Beat { r_ms, rr_ms };
                r_ms += rr_ms;
                beat
            })
            .collect();
        Self { beats, ejection_ms }
    }

    /// The state at `t_ms`; a time outside the beats is held at end diastole.
    pub(crate) fn phase(&self, t_ms: f64) -> Phase {
        let Some(beat) = self.beats.iter().rev().find(|beat| beat.r_ms <= t_ms) else { return Phase::REST };
        let t = t_ms - beat.r_ms;
        let closure = CONTRACTION_MS + self.ejection_ms;
        let filling = closure + RELAXATION_MS;
        if t < CONTRACTION_MS {
            return Phase::REST;
        }
        if t < closure {
            let (since, until) = (t - CONTRACTION_MS, closure - t);
            return Phase {
                emptied: smooth(since / self.ejection_ms),
                aortic_opening: smooth(since.min(until) / CUSP_MS),
                ..Phase::REST
            };
        }
        if t < filling {
            return Phase { emptied: 1.0, ..Phase::REST };
        }
        let diastole = beat.rr_ms - filling;
        let early = (0.55 * diastole).min(200.0);
        let atrial = (0.35 * diastole).min(120.0);
        let atrial_start = diastole - atrial;
        let t = t - filling;
        let emptied =
            1.0 - EARLY_SHARE * smooth(t / early) - (1.0 - EARLY_SHARE) * smooth((t - atrial_start) / atrial);
        // Leaflets follow the inflow and drift half shut between the two waves.
        let drift = if t > early / 2.0 && t < atrial_start + atrial / 2.0 { 0.3 } else { 0.0 };
        let valve_opening = flow(t / early).max(0.75 * flow((t - atrial_start) / atrial)).max(drift);
        Phase { emptied, valve_opening, ..Phase::REST }
    }

    /// Share of the stroke volume that leaves in a millisecond; negative while the ventricle fills.
    pub(crate) fn emptying_per_ms(&self, t_ms: f64) -> f64 {
        const STEP_MS: f64 = 2.0;
        (self.phase(t_ms + STEP_MS).emptied - self.phase(t_ms - STEP_MS).emptied) / (2.0 * STEP_MS)
    }

    /// R waves inside `0..duration_ms`.
    pub(crate) fn r_waves_ms(&self, duration_ms: f64) -> Vec<f64> {
        self.beats.iter().map(|beat| beat.r_ms).filter(|r| (0.0..duration_ms).contains(r)).collect()
    }

    /// Ends of ejection (closing of the aortic valve) inside `0..duration_ms`.
    pub(crate) fn end_systoles_ms(&self, duration_ms: f64) -> Vec<f64> {
        let closure = CONTRACTION_MS + self.ejection_ms;
        self.beats.iter().map(|beat| beat.r_ms + closure).filter(|t| (0.0..duration_ms).contains(t)).collect()
    }

    /// When a frame is as good as end diastole: the volume lies within about 1 % of its extremum.
    pub(crate) fn ed_intervals(&self, duration_ms: f64) -> Vec<Interval> {
        let around = |r: f64| Interval { from_ms: r - 15.0, to_ms: r + CONTRACTION_MS + 12.0 };
        self.r_waves_ms(duration_ms).into_iter().map(around).collect()
    }

    /// When a frame is as good as end systole.
    pub(crate) fn es_intervals(&self, duration_ms: f64) -> Vec<Interval> {
        let around = |es: f64| Interval { from_ms: es - 12.0, to_ms: es + RELAXATION_MS + 12.0 };
        self.end_systoles_ms(duration_ms).into_iter().map(around).collect()
    }

    /// The electrocardiogram at `t_ms`, R wave = 1: P, Q, R, S and T as Gaussians around each R wave.
    pub(crate) fn ecg(&self, t_ms: f64) -> f64 {
        // (offset from R in ms, standard deviation in ms, height)
        let t_wave = CONTRACTION_MS + 0.8 * self.ejection_ms;
        let waves = [
            (-150.0, 22.0, 0.12),
            (-28.0, 8.0, -0.12),
            (0.0, 9.0, 1.0),
            (28.0, 9.0, -0.22),
            (t_wave, 38.0, 0.25),
        ];
        let around = |beat: &Beat| -> f64 {
            waves
                .iter()
                .map(|&(offset, sd, height)| {
                    let z = (t_ms - beat.r_ms - offset) / sd;
                    height * libm::exp(-0.5 * z * z)
                })
                .sum()
        };
        self.beats.iter().map(around).sum()
    }
}

/// The C² step from 0 at u ≤ 0 to 1 at u ≥ 1 (quintic).
fn smooth(u: f64) -> f64 {
    let u = u.clamp(0.0, 1.0);
    u * u * u * (10.0 - 15.0 * u + 6.0 * u * u)
}

/// The slope of [`smooth`], scaled to a peak of 1.
fn flow(u: f64) -> f64 {
    let u = u.clamp(0.0, 1.0);
    16.0 * u * u * (1.0 - u) * (1.0 - u)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_is_extreme_exactly_at_the_events_and_continuous_between() {
        for heart_rate in [50.0, 80.0, 110.0] {
            let rr = 60_000.0 / heart_rate;
            let cycle = Cycle::new(heart_rate, -0.7 * rr, vec![rr; 5]);
            for r in cycle.r_waves_ms(2.5 * rr) {
                assert!(cycle.phase(r).emptied < 1e-9);
                assert!(
                    cycle.phase(r + CONTRACTION_MS + 30.0).emptied > 0.0,
                    "ejection follows the contraction"
                );
            }
            for es in cycle.end_systoles_ms(2.5 * rr) {
                assert!((cycle.phase(es).emptied - 1.0).abs() < 1e-9);
            }
            let samples: Vec<f64> =
                (0..25_000).map(|i| cycle.phase(f64::from(i) * 0.0001 * rr).emptied).collect();
            let steepest = samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max);
            assert!(steepest < 0.003, "a jump of {steepest} at HR {heart_rate}");
        }
    }

    #[test]
    fn a_premature_beat_still_fills_the_ventricle() {
        let cycle = Cycle::new(140.0, 0.0, [428.0, 200.0, 428.0]);
        let r_waves = cycle.r_waves_ms(2000.0);
        assert!(r_waves[2] - r_waves[1] > 300.0, "{r_waves:?}");
        assert!(r_waves.iter().all(|r| cycle.phase(*r).emptied < 1e-9));
    }

    #[test]
    fn the_valve_is_shut_from_r_wave_to_the_end_of_relaxation() {
        let cycle = Cycle::new(60.0, 0.0, [1000.0, 1000.0]);
        let shut = CONTRACTION_MS + (413.0 - 102.0) + RELAXATION_MS;
        assert!((0..shut as u32).all(|t| cycle.phase(f64::from(t)).valve_opening == 0.0));
        assert!(cycle.phase(shut + 100.0).valve_opening > 0.9);
    }
}
