//! What the truth says of both sides, where it is known: coverage of intervals, calibration, errors, and which of both
//! ranks its errors better.

use std::collections::BTreeMap;

use calibration::{
    metrics::{Outcome, Ranked, expected_calibration_error, risk_coverage},
    temperature::Stated,
};
use schemas::StudyUid;

use super::{
    answer::{Answer, REPORTING},
    observed::{Look, Pairs, Seen},
    property::{MeasureId, Property, TRUTH},
};
use crate::{
    pairs::StudyKey,
    report::{CalibrationShift, RiskCoverage},
};

/// Bands of the ejection fraction in percent; whole numbers, so that the edges lie between them.
const BANDS: [[f64; 2]; 3] = [[0.0, 40.5], [40.5, 49.5], [49.5, 100.0]];
/// Bins of the calibration error (the standard ten).
const BINS: usize = 10;

/// Pairs whose truth is known.
pub(super) struct Known<'a> {
    cases: Vec<(f64, &'a Answer, &'a Answer)>,
}

impl<'a> Known<'a> {
    pub(super) fn of(pairs: &Pairs<'a>, truth: &BTreeMap<StudyUid, f64>) -> Self {
        let known = |(study, (a, b)): (&&StudyKey, &(&'a Answer, &'a Answer))| {
            Some((*truth.get(&study.study_uid)?, *a, *b))
        };
        Self { cases: pairs.iter().filter_map(known).collect() }
    }

    /// Every measure that the truth allows.
    pub(super) fn measures(&self, look: &Look<'_>) -> Vec<(Property, Seen)> {
        if self.cases.is_empty() {
            return Vec::new();
        }
        let both = |(truth, a, b): &(f64, &Answer, &Answer)| Some((covered(a, *truth)?, covered(b, *truth)?));
        let errors =
            self.cases.iter().filter_map(|(truth, a, b)| Some([error(a, *truth)?, error(b, *truth)?]));
        let margin = Property::AbsoluteError.margin(look.margins);
        vec![
            (Property::Covered, look.presence(self.cases.iter().filter_map(both))),
            (Property::AbsoluteError, look.points(margin, errors.collect())),
            (Property::CalibrationError, self.calibration(look)),
        ]
    }

    fn calibration(&self, look: &Look<'_>) -> Seen {
        let stated: Vec<[Outcome; 2]> = self
            .cases
            .iter()
            .filter_map(|(truth, a, b)| Some([band(a, *truth)?, band(b, *truth)?]))
            .collect();
        look.score(&MeasureId::new(TRUTH, Property::CalibrationError), &stated, |drawn| {
            [0, 1].map(|arm| {
                let outcomes: Vec<Outcome> = drawn.iter().map(|both| both[arm]).collect();
                expected_calibration_error(&outcomes, BINS)
            })
        })
    }

    /// The shift of calibration in a few numbers; nothing where no truth is known.
    pub(super) fn shift(&self) -> Option<CalibrationShift> {
        if self.cases.is_empty() {
            return None;
        }
        let share = |arm: fn(&(f64, &'a Answer, &'a Answer)) -> Option<f64>| {
            crate::statistics::mean(&self.cases.iter().filter_map(arm).collect::<Vec<_>>())
        };
        let promised = self.cases.iter().find_map(|(_, _, candidate)| Some(1.0 - candidate.alpha?));
        Some(CalibrationShift {
            studies: self.cases.len() as u64,
            promised,
            coverage: [
                share(|(truth, a, _)| covered(a, *truth).map(|held| f64::from(u8::from(held)))),
                share(|(truth, _, b)| covered(b, *truth).map(|held| f64::from(u8::from(held)))),
            ],
            absolute_error: [
                share(|(truth, a, _)| error(a, *truth)),
                share(|(truth, _, b)| error(b, *truth)),
            ],
        })
    }

    /// Loss of the studies kept, the least doubted first: the error where truths are known, else the distance of both
    /// sides from each other. Nothing where no side states a doubt.
    pub(super) fn risk(&self, pairs: &Pairs<'_>) -> Option<RiskCoverage> {
        let truth = !self.cases.is_empty();
        let ranked = |arm: usize| -> Vec<Ranked> {
            if truth {
                let of = |(truth, a, b): &(f64, &Answer, &Answer)| {
                    let answer = [*a, *b][arm];
                    Some(Ranked { doubt: doubt(answer)?, loss: error(answer, *truth)? })
                };
                return self.cases.iter().filter_map(of).collect();
            }
            let of = |(a, b): &(&Answer, &Answer)| {
                Some(Ranked { doubt: doubt([*a, *b][arm])?, loss: (lvef(a)? - lvef(b)?).abs() })
            };
            pairs.values().filter_map(of).collect()
        };
        let [baseline, candidate] = [0, 1].map(|arm| risk_coverage(&ranked(arm)));
        (!baseline.is_empty() && !candidate.is_empty()).then_some(RiskCoverage { truth, baseline, candidate })
    }
}

fn lvef(answer: &Answer) -> Option<f64> {
    answer.numbers.get(&MeasureId::new(REPORTING, Property::Lvef)).copied()
}

fn error(answer: &Answer, truth: f64) -> Option<f64> {
    Some((lvef(answer)? - truth).abs())
}

fn covered(answer: &Answer, truth: f64) -> Option<bool> {
    let [low, high] = answer.summary.interval?;
    Some((low..=high).contains(&truth))
}

/// Width of the interval, or of the model's own distribution where there is none.
fn doubt(answer: &Answer) -> Option<f64> {
    let interval = answer.summary.interval.map(|[low, high]| high - low);
    interval.or_else(|| answer.distribution.as_ref().map(|ef| ef.q95 - ef.q05))
}

/// The likeliest band as the model states it, and whether it is the true one.
fn band(answer: &Answer, truth: f64) -> Option<Outcome> {
    let ef = answer.distribution.as_ref()?;
    let stated = Stated { mean: ef.estimate, variance: ef.variance_within + ef.variance_between, truth };
    let likeliest = BANDS
        .map(|band| (stated.probability(band, 1.0), band))
        .into_iter()
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let (confidence, [low, high]) = likeliest?;
    // Whole percents never lie on an edge, but for 0 and 100, which belong to the outer bands.
    Some(Outcome { confidence: confidence.clamp(0.0, 1.0), correct: (low..=high).contains(&truth.round()) })
}
