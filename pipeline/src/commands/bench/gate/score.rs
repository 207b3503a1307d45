//! What the gate is asked to say of each kind of clip, and how often it says it.

use std::collections::BTreeMap;

use phantom::echo::{Corruption, CorruptionKind, EchoSpec, View};
use schemas::{CheckVerdict, GatedInstance, Verdict};

/// Clean clips rejected, at most.
pub(crate) const MOST_CLEAN_REJECTED: f64 = 0.02;
/// Clean clips accepted without a warning, at least.
pub(crate) const LEAST_CLEAN_ACCEPTED: f64 = 0.90;
/// Clips of one corruption that get the word asked for, at least.
pub(crate) const LEAST_CAUGHT: f64 = 0.95;

/// Clips spoilt in one way, and the word they deserve.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Condition {
    kind: Option<CorruptionKind>,
    /// In the unit of the kind's scale; none where it has none.
    severity: Option<f64>,
    pub(crate) verdict: Verdict,
    /// Any of these says why.
    pub(crate) codes: &'static [&'static str],
    /// The checks whose values tell this corruption from clean clips.
    pub(crate) checks: &'static [&'static str],
}

/// Nothing wrong.
pub(crate) const CLEAN: Condition =
    Condition { kind: None, severity: None, verdict: Verdict::Accept, codes: &[], checks: &[] };

const fn spoilt(
    kind: CorruptionKind,
    severity: Option<f64>,
    verdict: Verdict,
    codes: &'static [&'static str],
    checks: &'static [&'static str],
) -> Condition {
    Condition { kind: Some(kind), severity, verdict, codes, checks }
}

/// The corruptions with the severities at which they must be caught.
pub(crate) const SPOILT: [Condition; 12] = {
    use CorruptionKind as Kind;
    use Verdict::{Caution, Reject};
    const OVER: &[&str] = &["OVER_GAIN"];
    const EXPOSED: &[&str] = &["saturation", "blood_level"];
    const COLOUR: &[&str] = &["COLOR_DOPPLER"];
    [
        spoilt(Kind::Blur, Some(2.0), Reject, &["BLUR"], &["blur", "laplacian_variance"]),
        spoilt(Kind::OverGain, Some(20.0), Reject, OVER, EXPOSED),
        spoilt(Kind::UnderGain, Some(-20.0), Reject, &["UNDER_GAIN"], &["black", "tissue_level"]),
        spoilt(Kind::Noise, Some(-32.0), Reject, &["LOW_CONTRAST"], &["contrast", "blur"]),
        spoilt(Kind::Static, Some(1.0), Reject, &["STATIC"], &["motion", "duplicate_frames"]),
        spoilt(Kind::Truncated, Some(0.6), Reject, &["TRUNCATED"], &["duration"]),
        spoilt(Kind::LowFps, Some(10.0), Reject, &["LOW_FPS"], &["frame_rate"]),
        spoilt(Kind::ColourBox, None, Reject, COLOUR, &[]),
        spoilt(Kind::ColourBoxSilent, None, Reject, COLOUR, &["colour"]),
        spoilt(Kind::NoFan, None, Reject, &["NO_FAN"], &["fan"]),
        spoilt(Kind::Drift, Some(12.0), Caution, &["DRIFT", "RESPIRATORY"], &["drift"]),
        spoilt(Kind::OverGain, Some(14.0), Caution, OVER, EXPOSED),
    ]
};

impl Condition {
    /// As the table names it.
    pub(crate) fn name(&self) -> String {
        let unit = |kind: CorruptionKind| kind.scale().map_or("", |scale| scale.unit);
        match (self.kind, self.severity) {
            (None, _) => "clean".to_owned(),
            (Some(kind), None) => kind.to_string(),
            (Some(kind), Some(severity)) => format!("{kind} {severity} {}", unit(kind)),
        }
    }

    /// The A4C loop of the heart of `seed`, spoilt in this way.
    pub(crate) fn spec(&self, seed: u64) -> Result<EchoSpec, phantom::echo::CorruptionError> {
        let mut spec = EchoSpec::sample(seed).with_loop(View::A4c);
        if matches!(self.kind, Some(CorruptionKind::OverGain | CorruptionKind::UnderGain)) {
            // Severities of gain count from a machine that is set right, not from one already off by a few dB.
            spec.machine.gain_db = 0.0;
        }
        Ok(match (self.kind, self.severity) {
            (None, _) => spec,
            (Some(kind), None) => spec.spoilt_by(kind),
            (Some(kind), Some(severity)) => spec.spoilt_by(Corruption::new(kind, severity)?),
        })
    }

    /// Whether the gate says of `instance` what this condition deserves, for one of its reasons.
    fn is_met(&self, instance: &GatedInstance) -> bool {
        let named = |code: &Option<schemas::ReasonCode>| {
            code.as_ref().is_some_and(|code| self.codes.contains(&code.as_str()))
        };
        let failed = |verdict: CheckVerdict| {
            named(&instance.code)
                || instance.checks.iter().any(|check| check.verdict == verdict && named(&check.code))
        };
        instance.verdict == self.verdict
            && match self.verdict {
                Verdict::Accept => true,
                Verdict::Caution => failed(CheckVerdict::Warn),
                Verdict::Reject => failed(CheckVerdict::Reject),
            }
    }
}

/// What the gate said of the clips of one condition.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) clips: usize,
    pub(crate) accepted: usize,
    pub(crate) rejected: usize,
    /// Clips that got the word their condition deserves.
    pub(crate) met: usize,
    /// The codes of what failed, by number of clips.
    pub(crate) codes: BTreeMap<String, usize>,
    /// Every value of each check.
    pub(crate) values: BTreeMap<String, Vec<f64>>,
}

impl Tally {
    pub(crate) fn add(&mut self, condition: &Condition, instance: &GatedInstance) {
        self.clips += 1;
        self.accepted += usize::from(instance.verdict == Verdict::Accept);
        self.rejected += usize::from(instance.verdict == Verdict::Reject);
        self.met += usize::from(condition.is_met(instance));
        let failed = instance.checks.iter().filter(|check| check.verdict != CheckVerdict::Pass);
        let mut codes: Vec<&str> = failed.filter_map(|check| Some(check.code.as_ref()?.as_str())).collect();
        codes.sort_unstable();
        codes.dedup();
        for code in codes {
            *self.codes.entry(code.to_owned()).or_default() += 1;
        }
        for check in &instance.checks {
            self.values.entry(check.name.clone()).or_default().extend(check.value);
        }
    }

    /// Share of `count` of the clips.
    pub(crate) fn share(&self, count: usize) -> f64 {
        count as f64 / self.clips.max(1) as f64
    }
}

/// Area under the curve of true against false positives when clips are told apart by one check's value: 1 where every
/// spoilt clip lies on the same side of every clean one, 0.5 by chance. Ties count half (Mann-Whitney).
pub(crate) fn auc(clean: &[f64], spoilt: &[f64]) -> Option<f64> {
    if clean.is_empty() || spoilt.is_empty() {
        return None;
    }
    let wins: f64 = spoilt
        .iter()
        .flat_map(|bad| clean.iter().map(move |good| bad.total_cmp(good)))
        .map(|order| match order {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        })
        .sum();
    let above = wins / (clean.len() * spoilt.len()) as f64;
    Some(above.max(1.0 - above))
}

/// Share of `spoilt` beyond the bound that `false_positives` of `clean` exceed, on the side on which the spoilt lie.
pub(crate) fn detected(clean: &[f64], spoilt: &[f64], false_positives: f64) -> Option<f64> {
    let median = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    };
    // Where a bad value is small, both are mirrored.
    let sign = if median(spoilt)? >= median(clean)? { 1.0 } else { -1.0 };
    let mut good: Vec<f64> = clean.iter().map(|value| sign * value).collect();
    good.sort_by(f64::total_cmp);
    let allowed = (false_positives * good.len() as f64) as usize;
    let bound = good.get(good.len().checked_sub(1 + allowed)?)?;
    let beyond = spoilt.iter().filter(|value| sign * **value > *bound).count();
    Some(beyond as f64 / spoilt.len() as f64)
}

/// Whether exactly the A4C loops among `instances` are taken: every other instance is not applicable, or another view
/// with a caution of its own.
pub(crate) fn accepted_for_a4c(instances: &[GatedInstance]) -> bool {
    let fit = |instance: &&GatedInstance| instance.applicable && instance.verdict != Verdict::Reject;
    let named = |instance: &GatedInstance| instance.view == Some(schemas::View::A4C);
    let mut taken = instances.iter().filter(fit).peekable();
    taken.peek().is_some() && taken.all(named)
}
