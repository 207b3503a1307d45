//! A signal over the frames of a clip: trend, range, period.

/// Shares of a signal's range that spare its outliers.
const RANGE: (f64, f64) = (0.03, 0.97);
/// Beats between which a period is looked for: 200 to 30 a minute.
const PERIOD_S: (f64, f64) = (0.30, 2.0);
/// The shortest period looked for in frames where timing is unknown.
const SHORTEST_FRAMES: f64 = 6.0;
/// A lag may take this share of the clip, so that a quarter of it is compared with itself.
const LONGEST_SHARE: f64 = 0.75;
/// A shorter lag wins if its peak reaches this share of the best: twice the period fits as well as once.
const SHORTER_WINS: f64 = 0.85;

/// A period of a signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Period {
    /// Length in frames.
    pub(crate) frames: f64,
    /// Autocorrelation there, at most 1.
    pub(crate) correlation: f64,
}

/// The signal without its straight-line trend (least squares).
pub(crate) fn detrended(signal: &[f64]) -> Vec<f64> {
    let count = signal.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, signal.iter().sum::<f64>() / count.max(1.0));
    let centred = |index: usize| index as f64 - middle;
    let spread: f64 = (0..signal.len()).map(|index| centred(index).powi(2)).sum();
    let along: f64 = signal.iter().enumerate().map(|(index, value)| centred(index) * (value - mean)).sum();
    let slope = if spread > 0.0 { along / spread } else { 0.0 };
    signal.iter().enumerate().map(|(index, value)| value - mean - slope * centred(index)).collect()
}

/// The distance between the 3rd and the 97th percentile.
pub(crate) fn range(signal: &[f64]) -> f64 {
    quantile(signal, RANGE.1) - quantile(signal, RANGE.0)
}

/// The value below which `share` (0 to 1) of the signal lies, linear between samples (numpy's default).
pub(crate) fn quantile(signal: &[f64], share: f64) -> f64 {
    let mut sorted = signal.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = share * sorted.len().saturating_sub(1) as f64;
    let value = |index: f64| sorted.get(index as usize).copied().unwrap_or_default();
    value(position.floor()) + (value(position.ceil()) - value(position.floor())) * position.fract()
}

/// The period of a signal without trend, by the highest peak of its unbiased autocorrelation; none if there is no
/// peak above 0 or the clip is too short to hold one.
pub(crate) fn period(signal: &[f64], fps: Option<f64>) -> Option<Period> {
    let power = signal.iter().map(|value| value * value).sum::<f64>() / signal.len().max(1) as f64;
    if power <= 0.0 {
        return None;
    }
    let correlation = |lag: usize| {
        let products = signal.iter().zip(signal.iter().skip(lag)).map(|(a, b)| a * b);
        products.sum::<f64>() / (signal.len() - lag) as f64 / power
    };
    let (shortest, longest) =
        fps.map_or((SHORTEST_FRAMES, f64::INFINITY), |fps| (PERIOD_S.0 * fps, PERIOD_S.1 * fps));
    let longest = longest.min(LONGEST_SHARE * signal.len() as f64).floor() as usize;
    let shortest = (shortest.ceil() as usize).max(1);
    let values: Vec<f64> = (shortest.saturating_sub(1)..=longest + 1)
        .map(|lag| if lag < signal.len() { correlation(lag) } else { f64::NEG_INFINITY })
        .collect();
    let peaks = values.windows(3).zip(shortest..).filter_map(|(around, lag)| match *around {
        [before, here, after] if here > 0.0 && here >= before && here > after && lag <= longest => {
            let bend = before - 2.0 * here + after;
            let shift = if bend < 0.0 && after.is_finite() { 0.5 * (before - after) / bend } else { 0.0 };
            Some(Period { frames: lag as f64 + shift, correlation: here.min(1.0) })
        }
        _ => None,
    });
    let peaks: Vec<Period> = peaks.collect();
    let best = peaks.iter().map(|peak| peak.correlation).fold(0.0, f64::max);
    peaks.into_iter().find(|peak| peak.correlation >= SHORTER_WINS * best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_of_a_wave_over_a_slope_is_found_between_frames() {
        let wave = |t: usize| (t as f64 * std::f64::consts::TAU / 23.4).cos() + 0.05 * t as f64;
        let signal = detrended(&(0..90).map(wave).collect::<Vec<_>>());
        let period = period(&signal, Some(30.0)).expect("four periods");
        assert!((period.frames - 23.4).abs() < 0.5, "{period:?}");
        assert!(period.correlation > 0.9);
    }

    #[test]
    fn a_flat_or_short_signal_has_no_period() {
        assert_eq!(period(&[0.0; 50], Some(30.0)), None);
        assert_eq!(period(&detrended(&[1.0, 2.0]), None), None);
        assert_eq!(period(&[], None), None);
        assert!(detrended(&[4.0]).iter().all(|value| *value == 0.0));
    }

    #[test]
    fn the_range_spares_outliers() {
        let mut signal: Vec<f64> = (0..=100).map(f64::from).collect();
        signal[50] = 1e6;
        assert!(range(&signal) < 100.0);
    }
}
