//! Peaks of a signal by distance and prominence, as `scipy.signal.find_peaks` defines them.

/// What counts as a peak.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Demand {
    /// Least distance between two peaks in samples; the higher one stays.
    pub(crate) distance: f64,
    /// Least height above the higher of the two lowest points towards a higher neighbour or the end.
    pub(crate) prominence: f64,
}

/// A local maximum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Peak {
    /// Sample, the middle of a plateau rounded down.
    pub(crate) index: usize,
    /// Height above its surroundings.
    pub(crate) prominence: f64,
}

/// Every peak of `signal` that meets the demand, in order. A maximum at either end is no peak.
pub(crate) fn find_peaks(signal: &[f64], demand: Demand) -> Vec<Peak> {
    let at = |index: usize| signal.get(index).copied().unwrap_or(f64::NEG_INFINITY);
    let maxima = local_maxima(signal);
    let mut by_height = maxima.clone();
    // The last of equals first, as scipy's stable sort from the end has it.
    by_height.sort_by(|a, b| at(*b).total_cmp(&at(*a)).then(b.cmp(a)));
    let mut kept: Vec<usize> = Vec::new();
    for index in by_height {
        if kept.iter().all(|other| other.abs_diff(index) as f64 >= demand.distance.ceil()) {
            kept.push(index);
        }
    }
    kept.sort_unstable();
    let prominence = |index: usize| {
        let height = at(index);
        let lowest = |side: &mut dyn Iterator<Item = &f64>| {
            side.take_while(|value| **value <= height).fold(height, |low, value| low.min(*value))
        };
        let left = lowest(&mut signal.iter().take(index).rev());
        let right = lowest(&mut signal.iter().skip(index + 1));
        height - left.max(right)
    };
    let peaks = kept.into_iter().map(|index| Peak { index, prominence: prominence(index) });
    peaks.filter(|peak| peak.prominence >= demand.prominence).collect()
}

/// Samples larger than both neighbours; of a plateau the middle.
fn local_maxima(signal: &[f64]) -> Vec<usize> {
    let mut maxima = Vec::new();
    let mut start = 0;
    for run in signal.chunk_by(|a, b| a == b) {
        let end = start + run.len();
        let before = start.checked_sub(1).and_then(|index| signal.get(index));
        if let (Some(before), Some(here), Some(after)) = (before, run.first(), signal.get(end))
            && before < here
            && after < here
        {
            maxima.push((start + end - 1) / 2);
        }
        start = end;
    }
    maxima
}

/// Where `signal` stays within `tolerance` of the peak at `peak`, around it: begin and end, with linear crossings
/// between samples.
pub(crate) fn plateau(signal: &[f64], peak: usize, tolerance: f64) -> [f64; 2] {
    let at = |index: usize| signal.get(index).copied().unwrap_or_default();
    let floor = at(peak) - tolerance;
    let crossing = |inside: usize, outside: usize| {
        let drop = at(inside) - at(outside);
        let share = if drop > 0.0 { (at(inside) - floor) / drop } else { 0.0 };
        inside as f64 + (outside as f64 - inside as f64) * share.clamp(0.0, 1.0)
    };
    let left =
        (0..peak).rev().find(|index| at(*index) < floor).map_or(0.0, |index| crossing(index + 1, index));
    let right = (peak + 1..signal.len())
        .find(|index| at(*index) < floor)
        .map_or(signal.len().saturating_sub(1) as f64, |index| crossing(index - 1, index));
    [left, right]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy 1.17.1: `find_peaks(x, distance=d, prominence=p)`, the signal of `signal()`.
    #[test]
    fn peaks_and_prominences_equal_scipy() {
        for (distance, prominence, expected) in SCIPY {
            let found = find_peaks(&signal(), Demand { distance: *distance, prominence: *prominence });
            let indices: Vec<usize> = found.iter().map(|peak| peak.index).collect();
            assert_eq!(indices, expected.iter().map(|(index, _)| *index).collect::<Vec<_>>());
            for (peak, (_, theirs)) in found.iter().zip(*expected) {
                assert!((peak.prominence - theirs).abs() < 1e-9, "{peak:?}, scipy {theirs}");
            }
        }
    }

    fn signal() -> Vec<f64> {
        (0..60)
            .map(|t: i32| f64::from((t * t * 7 + t * 13) % 41) + 20.0 * f64::from((t % 20 - 10).abs()))
            .collect()
    }

    type Expected = &'static [(f64, f64, &'static [(usize, f64)])];
    const SCIPY: Expected = &[
        (
            1.0,
            0.0,
            &[
                (5, 15.0),
                (7, 2.0),
                (14, 10.0),
                (17, 9.0),
                (20, 216.0),
                (28, 9.0),
                (32, 4.0),
                (38, 2.0),
                (40, 207.0),
                (46, 15.0),
                (48, 2.0),
                (55, 10.0),
                (58, 9.0),
            ],
        ),
        (8.4, 30.0, &[(20, 216.0), (40, 207.0)]),
        (3.0, 15.0, &[(5, 15.0), (20, 216.0), (40, 207.0), (46, 15.0)]),
        (1.0, 100.0, &[(20, 216.0), (40, 207.0)]),
    ];

    #[test]
    fn a_plateau_lies_between_its_crossings() {
        assert_eq!(plateau(&[0.0, 10.0, 10.0, 10.0, 0.0], 1, 5.0), [0.5, 3.5]);
        assert_eq!(plateau(&[0.0, 4.0, 8.0, 0.0], 2, 2.0), [1.5, 2.25]);
        assert_eq!(plateau(&[7.0, 8.0, 8.0], 1, 2.0), [0.0, 2.0], "cut off by the clip");
    }
}
