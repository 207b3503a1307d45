//! Temporal principal components: of the ways in which the picture changes together, the one that is the heartbeat.

use crate::{
    curve::{Period, detrended, period, quantile},
    eigen::eigenpairs,
};

/// Components looked at.
const COMPONENTS: usize = 5;
/// Weight of periodicity and of likeness to the blood signal in the choice. Periodicity alone fails on clips of
/// little more than one beat (10 of 28 phantoms).
const WEIGHTS: (f64, f64) = (0.35, 0.65);
/// Weights in the vote on the sign: diastole lasts longer than systole; the upper chamber is full in diastole.
const LASTING: f64 = 1.5;
const MOST_LASTING: f64 = 0.3;
const CHAMBER: f64 = 0.5;

/// The component that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Component {
    /// Without trend; large at end-diastole.
    pub(crate) signal: Vec<f64>,
    /// Its period, where it has one.
    pub(crate) period: Option<Period>,
    /// |corr(u, A)|, 0 to 1.
    pub(crate) likeness: f64,
    /// How clearly the sign is known, at least 0.
    pub(crate) vote: f64,
}

/// Chooses among the leading eigenvectors of `gram` (the clip's frames against each other). `area` is the blood
/// signal, `chamber` the blood of the largest upper chamber, if one was made out; one value for each frame.
pub(crate) fn beating(
    gram: Vec<f64>,
    area: &[f64],
    chamber: Option<&[f64]>,
    fps: Option<f64>,
) -> Option<Component> {
    let pairs = eigenpairs(gram, area.len());
    let total: f64 = pairs.iter().map(|pair| pair.value.max(0.0)).sum();
    let area = detrended(area);
    let candidates = pairs.into_iter().take(COMPONENTS).filter(|pair| pair.value > 0.0).map(|pair| {
        let signal = detrended(&pair.vector);
        let period = period(&signal, fps);
        let likeness = correlation(&signal, &area);
        let periodic = period.map_or(0.0, |period| period.correlation.max(0.0));
        let score = (pair.value / total).sqrt() * (WEIGHTS.0 * periodic + WEIGHTS.1 * likeness.abs());
        (score, signal, period, likeness)
    });
    // The first of equals.
    let best = candidates.reduce(|best, next| if next.0 > best.0 { next } else { best });
    let (_, mut signal, period, likeness) = best?;
    let chamber = chamber.map_or(0.0, |chamber| correlation(&signal, &detrended(chamber)));
    let vote = likeness + LASTING * lasting(&signal) + CHAMBER * chamber;
    if vote < 0.0 {
        for value in &mut signal {
            *value = -*value;
        }
    }
    Some(Component { signal, period, likeness: likeness.abs(), vote: vote.abs() })
}

/// The share of frames above the middle of the range, from −0.3 to 0.3 around a half.
fn lasting(signal: &[f64]) -> f64 {
    let middle = f64::midpoint(quantile(signal, 0.03), quantile(signal, 0.97));
    let above = signal.iter().filter(|value| **value > middle).count() as f64;
    (above / signal.len().max(1) as f64 - 0.5).clamp(-MOST_LASTING, MOST_LASTING)
}

/// Pearson's correlation; 0 where either signal is flat.
pub(crate) fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let count = a.len().min(b.len()).max(1) as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / count, b.iter().sum::<f64>() / count);
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        (aa, bb, ab) = (aa + a * a, bb + b * b, ab + a * b);
    }
    let spread = (aa * bb).sqrt();
    if spread > 0.0 { (ab / spread).clamp(-1.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use stage::ClipHeader;

    use super::*;
    use crate::{beats::Curve, clock::Clock};

    /// Written by `tests/oracle/make_golden.py`: numpy's `eigh`, scipy's `detrend`, `gaussian_filter1d`, `find_peaks`.
    #[derive(Deserialize)]
    struct Golden {
        fps: f64,
        gram: Vec<f64>,
        area: Vec<f64>,
        eigenvalues: Vec<f64>,
        eigenvectors: Vec<Vec<f64>>,
        chosen: usize,
        likeness: f64,
        vote: f64,
        period_frames: f64,
        periodicity: f64,
        signal: Vec<f64>,
        diastoles: Vec<f64>,
        systoles: Vec<f64>,
    }

    fn golden() -> Golden {
        serde_json::from_str(include_str!("../tests/oracle/golden.json")).expect("the oracle's answers")
    }

    #[test]
    fn eigenvectors_equal_numpys_up_to_their_sign() {
        let golden = golden();
        let pairs = eigenpairs(golden.gram, golden.area.len());
        for (pair, (value, vector)) in pairs.iter().zip(golden.eigenvalues.iter().zip(&golden.eigenvectors)) {
            assert!((pair.value / value - 1.0).abs() < 1e-9);
            let along: f64 = pair.vector.iter().zip(vector).map(|(a, b)| a * b).sum();
            for (mine, theirs) in pair.vector.iter().zip(vector) {
                assert!((mine * along.signum() - theirs).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn the_chosen_component_its_period_and_its_events_equal_numpys_and_scipys() {
        let golden = golden();
        assert_eq!(golden.chosen, 1, "the oracle's clip breathes more than it beats");
        let found = beating(golden.gram, &golden.area, None, Some(golden.fps)).expect("a component");
        let period = found.period.expect("a period");
        assert!((found.likeness - golden.likeness).abs() < 1e-6);
        assert!((found.vote - golden.vote).abs() < 1e-6);
        assert!((period.frames - golden.period_frames).abs() < 1e-3);
        assert!((period.correlation - golden.periodicity).abs() < 1e-6);
        assert!(found.signal.iter().zip(&golden.signal).all(|(mine, theirs)| (mine - theirs).abs() < 1e-6));

        let drawn = raster::testing::Loop { fps: golden.fps, ..Default::default() };
        let header = ClipHeader { frames: golden.area.len() as u32, ..drawn.header() };
        let curve = Curve::of(&found.signal, period.frames, &Clock::new(&header, golden.area.len()));
        let curve = curve.expect("a curve");
        for (mine, theirs) in [(&curve.diastoles, &golden.diastoles), (&curve.systoles, &golden.systoles)] {
            assert_eq!(mine.len(), theirs.len());
            for (event, time) in mine.iter().zip(theirs) {
                assert!((event.at - time).abs() < 1e-3, "{event:?}, scipy {time}");
            }
        }
    }

    #[test]
    fn a_component_that_is_upside_down_is_turned() {
        let golden = golden();
        let area: Vec<f64> = golden.area.iter().map(|value| -value).collect();
        let chamber: Vec<f64> = area.clone();
        let turned = beating(golden.gram, &area, Some(&chamber), Some(golden.fps)).expect("a component");
        assert!(correlation(&turned.signal, &golden.signal) < -0.999);
    }

    #[test]
    fn a_clip_that_does_not_change_has_no_component() {
        assert_eq!(beating(vec![0.0; 36], &[1.0; 6], None, None), None);
        assert_eq!(beating(Vec::new(), &[], None, None), None);
    }
}
